"""The handles a stage's function gets: committed inputs to read, an uncommitted folder to write into."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fractal_core.errors import StoreError
from fractal_core.store.artefact import Artefact
from fractal_core.store.canonical import file_digest
from fractal_core.store.manifest import FileEntry
from fractal_core.store.stage import Stage
from fractal_core.store.writing import TableWriter
from fractal_core.tables import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

    from fractal_core.store.stage import Predecessor


class ArtefactInputs:
    """What a stage may read: the columns it declares, of the artefacts it was given (implements `Inputs`)."""

    def __init__(
        self,
        reads: Mapping[str, tuple[str, ...]],
        reads_files: Collection[str],
        upstream: Mapping[str, Artefact],
        sources: Mapping[str, list[Path]],
        earlier: Callable[[], Sequence[Artefact]] = tuple,
        continued: Predecessor | None = None,
    ) -> None:
        """Bind a stage's declared names ("stage.table" with columns, "stage.file") to artefacts and external files.

        What the stage made of other inputs is looked for, and compared with its digests, only if it asks.
        """
        self._earlier, self._continued = earlier, continued
        self._columns = {key.split(".", 1)[1]: columns for key, columns in reads.items()}
        self._origin = {key.split(".", 1)[1]: upstream[key.split(".", 1)[0]] for key in reads}
        self._files = {key.split(".", 1)[1]: upstream[key.split(".", 1)[0]] for key in reads_files}
        self._sources = sources

    def table(self, name: str) -> pa.Table:
        """Return the declared columns of an input table."""
        return self._origin[name].table(name, self._columns[name])

    def batches(self, name: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Stream the declared columns of an input table in order."""
        return self._origin[name].batches(name, self._columns[name], rows)

    def rows(self, name: str) -> int:
        """Return the number of rows of an input table."""
        return self._origin[name].rows_out[name]

    def file(self, name: str) -> Path:
        """Return the path of an earlier stage's file."""
        return self._files[name].path(name)

    def sources(self, name: str) -> list[Path]:
        """Return external files by name; none if there are none of that name."""
        return self._sources.get(name, [])

    def earlier(self) -> Sequence[Artefact]:
        """Return what the stage made of other inputs."""
        return self._earlier()

    def continued(self) -> Predecessor | None:
        """Return the earlier result that this one goes on from."""
        return self._continued

    @property
    def total_rows(self) -> int:
        """Rows of all input tables together."""
        return sum(self.rows(name) for name in self._origin)


class OutputFolder:
    """Where a stage writes; committed as a whole by `materialize` (implements `Outputs`)."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        """Make the folder and a writer for each table the stage declares."""
        self._stage = stage
        self.folder = folder
        self._scratch = folder.with_name(folder.name + "-scratch")
        self.rows_reused = 0
        self.figures: dict[str, float] = {}
        folder.mkdir(parents=True)
        self._writers = {name: TableWriter(TABLES[name], folder / f"{name}.parquet") for name in stage.writes}

    def write(self, name: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows to an output table."""
        self._writers[name].write(rows)

    def file(self, name: str) -> Path:
        """Return the path of a declared output file."""
        if name not in self._stage.files:
            raise KeyError(f"stage {self._stage.name} does not declare the file {name}")
        return self.folder / name

    def scratch(self, name: str) -> Path:
        """Return a path for a temporary file."""
        self._scratch.mkdir(exist_ok=True)
        return self._scratch / name

    def reused(self, rows: int) -> None:
        """Count rows that were taken from earlier results."""
        self.rows_reused += rows

    def figure(self, name: str, value: float) -> None:
        """Keep something measured."""
        self.figures[name] = value

    def close(self, *, had_input: bool) -> tuple[dict[str, FileEntry], dict[str, FileEntry]]:
        """Finish all tables and files and return their manifest entries.

        Raises:
            StoreError: if a table that may not be empty has no rows although the stage had input, or a file is missing.
        """
        tables = {name: writer.close() for name, writer in self._writers.items()}
        for name, entry in tables.items():
            if had_input and not entry.rows and name not in self._stage.may_be_empty:
                raise StoreError(
                    f"Stage {self._stage.name} had input but made no row of table {name}: a defect of fractal, please "
                    "report it."
                )
        files = {}
        for name in self._stage.files:
            path = self.folder / name
            if not path.is_file():
                raise StoreError(
                    f"Stage {self._stage.name} did not write its file {name}: a defect of fractal, please report it."
                )
            files[name] = FileEntry(name=name, bytes=path.stat().st_size, sha256=file_digest(path))
        return tables, files

    def discard(self) -> None:
        """Remove everything that was not committed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._scratch, ignore_errors=True)
