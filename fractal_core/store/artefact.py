"""Committed artefacts: the manifest, and reading the tables and files that it lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fractal_core.errors import StoreError
from fractal_core.store.canonical import canonical_json, file_digest
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
    """What was committed: readers see exactly this."""

    recipe: Recipe
    folder: str
    generation: int
    tables: Mapping[str, FileEntry]
    files: Mapping[str, FileEntry]
    rows_in: int
    seconds: float
    created: str
    notes: list[str]

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest; raises ValueError, KeyError or TypeError if it is not one."""
        raw: dict[str, Any] = json.loads(content)
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

    def table(self, name: str, columns: tuple[str, ...] | None = None) -> pa.Table:
        """Read a table, or some columns of it in the order asked for."""
        import pyarrow.parquet as pq

        path = self.path(name)
        try:
            return pq.read_table(path, columns=None if columns is None else list(columns), memory_map=True)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); run `fractal doctor --deep` and run again.") from error

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table in batches of at most `rows` rows, in order."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path(name), memory_map=True) as file:
            for batch in file.iter_batches(batch_size=rows, columns=list(columns)):
                yield batch.select(list(columns))


def manifest_path(workspace: Workspace, stage: str, fingerprint: str) -> Path:
    """Return where the manifest of an artefact lies once it is committed."""
    return workspace.manifests / f"{stage}-{fingerprint}.json"


def find_artefact(workspace: Workspace, stage: str, fingerprint: str) -> Artefact | None:
    """Return the committed artefact with this fingerprint, whole or damaged; None also if the manifest is damaged."""
    try:
        manifest = Manifest.from_json(manifest_path(workspace, stage, fingerprint).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Artefact(workspace, fingerprint, manifest)
