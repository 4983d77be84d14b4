"""Manifests: what was committed. Readers see exactly what a manifest lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fractal_core.store.canonical import read_sealed, sealed_json
from fractal_core.store.recipe import Recipe
from fractal_core.store.workspace import Workspace


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
    `rows_reused` of its rows were taken from earlier artefacts. `figures` are what the stage measured of its result.
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
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[FileEntry, ...]:
        """Every file of the artefact, tables first."""
        return (*self.tables.values(), *self.files.values())

    def entry(self, name: str) -> FileEntry:
        """Return a table's or another file's entry, by its name."""
        return self.tables.get(name) or self.files[name]

    def to_json(self) -> bytes:
        """Return the manifest as canonical JSON, sealed."""
        return sealed_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> Manifest:
        """Read a manifest; raises ValueError, KeyError or TypeError if it is not one, or not as it was written."""
        raw = read_sealed(content)
        recipe = Recipe(**raw.pop("recipe"))
        tables = {name: FileEntry(**entry) for name, entry in raw.pop("tables").items()}
        files = {name: FileEntry(**entry) for name, entry in raw.pop("files").items()}
        return cls(recipe=recipe, tables=tables, files=files, **raw)


def manifest_path(workspace: Workspace, stage: str, fingerprint: str) -> Path:
    """Return where the manifest of an artefact lies once it is committed."""
    return workspace.manifests / f"{stage}-{fingerprint}.json"


def read_manifest(path: Path) -> tuple[Manifest | None, str]:
    """Return the manifest at `path`, or None and in words what is wrong with it (nothing if there is none)."""
    try:
        return Manifest.from_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{path} is damaged ({type(error).__name__}: {' '.join(str(error).split())})"
