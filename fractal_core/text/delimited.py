"""Raw rows of CSV and TSV."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from typing import BinaryIO

from fractal_core.errors import InputError
from fractal_core.text.keys import RowKeys
from fractal_core.text.records import Fault, RawRow, printable

# A quote that is never closed swallows what follows it: at this many characters we stop looking for its end.
FIELD_CHARACTERS = 1 << 24


class _Lines:
    """The physical lines of a file, remembered while a record is read so that reading can go back."""

    def __init__(self, stream: Iterator[str]) -> None:
        self._stream = stream
        self._again: deque[str] = deque()
        self.number = 0
        self.record: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._stream)
        self.number += 1
        self.record.append(line)
        return line

    def rewind(self) -> None:
        """Go back to just after the first line of the record."""
        self._again.extendleft(reversed(self.record[1:]))
        self.number -= len(self.record) - 1
        del self.record[1:]


def delimited_rows(
    stream: BinaryIO,
    delimiter: str,
    source: str,
    on_columns: Callable[[Sequence[str]], None],
    known: Container[bytes] = (),
) -> Iterator[RawRow]:
    """Parse CSV with a header; `line` is the physical line on which a record starts.

    A record that is no valid CSV costs its first line only: reading goes on with the next one, so that a stray quote
    does not swallow the rows behind it.

    Args:
        stream: the file's bytes, UTF-8 with or without a byte-order mark.
        delimiter: what separates cells.
        source: the file's name in messages.
        on_columns: told the header before the first row.
        known: keys of rows whose values are not wanted.

    Yields:
        Rows with text or None (an empty cell) as values.

    Raises:
        InputError: if two columns have the same name.
    """
    # The limit is the csv module's own global; its default of 131,072 is less than a long document.
    csv.field_size_limit(FIELD_CHARACTERS)
    lines = _Lines(io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=""))
    header: list[str] | None = None
    keys = RowKeys(delimiter)
    for line, cells, raw in _records(lines, delimiter):
        if header is None and not isinstance(cells, Fault):
            header = _header(cells, source)
            keys = RowKeys(delimiter, header)
            on_columns(header)
            continue
        if isinstance(cells, Fault):
            key = keys.of_fault(cells, printable(raw))
        else:
            key = keys.of(raw.encode("utf-8", "surrogateescape"))
        values = None if key in known else _values(cells, header or [], raw)
        yield RawRow(line, key, values, printable(raw), typed=False)


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | Fault, str]]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.record.clear()
        start = lines.number + 1
        cells: list[str] | Fault
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.rewind()
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            cells = Fault("not a valid CSV row", str(error))
        if cells or isinstance(cells, Fault):
            yield start, cells, "".join(lines.record).rstrip("\r\n")


def _header(cells: list[str], source: str) -> list[str]:
    names = [printable(cell) for cell in cells]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise InputError(f'{source} has two columns of the name "{repeated[0]}": rename one of them in its header.')
    return names


def _values(cells: list[str] | Fault, header: list[str], raw: str) -> dict[str, object] | Fault:
    if isinstance(cells, Fault):
        return cells
    if printable(raw) != raw:
        return Fault("text is not UTF-8", "bytes that are not UTF-8 are shown as \\x.. in the raw row")
    if len(cells) != len(header):
        return Fault("wrong number of cells", f"{len(cells)} cells under {len(header)} columns")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}
