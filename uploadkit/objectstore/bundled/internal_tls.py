"""Mutual TLS for what the parts of SeaweedFS say to each other: certificates that nobody else has, and the file that has weed use them.

SeaweedFS's gRPC ports believe whoever connects. With these files only who holds the engine's key gets in, and that lies in the
engine's directory (0600). Everything is made anew for each start of the engine. The authority's own key is never written down:
once it has signed it is gone, so nobody can ever be given a second certificate. The certificates have no end (RFC 5280,
4.1.2.5): what has to be renewed can be late, and a clock that is wrong must not stop a store.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = "tls"
AUTHORITY = "authority.pem"
_AUTHORITY_NAME = "uploadkit-store-authority"
# The common name. Both sides of every connection show the same certificate: it is one process, and the `weed shell` that we start.
_NAME = "uploadkit-store"
# Certificate and key in one file, so that they are never read while they don't belong together.
IDENTITY = f"{_NAME}.pem"
# Every part that opens a port or speaks to one, also those that we leave switched off. `client` is S3 and `weed shell`.
_PARTS = ("master", "volume", "filer", "s3", "admin", "worker", "client", "msg_broker", "msg_agent", "mq", "mount")
_BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def renew(directory: Path) -> None:
    """Write a new authority, a certificate with its key, and the `security.toml` that names them, into `directory`.

    weed has to run with `directory` as its working directory: the paths are relative to it. Raises OSError.
    """
    folder = directory / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    _make_certificates(folder)
    _write(directory / "security.toml", _settings())


def make_foreign(folder: Path) -> Path:
    """Write a certificate with its key, like the engine's but by an authority that nobody knows, into `folder`; return the file."""
    _make_certificates(folder)
    return folder / IDENTITY


def _make_certificates(folder: Path) -> None:
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(_AUTHORITY_NAME, authority_key.public_key(), authority_key)
    certificate = _certificate(_NAME, key.public_key(), authority_key)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(folder / AUTHORITY, authority.public_bytes(serialization.Encoding.PEM).decode())
    _write(folder / IDENTITY, (private + certificate.public_bytes(serialization.Encoding.PEM)).decode())


def _certificate(name: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    is_authority = name == _AUTHORITY_NAME
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY_NAME)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINNING)
        .not_valid_after(_NO_END)
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_key_usage(is_authority), critical=True)
    )
    if not is_authority:
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _settings() -> str:
    lines = [
        "# Written by UploadKit at each start of the store; what is changed here is lost.",
        # Both, or weed calls it a contradiction, and goes on without TLS.
        "[tls]",
        'min_version = "TLS 1.3"',
        'max_version = "TLS 1.3"',
    ]
    lines += ["[grpc]", f'ca = "{FOLDER}/{AUTHORITY}"']
    identity = f"{FOLDER}/{IDENTITY}"
    for part in _PARTS:
        lines += [f"[grpc.{part}]", f'cert = "{identity}"', f'key = "{identity}"', f'allowed_commonNames = "{_NAME}"']
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """Replace `path` by `text`, mode 0600, in one step: an engine that reads meanwhile sees the old or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    new.rename(path)
