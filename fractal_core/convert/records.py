"""Records of known formats: what a file has, the rows made from it, and what was wrong with those left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fractal_core.text.records import RAW_CHARACTERS, Fault, printable, shown

OnBytes = Callable[[int], None]


class Record(NamedTuple):
    """One record: its file, its line and its number there (from 0), its values, and its text."""

    source: str
    line: int
    number: int
    values: dict[str, Any]
    raw: str

    @property
    def name(self) -> str:
        """What a row that has no id of its own is called: the file without suffixes, and the number."""
        folder, slash, file = self.source.rpartition("/")
        return f"{folder}{slash}{file.split('.')[0]}-{self.number}"


class Row(NamedTuple):
    """A row of fractal's input, and the record it was made from."""

    record: Record
    values: dict[str, Any]


class Bad(NamedTuple):
    """A record, or a part of one, that was left out; the columns are those of table rejects."""

    source: str
    line: int
    reason: str
    detail: str
    raw: str


Reader = Callable[[Sequence[Path], OnBytes], Iterator[Row | Bad]]


def bad(record: Record, fault: Fault) -> Bad:
    """Return what is wrong with a record."""
    raw = printable(record.raw[:RAW_CHARACTERS])[:RAW_CHARACTERS]
    return Bad(record.source, record.line, fault.reason, printable(fault.detail), raw)


_WORDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def field(values: Any, path: str, kind: type) -> Any:
    """Return the value at a dotted path into nested objects.

    Raises:
        Fault: if there is none, or it is of another kind: text, a whole number, a list or an object.
    """
    value = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise Fault(f"{path} is missing or not {_WORDS[kind]}", f"{path} = {shown(value)}")
    return value


def texts(values: Any, what: str) -> list[str]:
    """Return a list of texts; raises Fault if it is none."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise Fault(f"{what} is not a list of text", f"{what} = {shown(values)}")
    return values
