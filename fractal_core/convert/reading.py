"""Records of files: a JSON object a line, an array of them, or a table with a header."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from fractal_core.convert.json_array import elements
from fractal_core.convert.records import Bad, OnBytes, Record, Row, bad
from fractal_core.errors import InputError
from fractal_core.text.files import source_names
from fractal_core.text.records import Fault, shown
from fractal_core.text.rows import raw_rows
from fractal_core.text.splits import SPLIT_NAMES

# An array may be under this key of an object.
_KEY = "data"
_WORD = re.compile(r"[a-z]+")


def converted(
    files: Sequence[Path], on_bytes: OnBytes, convert: Callable[[Record], list[dict[str, Any]]]
) -> Iterator[Row | Bad]:
    """Stream the rows that a function makes of each record; what it raises a Fault for is bad.

    A row gets the split that its file's name says, if the names of the files say train and another one.

    Raises:
        InputError: if a file cannot be read.
    """
    names, splits = source_names(list(files)), _splits(files)
    for file in files:
        split = {"split": splits[file]} if file in splits else {}
        for record in records(file, names[file], on_bytes):
            if isinstance(record, Bad):
                yield record
                continue
            try:
                rows = convert(record)
            except Fault as fault:
                yield bad(record, fault)
            else:
                yield from (Row(record, {**values, **split}) for values in rows)


def records(file: Path, source: str, on_bytes: OnBytes) -> Iterator[Record | Bad]:
    """Stream the records of a file: .json is an array, or an object with one; the others have a record a line.

    Raises:
        InputError: if the file cannot be read, is damaged, or has an unknown suffix.
    """
    if file.name.lower().removesuffix(".gz").endswith(".json"):
        yield from _array(file, source, on_bytes)
        return
    for number, row in enumerate(raw_rows(file, source, (), lambda names: None, on_bytes)):
        record = Record(source, row.line, number, {}, row.raw)
        if isinstance(row.values, Fault):
            yield bad(record, row.values)
        else:
            yield record._replace(values=row.values or {})


def _array(file: Path, source: str, on_bytes: OnBytes) -> Iterator[Record | Bad]:
    gzipped = file.name.lower().endswith(".gz")
    try:
        with file.open("rb") as raw:
            opened = gzip.GzipFile(fileobj=raw) if gzipped else raw
            text = io.TextIOWrapper(cast("IO[bytes]", opened), encoding="utf-8-sig")
            before = 0
            for number, element in enumerate(elements(text, source, _KEY)):
                on_bytes(raw.tell() - before)
                before = raw.tell()
                record = Record(source, element.line, number, {}, element.raw)
                if isinstance(element.value, dict):
                    yield record._replace(values=element.value)
                else:
                    yield bad(record, Fault("not a JSON object", shown(element.value)))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read as JSON{' in gzip' if gzipped else ''}: {error}.") from error


def _splits(files: Sequence[Path]) -> dict[Path, str]:
    """Return the split of each file whose name has one word for a split, if there is train and another among them."""
    found = {}
    for file in files:
        words = {SPLIT_NAMES[word] for word in _WORD.findall(file.name.lower()) if word in SPLIT_NAMES}
        if len(words) == 1:
            found[file] = words.pop()
    return found if "train" in found.values() and len(set(found.values())) > 1 else {}
