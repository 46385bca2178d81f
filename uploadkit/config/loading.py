"""From defaults, `config.toml` and the environment to one checked configuration, or one line that names the key and what to do."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from uploadkit.config.checks import checked
from uploadkit.config.settings import Config, DataConfig, TierConfig, default_tiers
from uploadkit.core import packaged_files, path_ownership
from uploadkit.core.errors import ConfigError

ENVIRONMENT_PREFIX = "UPLOADKIT_"


def find_config_file(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one named, else `UPLOADKIT_CONFIG`, else `config.toml` beside `app.py`, else none.

    A package that was installed has no `app.py`: there it is `config.toml` in the current folder, if nobody else may have put
    it there: whoever writes it chooses which programs run.

    Raises ConfigError when a file was named that is not there, or the one in the current folder may be somebody else's.
    """
    chosen = named or (Path(environment["UPLOADKIT_CONFIG"]) if environment.get("UPLOADKIT_CONFIG") else None)
    if chosen is None:
        usual = (packaged_files.CHECKOUT or Path.cwd()) / "config.toml"
        if not usual.is_file():
            return None
        if packaged_files.CHECKOUT is None and (whose := path_ownership.who_may_replace(usual)):
            raise ConfigError(f"{usual} is not taken, because {whose}; if it is meant, name it with --config")
        return usual.resolve()
    if not chosen.is_file():
        raise ConfigError(f"{chosen}: no such configuration file; check --config or UPLOADKIT_CONFIG")
    return chosen.resolve()


def load(named: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read, merge and check the configuration.

    `named` is the file given by `--config`; `environment` defaults to the process's. Relative paths
    are taken from the folder of the configuration file, a relative `database.path` from the data directory.
    Raises ConfigError, one line that names the key and what to do.
    """
    environment = os.environ if environment is None else environment
    path = find_config_file(named, environment)
    merged = _expand(_read_toml(path), environment, "") if path else {}
    sources: dict[str, str] = {}
    _merge_environment(merged, environment, sources)
    _merge_tier_defaults(merged)
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_one_line(error, path, sources)) from None
    if path is None and packaged_files.CHECKOUT is None and not config.data.model_fields_set:
        _refuse_where_others_write(Path.cwd() / config.data.dir)
    return checked(_with_whole_paths(config, path.parent if path else Path.cwd()))


def _refuse_where_others_write(data_dir: Path) -> None:
    """Raise ConfigError for a data directory that nobody named, where others may have left one: what is linked from it is written to."""
    if whose := path_ownership.who_may_replace(data_dir):
        raise ConfigError(f"data.dir: {data_dir} is not taken, because {whose}; if it is meant, name it by UPLOADKIT_DATA__DIR")


def _with_whole_paths(config: Config, base: Path) -> Config:
    def whole(path: Path | None) -> Path | None:
        # Not resolved: a link may lead to another file tomorrow, and the one of today may be gone.
        return None if path is None else Path(os.path.abspath(base / path.expanduser()))

    storage, backup = config.storage, config.backup
    byos = storage.byos.model_copy(update={"ca_bundle": whole(storage.byos.ca_bundle)})
    s3 = backup.s3.model_copy(update={"ca_bundle": whole(backup.s3.ca_bundle)})
    return config.model_copy(
        update={
            "data": DataConfig(dir=(base / config.data.dir.expanduser()).resolve()),
            "storage": storage.model_copy(update={"byos": byos}),
            "backup": backup.model_copy(update={"s3": s3, "passphrase_file": whole(backup.passphrase_file)}),
        }
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from None


def _merge_environment(merged: dict[str, Any], environment: Mapping[str, str], sources: dict[str, str]) -> None:
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or "__" not in name:
            continue
        keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if not all(keys):
            raise ConfigError(f"{name}: unknown setting; the form is UPLOADKIT_<SECTION>__<KEY>")
        table = merged
        for key in keys[:-1]:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {key} is a value, not a table; the form is UPLOADKIT_<SECTION>__<KEY>")
        table[keys[-1]] = _environment_value(keys, environment[name])
        sources[".".join(keys)] = name


def _environment_value(keys: list[str], text: str) -> Any:
    """Lists and tables come as JSON; everything else stays text, which the schema turns into numbers and booleans."""
    if _holds_several(keys):
        try:
            return json.loads(text)
        except ValueError:
            raise ConfigError(f"{ENVIRONMENT_PREFIX}{'__'.join(keys).upper()}: must be JSON: a list or a table") from None
    return text


def _holds_several(keys: list[str]) -> bool:
    """Whether the setting is a list or a table."""
    model: type[BaseModel] = Config
    for depth, key in enumerate(keys):
        if key not in model.model_fields:
            return False
        annotation = model.model_fields[key].annotation
        if key == "tiers":
            return len(keys) - depth <= 2
        if get_origin(annotation) is tuple:
            return True
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return False
        model = annotation
    return True


def _expand(value: Any, environment: Mapping[str, str], where: str) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, environment, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, environment, where) for item in value]
    if not isinstance(value, str):
        return value

    def lookup(match: re.Match[str]) -> str:
        if not environment.get(match[1]):
            state = "is empty" if match[1] in environment else "is not set"
            raise ConfigError(f"{where}: the environment variable {match[1]} {state}; set it, or write the value in its place")
        return environment[match[1]]

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lookup, value)


def _merge_tier_defaults(merged: dict[str, Any]) -> None:
    """A tier that is only partly given keeps the other defaults of the tier of that name."""
    given = merged.get("tiers", {})
    if isinstance(given, dict):
        defaults = {name: tier.model_dump() for name, tier in default_tiers().items()}
        for name, values in given.items():
            defaults[name] = defaults.get(name, {}) | values if isinstance(values, dict) else values
        merged["tiers"] = defaults


def _one_line(error: ValidationError, path: Path | None, sources: Mapping[str, str]) -> str:
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(location)
    named = next((name for given, name in sources.items() if f"{key}.".startswith(f"{given}.") or given.startswith(f"{key}.")), None)
    where = named or (f"{path.name}: {key}" if path else key)
    if first["type"] == "extra_forbidden":
        nearest = _nearest(location)
        return f"{where}: unknown setting" + (f"; did you mean {nearest}?" if nearest else "; config.toml lists every setting")
    message = "must be a table" if first["type"] in ("model_type", "dict_type") else first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}"


def _nearest(location: list[str]) -> str | None:
    section, name = location[:-1], location[-1]
    if section[:1] == ["tiers"]:
        candidates = list(TierConfig.model_fields)
    else:
        paths = [key.split(".") for key in [*known_keys(), "tiers.pro"]]
        candidates = [path[len(section)] for path in paths if path[: len(section)] == section and len(path) > len(section)]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return ".".join([*section, close[0]]) if close else None


def known_keys(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Return every setting's dotted name, tiers apart."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        nested = next((a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if name == "tiers":
            continue
        keys += known_keys(nested, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return keys
