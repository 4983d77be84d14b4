"""Stand-ins for what a stage is handed: inputs, outputs and a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fractal_core.config import Columns
from fractal_core.engine import Here
from fractal_core.tables import RESPONSES, TABLES
from fractal_core.text.files import input_files, input_sources
from fractal_core.text.reading import read
from fractal_core.text.segmentation import segment

SEGMENT_READS = ("response_id", "response", "spans", "sentence_labels")


class FakeInputs:
    """Files by name and tables by name, from memory."""

    def __init__(self, files: list[Path] | None = None, earlier: Sequence[Any] = (), **tables: pa.Table) -> None:
        self._files = files or []
        self._earlier = earlier
        self._tables = tables

    def sources(self, name: str) -> list[Path]:
        """Return the files, grouped as the pipeline does."""
        return input_sources(self._files).get(name, [])

    def rows(self, name: str) -> int:
        """Return the number of rows of a table."""
        return int(self._tables[name].num_rows)

    def earlier(self) -> Sequence[Any]:
        """Return the results that were given."""
        return self._earlier

    def batches(self, name: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Stream a table."""
        yield from self._tables[name].to_batches(max_chunksize=rows)


class FakeOutputs:
    """Keeps what is written; refuses a schema that is not the declared one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.written: dict[str, list[pa.Table]] = {}
        self.rows_reused = 0

    def write(self, name: str, rows: pa.Table) -> None:
        """Append rows to a table."""
        assert rows.schema == TABLES[name].schema
        assert rows.num_rows <= 65_536
        for field in rows.schema:
            assert field.nullable or rows[field.name].null_count == 0
        self.written.setdefault(name, []).append(rows)

    def scratch(self, name: str) -> Path:
        """Return a path for a temporary file."""
        self._folder.mkdir(exist_ok=True)
        return self._folder / name

    def file(self, name: str) -> Path:
        """Return the path of a file."""
        self._folder.mkdir(exist_ok=True)
        return self._folder / name

    def reused(self, rows: int) -> None:
        """Count reused rows."""
        self.rows_reused += rows

    @property
    def computed(self) -> int:
        """Rows of all tables that were not reused."""
        return sum(rows.num_rows for tables in self.written.values() for rows in tables) - self.rows_reused

    def path(self, name: str) -> Path:
        """Return the path of a table, written now, or of a file, as an earlier result does."""
        path = self._folder / name
        if name in TABLES:
            pq.write_table(self.table(name), path)
        return path

    def table(self, name: str) -> pa.Table:
        """Return all rows written to a table."""
        return pa.concat_tables([TABLES[name].schema.empty_table(), *self.written.get(name, [])])

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return all rows written to a table, as dictionaries."""
        return list(self.table(name).to_pylist())


class FakeRuntime:
    """Counts progress and keeps notes."""

    def __init__(self) -> None:
        self.engine = Here()
        self.notes: list[str] = []
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[SimpleNamespace]:
        """Count what is said to be done."""
        self.totals[description] = total
        self.done[description] = 0

        def advance(amount: int = 1) -> None:
            self.done[description] += amount

        yield SimpleNamespace(advance=advance)


class Result(FakeOutputs):
    """What one call of `read` wrote and said."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.runtime = FakeRuntime()


class Reader:
    """Runs `read` on files and folders, tolerant of rejects and without dev and test unless told otherwise."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self.last: Result | None = None

    def __call__(
        self,
        *paths: Path,
        columns: dict[str, str] | None = None,
        files: list[Path] | None = None,
        earlier: Sequence[Result] = (),
        **changes: Any,
    ) -> Result:
        """Read the paths, or the files exactly as listed, and return what was written; `last` has it after errors."""
        params = {
            "columns": Columns(**(columns or {})),
            "aggregation": "min",
            "label_kind": "auto",
            "grades": 2,
            "dev_fraction": 0.0,
            "test_fraction": 0.0,
            "max_reject_fraction": 0.99,
            "seed": 0,
        }
        self.last = Result(self._factory.mktemp("outputs"))
        inputs = FakeInputs(files or input_files(list(paths)), earlier)
        read(inputs, SimpleNamespace(**(params | changes)), self.last, self.last.runtime)
        return self.last


@pytest.fixture
def read_files(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Return a function that runs the stage `read`."""
    return Reader(tmp_path_factory)


@pytest.fixture
def run_segment(tmp_path: Path) -> Callable[..., Result]:
    """Return a function that runs the stage `segment` on (response_id, response, spans, sentence_labels) rows."""
    schema = pa.schema([RESPONSES.schema.field(name) for name in SEGMENT_READS])

    def run(rows: list[tuple[Any, ...]], method: str = "sentencex") -> Result:
        table = pa.Table.from_pylist([dict(zip(SEGMENT_READS, row, strict=True)) for row in rows], schema=schema)
        result = Result(tmp_path)
        params = SimpleNamespace(method=method, language="en")
        segment(FakeInputs(responses=table), params, result, result.runtime)
        return result

    return run
