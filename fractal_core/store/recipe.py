"""A stage's recipe: everything that can change its result. Its digest is the artefact's fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fractal_core.store.canonical import canonical_json, digest

_NAMED_COLUMNS = 2


@dataclass(frozen=True)
class Recipe:
    """What a result was or would be made from.

    Attributes:
        stage: name of the stage.
        params: the part of the configuration that it uses, as JSON values.
        code: module -> digest of its code.
        inputs: "table.column" or file name -> content digest.
        sources: name -> content digests of external files, sorted: order, names and folders do not matter.
        libraries: distribution -> version.
        schemas: table written -> its columns and types.
    """

    stage: str
    params: Mapping[str, Any]
    code: Mapping[str, str]
    inputs: Mapping[str, str]
    sources: Mapping[str, list[str]]
    libraries: Mapping[str, str]
    schemas: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of all of it."""
        return digest(canonical_json(asdict(self)))

    def differences(self, old: Recipe) -> list[str]:
        """Say, in words a user knows, what changed from `old` to this recipe."""
        reasons = [
            f"{key} changed from {_show(before)} to {_show(after)}"
            for key, before, after in _changed(_flat(old.params), _flat(self.params))
        ]
        reasons += [f"module {name} {_verb(a, b)}" for name, a, b in _changed(old.code, self.code)]
        reasons += _input_reasons(_changed(old.inputs, self.inputs))
        for name, before, after in _changed(old.sources, self.sources):
            gone, new = len(set(before or []) - set(after or [])), len(set(after or []) - set(before or []))
            reasons.append(f"{name} files: {new} new or changed, {gone} no longer there")
        reasons += [
            f"{name} {a or 'not installed'} became {b}" for name, a, b in _changed(old.libraries, self.libraries)
        ]
        reasons += [f"columns of table {name} {_verb(a, b)}" for name, a, b in _changed(old.schemas, self.schemas)]
        return reasons


def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution ("none" if it is not installed)."""
    return {name: _version(name) for name in names}


@lru_cache(maxsize=64)
def _version(name: str) -> str:
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return "none"


def _flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _input_reasons(changed: list[tuple[str, Any, Any]]) -> list[str]:
    """One reason a table: few columns by name, many by number."""
    tables: dict[str, list[tuple[str, Any, Any]]] = {}
    for name, before, after in changed:
        tables.setdefault(name.split(".")[0], []).append((name, before, after))
    reasons = []
    for table, entries in tables.items():
        if len(entries) <= _NAMED_COLUMNS:
            reasons += [f"input {name} {_verb(before, after)}" for name, before, after in entries]
        else:
            reasons.append(f"input {table} changed ({len(entries)} columns)")
    return reasons


def _verb(before: object, after: object) -> str:
    if before is None:
        return "is new"
    return "is no longer there" if after is None else "changed"


def _show(value: object) -> str:
    return "nothing" if value is None else repr(value)
