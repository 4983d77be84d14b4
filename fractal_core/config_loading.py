"""From a TOML file and `--set` to a RunConfig; errors name the file, the key, the nearest key and the type."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fractal_core.config import RunConfig
from fractal_core.config_keys import find_field, known_keys, type_words
from fractal_core.errors import UsageError

PACKAGED_ENCODER = "minilm"
_SHOWN = 5


def load_config(path: Path, settings: Sequence[str] = ()) -> RunConfig:
    """Read and check a configuration; paths in it become absolute, seen from the file's folder.

    Args:
        path: TOML file.
        settings: "section.key=value" overrides, the value in TOML (a bare word is a string).

    Raises:
        UsageError: if the file is missing or no TOML, or a key is unknown, ill-typed or out of range.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise UsageError(f"There is no configuration {path}; `fractal init` writes one.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read ({error}); a configuration is a file of UTF-8 text.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}; mend that line (text goes in double quotes).") from error
    for setting in settings:
        _apply(raw, setting)
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        # A section whose name is misspelt is missing too, so what is unknown says more.
        unknown = [each for each in error.errors() if each["type"] == "extra_forbidden"]
        said = " ".join(_explain(each, raw) for each in unknown[:_SHOWN] or error.errors()[:1])
        raise UsageError(f"{path}: {said}") from error
    return resolve_paths(config, path.resolve().parent)


def resolve_paths(config: RunConfig, base: Path) -> RunConfig:
    """Return the configuration with every path absolute, seen from `base`."""

    def absolute(path: str) -> str:
        return str((base / Path(path).expanduser()).resolve())

    given = config.input.path
    if not given or not all(given):
        raise UsageError(
            f"The key input.path of the configuration in {base} is empty; name the file or folder that has the "
            "responses."
        )
    paths: str | list[str] = absolute(given) if isinstance(given, str) else [absolute(path) for path in given]
    model, gold, directory = config.encoder.model, config.evaluate.gold, config.export.directory
    return config.model_copy(
        update={
            "input": config.input.model_copy(update={"path": paths}),
            "encoder": config.encoder.model_copy(
                update={"model": model if model == PACKAGED_ENCODER else absolute(model)}
            ),
            "evaluate": config.evaluate.model_copy(update={"gold": absolute(gold) if gold else ""}),
            "export": config.export.model_copy(update={"directory": absolute(directory) if directory else ""}),
        }
    )


def _apply(raw: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set {setting!r} is not of the form section.key=value, for example --set train.epochs=5.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *sections, last = key.strip().split(".")
    place = raw
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {setting!r}: {section} is a value, not a section; `fractal init` lists all keys.")
    place[last] = value


def _explain(error: ErrorDetails, raw: dict[str, Any]) -> str:
    location = [str(part) for part in error["loc"] if not str(part).startswith(("list[", "str"))]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, known_keys(RunConfig), n=1, cutoff=0.4)
        near = nearest or [k for k in known_keys(RunConfig) if k.split(".")[-1] == location[-1]][:1]
        field = find_field(RunConfig, near[0]) if near else None
        hint = (
            f"did you mean {near[0]} ({type_words(field)})?" if near and field else "see `fractal init` for all keys."
        )
        return f"there is no key {key}; {hint}"
    if error["type"] == "missing":
        hint = ' Add [input] path = "responses.jsonl".' if key in ("input", "input.path") else ""
        return f"the key {key} is missing.{hint}"
    if error["type"] == "value_error":
        return f"{f'{key}: ' if key else ''}{error['msg'].removeprefix('Value error, ')}."
    while location and find_field(RunConfig, ".".join(location)) is None:
        location.pop()
    key = ".".join(location) or key
    field = find_field(RunConfig, key)
    expected = type_words(field) if field is not None else "another type"
    value: Any = raw
    for part in location:
        value = value.get(part) if isinstance(value, dict) else None
    return f"{key} = {_toml_like(value)} does not fit; expected is {expected}."


def _toml_like(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "a section" if isinstance(value, (dict, BaseModel)) else repr(value)
