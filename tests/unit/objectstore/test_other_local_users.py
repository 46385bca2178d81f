"""The bundled store against another user of the same machine: the real weed, attacked as `nobody` (needs root, else skipped)."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.appliance import wait_until
from tests.support.untrusted_clients import EVIL_KEY, EVIL_SECRET, NOBODY, needs_root, plant, planted_entry, planted_identity, weed_shell
from uploadkit.config import BundledConfig
from uploadkit.objectstore.bundled import identities, internal_ports, internal_tls
from uploadkit.objectstore.bundled.engines import SeaweedFS, choose_base_port, find_weed
from uploadkit.objectstore.bundled.supervisor import BundledStore, StoreStartError

SECRET = b"private bytes of a project"


def make_store(data: Path) -> BundledStore:
    settings = BundledConfig(port=0, engine="seaweedfs", max_disk_bytes=4 * 1024**3)
    return BundledStore(settings, data, listen_host="127.0.0.1", public_host="127.0.0.1")


def s3(store: BundledStore, key: str | None = None, secret: str | None = None) -> Any:
    options = BotoConfig(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"max_attempts": 1},
    )
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name=store.region,
        aws_access_key_id=key or store.access_key_id,
        aws_secret_access_key=secret or store.secret_access_key,
        config=options,
    )


def base_of(store: BundledStore) -> int:
    return int(store.endpoint.rsplit(":", 1)[1])


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data directory below one that everybody may walk through (pytest's own shuts others out)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder, "data")


@pytest.fixture(scope="module")
def store(data: Path) -> Iterator[BundledStore]:
    made = make_store(data)
    made.start()
    s3(made).create_bucket(Bucket=made.bucket)
    s3(made).put_object(Bucket=made.bucket, Key="private/a", Body=SECRET)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def weed() -> Iterator[str]:
    """The program where nobody can run it, as a user of the machine has it from PyPI."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        copy = Path(folder, "weed")
        shutil.copy(find_weed(), copy)
        copy.chmod(0o755)
        yield str(copy)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


# The interpreter may lie where nobody can't run it: it is started as root, and then becomes nobody for good.
BECOME_NOBODY = """
import os, socket, sys
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
"""


def as_nobody(program: str, *arguments: str) -> str:
    """What a Python program prints as nobody."""
    argv = [sys.executable, "-I", "-S", "-c", BECOME_NOBODY + program, *arguments]
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False, cwd="/").stdout


@needs_root
def test_nobody_reads_replaces_and_deletes_nothing_by_weed_shell(store: BundledStore, weed: str, public_folder: Path) -> None:
    base = base_of(store)
    (public_folder / "plant").write_bytes(planted_identity())
    commands = (
        "fs.cat /buckets/uploads/private/a\nfs.meta.cat /buckets/uploads/private/a\n"
        "fs.ls -l /buckets/uploads/private\nfs.rm -rf /buckets/uploads/private\n"
        f"fs.meta.load {public_folder}/plant\nlock\nvolume.list\ns3.configure\ns3.bucket.list\n"
    )
    words = weed_shell(weed, base, commands, user=NOBODY, directory=public_folder)
    assert SECRET.decode() not in words
    assert "fileId" not in words
    assert "uploads" not in words.replace("/buckets/uploads", "")
    assert s3(store).get_object(Bucket=store.bucket, Key="private/a")["Body"].read() == SECRET
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3(store, EVIL_KEY, EVIL_SECRET).list_objects_v2(Bucket=store.bucket)


@needs_root
def test_a_foreign_certificate_gets_nobody_in_either(store: BundledStore, weed: str, public_folder: Path) -> None:
    internal_tls.renew(public_folder)
    for path in (public_folder, public_folder / "tls", *public_folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    words = weed_shell(weed, base_of(store), "fs.meta.cat /buckets/uploads/private/a\n", user=NOBODY, directory=public_folder)
    assert "fileId" not in words


def test_our_own_shell_gets_in(store: BundledStore, data: Path) -> None:
    directory = data / "store" / "seaweedfs"
    # Not fs.cat: weed shell has no token for the volume server's bytes, whoever runs it.
    words = weed_shell(find_weed(), base_of(store), "fs.meta.cat /buckets/uploads/private/a\n", directory=directory, seconds=30)
    assert "fileId" in words


def answers(address: internal_ports.Address) -> bool:
    try:
        internal_ports.accepted_untrusted_client(address)
    except internal_ports.NoAnswer:
        return False
    return True


def test_every_grpc_port_and_socket_refuses_strangers_and_takes_us(store: BundledStore, data: Path) -> None:
    engine = SeaweedFS(find_weed(), data / "store" / "seaweedfs")
    base = base_of(store)
    for address in [*engine.grpc_ports(base).values(), *engine.leftovers(base)]:
        wait_until(lambda address=address: answers(address), what=f"{address}: the admin worker's port opens last")
        assert internal_ports.accepts_us(address, engine.directory), address
        assert internal_ports.accepted_untrusted_client(address) is None, address


SOCKETS = """
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
            print("connected to", path)
        except OSError as error:
            print(type(error).__name__)
"""


@needs_root
def test_nobody_reaches_no_socket(store: BundledStore, data: Path) -> None:
    base = base_of(store)
    directory = data / "store" / "seaweedfs"
    paths = [*SeaweedFS(find_weed(), directory).leftovers(base), directory / "filer.sock", directory / "s3.sock"]
    words = as_nobody(SOCKETS, *map(str, paths))
    assert "connected" not in words
    assert set(words.split()) <= {"PermissionError", "FileNotFoundError"}


READING = """
for path in sys.argv[1:]:
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        print("read", path)
    except OSError as error:
        print(type(error).__name__)
"""


@needs_root
def test_nobody_reads_no_file_and_nothing_of_the_process(store: BundledStore, data: Path) -> None:
    pid = store._running._children[0][0].pid  # type: ignore[union-attr]
    files = [data, *data.rglob("*")]
    proc = [Path(f"/proc/{pid}/{name}") for name in ("environ", "maps", "fd", "cwd/store-credentials.json", "root/etc/shadow", "mem")]
    words = as_nobody(READING, *map(str, files + proc))
    assert words.count("PermissionError") == len(files) + len(proc), words


def test_files_are_the_owners_only(store: BundledStore, data: Path) -> None:
    for path in (data, *data.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_dir() or path.suffix != ".vif":
            assert mode & 0o077 == 0, path
    assert {path.name for path in (data / "store" / "seaweedfs" / "tls").iterdir()} == {"authority.pem", "uploadkit-store.pem"}


def test_keys_stand_in_no_argument_and_no_log(store: BundledStore, data: Path) -> None:
    pid = store._running._children[0][0].pid  # type: ignore[union-attr]
    key = (data / "store" / "seaweedfs" / "tls" / "uploadkit-store.pem").read_text().split("-----")[2].split()
    seen = Path(f"/proc/{pid}/cmdline").read_text() + (data / "store.log").read_text()
    assert not [line for line in key if line in seen]
    assert "PRIVATE KEY" not in (data / "store" / "seaweedfs" / "tls" / "authority.pem").read_text()


def test_raw_http_on_internal_ports_gives_nothing_away(store: BundledStore) -> None:
    base = base_of(store)
    tried = {
        base + 2: ("/", "/buckets/uploads/private/a", "/etc/iam/", "/metrics", "/debug/pprof/", "/buckets/?pretty=y"),
        base + 4: ("/dir/assign", "/dir/lookup?volumeId=1", "/dir/status", "/vol/vacuum", "/cluster/status", "/debug/pprof/", "/metrics"),
        base + 6: ("/ui/index.html", "/status", "/debug/pprof/", "/stats/disk", "/metrics", "/admin/assign_volume?volume=9"),
        base + 8: ("/", "/api/files", "/debug/pprof/", "/login", "/object-store/users"),
    }
    answered: dict[tuple[str, int, str], bytes] = {}
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        for port, paths in tried.items():
            for path in paths:
                for method in ("GET", "POST", "DELETE", "PUT"):
                    answer = pool.request(method, f"http://127.0.0.1:{port}{path}", redirect=False)
                    if answer.status < 400 and answer.data:
                        answered[method, port - base, path] = answer.data[:100]
    # Health and topology: the path of the data directory and the number of volumes, nothing of what is in them.
    known = {(4, "/cluster/status"), (6, "/status")}
    assert {(port, path) for _, port, path in answered} <= known, answered
    assert not [data for data in answered.values() if b"private" in data or SECRET in data]


def test_bytes_are_not_for_whoever_knows_their_number(store: BundledStore, data: Path) -> None:
    base, directory = base_of(store), data / "store" / "seaweedfs"
    words = weed_shell(find_weed(), base, "fs.meta.cat /buckets/uploads/private/a\n", directory=directory, seconds=30)
    number = re.search(r'"fileId":\s*"([0-9a-f,]+)"', words)
    assert number, words
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            assert pool.request(method, f"http://127.0.0.1:{base + 6}/{number[1]}").status == 401, method
    assert s3(store).get_object(Bucket=store.bucket, Key="private/a")["Body"].read() == SECRET


def test_certificates_are_new_at_each_start_and_end_never(tmp_path: Path) -> None:
    from cryptography import x509

    internal_tls.renew(tmp_path)
    first = (tmp_path / "tls" / internal_tls.IDENTITY).read_bytes()
    internal_tls.renew(tmp_path)
    second = (tmp_path / "tls" / internal_tls.IDENTITY).read_bytes()
    assert first != second
    certificate = x509.load_pem_x509_certificate(second[second.index(b"-----BEGIN CERT") :])
    # A clock that stood still, or runs a century ahead, refuses nothing.
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc.year == 9999
    assert stat.S_IMODE((tmp_path / "tls" / internal_tls.IDENTITY).stat().st_mode) == 0o600


def test_a_store_that_would_be_open_to_everybody_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """weed goes on without TLS, with a mere warning, when it can't use its settings: as here, a minimum above the maximum."""
    settings = internal_tls._settings().replace('max_version = "TLS 1.3"', 'max_version = "TLS 1.2"')
    # The clients' side has to be plain as well, or the parts would not find each other.
    settings = settings.replace('ca = "tls/authority.pem"', "")
    monkeypatch.setattr(internal_tls, "_settings", lambda: settings)
    store = make_store(tmp_path / "data")
    with pytest.raises(StoreStartError, match=r"internal port \d+ \(\w+\) accepts a client without TLS, so any user of this machine"):
        store.start()
    assert not (tmp_path / "data" / "store.pid").exists()


def test_an_identity_that_was_planted_before_is_found_told_and_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    store = make_store(data)
    store.start()
    s3(store).create_bucket(Bucket=store.bucket)
    directory = data / "store" / "seaweedfs"
    assert "iam" in plant(find_weed(), base_of(store), planted_identity(), tmp_path, directory=directory)
    evil = s3(store, EVIL_KEY, EVIL_SECRET)
    wait_until(lambda: is_believed(evil), what="the outsider to be let in, as weed does")
    store.stop()

    again = make_store(data)
    with caplog.at_level("WARNING"):
        again.start()
        evil_again = s3(again, EVIL_KEY, EVIL_SECRET)
        try:
            wait_until(lambda: "the bundled store answers again" in caplog.text, what="the outsider to be shut out")
            assert identities.find(SeaweedFS(find_weed(), directory), base_of(again)) is None
            assert s3(again).list_objects_v2(Bucket=again.bucket)["KeyCount"] == 0
            assert not is_believed(evil_again)
        finally:
            again.stop()
    reported = [record.message for record in caplog.records if "SECURITY" in record.message]
    assert len(reported) == 1
    assert "evil.json" in reported[0]
    assert EVIL_SECRET not in caplog.text
    assert "evil.json" in identities.report_path(data).read_text()
    assert stat.S_IMODE(identities.report_path(data).stat().st_mode) == 0o600


def is_believed(client: Any) -> bool:
    try:
        client.list_objects_v2(Bucket="uploads")
    except (ClientError, BotoCoreError):
        return False
    return True


def test_names_that_look_like_an_empty_list_hide_nothing(store: BundledStore, data: Path, tmp_path: Path) -> None:
    engine = SeaweedFS(find_weed(), data / "store" / "seaweedfs")
    assert identities.find(engine, base_of(store)) is None
    named = planted_entry("/etc/iam/notes", "x\n\n0 directories, 0 files\n", b"?")
    assert "notes" in plant(find_weed(), base_of(store), named, tmp_path, directory=engine.directory)
    assert identities.find(engine, base_of(store)) is not None
    identities.remove(engine, base_of(store))
    assert identities.find(engine, base_of(store)) is None


@pytest.mark.parametrize("path", ["/etc/seaweedfs/filer.conf", "/etc/remote/theirs.conf", "/etc/iam/identity.json"])
def test_settings_of_somebody_else_are_found_and_gone(store: BundledStore, data: Path, tmp_path: Path, path: str) -> None:
    """A `filer.conf` that lets files live for a minute, say: what was acknowledged was gone then."""
    engine = SeaweedFS(find_weed(), data / "store" / "seaweedfs")
    folder, _, name = path.rpartition("/")
    entry = planted_entry(folder, name, b'{"locations": [{"locationPrefix": "/buckets/nobodys/", "ttl": "1m"}]}')
    assert name in plant(find_weed(), base_of(store), entry, tmp_path, directory=engine.directory)
    found = identities.find(engine, base_of(store))
    assert found is not None
    assert name in found
    identities.remove(engine, base_of(store))
    assert identities.find(engine, base_of(store)) is None


def test_a_store_that_can_not_be_asked_is_not_taken_for_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "LOOK_SECONDS", 1.0)
    with pytest.raises(identities.Unknown):
        identities.find(SeaweedFS(find_weed(), tmp_path), 10240)


@needs_root
def test_a_socket_or_link_of_somebody_elses_in_tmp_is_named_and_left_alone(tmp_path: Path) -> None:
    engine = SeaweedFS(find_weed(), tmp_path)
    base = choose_base_port(engine, 0, [0])
    squatted = engine.leftovers(base)[1]
    squatted.unlink(missing_ok=True)  # a store that was killed may have left one of ours
    precious = tmp_path / "precious"
    precious.write_text("kept")
    for program in (f"socket.socket(socket.AF_UNIX).bind({str(squatted)!r})", f"os.symlink({str(precious)!r}, {str(squatted)!r})"):
        assert as_nobody(program) == ""
        try:
            settings = BundledConfig(port=base, engine="seaweedfs", max_disk_bytes=4 * 1024**3)
            store = BundledStore(settings, tmp_path / "data", listen_host="127.0.0.1", public_host="127.0.0.1")
            with pytest.raises(StoreStartError, match=f"{squatted} is taken by another program"):
                store.start()
            assert os.path.lexists(squatted)
            # With a port of its own choice it simply takes another.
            assert choose_base_port(engine, 0, [0]) != base
        finally:
            squatted.unlink()
    assert precious.read_text() == "kept"


def test_the_appliances_environment_does_not_reach_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".seaweedfs").mkdir(parents=True)
    (home / ".seaweedfs" / "security.toml").write_text('[jwt.signing]\nkey = "known to all"\n[grpc]\nca = ""\n')
    monkeypatch.setenv("HOME", str(home))
    for name in ("WEED_JWT_SIGNING_KEY", "WEED_GRPC_CA", "WEED_GRPC_MASTER_CERT", "WEED_GRPC_FILER_CERT", "WEED_ADMIN_USER", "GODEBUG"):
        monkeypatch.setenv(name, "known to all")
    store = make_store(tmp_path / "data")
    store.start()
    try:
        pid = store._running._children[0][0].pid  # type: ignore[union-attr]
        assert "known to all" not in Path(f"/proc/{pid}/environ").read_text()
        engine = SeaweedFS(find_weed(), tmp_path / "data" / "store" / "seaweedfs")
        for port in list(engine.grpc_ports(base_of(store)).values())[:4]:
            assert internal_ports.accepted_untrusted_client(port) is None
    finally:
        store.stop()
