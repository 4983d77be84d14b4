"""A stage's recipe: everything that can change its result. Its digest is the artefact's fingerprint."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fractal_core.store.canonical import canonical_json, digest

PYTHON = "python"
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"

_NAMED_COLUMNS = 2
_NAMED_MODULES = 5

# In `Recipe.continues`, the mode under which an earlier result is continued; there it is none without one.
MODE = "on_new_data"
_ANEW = "retrain"


@dataclass(frozen=True)
class Recipe:
    """What a result was or would be made from.

    Attributes:
        stage: name of the stage.
        params: the part of the configuration that it uses, as JSON values.
        code: module -> digest of its code.
        inputs: "table.column" or file name -> content digest.
        sources: name -> content digests of external files, sorted: order, names and folders do not matter.
        libraries: distribution, or "python" -> version.
        schemas: table written -> its columns and types.
        continues: how an earlier result of the stage is gone on from (MODE), and content digests of its files that are
            read; nothing for a result made anew.
    """

    stage: str
    params: Mapping[str, Any]
    code: Mapping[str, str]
    inputs: Mapping[str, str]
    sources: Mapping[str, list[str]]
    libraries: Mapping[str, str]
    schemas: Mapping[str, str]
    continues: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON of all of it; what is made anew has the same one under every mode."""
        values = asdict(self)
        if not self.continues:
            del values["continues"]
        return digest(canonical_json(values))

    @property
    def anew(self) -> Recipe:
        """The recipe of the same result made without an earlier one."""
        return replace(self, continues={})

    def made_like(self, other: Recipe) -> bool:
        """Tell whether all is the same but for inputs and what is continued: code, parameters, sources, libraries."""
        return replace(self.anew, inputs={}) == replace(other.anew, inputs={})

    def differences(self, old: Recipe, named: Callable[[str], str] = str) -> list[str]:
        """Say, in words a user knows, what changed from `old` to this recipe; `named` gives a parameter its name."""
        reasons = [
            f"{named(key)} changed from {_show(before)} to {_show(after)}"
            for key, before, after in _changed(_flat(old.params), _flat(self.params))
        ]
        if old.libraries.get(PYTHON) == self.libraries.get(PYTHON):  # Another Python has another form of syntax trees.
            reasons += _module_reasons(_changed(old.code, self.code))
        reasons += _input_reasons(_changed(old.inputs, self.inputs))
        reasons += _source_reasons(old.sources, self.sources)
        reasons += [_library_reason(name, a, b) for name, a, b in _changed(old.libraries, self.libraries)]
        reasons += [f"columns of table {name} {_verb(a, b)}" for name, a, b in _changed(old.schemas, self.schemas)]
        before, after = (recipe.continues.get(MODE, _ANEW) for recipe in (old, self))
        if not reasons and before != after:
            reasons.append(f"{MODE} changed from {before!r} to {after!r}")
        return reasons


def library_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Return the installed version of each distribution ("none" if it is not installed), and that of Python."""
    return {PYTHON: PYTHON_VERSION, **{name: _version(name) for name in names}}


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


def _module_reasons(changed: list[tuple[str, Any, Any]]) -> list[str]:
    """One reason a module: a few by name, the others by number."""
    reasons = [f"module {name} {_verb(before, after)}" for name, before, after in changed[:_NAMED_MODULES]]
    more = len(changed) - _NAMED_MODULES
    return [*reasons, f"{more} other modules changed"] if more > 0 else reasons


def _source_reasons(old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> list[str]:
    """One reason for all sources with the same first name: `input.train.jsonl` and `input.csv` are input files."""
    before, after = (
        Counter((name, digest) for name, digests in sources.items() for digest in digests) for sources in (old, new)
    )
    came, went = ([name.split(".")[0] for name, _ in files.elements()] for files in (after - before, before - after))
    return [
        f"{kind} files: {came.count(kind)} new or changed, {went.count(kind)} no longer there"
        for kind in sorted({*came, *went})
    ]


def _library_reason(name: str, before: str | None, after: str | None) -> str:
    if before is None or after is None:
        return f"{name} {after} counts now" if before is None else f"{name} counts no more"
    return f"{name} {_installed(before)} became {_installed(after)}"


def _installed(version: str) -> str:
    return "not installed" if version == "none" else version


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
