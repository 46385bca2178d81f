"""A store that believes more than it should, as a rule for `tests.store_proxy`: it obeys `x-amz-*` headers that nobody signed.

So did MinIO until its last build. The signature of the URL itself is held to; what the headers ask for is done with the owner's rights.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Collection
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.store_proxy import Answered, Asked, PassOn, Rule
from uploadkit.objectstore.address import StoreAddress
from uploadkit.objectstore.sigv4 import Signer

_COPIES = {"x-amz-copy-source", "x-amz-copy-source-range", "x-amz-metadata-directive"}


def believing(owner: StoreAddress, headers: Collection[str] = ("x-amz-copy-source",), *, holds_to_signed: bool = True) -> Rule:
    """Obey these `headers` on presigned PUTs. With `holds_to_signed`, a header that is signed as empty must not come with a value."""
    obeyed = set(headers) | (_COPIES if "x-amz-copy-source" in headers else set())

    def rule(asked: Asked, pass_on: PassOn) -> Answered:
        query = {name: values[0] for name, values in asked.query.items()}
        if asked.method != "PUT" or "X-Amz-Signature" not in query:
            return pass_on(asked)
        sent = {name.lower(): value for name, value in asked.headers.items()}
        signed = query["X-Amz-SignedHeaders"].split(";")
        barred = [name for name in signed if name.startswith("x-amz-")]
        extra = {name: sent[name] for name in obeyed & set(sent)}
        if not extra and not barred:
            return pass_on(asked)
        if holds_to_signed and set(extra) & set(barred):
            return Answered.error(403, "SignatureDoesNotMatch")
        if not _is_genuine(asked, query, sent, signed, barred, owner):
            return Answered.error(403, "SignatureDoesNotMatch")
        kept = {name: sent[name] for name in ("content-type", "origin") if name in sent} | extra
        body = b"" if "x-amz-copy-source" in extra else asked.body
        left = {name: value for name, value in query.items() if not name.lower().startswith("x-amz-")}
        path = urlsplit(asked.target).path + (f"?{urlencode(left)}" if left else "")
        request = AWSRequest("PUT", f"{owner.endpoint}{path}", headers=kept, data=body)
        S3SigV4Auth(Credentials(owner.access_key_id, owner.secret_access_key), "s3", owner.region).add_auth(request)
        return pass_on(Asked("PUT", path, {**dict(request.headers.items()), "Host": urlsplit(owner.endpoint).netloc}, body))

    return rule


def _is_genuine(
    asked: Asked, query: dict[str, str], sent: dict[str, str], signed: list[str], barred: list[str], owner: StoreAddress
) -> bool:
    """Say whether the URL was signed by the owner for this request, headers that nobody signed apart."""
    host = sent["host"]
    signer = Signer(f"http://{host}/{owner.bucket}", owner.region, owner.access_key_id, owner.secret_access_key)
    actual = {"content-length": str(len(asked.body)), "content-type": sent.get("content-type", "")}
    at = query["X-Amz-Date"]
    at_seconds = calendar.timegm(time.strptime(at, "%Y%m%dT%H%M%SZ"))
    if time.time() > at_seconds + int(query["X-Amz-Expires"]):
        return False
    again = signer.presign(
        "PUT",
        unquote(asked.key),
        at_ms=at_seconds * 1000,
        expires_seconds=int(query["X-Amz-Expires"]),
        query={name: value for name, value in query.items() if not name.lower().startswith("x-amz-")},
        headers={name: actual[name] for name in signed if name in actual},
        barred=barred,
    )
    return parse_qs(urlsplit(again).query)["X-Amz-Signature"] == [query["X-Amz-Signature"]]
