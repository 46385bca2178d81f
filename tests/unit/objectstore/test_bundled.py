"""The bundled store with the real SeaweedFS; a script stands in for MinIO, whose program is not to be had here."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import urllib3
from botocore.config import Config as BotoConfig
from botocore.exceptions import ClientError

from uploadkit.config import BundledConfig
from uploadkit.core import disk_space
from uploadkit.core.sizes import MIB
from uploadkit.objectstore import forged_writes
from uploadkit.objectstore.bundled import disk, engine_process, processes, reclaiming
from uploadkit.objectstore.bundled.engines import SeaweedFS, find_weed
from uploadkit.objectstore.bundled.supervisor import BundledStore, StoreStartError, load_or_make_credentials, public_name
from uploadkit.objectstore.forged_writes import accepted_forgery, forgeries

MakeStore = Callable[..., BundledStore]


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[MakeStore]:
    made: list[BundledStore] = []

    def make(data_dir: Path = tmp_path / "data", *, host: str = "127.0.0.1", **settings: Any) -> BundledStore:
        store = BundledStore(BundledConfig(**{"port": 0, **settings}), data_dir, listen_host=host, public_host=host)
        made.append(store)
        return store

    yield make
    for store in made:
        store.stop()


def s3(store: BundledStore) -> Any:
    options = BotoConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"max_attempts": 1},
        max_pool_connections=4,
    )
    return boto3.client(
        "s3",
        endpoint_url=store.public_endpoint,
        region_name=store.region,
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=store.secret_access_key,
        config=options,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def children_of(store: BundledStore, data_dir: Path) -> list[psutil.Process]:
    return [psutil.Process(entry["pid"]) for entry in json.loads((data_dir / "store.pid").read_text())]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def listening_addresses(process: psutil.Process) -> set[tuple[str, int]]:
    return {(c.laddr.ip, c.laddr.port) for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_start_and_stop_keep_files_private_and_secrets_secret(make_store: MakeStore, tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = make_store()
    assert store.problem() == "the bundled store is not running"
    store.start()
    assert (store.engine, store.problem(), store.region, store.bucket) == ("seaweedfs", None, "us-east-1", "uploads")
    assert store.endpoint == store.public_endpoint
    assert port_of(store.endpoint) + 10008 < 65536
    assert store.disk().limit_bytes > 0
    s3(store).create_bucket(Bucket=store.bucket)
    s3(store).put_object(Bucket=store.bucket, Key="a", Body=b"kept")

    assert {mode(data), mode(data / "store"), mode(data / "store" / "seaweedfs")} == {0o700}
    assert {mode(data / name) for name in ("store-credentials.json", "store.pid", "store.log")} == {0o600}
    assert (data / "store" / "engine").read_text() == "seaweedfs\n"
    process, _gate = children_of(store, data)
    assert {ip for ip, _ in listening_addresses(process)} == {"127.0.0.1"}
    sockets = SeaweedFS(find_weed(), data).leftovers(port_of(store.endpoint))
    wait_until(lambda: all(path.exists() for path in sockets))
    assert {mode(path) for path in sockets} == {0o700}
    assert not {name for name in process.environ() if name.startswith(("UPLOADKIT", "PYTHON", "LANG"))}
    if sys.platform == "linux":  # where memory runs out, the kernel takes the store before the appliance
        assert int(Path(f"/proc/{process.pid}/oom_score_adj").read_text()) >= 500

    secrets = [value for name, value in json.loads((data / "store-credentials.json").read_text()).items() if name != "access_key_id"]
    assert len(set(secrets)) == 4
    assert store.secret_access_key in secrets
    seen = " ".join(process.cmdline()) + repr(store) + (data / "store.log").read_text() + (data / "store.pid").read_text()
    options = data / "store" / "seaweedfs" / "mini.options"
    wait_until(options.exists)
    seen += options.read_text()
    assert not [secret for secret in secrets if secret in seen]

    store.stop()
    store.stop()
    assert store.problem() == "the bundled store is not running"
    assert not process.is_running()
    assert not (data / "store.pid").exists()
    assert not [path for path in sockets if path.exists()]

    again = make_store()
    again.start()
    assert (again.access_key_id, again.secret_access_key) == (store.access_key_id, store.secret_access_key)
    assert s3(again).get_object(Bucket="uploads", Key="a")["Body"].read() == b"kept"


def test_internal_http_ports_serve_no_stranger(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    store.start()
    # Written when the last part, the admin worker, listens; S3 is there earlier.
    wait_until((tmp_path / "data" / "store" / "seaweedfs" / "mini.options").exists)
    s3(store).create_bucket(Bucket="uploads")
    s3(store).put_object(Bucket="uploads", Key="a", Body=b"x" * 5000)
    base = port_of(store.endpoint)
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        tried = {
            "filer read": pool.request("GET", f"http://127.0.0.1:{base + 2}/buckets/uploads/a").status,
            "filer delete": pool.request("DELETE", f"http://127.0.0.1:{base + 2}/buckets/uploads?recursive=true").status,
            "master": pool.request("GET", f"http://127.0.0.1:{base + 4}/col/delete?collection=uploads").status,
            "volume delete": pool.request("DELETE", f"http://127.0.0.1:{base + 6}/1,01637037d6").status,
            "admin": pool.request("GET", f"http://127.0.0.1:{base + 8}/").status,
            "anonymous S3": pool.request("GET", f"{store.endpoint}/uploads/a").status,
        }
    assert tried == {"filer read": 404, "filer delete": 404, "master": 404, "volume delete": 401, "admin": 404, "anonymous S3": 403}


def test_killed_store_comes_back_with_all_that_was_acknowledged(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    store.start()
    client = s3(store)
    client.create_bucket(Bucket="uploads")
    for number in range(20):
        client.put_object(Bucket="uploads", Key=f"k{number}", Body=b"%d" % number * 5000)
    # More than once: weed's parts find each other in an order that varies, and only then can files be read.
    for _ in range(3):
        process, _gate = children_of(store, tmp_path / "data")
        process.kill()
        wait_until(lambda: store.problem() == "the bundled store is restarting")
        wait_until(lambda: store.problem() is None)
        client.get_object(Bucket="uploads", Key="k0")
    for number in range(20):
        assert client.get_object(Bucket="uploads", Key=f"k{number}")["Body"].read() == b"%d" % number * 5000


def test_hung_store_is_killed_and_restarted(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("HEALTH_SECONDS", 0.1), ("HEALTH_TIMEOUT_SECONDS", 0.5), ("SILENT_SECONDS", 0.1), ("HUNG_SECONDS", 20.0)):
        monkeypatch.setattr(engine_process, name, seconds)
    store = make_store()
    store.start()
    process, _gate = children_of(store, tmp_path / "data")
    process.suspend()
    wait_until(lambda: store.problem() == "the bundled store does not answer")
    monkeypatch.setattr(engine_process, "HUNG_SECONDS", 1.0)
    wait_until(lambda: not process.is_running())
    monkeypatch.setattr(engine_process, "HUNG_SECONDS", 60.0)
    wait_until(lambda: store.problem() is None)


PARENT = """
import sys, time
from pathlib import Path
from uploadkit.config import BundledConfig
from uploadkit.objectstore.bundled import processes
from uploadkit.objectstore.bundled.supervisor import BundledStore
if sys.argv[3] == "outlive":  # As on a system without PR_SET_PDEATHSIG.
    processes._DIE_WITH_PARENT = "import os, sys; os.execv(sys.argv[2], sys.argv[2:])"
store = BundledStore(BundledConfig(port=int(sys.argv[2])), Path(sys.argv[1]), listen_host="127.0.0.1", public_host="127.0.0.1")
store.start()
print(store.endpoint, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def appliance(data_dir: Path, port: int, fate: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    argv = [sys.executable, "-c", PARENT, str(data_dir), str(port), fate]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            yield parent, parent.stdout.readline().strip()
        finally:
            parent.kill()


def test_store_dies_with_a_killed_appliance(tmp_path: Path) -> None:
    with appliance(tmp_path, 0, "die") as (parent, endpoint):
        assert endpoint
        process, _gate = [psutil.Process(entry["pid"]) for entry in json.loads((tmp_path / "store.pid").read_text())]
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    for path in SeaweedFS(find_weed(), tmp_path).leftovers(port_of(endpoint)):
        path.unlink(missing_ok=True)


def test_orphan_of_a_killed_appliance_is_ended_at_the_next_start(make_store: MakeStore, tmp_path: Path) -> None:
    with appliance(tmp_path, 0, "outlive") as (parent, endpoint):
        assert endpoint
        orphan, orphaned_gate = [psutil.Process(entry["pid"]) for entry in json.loads((tmp_path / "store.pid").read_text())]
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert orphan.is_running()
    store = make_store(tmp_path, port=port_of(endpoint))
    store.start()
    assert not [left for left in (orphan, orphaned_gate) if left.is_running() and left.status() != psutil.STATUS_ZOMBIE]
    assert store.endpoint == endpoint
    assert store.problem() is None


def test_stranger_on_the_port_is_named_and_left_alone(make_store: MakeStore, tmp_path: Path) -> None:
    with socket.socket() as outsider:
        outsider.bind(("127.0.0.1", 0))
        outsider.listen()
        port = outsider.getsockname()[1]
        store = make_store(port=port)
        with pytest.raises(StoreStartError, match=rf"^storage\.bundled\.port: port {port} is taken by another program; .*choose another"):
            store.start()
        assert "\n" not in str(store._start_error)
        socket.create_connection(("127.0.0.1", port)).close()
    assert store.problem() == "the bundled store is not running"


def test_recycled_pid_is_not_ours(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as outsider:
        program = sys.executable
        started_at = psutil.Process(outsider.pid).create_time()
        for record in (
            {"pid": outsider.pid, "started_at": started_at - 60, "program": program},
            {"pid": outsider.pid, "started_at": started_at, "program": "/elsewhere/weed"},
        ):
            (tmp_path / "store.pid").write_text(json.dumps([record]))
            assert processes.end_orphans(tmp_path / "store.pid") == 0
        (tmp_path / "store.pid").write_text('[{"pid"')
        assert processes.end_orphans(tmp_path / "store.pid") == 0
        assert outsider.poll() is None


def test_a_copy_of_the_data_directory_leaves_the_original_store_alone(make_store: MakeStore, tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    store = make_store(data)
    store.start()
    process, _gate = children_of(store, data)
    subprocess.run(["cp", "-a", data, copy], check=True)
    other = make_store(copy)
    other.start()
    assert process.is_running()
    assert store.problem() is None
    assert {ours.pid for ours in children_of(other, copy)}.isdisjoint({process.pid})
    # Moved, it is still the same directory.
    assert processes._works_below(process, data)
    data.rename(tmp_path / "moved")
    assert processes._works_below(process, tmp_path / "moved")
    (tmp_path / "moved").rename(data)


STALL_SECONDS = float(os.environ.get("STALL_SECONDS", "0"))


def test_the_engines_own_tokens_outlive_any_wait(make_store: MakeStore, tmp_path: Path) -> None:
    """They live 10 s otherwise: what is between filer and volume server while the store stalls ends as 500 ("wrong jwt").

    STALL_SECONDS=12 has it stall in the midst of 300 PUTs; with tokens of 10 s, some twenty of them failed.
    """
    store = make_store()
    store.start()
    client = s3(store)
    client.create_bucket(Bucket="uploads")
    process, _gate = children_of(store, tmp_path / "data")
    lives = {name: int(value) for name, value in process.environ().items() if name.endswith("_EXPIRES_AFTER_SECONDS")}
    prefixes = ("JWT_SIGNING", "JWT_SIGNING_READ", "JWT_FILER_SIGNING", "JWT_FILER_SIGNING_READ")
    assert lives == {f"WEED_{prefix}_EXPIRES_AFTER_SECONDS": 3600 for prefix in prefixes}
    body, statuses, some = os.urandom(256 * 1024), [], threading.Event()
    urls = [client.generate_presigned_url("put_object", Params={"Bucket": "uploads", "Key": f"k{number}"}) for number in range(300)]

    def put(url: str) -> None:
        with urllib3.PoolManager(retries=False, timeout=120) as pool:
            statuses.append(pool.request("PUT", url, body=body).status)
        if len(statuses) > 15:
            some.set()

    threads = [threading.Thread(target=put, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    if STALL_SECONDS:
        some.wait(60)
        process.suspend()
        time.sleep(STALL_SECONDS)
        process.resume()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 300


def test_long_data_directory(make_store: MakeStore, tmp_path: Path) -> None:
    data = tmp_path / ("d" * 150) / "data"
    assert len(str(data / "store" / "seaweedfs" / "filer.sock")) > 150
    store = make_store(data)
    store.start()
    s3(store).create_bucket(Bucket="uploads")
    s3(store).put_object(Bucket="uploads", Key="a", Body=b"a")
    assert (data / "store" / "seaweedfs" / "filer.sock").is_socket()


def test_other_interface_sees_the_s3_port_only(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(host="127.0.0.2")
    store.start()
    port = port_of(store.public_endpoint)
    assert store.public_endpoint == f"http://127.0.0.2:{port}"
    assert store.endpoint == f"http://127.0.0.1:{port}"
    engine, gate = children_of(store, tmp_path / "data")
    assert listening_addresses(gate) == {("127.0.0.1", port), ("127.0.0.2", port)}
    assert {ip for ip, _ in listening_addresses(engine)} == {"127.0.0.1"}
    client, body = s3(store), os.urandom(9 * MIB)
    client.create_bucket(Bucket="uploads")
    client.put_object(Bucket="uploads", Key="a", Body=body)
    assert client.get_object(Bucket="uploads", Key="a")["Body"].read() == body
    gate.kill()
    wait_until(lambda: store.problem() is not None)
    wait_until(lambda: store.problem() is None)
    assert client.get_object(Bucket="uploads", Key="a")["Body"].read() == body


def test_full_store_says_so_before_it_refuses_and_deletions_free_it(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclaiming, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(reclaiming, "LONGEST_SECONDS", 0.5)
    monkeypatch.setattr(engine_process, "MEASURE_SECONDS", 0.0)
    store = make_store(max_disk_bytes=300 * MIB)
    store.start()
    client, body = s3(store), os.urandom(8 * MIB)
    client.create_bucket(Bucket="uploads")
    stored = 0
    while store.problem() is None:
        client.put_object(Bucket="uploads", Key=f"f{stored}", Body=body)
        stored += 1
        assert stored * 8 < 300
        # On a busy machine the next one would be there before this one is seen.
        wait_until(lambda: store.problem() or store.disk().used_bytes >= stored * len(body))  # noqa: B023
    assert store.problem() == (
        f"the bundled store is full: {store.disk().used_bytes // MIB} MB of {store.disk().limit_bytes // MIB} MB used; "
        "free some or raise storage.bundled.max_disk_bytes"
    )
    # URLs that were issued before still work: three more of them.
    for late in range(3):
        client.put_object(Bucket="uploads", Key=f"late{late}", Body=body)
    for number in range(0, stored, 2):
        client.delete_object(Bucket="uploads", Key=f"f{number}")
    wait_until(lambda: store.problem() is None)
    for number in range(1, stored, 2):
        assert client.get_object(Bucket="uploads", Key=f"f{number}")["Body"].read() == body
    client.put_object(Bucket="uploads", Key="again", Body=body)


def test_one_key_written_again_and_again_does_not_fill_the_store(make_store: MakeStore) -> None:
    """SeaweedFS keeps what was overwritten until a vacuum: whoever has one upload URL must not keep others out with it for long."""
    store = make_store(max_disk_bytes=256 * MIB)
    store.start()
    client = s3(store)
    client.create_bucket(Bucket="uploads")
    client.put_object(Bucket="uploads", Key="kept", Body=b"of somebody else")
    refused_since = None
    for _ in range(45):
        body, written = os.urandom(8 * MIB), False
        while not written:
            try:
                client.put_object(Bucket="uploads", Key="pending/one", Body=body)
                written = True
            except ClientError:
                refused_since = refused_since or time.monotonic()
                time.sleep(0.1)
            stalled = 0 if refused_since is None else time.monotonic() - refused_since
            assert stalled < 25, "nobody can upload any more"
        refused_since = None
    assert client.get_object(Bucket="uploads", Key="pending/one")["Body"].read() == body
    assert client.get_object(Bucket="uploads", Key="kept")["Body"].read() == b"of somebody else"
    wait_until(lambda: store.problem() is None and store.disk().used_bytes < 64 * MIB, 30)


def test_full_disk_is_a_problem(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "MEASURE_SECONDS", 0.0)
    store = make_store()
    store.start()
    monkeypatch.setattr(disk_space, "reserve_bytes", lambda total_bytes: total_bytes)
    wait_until(lambda: store.problem() is not None)
    assert "the disk under the bundled store is nearly full" in (store.problem() or "")


def test_volumes_stay_below_the_limit(tmp_path: Path) -> None:
    gib = 1024**3
    for limit, expected in ((300 * MIB, (64, 4)), (5 * gib, (64, 80)), (50 * gib, (512, 100)), (500 * gib, (4096, 125))):
        plan = disk.plan_volumes(limit, tmp_path)
        assert (plan.volume_mib, plan.volume_count) == expected
        assert limit * 0.8 < plan.capacity_bytes <= limit
        assert disk.full_at_bytes(limit, plan, tmp_path) < plan.capacity_bytes
    for name in ("uploads_1.dat", "uploads_2.dat", "3.dat"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(200 * MIB)
    # A cap lowered below what is there leaves the volumes there are, and adds none.
    assert disk.plan_volumes(300 * MIB, tmp_path).volume_count == 3
    assert disk.plan_volumes(728 * MIB, tmp_path).volume_count == 5


def test_limit_never_exceeds_the_disk(tmp_path: Path) -> None:
    assert disk.limit_bytes(10**18, tmp_path) < disk.limit_bytes(0, tmp_path) * 10 // 8
    assert disk.limit_bytes(300 * MIB, tmp_path) == 300 * MIB


def test_limit_too_small_to_work_with(make_store: MakeStore) -> None:
    with pytest.raises(StoreStartError, match=r'^storage\.bundled\.max_disk_bytes: the store needs at least "256MB"'):
        make_store(max_disk_bytes=1000).start()


def test_log_is_bounded(make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "MEASURE_SECONDS", 0.0)
    monkeypatch.setattr(engine_process, "LOG_BYTES", 1000)
    store = make_store()
    store.start()
    older = tmp_path / "data" / "store.log.1"
    wait_until(older.exists)
    wait_until(lambda: (tmp_path / "data" / "store.log").stat().st_size < 1000)
    assert mode(older) == 0o600


def test_damaged_credentials_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "store-credentials.json"
    first = load_or_make_credentials(path)
    assert load_or_make_credentials(path) == first
    assert first.secret_access_key not in repr(first)
    path.write_text('{"secret_access_key": "s3cr3t"}')
    with pytest.raises(StoreStartError, match="can't be read as the store's credentials") as caught:
        load_or_make_credentials(path)
    assert "s3cr3t" not in str(caught.value)


class Answering(ThreadingHTTPServer):
    """A store that answers every write with `status`, or 200 where `believes` says so."""

    daemon_threads = True

    def __init__(self, believes: Callable[[BaseHTTPRequestHandler], bool], status: int = 403, *, starting: int = 0) -> None:
        """The first `starting` requests are answered as by a store that is not ready yet."""
        left = iter(range(starting))

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                self.body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(503 if next(left, None) is not None else 200 if believes(self) else status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Answering:
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()

    def ask(self) -> str | None:
        return accepted_forgery(f"http://127.0.0.1:{self.server_port}", "uploads", "AKID", "us-east-1")


def is_unsigned_trailer(request: BaseHTTPRequestHandler) -> bool:
    return request.headers.get("X-Amz-Content-Sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def has_right_checksum(body: bytes) -> bool:
    length, _, rest = body.partition(b"\r\n")
    content, trailer = rest[: int(length, 16)], rest[int(length, 16) :]
    checksum = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    return trailer == f"\r\n0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()


def is_archive(body: bytes) -> bool:
    with contextlib.suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return [archive.extractfile(member).read() for member in archive.getmembers()] == [b"forged"]  # type: ignore[union-attr]
    return False


@pytest.mark.parametrize(
    ("believes", "name"),
    [
        (lambda r: False, None),
        (lambda r: True, "an unsigned write"),
        # CVE-2026-41145: no Authorization header, an access key id in the query, an unsigned trailer.
        (
            lambda r: is_unsigned_trailer(r) and "Authorization" not in r.headers,
            "an unsigned-trailer write with a wrong signature in the query",
        ),
        (lambda r: "X-Amz-Signature" in r.path, "a wrong signature in the query"),
        (lambda r: "Authorization" in r.headers, "a wrong signature in the header"),
        # CVE-2026-40344.
        (lambda r: "X-Amz-Meta-Snowball-Auto-Extract" in r.headers, "an unsigned-trailer archive with a wrong signature"),
        (lambda r: is_archive(r.body), "an archive in one piece with a wrong signature"),
        # Who believes, and then holds the body against its checksum.
        (lambda r: is_unsigned_trailer(r) and has_right_checksum(r.body), "an unsigned-trailer write with a wrong signature in the query"),
    ],
)
def test_probe_finds_stores_that_believe_forgers(believes: Callable[[BaseHTTPRequestHandler], bool], name: str | None) -> None:
    with Answering(believes) as server:
        assert server.ask() == name


@pytest.mark.parametrize("name", [None, "an unsigned write"])
def test_a_store_that_is_starting_is_asked_again(name: str | None) -> None:
    with Answering(lambda r: name is not None, starting=3) as server:
        assert server.ask() == name


def test_a_store_that_is_out_of_order_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forged_writes, "_PAUSES_SECONDS", (0.01,))
    with Answering(lambda r: False, status=503) as server, pytest.raises(forged_writes.NoClearAnswer, match="HTTP 503"):
        server.ask()


def test_missing_bucket_is_no_refusal() -> None:
    with Answering(lambda r: False, status=404) as server:
        assert server.ask() == "an unsigned write"


def test_real_weed_refuses_every_forgery_and_keeps_none(make_store: MakeStore) -> None:
    store = make_store()
    store.start()
    client = s3(store)
    client.create_bucket(Bucket="uploads")
    assert len(list(forgeries(store.access_key_id, store.region, "unpacked"))) == 7
    assert accepted_forgery(store.endpoint, "uploads", store.access_key_id, store.region) is None
    assert client.list_objects_v2(Bucket="uploads")["KeyCount"] == 0
    with pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket="nobody-made-me", Key="a", Body=b"a")


# Takes the arguments and variables of `minio server`, answers its health check, and every write with the status of its name's end.
MINIO = """#!{python}
import http.server, os, pathlib, sys
address = sys.argv[sys.argv.index("--address") + 1]
pathlib.Path(sys.argv[-1], "format.json").write_text(os.environ["MINIO_ROOT_USER"] + " " + os.environ["MINIO_BROWSER"])
assert len(os.environ["MINIO_ROOT_PASSWORD"]) > 20
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/minio/health/ready" else 404)
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({status})
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
host, port = address.rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


def minio_script(directory: Path, status: int) -> str:
    path = directory / f"minio-{status}"
    path.write_text(MINIO.format(python=sys.executable, status=status))
    path.chmod(0o755)
    return str(path)


def test_auto_takes_a_sound_minio_and_the_record_holds(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(minio_binary=minio_script(tmp_path, 403))
    store.start()
    assert store.engine == "minio"
    assert (tmp_path / "data" / "store" / "minio" / "format.json").read_text() == f"{store.access_key_id} off"
    (process,) = children_of(store, tmp_path / "data")
    assert store.secret_access_key not in " ".join(process.cmdline())
    store.stop()
    with pytest.raises(StoreStartError, match=r"^storage\.bundled\.engine: .*were written by minio.*set it to \"minio\" or \"auto\""):
        make_store(engine="seaweedfs").start()


def test_auto_passes_over_a_minio_that_believes_forgers(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store(minio_binary=minio_script(tmp_path, 200))
    store.start()
    assert store.engine == "seaweedfs"
    assert not (tmp_path / "data" / "store" / "minio").exists()
    assert (tmp_path / "data" / "store" / "engine").read_text() == "seaweedfs\n"
    store.stop()
    with pytest.raises(StoreStartError, match=r"were written by seaweedfs"):
        make_store(engine="minio", minio_binary=minio_script(tmp_path, 403)).start()


@pytest.mark.parametrize("recorded", [False, True])
def test_minio_that_believes_forgers_is_refused_when_asked_for(make_store: MakeStore, tmp_path: Path, recorded: bool) -> None:
    if recorded:
        (tmp_path / "data" / "store").mkdir(parents=True)
        (tmp_path / "data" / "store" / "engine").write_text("minio\n")
    store = make_store(engine="auto" if recorded else "minio", minio_binary=minio_script(tmp_path, 200))
    with pytest.raises(StoreStartError, match=r"^storage\.bundled\.engine: this build of minio .* accepts an unsigned write"):
        store.start()
    assert not (tmp_path / "data" / "store.pid").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "minio", "minio_binary": "/nowhere/minio"}, r"^storage\.bundled\.minio_binary: /nowhere/minio is not a program"),
        ({"engine": "auto", "minio_binary": "/nowhere/minio"}, r"^storage\.bundled\.minio_binary: /nowhere/minio is not a program"),
        ({"engine": "minio"}, r"^storage\.bundled\.minio_binary: found no minio program"),
    ],
)
def test_missing_minio_is_named(make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StoreStartError, match=message):
        make_store(**settings).start()


def test_weed_is_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert os.access(find_weed(), os.X_OK)


def test_engine_that_ends_at_once_is_an_error_not_a_wait(make_store: MakeStore, tmp_path: Path) -> None:
    broken = tmp_path / "minio-broken"
    broken.write_text("#!/bin/sh\necho no such licence\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(StoreStartError, match=r"\(minio\) did not come up; see the end of .*store\.log"):
        make_store(engine="minio", minio_binary=str(broken)).start()
    assert "no such licence" in (tmp_path / "data" / "store.log").read_text()


@pytest.mark.parametrize(
    ("public_host", "listen_host", "name"),
    [
        ("localhost", "127.0.0.1", "127.0.0.1"),
        ("app.localhost", "0.0.0.0", "127.0.0.1"),
        ("localhost", "::", "[::1]"),
        ("uploads.example.com", "127.0.0.1", "uploads.example.com"),
        ("[::1]", "::1", "[::1]"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_nobody_is_sent_to_an_address_on_which_the_store_does_not_listen(public_host: str, listen_host: str, name: str) -> None:
    assert public_name(public_host, listen_host) == name
