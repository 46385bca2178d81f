"""The three calls of MinIO's admin API that make a user with a policy, as `mc admin` makes them.

What holds a secret goes encrypted with the caller's own: Argon2id, then one package of AES-256-GCM. Source: MinIO, madmin-go and sio-go.
"""

from __future__ import annotations

import json
import os
from typing import Any

import urllib3
from argon2.low_level import Type, hash_secret_raw
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from uploadkit.objectstore.address import StoreAddress


def make_user(root: StoreAddress, access_key_id: str, secret_access_key: str, policy: dict[str, Any]) -> None:
    """Make a user who may do what `policy` says and nothing else."""
    _call(root, f"add-canned-policy?name={access_key_id}", json.dumps(policy).encode())
    made = json.dumps({"status": "enabled", "secretKey": secret_access_key}).encode()
    _call(root, f"add-user?accessKey={access_key_id}", _encrypted(made, root.secret_access_key))
    _call(root, f"set-user-or-group-policy?isGroup=false&policyName={access_key_id}&userOrGroup={access_key_id}", b"")


def _call(root: StoreAddress, command: str, body: bytes) -> None:
    url = f"{root.endpoint}/minio/admin/v3/{command}"
    request = AWSRequest("PUT", url, data=body)
    S3SigV4Auth(Credentials(root.access_key_id, root.secret_access_key), "s3", root.region).add_auth(request)
    answer = urllib3.request("PUT", url, body=body, headers=dict(request.headers.items()), retries=False)
    assert answer.status == 200, answer.data


def _encrypted(payload: bytes, secret: str) -> bytes:
    salt, nonce = os.urandom(32), os.urandom(8)
    key = hash_secret_raw(secret.encode(), salt, time_cost=1, memory_cost=64 * 1024, parallelism=4, hash_len=32, type=Type.ID)
    cipher = AESGCM(key)
    of_the_stream = cipher.encrypt(nonce + bytes(4), b"", None)
    only_package = cipher.encrypt(nonce + (1).to_bytes(4, "little"), payload, b"\x80" + of_the_stream)
    return salt + b"\x00" + nonce + only_package
