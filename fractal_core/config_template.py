"""`fractal init`: a configuration with a comment on every key, generated from the models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fractal_core.config import RunConfig
from fractal_core.config_keys import type_words, walk

_WIDTH = 118


def config_template(
    path: str,
    aggregation: str = "min",
    found: Mapping[str, str | int] = MappingProxyType({}),
    remarks: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return TOML with every key: those a user must think of set, the others commented out at their default.

    Args:
        path: value of input.path.
        aggregation: value of aggregation.
        found: values of more keys, by their dotted names.
        remarks: sentences to stand above keys, after what the keys mean.
    """
    given = {"input.path": path, "aggregation": aggregation, **found}
    lines = ["# A labelling run. Lines that begin with # are defaults: remove the # to change one.", ""]
    for key in walk(RunConfig):
        if key.section is not None:
            doc = (key.section.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"[{key.name}]  # {doc}"]
            continue
        description = f"{key.field.description} ({type_words(key.field)})"
        for text in (description, remarks.get(key.name, "")):
            lines += textwrap.wrap(text, _WIDTH, initial_indent="## ", subsequent_indent="## ")
        name = key.name.rsplit(".", 1)[-1]
        if key.name in given:
            lines.append(f"{name} = {toml_value(given[key.name])}")
        else:
            lines.append(f"# {name} = {toml_value(default_of(key.field))}")
    return "\n".join(lines) + "\n"


def default_of(field: Any) -> Any:
    """Return a field's default, or None if it has none."""
    default = field.get_default(call_default_factory=True)
    return None if default is PydanticUndefined else default


def toml_value(value: Any) -> str:
    """Write a value of the configuration in TOML."""
    if isinstance(value, BaseModel):
        raise TypeError("a section has no TOML value of its own")
    return json.dumps(value, ensure_ascii=False)
