"""What a stage is, and what its function is handed: inputs, outputs, and a runtime that cannot change the result."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fractal_core.engine import Engine, Here

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import BaseModel

    from fractal_core.config import RunConfig


class EarlierResult(Protocol):
    """What a stage made of other inputs, with the code and parameters it has now."""

    def path(self, name: str) -> Path:
        """Return the path of a table's Parquet file or of another file, by its name."""

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table."""

    def group_rows(self, name: str) -> list[int]:
        """Return the rows of each row group of a table."""

    def group(self, name: str, columns: tuple[str, ...], number: int) -> pa.Table:
        """Read columns of one row group of a table."""


class Predecessor(Protocol):
    """The earlier result of a stage that it goes on from, its files compared with their digests."""

    @property
    def mode(self) -> str:
        """How it is to be gone on from, as `Continues.mode` has it."""

    @property
    def run_id(self) -> str:
        """The newest completed run that has it."""

    def path(self, name: str) -> Path:
        """Return the path of one of the files that `Continues.files` names."""


class Inputs(Protocol):
    """The declared inputs of a stage: only the columns of `Stage.reads_with` can be seen."""

    def table(self, name: str) -> pa.Table:
        """Return the declared columns of an input table, whole."""

    def batches(self, name: str, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Stream the declared columns of an input table in batches of at most `rows` rows, in order."""

    def rows(self, name: str) -> int:
        """Return the number of rows of an input table."""

    def file(self, name: str) -> Path:
        """Return the path of an input file: one written by an earlier stage, or an external source."""

    def sources(self, name: str) -> list[Path]:
        """Return the external files (input data, encoder weights) declared under `name`; none if there are none."""

    def earlier(self) -> Sequence[EarlierResult]:
        """Return what this stage made of other inputs, newest first.

        A stage may take rows from there that it would make again, bit for bit, and must make the same tables without.
        """

    def continued(self) -> Predecessor | None:
        """Return the earlier result that this one goes on from; None if it is to be made anew.

        What the stage makes may depend on its mode and the files it declares (`Stage.continues`), which are part of the
        recipe, and on which run has it in notes alone.
        """


class Outputs(Protocol):
    """Where a stage writes. Nothing written here is visible to anyone before the artefact is committed."""

    def write(self, name: str, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows to an output table; the schema must be the one `tables.py` declares."""

    def file(self, name: str) -> Path:
        """Return the path at which to write an output file that is not a table."""

    def scratch(self, name: str) -> Path:
        """Return a path for a temporary file, removed when the stage ends."""

    def reused(self, rows: int) -> None:
        """Say that so many of the rows written, of all tables, were taken from earlier results."""

    def figure(self, name: str, value: float) -> None:
        """Keep something that the stage measured of its result, for table `stages`."""


class Progress(Protocol):
    """A progress bar, or nothing."""

    def advance(self, amount: int = 1) -> None:
        """Say that `amount` more units are done."""


class Shelf(Protocol):
    """Pieces of work that a stage would make again bit for bit, from earlier runs; any of them may be gone."""

    def take(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the pieces that are there, by key."""

    def put(self, pieces: Mapping[bytes, bytes]) -> None:
        """Keep pieces, if there is room."""


class NoShelf:
    """A shelf with nothing on it, and no room."""

    def take(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return nothing."""
        return {}

    def put(self, pieces: Mapping[bytes, bytes]) -> None:
        """Keep nothing."""


@dataclass(frozen=True)
class Runtime:
    """How to compute, never what: nothing in here is part of a fingerprint.

    `progress(description, total)` is a context manager that yields a `Progress`; `note(text)` tells the user something
    about the result (a fallback taken, a guard that fired). Of all the shelves in a workspace there may be
    `shelf_bytes`. `engine` computes what a stage has cut into shards.
    """

    device: str
    batch_tokens: int
    progress: Callable[[str, int], AbstractContextManager[Progress]]
    note: Callable[[str], None]
    shelf_bytes: int = 0
    shelf: Shelf = field(default_factory=NoShelf)
    engine: Engine = field(default_factory=Here)


StageFunction = Callable[[Inputs, Any, Outputs, Runtime], None]


@dataclass(frozen=True)
class Continues:
    """How a stage goes on from an earlier result of its own (`fractal_core.store.continuing`).

    Attributes:
        what: the result in words.
        files: those of its files that it then reads.
        mode: how a configuration wants it; None if it wants a result made anew.
        alike: stages among those it reads from whose code, parameters and sources must be those of the earlier run, or
            what they make now could not be read as it was then.
        same: inputs whose content must be that of the earlier result.
    """

    what: str
    files: tuple[str, ...]
    mode: Callable[[RunConfig], str | None]
    alike: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A pure function from input artefacts and parameters to tables, described without importing it.

    Attributes:
        name: the stage's name on the command line, in `stages`, and in Prefect.
        function: "module:function", imported only when the stage must run.
        reads: "stage.table" -> the columns this stage may see. A change in any other column cannot make it stale.
        reads_if: "stage.table.column" -> whether a configuration asks for that column of `reads`; if it does not, the
            stage neither sees the column nor becomes stale by it. Columns not named here are always read.
        reads_files: "stage.file" for the files of earlier stages that this one reads.
        writes: the tables it writes.
        files: the other files it writes.
        params: the part of the configuration that can change its result.
        sources: external files whose content is an input, by name.
        libraries: distributions whose version can change its result.
        may_be_empty: tables that may have no rows although the stage had input.
        continues: how it goes on from an earlier result of its own, if it can.
        summary: one line for `fractal plan` and the documentation.
    """

    name: str
    function: str
    summary: str
    writes: tuple[str, ...]
    params: Callable[[RunConfig], BaseModel]
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reads_if: Mapping[str, Callable[[RunConfig], bool]] = field(default_factory=dict)
    reads_files: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    sources: Callable[[RunConfig], Mapping[str, list[Path]]] = field(default=lambda config: {})
    libraries: tuple[str, ...] = ()
    may_be_empty: tuple[str, ...] = ()
    continues: Continues | None = None

    @property
    def module(self) -> str:
        """The module that holds the stage's function."""
        return self.function.split(":")[0]

    @property
    def upstream(self) -> tuple[str, ...]:
        """Names of the stages this one reads from, in order of first mention."""
        names = [key.split(".")[0] for key in (*self.reads, *self.reads_files)]
        return tuple(dict.fromkeys(names))

    def reads_with(self, config: RunConfig) -> dict[str, tuple[str, ...]]:
        """Return `reads` under a configuration: without the columns that `reads_if` says it does not ask for."""
        unwanted = {column for column, asked in self.reads_if.items() if not asked(config)}
        return {
            table: tuple(column for column in columns if f"{table}.{column}" not in unwanted)
            for table, columns in self.reads.items()
        }

    def load(self) -> StageFunction:
        """Import and return the stage's function."""
        module, name = self.function.split(":")
        function: StageFunction = getattr(importlib.import_module(module), name)
        return function
