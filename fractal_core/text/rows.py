"""Raw rows of a file, whatever its format."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from fractal_core.errors import InputError
from fractal_core.text.columnar import OnColumns, arrow_rows, parquet_rows
from fractal_core.text.delimited import delimited_rows
from fractal_core.text.files import file_format
from fractal_core.text.keys import RowKeys
from fractal_core.text.records import Fault, RawRow, printable

ARRAY = "one JSON object a line is wanted, this looks like a JSON array"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BUFFER_BYTES = 1 << 20
_MOST_COLUMNS = 1_000


def raw_rows(
    path: Path,
    source: str,
    wanted: Sequence[str],
    on_columns: OnColumns,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    known: Container[bytes] = (),
    needed: Collection[str] = (),
) -> Iterator[RawRow]:
    """Stream the rows of a file, parsed but not judged.

    Args:
        path: a file whose suffix `file_format` knows.
        source: the file's name in messages.
        wanted: the columns to read, where the format allows to leave the others.
        on_columns: told the file's columns: before the first row if there is a header, after the last one in JSONL.
        on_bytes: told how many more bytes of the file have been read.
        known: keys of rows whose values are not wanted; where that saves time, they are not parsed.
        needed: columns that a JSONL file is searched for. Once all have been seen, columns that only known rows have
            may be left out of what `on_columns` is told.

    Yields:
        Rows in order of the file, those known without values; blank lines are none.

    Raises:
        InputError: if the file cannot be read or is damaged.
    """
    kind, gzipped = file_format(path)
    try:
        if kind == "parquet":
            yield from parquet_rows(path, wanted, on_columns, known)
            on_bytes(path.stat().st_size)
        elif kind == "arrow":
            yield from arrow_rows(path, wanted, on_columns, known)
            on_bytes(path.stat().st_size)
        else:
            with _open(path, gzipped, on_bytes) as stream:
                if kind == "jsonl":
                    yield from json_rows(stream, on_columns, known, needed)
                else:
                    yield from delimited_rows(stream, "," if kind == "csv" else "\t", source, on_columns, known)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        form = f"{kind} in gzip" if gzipped else kind
        what = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{path} cannot be read as {form} ({what}); mend the file, or take it out of the input."
        ) from error


def first_columns(path: Path) -> list[str]:
    """Return the columns of a file as its header or first row has them; none if it is empty or that row is damaged.

    Raises:
        InputError: if the file cannot be read.
    """
    names: list[str] = []
    for row in islice(raw_rows(path, path.name, (), names.extend), 1):
        # JSONL has no header, so nothing has been said of its columns yet.
        if not names and isinstance(row.values, dict):
            names.extend(row.values)
    return names


def json_rows(
    stream: BinaryIO, on_columns: OnColumns, known: Container[bytes] = (), needed: Collection[str] = ()
) -> Iterator[RawRow]:
    """Parse one JSON object a line; a line that is not one is a row with a fault."""
    columns: dict[str, None] = {}
    missing = set(needed)
    keys = RowKeys("jsonl")
    for number, line in enumerate(stream, 1):
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line.strip():
            continue
        content = line.rstrip(b"\r\n")
        key = keys.of(content)
        is_known = key in known
        if is_known and not missing:
            yield RawRow(number, key, None, content.decode("utf-8", "backslashreplace"))
            continue
        raw, values = _json_row(content)
        if isinstance(values, dict):
            missing.difference_update(values)
            if len(columns) < _MOST_COLUMNS:
                columns.update(dict.fromkeys(values))
        yield RawRow(number, key, None if is_known else values, raw)
    if columns:
        on_columns([printable(name) for name in columns])


def _json_row(line: bytes) -> tuple[str, dict[str, object] | Fault]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        detail = f"byte {error.start + 1} of the line is 0x{line[error.start]:02x}"
        return line.decode("utf-8", "backslashreplace"), Fault("text is not UTF-8", detail)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        return text, Fault(*_array(text, "not valid JSON", str(error)))
    if not isinstance(values, dict):
        return text, Fault(*_array(text, "not a JSON object", f"a JSON {type(values).__name__}"))
    return text, values


def _array(text: str, reason: str, detail: str) -> tuple[str, str]:
    """Return reason and detail of a line that is no object; others if it is, or begins, a JSON array."""
    if not text.lstrip().startswith("["):
        return reason, detail
    return ARRAY, f"{reason}: {detail}"


class _Counted(io.RawIOBase):
    """A file that tells how many bytes have been read from it."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._on_bytes = on_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.readinto(buffer) or 0
        self._on_bytes(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _open(path: Path, gzipped: bool, on_bytes: Callable[[int], None]) -> Iterator[BinaryIO]:
    with io.BufferedReader(_Counted(path, on_bytes), _BUFFER_BYTES) as raw:
        if not gzipped:
            yield cast("BinaryIO", raw)
            return
        with gzip.GzipFile(fileobj=raw) as unzipped, io.BufferedReader(unzipped, _BUFFER_BYTES) as stream:
            yield cast("BinaryIO", stream)
