"""Walking the configuration models: keys, types in words, defaults. Help, `fractal init` and the reference use this."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Key:
    """One key of the configuration: dotted name, its field, and whether it is a section."""

    name: str
    field: FieldInfo
    section: type[BaseModel] | None


def walk(model: type[BaseModel], prefix: str = "") -> Iterator[Key]:
    """Yield every key of a model, plain keys before sections, depth first."""
    fields = [(name, field, _section(field)) for name, field in model.model_fields.items()]
    for name, field, section in sorted(fields, key=lambda item: item[2] is not None):
        yield Key(prefix + name, field, section)
        if section is not None:
            yield from walk(section, f"{prefix}{name}.")


def known_keys(model: type[BaseModel]) -> list[str]:
    """List the dotted names of all keys and sections."""
    return [key.name for key in walk(model)]


def key_ending_with(model: type[BaseModel], name: str) -> str:
    """Return the shortest key whose last parts are those of a name, as a stage's parameters have them; or the name."""
    keys = [key for key in known_keys(model) if key == name or key.endswith(f".{name}")]
    return min(keys, key=lambda key: key.count("."), default=name)


def find_field(model: type[BaseModel], name: str) -> FieldInfo | None:
    """Return the field of a dotted key, or None."""
    return next((key.field for key in walk(model) if key.name == name), None)


def type_words(field: FieldInfo) -> str:
    """Say in words what a key takes: its type, choices and range."""
    words = _annotation_words(field.annotation)
    bounds = []
    for limit in field.metadata:
        for kind, symbol in (
            (annotated_types.Ge, ">="),
            (annotated_types.Gt, ">"),
            (annotated_types.Le, "<="),
            (annotated_types.Lt, "<"),
        ):
            if isinstance(limit, kind):
                bound = (
                    next(iter(vars(limit).values()))
                    if hasattr(limit, "__dict__")
                    else getattr(limit, kind.__name__.lower())
                )
                bounds.append(f"{symbol} {bound:g}")
    return f"{words} {' and '.join(bounds)}" if bounds else words


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _annotation_words(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(_annotation_words(part) for part in get_args(annotation))
    if origin is list:
        return f"a list of {_annotation_words(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a section"
    return _WORDS.get(annotation, str(annotation))
