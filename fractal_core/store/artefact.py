"""Committed artefacts: reading the tables and files that the manifest lists, or saying how they are damaged."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fractal_core.errors import StoreError
from fractal_core.store.manifest import Manifest, manifest_path, read_manifest
from fractal_core.store.verifying import has_content, is_content
from fractal_core.store.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa


class DamagedArtefactError(StoreError):
    """An artefact is damaged; it has been withdrawn, so that stage `origin` will be computed again."""

    def __init__(self, damage: str, origin: str, doing: str = "") -> None:
        """Say what is damaged, which stage made it, and what could not be done (the start of the sentence)."""
        super().__init__(f"{doing}{damage}; run again, and stage {origin} computes it anew.")
        self.damage = damage
        self.origin = origin


@dataclass(frozen=True)
class Artefact:
    """A committed result of a stage."""

    workspace: Workspace
    fingerprint: str
    manifest: Manifest

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return self.manifest.recipe.stage

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.workspace.artefacts / self.manifest.folder

    @property
    def rows_out(self) -> dict[str, int]:
        """Rows of each table."""
        return {name: entry.rows or 0 for name, entry in self.manifest.tables.items()}

    def path(self, name: str) -> Path:
        """Return the path of a table's Parquet file or of another file, by its name."""
        return self.folder / self.manifest.entry(name).name

    def input_digests(self, name: str, columns: tuple[str, ...]) -> dict[str, str]:
        """Return "name.column" -> content digest for the columns of a table that a stage reads."""
        entry = self.manifest.tables[name]
        return {f"{name}.{column}": entry.columns[column] for column in columns}

    def damage(self, *, deep: bool = False) -> str | None:
        """Say which file is missing, of the wrong size or (deep) of the wrong content; None if it is whole."""
        if self.manifest.withdrawn:
            return self.manifest.withdrawn
        for entry in self.manifest.entries:
            path = self.folder / entry.name
            if not path.is_file():
                return f"{path} is missing"
            size = path.stat().st_size
            if size != entry.bytes:
                return f"{path} has {size} bytes, its manifest says {entry.bytes}"
            if deep and (damage := _content_damage(path, entry.sha256, is_content)):
                return damage
        return None

    def damage_of(self, name: str) -> str | None:
        """Say what is wrong with the artefact or the content of one of its tables or files; None if it is whole.

        A content is read once in a process, unless the file is written again.
        """
        return self.damage() or _content_damage(self.path(name), self.manifest.entry(name).sha256, has_content)

    def withdraw(self, damage: str) -> None:
        """Mark the artefact as damaged, so that no reader uses it and the next run computes it again.

        Missing files and wrong sizes are seen by everyone and need no mark. The files stay where they are: who has them
        open reads on. An artefact computed anew meanwhile is left alone.
        """
        current = find_artefact(self.workspace, self.stage, self.fingerprint)
        if current is not None and current.manifest == self.manifest and self.damage() is None:
            path = manifest_path(self.workspace, self.stage, self.fingerprint)
            with suppress(OSError):  # where nothing can be written, whoever reads the content finds it again
                self.workspace.write_file(path, replace(self.manifest, withdrawn=damage).to_json())

    def withdrawn(self, damage: str, doing: str = "") -> DamagedArtefactError:
        """Withdraw the artefact and return the error that says so; `doing` is the start of its sentence."""
        self.withdraw(damage)
        return DamagedArtefactError(damage, self.stage, doing)

    def check(self, name: str, doing: str = "") -> None:
        """Make sure that a table or file has the content it was written with, as `damage_of` does.

        Args:
            name: of the table or file.
            doing: what cannot be done otherwise, for the message: "Stage train cannot use its input: ".

        Raises:
            DamagedArtefactError: if it has not; the artefact has been withdrawn then.
        """
        damage = self.damage_of(name)
        if damage:
            raise self.withdrawn(damage, doing)

    def table(self, name: str, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Read a table, or some columns of it in the order asked for; raises DamagedArtefactError."""
        import pyarrow.parquet as pq

        with self._reading(name) as path:
            chosen = None if columns is None else list(columns)
            return pq.read_table(path, columns=chosen, memory_map=True, page_checksum_verification=True)

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table in batches of at most `rows` rows, in order; raises DamagedArtefactError."""
        import pyarrow.parquet as pq

        with self._reading(name) as path:
            # Mapped or buffered ahead, a whole file would be resident in the end.
            file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
        with file:
            batches = file.iter_batches(batch_size=rows, columns=list(columns))
            while True:
                with self._open(path):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch.select(list(columns))

    def group_rows(self, name: str) -> list[int]:
        """Return the rows of each row group of a table; raises DamagedArtefactError."""
        import pyarrow.parquet as pq

        with self._reading(name) as path:
            metadata = pq.read_metadata(path)
            return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def group(self, name: str, columns: tuple[str, ...], number: int) -> pa.Table:
        """Read columns of one row group of a table; raises DamagedArtefactError."""
        import pyarrow.parquet as pq

        with (
            self._reading(name) as path,
            pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file,
        ):
            return file.read_row_group(number, columns=list(columns)).select(list(columns))

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        """Let a table be read if it has the content it was written with.

        The pages of a Parquet file have checksums, its footer has none: a bit flipped there gives other rows, or any
        error.
        """
        self.check(name)
        with self._open(path := self.path(name)):
            yield path

    @contextmanager
    def _open(self, path: Path) -> Iterator[None]:
        """Turn what pyarrow says of a file that was damaged after it was checked into a sentence."""
        try:
            yield
        except Exception as error:
            damage = self.damage(deep=True)
            if damage:
                raise self.withdrawn(damage) from error
            if isinstance(error, (OSError, ValueError)):
                raise StoreError(
                    f"{path} cannot be read ({' '.join(str(error).split())}), though its content is as it was written; "
                    "mend that and run again."
                ) from error
            raise


def find_artefact(workspace: Workspace, stage: str, fingerprint: str) -> Artefact | None:
    """Return the committed artefact with this fingerprint, whole or damaged; None also if the manifest is damaged."""
    manifest, _ = read_manifest(manifest_path(workspace, stage, fingerprint))
    return None if manifest is None else Artefact(workspace, fingerprint, manifest)


def find_whole(workspace: Workspace, stage: str, fingerprint: str) -> tuple[Artefact | None, str]:
    """Return the committed artefact if it is there and no damage is seen without reading it.

    Returns:
        The artefact, and nothing; or None, and in words what is wrong with it: nothing if there is none.
    """
    manifest, damage = read_manifest(manifest_path(workspace, stage, fingerprint))
    if manifest is None:
        return None, damage
    artefact = Artefact(workspace, fingerprint, manifest)
    damage = artefact.damage() or ""
    return (None, damage) if damage else (artefact, "")


def _content_damage(path: Path, sha256: str, has_content: Callable[[Path, str], bool]) -> str | None:
    """Say what is wrong with the content of a file, as `has_content` sees it; None if nothing is."""
    try:
        return None if has_content(path, sha256) else f"{path} has other content than its manifest says"
    except OSError as error:
        # A sector that cannot be read, or the file went this moment. What is forbidden is not damaged.
        if error.errno not in (errno.EIO, errno.ENOENT):
            raise
        return f"{path} cannot be read ({error.strerror})"
