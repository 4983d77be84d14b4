"""The rows that reading passes on: raw, valid and rejected; and the columns in which they are written."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

RAW_CHARACTERS = 10_000

_TYPES = {
    str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "an object",
}  # fmt: skip


class Fault(Exception):
    """Why a row cannot be used: fixed words for the kind of fault, and the values in question."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the two apart: reasons are counted, details are read."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class RawRow(NamedTuple):
    """A row as a file has it.

    `values` is a fault if the row cannot be parsed, and None if its key says that it was read before. `typed` is false
    for CSV and TSV, where every value is text and an empty cell is None.
    """

    line: int
    key: bytes
    values: dict[str, object] | Fault | None
    raw: str
    typed: bool = True


class Response(NamedTuple):
    """What a valid row, or one text of a valid pair, says by itself; `own_split` is None if it says no split."""

    own_split: str | None
    response_id: str
    query: str | None
    context: list[str] | None
    response: str
    label: float | None
    group: str
    spans: list[list[int]] | None
    sentence_labels: list[float | None] | None
    pair: str | None
    preferred: float | None
    prior: list[float | None] | None


class Reject(NamedTuple):
    """What is wrong with a bad row."""

    reason: str
    detail: str
    raw: str


_RESPONSE_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("response_id", pa.string(), nullable=False),
    pa.field("query", pa.string(), nullable=True),
    pa.field("context", pa.list_(pa.string()), nullable=True),
    pa.field("response", pa.string(), nullable=False),
    pa.field("label", pa.float64(), nullable=True),
    pa.field("split", pa.string(), nullable=False),
    pa.field("group", pa.string(), nullable=False),
    pa.field("spans", pa.list_(pa.list_(pa.int32())), nullable=True),
    pa.field("sentence_labels", pa.list_(pa.float64()), nullable=True),
    pa.field("pair", pa.string(), nullable=True),
    pa.field("preferred", pa.float64(), nullable=True),
    pa.field("prior", pa.list_(pa.float64()), nullable=True),
    pa.field("source", pa.string(), nullable=False),
    pa.field("line", pa.int64(), nullable=False),
)
_REJECT_FIELDS: tuple[pa.Field[Any], ...] = (
    pa.field("source", pa.string(), nullable=False),
    pa.field("line", pa.int64(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("detail", pa.string(), nullable=False),
    pa.field("raw", pa.string(), nullable=False),
)
RESPONSES_SCHEMA = pa.schema(_RESPONSE_FIELDS)
REJECTS_SCHEMA = pa.schema(_REJECT_FIELDS)
# Columns of the two tables that follow from the row alone, wherever it stands and whatever else is in the input.
OWN_SCHEMA = pa.schema([field for field in _RESPONSE_FIELDS if field.name in Response._fields])
OWN_REJECT_SCHEMA = pa.schema([field for field in _REJECT_FIELDS if field.name in Reject._fields])


def raw_text(raw: str) -> str:
    """Return a row as table rejects shows it."""
    return printable(raw[:RAW_CHARACTERS])[:RAW_CHARACTERS]


def printable(text: str) -> str:
    r"""Return the text with what UTF-8 cannot hold spelled out: stray bytes as \xff, lone surrogates as \ud800."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object, characters: int = 200) -> str:
    """Return a value as it is shown in details and messages, cut to a length."""
    text = repr(value)
    return printable(text if len(text) <= characters else text[: characters - 3] + "...")


def mistyped(value: object) -> str:
    """Return a value that should be of another type as it is shown, with its type in words."""
    if value != value:  # NaN is a number only by its type.
        return shown(value)
    return f"{shown(value)}, which is {_TYPES.get(type(value), type(value).__name__)}"
