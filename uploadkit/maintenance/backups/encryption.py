"""How the content of a target is written: as it is, or encrypted with a passphrase.

Encrypted: AES-256-GCM, with a key and nonce of its own for each piece, by HKDF-SHA256 (RFC 5869) from a random salt and one key for the
target, which scrypt (RFC 7914) makes of the passphrase. A piece's name is authenticated with it, so that none can stand for another.
"""

from __future__ import annotations

import secrets
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from uploadkit.maintenance.backups.layout import BackupUnusable

_SALT_BYTES, _KEY_BYTES, _NONCE_BYTES = 32, 32, 12
OVERHEAD_BYTES = _SALT_BYTES + 16
"""By how much a piece grows."""
# 64 MiB of memory, about 0.2 s. Source: RFC 7914, section 2; OWASP Password Storage Cheat Sheet.
_SCRYPT = {"n": 2**16, "r": 8, "p": 1}
_PROOF_NAME, _PROOF = "proof", b"UploadKit backups"


class Seal(Protocol):
    """What content goes through on its way to a target, and back."""

    def close(self, name: str, content: bytes) -> bytes:
        """Return what is written under `name`."""

    def open(self, name: str, written: bytes) -> bytes:
        """Return the content of what was written under `name`. Raises BackupUnusable."""


class Unsealed:
    """Content is written as it is."""

    def close(self, name: str, content: bytes) -> bytes:
        """Return `content`."""
        return content

    def open(self, name: str, written: bytes) -> bytes:
        """Return `written`."""
        return written


class Sealed:
    """Content is encrypted."""

    def __init__(self, passphrase: bytes, salt: bytes) -> None:
        self._key = Scrypt(salt=salt, length=_KEY_BYTES, **_SCRYPT).derive(passphrase)

    def close(self, name: str, content: bytes) -> bytes:
        """Return `content` encrypted, its salt in front."""
        salt = secrets.token_bytes(_SALT_BYTES)
        cipher, nonce = self._cipher(salt)
        return salt + cipher.encrypt(nonce, content, name.encode())

    def open(self, name: str, written: bytes) -> bytes:
        """Return what was encrypted under `name`. Raises BackupUnusable when it was not, or has changed since."""
        cipher, nonce = self._cipher(written[:_SALT_BYTES])
        try:
            return cipher.decrypt(nonce, written[_SALT_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise BackupUnusable(f"{name} is damaged: it is not what was encrypted with this passphrase") from None

    def _cipher(self, salt: bytes) -> tuple[AESGCM, bytes]:
        made = HKDF(hashes.SHA256(), _KEY_BYTES + _NONCE_BYTES, salt, b"uploadkit backup").derive(self._key)
        return AESGCM(made[:_KEY_BYTES]), made[_KEY_BYTES:]


def new_seal(passphrase: bytes | None) -> tuple[Seal, dict[str, str] | None]:
    """Return the seal of a new target, and what has to be written down to open it again: a salt and a proof, nothing secret."""
    if passphrase is None:
        return Unsealed(), None
    salt = secrets.token_bytes(_SALT_BYTES)
    seal = Sealed(passphrase, salt)
    return seal, {"kdf": "scrypt", "salt": salt.hex(), "proof": seal.close(_PROOF_NAME, _PROOF).hex()}


def known_seal(passphrase: bytes | None, written: Any) -> Seal:
    """Return the seal of a target of which `written` was noted. Raises BackupUnusable when the passphrase is another one, or missing."""
    if written is None:
        if passphrase is not None:
            raise BackupUnusable(
                "The backups at this target are not encrypted, and backup.passphrase_file names a passphrase",
                "Take another target, or set no passphrase",
            )
        return Unsealed()
    if passphrase is None:
        raise BackupUnusable("The backups at this target are encrypted", "Set backup.passphrase_file to the file with their passphrase")
    try:
        seal, proof = Sealed(passphrase, bytes.fromhex(written["salt"])), bytes.fromhex(written["proof"])
    except (KeyError, TypeError, ValueError):
        raise BackupUnusable("The target says how its backups are encrypted in a way that can't be read") from None
    try:
        seal.open(_PROOF_NAME, proof)
    except BackupUnusable:
        raise BackupUnusable(
            "The backups at this target were encrypted with another passphrase", "Name the right file in backup.passphrase_file"
        ) from None
    return seal
