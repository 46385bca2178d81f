"""Uploads in parts through a real nginx."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.support.appliance import Answer, Appliance, free_port, running, wait_until
from tests.support.store_proxy import Answered, Asked, PassOn, proxied
from tests.support.stores import byos_settings
from uploadkit.client import Client
from uploadkit.core.sizes import MIB
from uploadkit.objectstore.address import StoreAddress

CONFIG = """
daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any; default_type text/plain;
  server {{
    listen 127.0.0.1:{port};
    proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1;
    location / {{ proxy_pass {target}; proxy_set_header Host $http_host; proxy_set_header Connection ""; }}
  }}
}}
"""


@contextmanager
def nginx(home: Path, target: str) -> Iterator[str]:
    """Run nginx in front of `target`, with gzip for everything; yield its address."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx program: install Debian's nginx-light")
    home.mkdir()
    port = free_port()
    (home / "nginx.conf").write_text(CONFIG.format(home=home, port=port, target=target))
    process = subprocess.Popen([program, "-p", str(home), "-c", str(home / "nginx.conf")], stderr=subprocess.DEVNULL)

    def is_up() -> bool:
        assert process.poll() is None, (home / "error.log").read_text()
        try:
            return urllib3.request("GET", f"http://127.0.0.1:{port}/", retries=False, timeout=5).status > 0
        except urllib3.exceptions.HTTPError:
            return False

    try:
        wait_until(is_up, what="nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def in_parts(appliance: Appliance, content: bytes) -> tuple[list[str], Answer]:
    """Upload in parts as browsers do, with the ETags of the answers; return these and the answer to complete."""
    body = {"fileName": "film.bin", "fileSize": len(content), "contentType": "video/mp4", "routeSlug": "default"}
    slot = appliance.call("POST", "/upload/multipart/init", body).json
    etags: list[str] = []
    for part in slot["parts"]:
        start = (part["partNumber"] - 1) * slot["partSize"]
        answer = appliance.fetch("PUT", part["uploadUrl"], content[start : start + slot["partSize"]], {"Accept-Encoding": "gzip"})
        assert answer.status == 200, answer.body
        etags.append(answer.headers["ETag"])
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    ids = {"fileId": slot["fileId"], "uploadId": slot["uploadId"]}
    return etags, appliance.call("POST", "/upload/multipart/complete", {**ids, "parts": parts})


def typed(asked: Asked, pass_on: PassOn) -> Answered:
    """As MinIO and others: also an answer without a body has a type, which nginx then compresses."""
    answered = pass_on(asked)
    answered.headers.setdefault("Content-Type", "application/xml")
    return answered


def upload_through_nginx(address: StoreAddress, tmp_path: Path, **more: str) -> None:
    """Upload in parts by the API and by the Python client, through an nginx that compresses, to the store at `address`."""
    content = os.urandom(11 * MIB)
    with proxied(address, typed) as store, nginx(tmp_path / "nginx", store.endpoint) as public:
        settings = byos_settings(address, STORAGE__BYOS__PUBLIC_ENDPOINT=public, **more)
        with running(tmp_path / "appliance", **settings) as appliance:
            etags, done = in_parts(appliance, content)
            assert [etag[:3] for etag in etags] == ['W/"'] * 3, "this nginx compresses"
            assert done.status == 200, done.body
            assert urlsplit(appliance.fetch("GET", done.json["url"]).headers["Location"]).netloc == urlsplit(public).netloc
            assert appliance.read(done.json["url"]).body == content
            (tmp_path / "film.bin").write_bytes(content)
            retries: list[Exception] = []
            with Client(appliance.base, appliance.key) as client:
                assert client.upload(tmp_path / "film.bin", on_retry=retries.append).status == "UPLOADED"
            assert retries == []
