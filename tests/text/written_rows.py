"""Rows, and files of them in the formats of the input."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]

# Rows that a run takes, and one that it takes too, to be changed into one that it does not.
GOOD: list[Row] = [{"id": f"good{i}", "response": "One. Two.", "response_label": i % 2} for i in range(4)]
BASE: Row = {"id": "bad", "response": "One. Two.", "response_label": 1}


def simple(count: int, **more: Any) -> list[Row]:
    """Return plain rows with both labels."""
    return [{"id": f"r{i:03}", "response": f"Text {i}.", "response_label": i % 2, **more} for i in range(count)]


def cell(value: object) -> str:
    """Write a value as a CSV cell."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def jsonl(rows: list[Any], end: str = "\n") -> bytes:
    """Return rows as JSONL; what UTF-8 cannot hold stays an escape."""
    text = "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + end for row in rows)
    return text.encode(errors="backslashreplace")


def table(rows: list[Any]) -> pa.Table:
    """Return rows as an Arrow table."""
    return pa.Table.from_pylist(rows)


def write(path: Path, rows: list[Any], mark: bytes = b"", end: str = "\n") -> Path:
    """Write rows in the format that the suffix says; a row that is text is a damaged line."""
    name = path.name.removesuffix(".gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(table(rows), path, row_group_size=3)
    elif name.endswith(".stream.arrow"):
        with pa.ipc.new_stream(path, table(rows).schema) as stream:
            stream.write_table(table(rows), max_chunksize=3)
    elif name.endswith(".arrow"):
        with pa.ipc.new_file(path, table(rows).schema) as file:
            file.write_table(table(rows), max_chunksize=3)
    elif name.endswith(("jsonl", "ndjson")):
        raw = mark + jsonl(rows, end)
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    else:
        with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8", newline="") as file:
            file.write(mark.decode())
            writer = csv.writer(file, delimiter="\t" if "tsv" in name else ",", lineterminator=end)
            writer.writerow(rows[0])
            writer.writerows([cell(value) for value in row.values()] for row in rows)
    return path
