"""Configuration: precedence, and one clear line for everything that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.untrusted_clients import NOBODY, needs_root
from uploadkit import config
from uploadkit.core import packaged_files
from uploadkit.core.errors import ConfigError

BYOS = {
    "UPLOADKIT_STORAGE__MODE": "byos",
    "UPLOADKIT_STORAGE__BYOS__REGION": "auto",
    "UPLOADKIT_STORAGE__BYOS__BUCKET": "files",
    "UPLOADKIT_STORAGE__BYOS__ACCESS_KEY_ID": "AKID",
    "UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": "hush-hush",
}
CA_BUNDLE = "UPLOADKIT_STORAGE__BYOS__CA_BUNDLE"


def at(endpoint: str, region: str = "auto") -> dict[str, str]:
    return {"UPLOADKIT_STORAGE__BYOS__ENDPOINT": endpoint, "UPLOADKIT_STORAGE__BYOS__REGION": region}


def load(tmp_path: Path, toml: str = "", **environment: str) -> config.Config:
    path = tmp_path / "config.toml"
    path.write_text(toml)
    return config.load(path, environment)


def refusal(tmp_path: Path, toml: str = "", **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, toml, **environment)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, "[server]\nport = 1\nthreads = 2", UPLOADKIT_SERVER__PORT="3")
    assert (found.server.port, found.server.threads, found.server.host) == (3, 2, "127.0.0.1")


def test_a_relative_data_dir_lies_beside_the_file(tmp_path: Path) -> None:
    assert load(tmp_path).data_dir == tmp_path / "data"
    assert load(tmp_path).database_path == tmp_path / "data" / "uploadkit.db"


def test_a_relative_ca_bundle_lies_beside_the_file_too(tmp_path: Path) -> None:
    certificate = tmp_path / "store.pem"
    certificate.symlink_to(make_certificate(tmp_path / "store-1.pem", "store.example"))
    assert load(tmp_path, **BYOS, **{CA_BUNDLE: "store.pem"}).storage.byos.ca_bundle == certificate, "and may lead to another one tomorrow"
    assert load(tmp_path, **BYOS, **{CA_BUNDLE: ""}).storage.byos.ca_bundle is None


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ({"port": "8080"}, {"http://127.0.0.1:8080", "http://localhost:8080"}),
        ({"host": "0.0.0.0", "port": "80"}, {"http://127.0.0.1", "http://localhost"}),
        ({"host": "::1", "port": "8080"}, {"http://[::1]:8080", "http://localhost:8080"}),
        ({"public_url": "https://uploads.example.com"}, {"https://uploads.example.com"}),
        ({"public_url": "https://Uploads.example.com:443"}, {"https://uploads.example.com"}),
        ({"public_url": "http://localhost:3000"}, {"http://127.0.0.1:3000", "http://localhost:3000"}),
    ],
)
def test_its_own_pages_may_always_upload(tmp_path: Path, server: dict[str, str], own: set[str]) -> None:
    environment = {f"UPLOADKIT_SERVER__{name.upper()}": value for name, value in server.items()}
    bundled = {"UPLOADKIT_STORAGE__MODE": "bundled", "UPLOADKIT_STORAGE__BUNDLED__PUBLIC_ENDPOINT": "https://store.example.com"}
    for mode in (BYOS | at("https://m:9000", "us-east-1"), bundled):
        assert load(tmp_path, **environment, **mode).uploading_origins == ("*",)
        named = {f"UPLOADKIT_STORAGE__{mode['UPLOADKIT_STORAGE__MODE'].upper()}__CORS_ORIGINS": '["capacitor://localhost"]'}
        found = load(tmp_path, **environment, **mode, **named).uploading_origins
        assert (found[0], set(found[1:])) == ("capacitor://localhost", own)


def test_a_tier_keeps_what_is_not_given(tmp_path: Path) -> None:
    found = load(tmp_path, UPLOADKIT_TIERS__PRO__MAX_FILE_SIZE="5GB").tiers["pro"]
    assert (found.max_file_size, found.max_keys) == (5 * 1024**3, 10)
    assert load(tmp_path, '[tiers.pro]\nmax_storage = ""').tiers["pro"].max_storage is None
    assert load(tmp_path, "[tiers.own]\nmax_keys = 3").tiers["own"].max_keys == 3


def test_values_may_name_environment_variables(tmp_path: Path) -> None:
    toml = '[storage.byos]\nbucket = "${R2_BUCKET_NAME}"\nendpoint = "https://${R2_ACCOUNT_ID}.r2.cloudflarestorage.com"'
    found = load(tmp_path, toml, R2_BUCKET_NAME="b", R2_ACCOUNT_ID="acc").storage.byos
    assert (found.bucket, found.endpoint) == ("b", "https://acc.r2.cloudflarestorage.com")


@pytest.mark.parametrize(
    ("toml", "environment", "words"),
    [
        ("[server]\nprot = 1", {}, ["server.prot", "unknown", "server.port"]),
        ("[servr]\nport = 1", {}, ["servr", "server"]),
        ("[tiers.pro]\nmax_file_siz = 1", {}, ["tiers.pro.max_file_siz", "tiers.pro.max_file_size"]),
        ("", {"UPLOADKIT_SERVER__PROT": "1"}, ["UPLOADKIT_SERVER__PROT", "server.port"]),
        ("", {"UPLOADKIT_SERVER__PORT": "99999"}, ["UPLOADKIT_SERVER__PORT", "65535"]),
        ("[server]\nport = 'x'", {}, ["config.toml: server.port", "integer"]),
        ("[server", {}, ["not valid TOML"]),
        ("[tiers.pro]\nmax_storage = '5 bananas'", {}, ["tiers.pro.max_storage", "4MB"]),
        ("[storage.byos]\nbucket = '${NOT_SET}'", {}, ["storage.byos.bucket", "NOT_SET"]),
        ("[limits]\ndefault_tier = 'gold'", {}, ["limits.default_tier", "gold"]),
        ("[server]\npublic_url = 'uploads.example.com'", {}, ["server.public_url", "https://"]),
        ("[server]\npublic_url = 'https://uploads.example.com'", {}, ["storage.bundled.public_endpoint", "https"]),
        ("[server]\ntrusted_proxies = ['10.0.0.0/99']", {}, ["server.trusted_proxies"]),
        ("[server]\nhost = ''", {}, ["server.host", "empty"]),
        ("[server]\nport = true", {}, ["server.port", "number"]),
        ("[server]\nport = 9005", {}, ["storage.bundled.port", "9005"]),
        ("[server]\npublic_url = 'http://h:99999999'", {}, ["server.public_url"]),
        ("[server]\npublic_url = 'http://a b'", {}, ["server.public_url"]),
        ("[server]\npublic_url = 'HTTPS://H'", {}, ["storage.bundled.public_endpoint"]),
        ("[storage.bundled]\npublic_endpoint = 'http://h/path'", {}, ["storage.bundled.public_endpoint", "path"]),
        ("[tiers]\npro = 3", {}, ["tiers.pro", "table"]),
        ("", {"UPLOADKIT_SEVER__PORT": "1"}, ["UPLOADKIT_SEVER__PORT", "server"]),
        ("", {"UPLOADKIT_SERVER__PORT__X": "1"}, ["UPLOADKIT_SERVER__PORT__X"]),
        ("", {"UPLOADKIT___SERVER": "1"}, ["UPLOADKIT___SERVER"]),
        ("", {"UPLOADKIT_DATA__DIR": ""}, ["UPLOADKIT_DATA__DIR", "empty"]),
        ("", {"UPLOADKIT_SERVER__TRUSTED_PROXIES": "10.0.0.0/8"}, ["UPLOADKIT_SERVER__TRUSTED_PROXIES", "JSON"]),
        ("[storage.bundled]\nport = 56000", {}, ["storage.bundled.port", "55000"]),
        ("[server]\npublic_url = 'http://127.0.0.1:8080/up'", {}, ["server.public_url", "host name or port of its own"]),
        ("", {"UPLOADKIT_SERVER__PUBLIC_URL": "https://example.com/a/b/"}, ["UPLOADKIT_SERVER__PUBLIC_URL", "path"]),
        ("", {"UPLOADKIT_STORAGE__MODE": "byos"}, ["storage.byos.bucket"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": ""}, ["storage.byos.secret_access_key"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__BUCKET": "Not A Bucket"}, ["storage.byos.bucket"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__ENDPOINT": "nowhere"}, ["UPLOADKIT_STORAGE__BYOS__ENDPOINT"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__REGION": ""}, ["storage.byos.region", "auto", "us-east-1"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__ACCESS_KEY_ID": "AKID "}, ["storage.byos.access_key_id", "space"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": "hush-hush\n"}, ["storage.byos.secret_access_key", "unprintable"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__ACCESS_KEY_ID": "ASIAX"}, ["storage.byos.access_key_id", "temporary", "session token"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__UPLOAD_ACCESS_KEY_ID": "x"}, ["storage.byos.upload_secret_access_key", "other half"]),
        ("", BYOS | {"UPLOADKIT_STORAGE__BYOS__UPLOAD_SECRET_ACCESS_KEY": "x"}, ["storage.byos.upload_access_key_id", "other half"]),
        ("", BYOS | at("http://my_minio:9000"), ["STORAGE__BYOS__ENDPOINT", "underscore"]),
        ("", BYOS | {CA_BUNDLE: "/nowhere.pem"}, ["storage.byos.ca_bundle", "/nowhere.pem", "No such file"]),
        ("", BYOS | {CA_BUNDLE: "config.toml"}, ["storage.byos.ca_bundle", "config.toml", "PEM"]),
        ("", BYOS | {CA_BUNDLE: "."}, ["storage.byos.ca_bundle"]),
        ("", BYOS | at("http://a..b:9000"), ["STORAGE__BYOS__ENDPOINT", "host name"]),
        ("", BYOS | at("https://.r2.cloudflarestorage.com"), ["STORAGE__BYOS__ENDPOINT", "host name"]),
        ("", BYOS | at("http://m:9000", "us-east-1 "), ["STORAGE__BYOS__REGION", "letters"]),
        ("", BYOS | at("http://m:9000", "zürich"), ["STORAGE__BYOS__REGION", "letters"]),
        ("[storage.byos]\nendpoint = '${EMPTY}'", {"EMPTY": ""}, ["storage.byos.endpoint", "EMPTY is empty"]),
        ("[storage.byos]\ncors_origins = ['https://app.example.com/']", {}, ["storage.byos.cors_origins", "slash at the end"]),
        ("[storage.byos]\ncors_origins = ['app.example.com']", {}, ["storage.byos.cors_origins", "https://app.example.com"]),
        ("[storage.bundled]\ncors_origins = ['https://*.example.com']", {}, ["storage.bundled.cors_origins"]),
        ("[storage.bundled]\ncors_origins = ['HTTPS://app.example.com']", {}, ["storage.bundled.cors_origins", "small letters"]),
        ("[storage.bundled]\ncors_origins = ['capacitor:localhost']", {}, ["storage.bundled.cors_origins", "capacitor://localhost"]),
        ("[storage.byos]\ncors_origins = []", {}, ["storage.byos.cors_origins"]),
        ("", BYOS | at("https://acc.r2.cloudflarestorage.com", "eu-west-1"), ["storage.byos.region", '"auto"']),
        ("", BYOS | at("http://acc.r2.cloudflarestorage.com"), ["storage.byos.endpoint", "https://"]),
        ("", BYOS | at("https://files.acc.r2.cloudflarestorage.com"), ["storage.byos.endpoint", '"https://acc.r2.cloudflarestorage.com"']),
        ("", BYOS | at("https://acc.r2.cloudflarestorage.com/files"), ["STORAGE__BYOS__ENDPOINT", "path"]),
        ("", BYOS | at("https://s3.amazonaws.com", "us-east-1"), ["storage.byos.endpoint", "leave endpoint empty"]),
        ("", BYOS | at("https://s3.eu-west-1.amazonaws.com", "us-east-1"), ["storage.byos.region", '"eu-west-1"']),
        (
            "",
            BYOS | at("https://files.nyc3.digitaloceanspaces.com", "nyc3"),
            ["storage.byos.endpoint", '"https://nyc3.digitaloceanspaces.com"'],
        ),
        ("", BYOS | at("https://s3.wasabisys.com", "eu-central-1"), ["storage.byos.region", '"us-east-1"', "Wasabi"]),
        ("", BYOS | at("https://s3.us-west-004.backblazeb2.com", "auto"), ["storage.byos.region", '"us-west-004"']),
        ("", BYOS | at("http://s3.us-west-004.backblazeb2.com", "us-west-004"), ["storage.byos.endpoint", "https://"]),
    ],
)
def test_each_mistake_is_one_line_that_names_the_key(tmp_path: Path, toml: str, environment: dict[str, str], words: list[str]) -> None:
    line = refusal(tmp_path, toml, **environment)
    for word in words:
        assert word in line
    assert "hush-hush" not in line


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        config.load(tmp_path / "gone.toml", {})


def test_names_without_a_section_are_no_configuration(tmp_path: Path) -> None:
    load(tmp_path, UPLOADKIT_API_KEY="uk_live_x", UPLOADKIT_URL="http://x")


def test_secrets_stay_out_of_repr(tmp_path: Path) -> None:
    found = load(tmp_path, **BYOS)
    assert "hush-hush" not in repr(found) + str(found)


@pytest.mark.parametrize(
    ("settings", "enforced"),
    [
        ({}, False),
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "0.0.0.0", "PUBLIC_URL": "http://localhost:8080"}, False),
        ({"HOST": "::1"}, False),
        ({"PUBLIC_URL": "http://localhost:8080"}, False),
        ({"PUBLIC_URL": "http://10.0.0.5:8080"}, True),
        ({"PUBLIC_URL": "http://localhost.example.com"}, True),
        ({"HOST": "10.0.0.5"}, True),
        ({"PUBLIC_URL": "http://10.0.0.5", "REQUIRE_HTTPS": "off"}, False),
        ({"REQUIRE_HTTPS": "on"}, True),
    ],
)
def test_when_https_is_enforced(tmp_path: Path, settings: dict[str, str], enforced: bool) -> None:
    found = load(tmp_path, **{f"UPLOADKIT_SERVER__{name}": value for name, value in settings.items()})
    assert found.server.https_enforced is enforced


def test_secrets_from_the_environment_may_hold_anything(tmp_path: Path) -> None:
    for secret in ("a${b}c", "[1]", '{"a": 1}', "123"):
        found = load(tmp_path, **BYOS | {"UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": secret}).storage.byos.secret_access_key
        assert found
        assert found.get_secret_value() == secret


def test_lists_and_tables_from_the_environment_are_json(tmp_path: Path) -> None:
    found = load(tmp_path, UPLOADKIT_SERVER__TRUSTED_PROXIES='["10.0.0.0/8"]', UPLOADKIT_TIERS__PRO='{"max_keys": 3}')
    assert found.server.trusted_proxies == ("10.0.0.0/8",)
    assert (found.tiers["pro"].max_keys, found.tiers["pro"].max_file_size) == (3, 512 * 1024**2)


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff[server]\nport = 7").server.port == 7


def test_an_appliance_for_other_machines_needs_an_address_that_they_know() -> None:
    def server(**settings: str) -> config.ServerConfig:
        return config.ServerConfig(**settings)  # type: ignore[arg-type]

    assert server(host="0.0.0.0").is_lost_elsewhere
    assert server(host="::").is_lost_elsewhere
    assert not server().is_lost_elsewhere
    assert not server(host="192.168.1.5").is_lost_elsewhere
    assert not server(host="0.0.0.0", public_url="http://192.168.1.5:8080").is_lost_elsewhere
    assert server(host="0.0.0.0", public_url="http://192.168.1.5:8080").own_origins == ("http://192.168.1.5:8080",)
    assert server(host="::").own_origins == ("http://[::1]:8080", "http://localhost:8080", "http://127.0.0.1:8080")
    assert server(host="0.0.0.0").own_origins == ("http://127.0.0.1:8080", "http://localhost:8080")
    assert server(host="::1").own_origins == ("http://[::1]:8080", "http://localhost:8080")


@pytest.fixture
def installed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a command which was installed is called in."""
    folder = tmp_path / "somewhere"
    folder.mkdir(mode=0o755)
    (folder / "config.toml").write_text("[server]\nport = 7000")
    (folder / "config.toml").chmod(0o644)
    monkeypatch.setattr(packaged_files, "CHECKOUT", None)
    monkeypatch.chdir(folder)
    return folder


def test_what_was_installed_reads_the_current_folder(installed_in: Path) -> None:
    assert config.load(None, {}).server.port == 7000
    (installed_in / "config.toml").unlink()
    assert config.load(None, {}).server.port == 8080


def test_a_file_that_everybody_may_write_is_not_taken(installed_in: Path) -> None:
    (installed_in / "config.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="can be written by everybody; if it is meant, name it with --config"):
        config.load(None, {})
    assert config.load(installed_in / "config.toml", {}).server.port == 7000


@needs_root
@pytest.mark.parametrize("whose", ["config.toml", "link", "."])
def test_a_file_that_somebody_else_left_in_the_current_folder_is_not_taken(installed_in: Path, whose: str) -> None:
    if whose == "link":
        (installed_in / "config.toml").rename(installed_in / "mine.toml")
        (installed_in / "config.toml").symlink_to("mine.toml")
    os.chown(installed_in / ("." if whose == "." else "config.toml"), NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match="belongs to the user no"):
        config.load(None, {})
    assert config.load(installed_in / "config.toml", {}).server.port == 7000


def test_what_was_installed_has_its_data_in_the_current_folder(installed_in: Path) -> None:
    (installed_in / "config.toml").unlink()
    assert config.load(None, {}).data_dir == installed_in / "data"
    installed_in.chmod(0o777)
    with pytest.raises(ConfigError, match="can be written by everybody; if it is meant, name it by UPLOADKIT_DATA__DIR"):
        config.load(None, {})
    assert config.load(None, {"UPLOADKIT_DATA__DIR": "data"}).data_dir == installed_in / "data"


@needs_root
@pytest.mark.parametrize("whose", ["data", "link", "."])
def test_data_that_somebody_else_left_in_the_current_folder_is_not_taken(installed_in: Path, whose: str) -> None:
    (installed_in / "config.toml").unlink()
    if whose == "link":
        (installed_in / "data").symlink_to(installed_in.parent)
    else:
        (installed_in / "data").mkdir()
    os.chown(installed_in / ("." if whose == "." else "data"), NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match="belongs to the user no"):
        config.load(None, {})
    assert config.load(None, {"UPLOADKIT_DATA__DIR": str(installed_in.parent)}).data_dir == installed_in.parent
