"""CORS rules of a bucket, and what a provider that goes by them answers browsers. Source: AWS, "Using cross-origin resource sharing"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from xml.etree import ElementTree


@dataclass(frozen=True)
class CorsRule:
    """One rule, header names small."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]

    def is_about(self, origin: str, method: str) -> bool:
        return method in self.methods and any(fnmatchcase(origin, allowed) for allowed in self.origins)

    def allows(self, headers: Sequence[str], *, star_is_a_name: bool) -> bool:
        return all(
            any(name == allowed or (not star_is_a_name and fnmatchcase(name, allowed)) for allowed in self.headers) for name in headers
        )


EVERYBODY = CorsRule(("*",), ("GET", "HEAD", "PUT", "POST", "DELETE"), ("*",), ("etag",))


def rules_in(document: bytes) -> list[CorsRule]:
    """Read a CORSConfiguration."""

    def texts(rule: ElementTree.Element, name: str) -> tuple[str, ...]:
        return tuple(found.text or "" for found in rule.findall(f"{{*}}{name}"))

    return [
        CorsRule(
            texts(rule, "AllowedOrigin"),
            texts(rule, "AllowedMethod"),
            tuple(name.lower() for name in texts(rule, "AllowedHeader")),
            tuple(name.lower() for name in texts(rule, "ExposeHeader")),
        )
        for rule in ElementTree.fromstring(document).findall("{*}CORSRule")
    ]


def answer_headers(rules: Sequence[CorsRule], origin: str, method: str) -> dict[str, str]:
    """What the answer to a page's request has in it, nothing where no rule is about it."""
    for rule in rules:
        if rule.is_about(origin, method):
            return {**_named(rule, origin), "Access-Control-Expose-Headers": ", ".join(rule.exposed)}
    return {}


def preflight_headers(
    rules: Sequence[CorsRule], origin: str, method: str, headers: Sequence[str], *, star_is_a_name: bool
) -> dict[str, str] | None:
    """What the answer to a preflight has in it; None: it is refused."""
    for rule in rules:
        if rule.is_about(origin, method) and rule.allows(headers, star_is_a_name=star_is_a_name):
            return {
                **_named(rule, origin),
                "Access-Control-Allow-Methods": ", ".join(rule.methods),
                "Access-Control-Allow-Headers": ", ".join(headers),
                "Access-Control-Max-Age": "3600",
            }
    return None


def _named(rule: CorsRule, origin: str) -> dict[str, str]:
    named = "*" if "*" in rule.origins else origin
    return {"Access-Control-Allow-Origin": named, "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"}
