"""Names in Korean, Chinese, Thai, emoji: what ends in a header has a bound in bytes, and a store that refuses one is told as that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.support.appliance import JPEG, Appliance, running
from tests.support.store_proxy import Answered, Asked, proxied
from tests.support.stores import OtherStore, byos_settings

NAMES = {
    "Chinese": "報" * 251 + ".jpg",
    "Thai": "ก" * 210 + ".jpg",
    "emoji": "\U0001f389" * 196 + ".jpg",
    "Korean, decomposed": "\u1112\u1161\u11ab" * 80 + ".jpg",
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 30 + ".jpg",
    "signs": "%" * 251 + ".jpg",
}


class Strict:
    """A store that takes so many bytes of a disposition. AWS: 2,048 of all metadata."""

    most = 2048

    def rule(self, asked: Asked, pass_on: Callable[[Asked], Answered]) -> Answered:
        sent = next((value for name, value in asked.headers.items() if name.lower() == "content-disposition"), "")
        in_query = asked.query.get("response-content-disposition", [""])[0]
        too_large = max(len(sent), len(in_query)) > self.most
        return Answered.error(400, "MetadataTooLarge") if too_large else pass_on(asked)


@pytest.fixture(scope="module")
def strict() -> Strict:
    return Strict()


@pytest.fixture(scope="module")
def on_strict(strict: Strict, other_store: OtherStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with (
        proxied(other_store.address, strict.rule) as address,
        running(tmp_path_factory.mktemp("strict"), **byos_settings(address)) as appliance,
    ):
        yield appliance


@pytest.mark.parametrize("script", NAMES)
def test_a_long_name_is_stored_and_served(on_strict: Appliance, script: str) -> None:
    name = NAMES[script]
    file = on_strict.upload(JPEG, name)
    assert file["fileName"] == name, "the row has it whole"
    link = on_strict.call("POST", f"/files/{file['key']}/link", {"download": True}).json["url"]
    for url, kind in ((file["url"], "inline"), (link, "attachment")):
        redirect = on_strict.fetch("GET", url)
        assert sum(len(f"{field}: {value}\r\n") for field, value in redirect.headers.items()) < 4096, (
            "what nginx takes of an answer's headers"
        )
        got = on_strict.fetch("GET", redirect.headers["Location"])
        assert (got.status, got.body) == (200, JPEG)
        rendered = unquote(got.headers["Content-Disposition"].partition("filename*=UTF-8''")[2])
        assert got.headers["Content-Disposition"].startswith(kind)
        assert rendered.endswith(".jpg")
        assert len(rendered) > 30
        assert name.startswith(rendered.removesuffix(".jpg"))


def test_a_url_carries_the_disposition_only_where_it_has_to(on_strict: Appliance) -> None:
    def carries(url: str) -> bool:
        return "response-content-disposition" in parse_qs(urlsplit(on_strict.fetch("GET", url).headers["Location"]).query)

    picture, page = on_strict.upload(JPEG), on_strict.upload(b"<p>", "a.html", "text/html")
    assert not carries(picture["url"])
    assert carries(page["url"]), "what a browser would execute is saved, whatever the object says"
    assert carries(on_strict.call("POST", f"/files/{picture['key']}/link", {"download": True}).json["url"])


def test_what_a_store_will_never_take_is_no_503(on_strict: Appliance, strict: Strict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict, "most", 40)
    slot = on_strict.request(len(JPEG)).json
    on_strict.put(slot, JPEG)
    refused = on_strict.complete(slot)
    large = {"fileName": "a.jpg", "fileSize": 11 * 1024**2, "contentType": "image/jpeg", "routeSlug": "default"}
    for answer in (refused, on_strict.call("POST", "/upload/multipart/init", large)):
        assert (answer.status, answer.code) == (422, "UPLOAD_NOT_VERIFIED"), answer.body
        assert "MetadataTooLarge" in answer.json["error"]["message"]
        assert answer.json["error"]["suggestion"]
        assert "Retry-After" not in answer.headers
    again = on_strict.complete(slot)
    assert (again.status, again.code) == (422, "UPLOAD_NOT_VERIFIED"), "it has ended, and holds no quota"
    monkeypatch.undo()
    assert on_strict.upload(JPEG)["status"] == "UPLOADED"
