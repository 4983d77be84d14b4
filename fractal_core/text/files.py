"""Which files of a path hold responses, and in which format."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from fractal_core.errors import InputError
from fractal_core.text.splits import SPLIT_NAMES, SPLITS

TEXT_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
BINARY_FORMATS = {".parquet": "parquet", ".arrow": "arrow"}
KNOWN_SUFFIXES = (*TEXT_FORMATS, *(f"{suffix}.gz" for suffix in TEXT_FORMATS), *BINARY_FORMATS)


_SPLIT_NAME = re.compile(r"(train|dev|val|valid|validation|test)(-\d+-of-\d+)?\.", re.IGNORECASE)


class InputFile(NamedTuple):
    """A file with responses: where it is, what it is called in tables and messages, and the split its name says."""

    path: Path
    source: str
    split: str


class Format(NamedTuple):
    """How a file is to be read: "jsonl", "csv", "tsv", "parquet" or "arrow", and whether it is gzipped."""

    name: str
    gzipped: bool


def file_format(path: Path) -> Format:
    """Return the format that a file's suffix says.

    Raises:
        InputError: if the suffix is unknown; the message lists the known ones.
    """
    found = _known_format(path.name)
    if found is None:
        raise InputError(f"Cannot tell the format of {path}: its name must end in one of {', '.join(KNOWN_SUFFIXES)}.")
    return found


def _known_format(name: str) -> Format | None:
    stem, suffix = os.path.splitext(name.lower())
    if suffix == ".gz":
        inner = os.path.splitext(stem)[1]
        return Format(TEXT_FORMATS[inner], True) if inner in TEXT_FORMATS else None
    plain = (TEXT_FORMATS | BINARY_FORMATS).get(suffix)
    return Format(plain, False) if plain else None


def input_files(paths: list[Path], exported: Path | None = None) -> list[Path]:
    """Expand files and folders into the sorted list of data files, each once.

    In folders, files of other suffixes and names that begin with "_" or "." are skipped; a file named outright is not.

    Args:
        paths: files and folders.
        exported: the file that runs write, which is no input if it lies in one of the folders.

    Raises:
        InputError: if a path does not exist, a folder has no data files, or the suffix of a named file is unknown.
    """
    found: set[Path] = set()
    for given in paths:
        # Not resolve(): a link may have the suffix that its target lacks, as in a hub cache.
        path = Path(os.path.abspath(given))
        if path.is_dir():
            inside = [file for file in _data_files(path) if exported is None or file != Path(os.path.abspath(exported))]
            if not inside:
                raise InputError(
                    f"No data files in the folder {path}: none of its files ends in {', '.join(KNOWN_SUFFIXES)}."
                )
            found.update(inside)
        elif path.exists():
            file_format(path)
            found.add(path)
        else:
            raise InputError(f"There is no file or folder {path}{_suggestion(path)}.")
    return sorted(found)


def files_by_split(files: list[Path]) -> dict[str, list[Path]]:
    """Group files by the split that their names say: train.jsonl, dev.csv.gz, test-00000-of-00002.parquet.

    Returns:
        Split -> files, "" for those without. Names count only if they say train and at least one other split: a lone
        train.jsonl is all the data there is, to be split like any other.
    """
    groups: dict[str, list[Path]] = {}
    for path in files:
        found = _SPLIT_NAME.match(path.name)
        groups.setdefault(SPLIT_NAMES[found[1].lower()] if found else "", []).append(path)
    named = groups.keys() - {""}
    return groups if "train" in named and len(named) > 1 else {"": files}


def _source(split: str, kind: Format) -> str:
    return ".".join(("input", *([split] if split else []), kind.name, *(["gz"] if kind.gzipped else [])))


# Names under which stage read declares its input files -> the split that the files' names say, "" if they say none.
SOURCE_SPLITS = {
    _source(split, Format(name, gzipped)): split
    for split in ("", *SPLITS)
    for name in (*TEXT_FORMATS.values(), *BINARY_FORMATS.values())
    for gzipped in (False, True)
}


def input_sources(files: list[Path]) -> dict[str, list[Path]]:
    """Group files by all that their names say of their content, split and format, as names of `SOURCE_SPLITS`."""
    sources: dict[str, list[Path]] = {}
    for split, paths in files_by_split(files).items():
        for path in paths:
            sources.setdefault(_source(split, file_format(path)), []).append(path)
    return dict(sorted(sources.items()))


def _data_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            # A workspace is fractal's own output, not input.
            if not name.startswith(("_", ".")) and not Path(parent, name, "workspace.json").is_file()
        ]
        for name in names:
            # cache-*.arrow: what `datasets` left of earlier transformations, the same rows again.
            cached = name.startswith("cache-") and name.endswith(".arrow")
            if not name.startswith(("_", ".")) and not cached and _known_format(name) is not None:
                yield Path(parent, name)


def _suggestion(path: Path) -> str:
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}"
    names = [each for each in sorted(os.listdir(path.parent)) if _known_format(each) or (path.parent / each).is_dir()]
    # Without suffixes, which make any two files of one format alike.
    alike = [each for each in names if get_close_matches(_stem(path.name), [_stem(each)], cutoff=0.75)]
    near = get_close_matches(path.name, alike, n=1, cutoff=0.0)
    return f"; did you mean {path.parent / near[0]}" if near else f": the folder {path.parent} has nothing like it"


def _stem(name: str) -> str:
    return name.lower().split(".")[0]


def source_names(files: list[Path]) -> dict[Path, str]:
    """Return the name of each file relative to the folder all of them share; of a single file, its own name."""
    if not files:
        return {}
    common = os.path.commonpath([os.path.abspath(file.parent) for file in files])
    return {file: Path(os.path.relpath(os.path.abspath(file), common)).as_posix() for file in files}
