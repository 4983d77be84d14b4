"""Responses to be scored, from files or standard input: judged as a run judges its input, in bounded batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from fractal_core.text.checks import check_columns
from fractal_core.text.files import source_names
from fractal_core.text.records import RESPONSES_SCHEMA, Reject, Response
from fractal_core.text.rows import json_rows, raw_rows
from fractal_core.text.validation import validate

if TYPE_CHECKING:
    from pathlib import Path

    from fractal_core.config import Columns
    from fractal_core.text.labels import LabelRule
    from fractal_core.text.records import RawRow

# Texts of a batch, after which it is full: few, so that many responses take no more memory than some.
BATCH_CHARACTERS = 60_000
_STANDARD_INPUT = "standard input"


class Rejected(NamedTuple):
    """A row that cannot be scored: where it is, and why."""

    source: str
    line: int
    reject: Reject


@dataclass
class Batch:
    """Responses with distinct ids, and the rows between them that cannot be scored."""

    responses: list[Response] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    characters: int = 0

    def add(self, responses: Sequence[Response]) -> None:
        """Take the responses of one row."""
        for each in responses:
            self.responses.append(each)
            self.ids.add(each.response_id)
            self.characters += len(each.response) + len(each.query or "") + sum(map(len, each.context or ()))

    def has_any(self, responses: Sequence[Response]) -> bool:
        """Tell whether a response of one of the ids is in it."""
        return any(each.response_id in self.ids for each in responses)

    def table(self) -> pa.Table:
        """Return the responses as rows of table `responses`, but for where they come from; their split is "test"."""
        names = [name for name in RESPONSES_SCHEMA.names if name not in ("source", "line")]
        schema = pa.schema([RESPONSES_SCHEMA.field(name) for name in names])
        rows = [{**each._asdict(), "split": "test"} for each in self.responses]
        return pa.Table.from_pylist([{name: row[name] for name in names} for row in rows], schema=schema)


def incoming(
    files: Sequence[Path] | None, columns: Columns, rule: LabelRule, on_bytes: Callable[[int], None]
) -> Iterator[Batch]:
    """Stream batches.

    A row needs a response alone. One without id is called by its file and line, which is no id that the scorer was
    trained on; where pairs are compared, a row may have one response too. Ids may be repeated; a response is scored as
    often as it comes.

    Args:
        files: files of any format that a run reads; None for JSON lines from standard input.
        columns: what the columns are called.
        rule: what labels may be.
        on_bytes: told how many more bytes of the files have been read.

    Raises:
        InputError: if a file cannot be read or has no column of responses.
    """
    batch = Batch()
    for source, row in _rows(files, columns, rule, on_bytes):
        judged = judge(row, source, columns, rule)
        if isinstance(judged, Reject):
            batch.rejected.append(Rejected(source, row.line, judged))
            continue
        if batch.characters >= BATCH_CHARACTERS or batch.has_any(judged):
            yield batch
            batch = Batch()
        batch.add(judged)
    if batch.responses or batch.rejected:
        yield batch


def _rows(
    files: Sequence[Path] | None, columns: Columns, rule: LabelRule, on_bytes: Callable[[int], None]
) -> Iterator[tuple[str, RawRow]]:
    wanted = [getattr(columns, name) for name in type(columns).model_fields]
    if files is None:
        for row in json_rows(sys.stdin.buffer, partial(_check, _STANDARD_INPUT, columns, rule)):
            yield _STANDARD_INPUT, row
        return
    for file, source in source_names(list(files)).items():
        for row in raw_rows(file, source, wanted, partial(_check, source, columns, rule), on_bytes):
            yield source, row


def _check(source: str, columns: Columns, rule: LabelRule, names: Sequence[str]) -> None:
    one = rule.kind != "preference" or columns.response in names
    needed = ("response",) if one else ("response_a", "response_b")
    check_columns(source, names, columns, "auto" if one else "preference", needed)


def judge(row: RawRow, source: str, columns: Columns, rule: LabelRule) -> list[Response] | Reject:
    """Return the response of a row, or both, or why it cannot be scored; without id it is called by source and line."""
    values = row.values
    if isinstance(values, dict):
        if values.get(columns.id) is None:
            values = {**values, columns.id: f"{source}:{row.line}"}
        if rule.kind == "preference" and columns.response_a not in values:
            values = {name: value for name, value in values.items() if name != columns.response_label}
            rule = rule._replace(kind="real")
    assert values is not None  # Nothing is known beforehand.
    return validate(values, row, columns, rule)
