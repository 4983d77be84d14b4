"""Committed artefacts: the manifest, and reading the tables and files that it lists, or saying how they are damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fractal_core.errors import StoreError
from fractal_core.store.canonical import canonical_json, digest, file_digest
from fractal_core.store.recipe import Recipe
from fractal_core.store.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FileEntry:
    """A file of an artefact: its name, size in bytes and SHA-256; for a table also its rows and column digests."""

    name: str
    bytes: int
    sha256: str
    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What was committed: readers see exactly this.

    `withdrawn` says what was found wrong with its files by reading them; such an artefact is computed again.
    `rows_reused` of its rows were taken from earlier artefacts.
    """

    recipe: Recipe
    folder: str
    generation: int
    tables: Mapping[str, FileEntry]
    files: Mapping[str, FileEntry]
    rows_in: int
    seconds: float
    created: str
    notes: list[str]
    withdrawn: str = ""
    rows_reused: int = 0

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON, with the SHA-256 of all else in it."""
        values = asdict(self)
        return canonical_json({**values, "sha256": digest(canonical_json(values))})

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest; raises ValueError, KeyError or TypeError if it is not one, or not as it was written."""
        raw: dict[str, Any] = json.loads(content)
        # The first manifests had none. A damaged name of this key is an unknown key, and found below.
        expected = raw.pop("sha256", None)
        if expected is not None and digest(canonical_json(raw)) != expected:
            raise ValueError("its content is not what was written")
        recipe = Recipe(**raw.pop("recipe"))
        tables = {name: FileEntry(**entry) for name, entry in raw.pop("tables").items()}
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        return cls(recipe=recipe, tables=tables, files=files, **raw)


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
        entry = self.manifest.tables.get(name) or self.manifest.files[name]
        return self.folder / entry.name

    def input_digests(self, name: str, columns: tuple[str, ...]) -> dict[str, str]:
        """Return "name.column" -> content digest for the columns of a table that a stage reads."""
        entry = self.manifest.tables[name]
        return {f"{name}.{column}": entry.columns[column] for column in columns}

    def damage(self, *, deep: bool = False) -> str | None:
        """Say which file is missing, of the wrong size or (deep) of the wrong content; None if it is whole."""
        if self.manifest.withdrawn:
            return self.manifest.withdrawn
        for entry in (*self.manifest.tables.values(), *self.manifest.files.values()):
            path = self.folder / entry.name
            if not path.is_file():
                return f"{path} is missing"
            size = path.stat().st_size
            if size != entry.bytes:
                return f"{path} has {size} bytes, its manifest says {entry.bytes}"
            if deep and file_digest(path) != entry.sha256:
                return f"{path} has other content than its manifest says"
        return None

    def withdraw(self, damage: str) -> None:
        """Mark the artefact as damaged, so that no reader uses it and the next run computes it again.

        Missing files and wrong sizes are seen by everyone and need no mark. The files stay where they are: who has them
        open reads on. An artefact computed anew meanwhile is left alone.
        """
        current = find_artefact(self.workspace, self.stage, self.fingerprint)
        if current is not None and current.manifest == self.manifest and self.damage() is None:
            path = manifest_path(self.workspace, self.stage, self.fingerprint)
            self.workspace.write_file(path, replace(self.manifest, withdrawn=damage).to_json())

    def table(self, name: str, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Read a table, or some columns of it in the order asked for."""
        import pyarrow.parquet as pq

        path, chosen = self.path(name), None if columns is None else list(columns)
        with self._reading(path):
            return pq.read_table(path, columns=chosen, memory_map=True, page_checksum_verification=True)

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table in batches of at most `rows` rows, in order."""
        import pyarrow.parquet as pq

        path = self.path(name)
        with self._reading(path):
            file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        with file:
            batches = file.iter_batches(batch_size=rows, columns=list(columns))
            while True:
                with self._reading(path):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch.select(list(columns))

    def group_rows(self, name: str) -> list[int]:
        """Return the rows of each row group of a table."""
        import pyarrow.parquet as pq

        path = self.path(name)
        with self._reading(path):
            metadata = pq.read_metadata(path)
            return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def group(self, name: str, columns: tuple[str, ...], number: int) -> pa.Table:
        """Read columns of one row group of a table."""
        import pyarrow.parquet as pq

        path = self.path(name)
        with self._reading(path), pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
            return file.read_row_group(number, columns=list(columns)).select(list(columns))

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Turn what pyarrow says of a damaged file into a sentence, and withdraw the artefact if it is damaged."""
        try:
            yield
        except (OSError, ValueError) as error:
            damage = self.damage(deep=True)
            if damage is None:
                raise StoreError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
            self.withdraw(damage)
            raise StoreError(f"{damage}; run again, and stage {self.stage} computes it anew.") from error


def manifest_path(workspace: Workspace, stage: str, fingerprint: str) -> Path:
    """Return where the manifest of an artefact lies once it is committed."""
    return workspace.manifests / f"{stage}-{fingerprint}.json"


def find_artefact(workspace: Workspace, stage: str, fingerprint: str) -> Artefact | None:
    """Return the committed artefact with this fingerprint, whole or damaged; None also if the manifest is damaged."""
    manifest, _ = read_manifest(manifest_path(workspace, stage, fingerprint))
    return None if manifest is None else Artefact(workspace, fingerprint, manifest)


def read_manifest(path: Path) -> tuple[Manifest | None, str]:
    """Return the manifest at `path`, or None and in words what is wrong with it (nothing if there is none)."""
    try:
        return Manifest.from_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{path} is damaged ({type(error).__name__}: {' '.join(str(error).split())})"
