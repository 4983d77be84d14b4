"""Tests of finding input files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fractal_core.errors import InputError
from fractal_core.text.files import SOURCE_SPLITS, file_format, files_by_split, input_files, input_sources, source_names


def touch(folder: Path, *names: str) -> None:
    """Create empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", ("jsonl", False)),
        ("a.ndjson.gz", ("jsonl", True)),
        ("A.CSV", ("csv", False)),
        ("a.b.tsv.gz", ("tsv", True)),
        ("a.parquet", ("parquet", False)),
        ("a.arrow", ("arrow", False)),
    ],
)
def test_file_format(name: str, expected: tuple[str, bool]) -> None:
    """The suffix says the format, whatever its case."""
    assert file_format(Path(name)) == expected


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.gz", "a.parquet.gz", "jsonl"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    """A file of unknown suffix is an error that lists the known ones."""
    touch(tmp_path, name)
    with pytest.raises(InputError, match=re.escape(".jsonl, .ndjson, .csv, .tsv, .jsonl.gz")):
        input_files([tmp_path / name])


def test_folders_are_searched(tmp_path: Path) -> None:
    """Folders are expanded recursively and sorted; hidden, private, cached and other files are left out."""
    touch(tmp_path, "b/x.csv", "a.jsonl", "b/README.md", ".hidden.jsonl", "_tmp/a.jsonl", "b/_SUCCESS", "b/_y.csv")
    touch(tmp_path, ".git/a.jsonl", "hf/data-00000-of-00001.arrow", "hf/cache-1f.arrow", "hf/state.json")
    expected = ["a.jsonl", "b/x.csv", "hf/data-00000-of-00001.arrow"]
    assert input_files([tmp_path]) == [tmp_path / name for name in expected]


def test_named_outright(tmp_path: Path) -> None:
    """A file that is named is taken even if its name begins with an underscore, and once if it is named twice."""
    touch(tmp_path, "_a.jsonl", "b.jsonl")
    given = [tmp_path / "b.jsonl", tmp_path / "_a.jsonl", tmp_path, tmp_path / "." / "b.jsonl"]
    assert input_files(given) == [tmp_path / "_a.jsonl", tmp_path / "b.jsonl"]


def test_missing_path(tmp_path: Path) -> None:
    """A path that does not exist is named, with the nearest name beside it."""
    touch(tmp_path, "train.jsonl", "other.csv")
    with pytest.raises(InputError, match=rf"{re.escape(str(tmp_path))}/trian\.jsonl; did you mean .*/train\.jsonl"):
        input_files([tmp_path / "trian.jsonl"])
    touch(tmp_path, "note.md", "rows.json")
    for name in ("zzz", "note.csv", "rows.jsonl"):
        with pytest.raises(InputError, match="has nothing like it"):
            input_files([tmp_path / name])
    (tmp_path / "answers").mkdir()
    with pytest.raises(InputError, match="did you mean .*/answers"):
        input_files([tmp_path / "answer"])
    with pytest.raises(InputError, match=r"nor a folder .*/none"):
        input_files([tmp_path / "none" / "a.jsonl"])


def test_folder_without_data(tmp_path: Path) -> None:
    """A folder without data files is an error."""
    touch(tmp_path, "README.md")
    with pytest.raises(InputError, match="No data files in the folder"):
        input_files([tmp_path])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["d/a.jsonl"], ["a.jsonl"]),
        (["d/a.jsonl", "d/b.csv"], ["a.jsonl", "b.csv"]),
        (["d/x/a.jsonl", "d/y/a.jsonl"], ["x/a.jsonl", "y/a.jsonl"]),
        ([], []),
    ],
)
def test_source_names(names: list[str], expected: list[str], tmp_path: Path) -> None:
    """Sources are named relative to the folder they share."""
    assert list(source_names([tmp_path / name for name in names]).values()) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train.jsonl", "dev.csv.gz", "test.jsonl"], {"train": 1, "dev": 1, "test": 1}),
        (
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation.parquet"],
            {"train": 2, "dev": 1},
        ),
        (["train.jsonl", "test.jsonl", "extra.jsonl"], {"train": 1, "test": 1, "": 1}),
        (["train.jsonl"], {"": 1}),
        (["dev.jsonl", "test.jsonl"], {"": 2}),
        (["trained.jsonl", "test_results.jsonl", "a.jsonl"], {"": 3}),
    ],
)
def test_files_by_split(names: list[str], expected: dict[str, int]) -> None:
    """File names say the split only if they say train and another one."""
    groups = files_by_split([Path("folder", name) for name in names])
    assert {split: len(files) for split, files in groups.items()} == expected


def test_input_sources() -> None:
    """Files are grouped by split and format, under names that say the split again."""
    names = ["train.jsonl", "train-00001-of-00002.csv", "x/test.tsv.gz", "a.ndjson", "b.jsonl", "c.arrow"]
    groups = input_sources([Path(name) for name in names])
    assert {name: [str(file) for file in files] for name, files in groups.items()} == {
        "input.arrow": ["c.arrow"],
        "input.jsonl": ["a.ndjson", "b.jsonl"],
        "input.test.tsv.gz": ["x/test.tsv.gz"],
        "input.train.csv": ["train-00001-of-00002.csv"],
        "input.train.jsonl": ["train.jsonl"],
    }
    assert [SOURCE_SPLITS[name] for name in groups] == ["", "", "test", "train", "train"]


@pytest.mark.parametrize("folder", ["data", "data/out", "out"])
def test_what_a_run_exports_is_no_input(folder: str, tmp_path: Path) -> None:
    """The exported file alone is left out of the folders that are searched; named outright it is taken."""
    touch(tmp_path, "data/a.jsonl", "data/out/b.jsonl", "data/labels.parquet", "data/out/labels.parquet")
    exported = tmp_path / folder / "labels.parquet"
    everything = {*(tmp_path / "data").rglob("*.*")}
    assert {*input_files([tmp_path / "data"], exported)} == everything - {exported}
    if exported in everything:
        assert input_files([exported], exported) == [exported]
