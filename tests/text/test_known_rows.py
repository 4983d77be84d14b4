"""Tests of rows that an earlier result has read: they are not judged again, and the result is that of a clean read."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_rows import Row, simple, write

from fractal_core.errors import InputError
from fractal_core.text import gathered, spooling
from fractal_core.text.known import INDEX_FILE, REPEATED_FILE
from fractal_core.text.rows import raw_rows

Read = Any

PREFERENCES = {"label_kind": "preference", "aggregation": "auto"}
SPLITS = {"dev_fraction": 0.2, "test_fraction": 0.2}


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The rows that were judged, as they are in the files."""
    seen: list[str] = []
    validate = spooling.validate

    def spy(values: Any, row: Any, *rest: Any) -> Any:
        seen.append(row.raw)
        return validate(values, row, *rest)

    monkeypatch.setattr(spooling, "validate", spy)
    return seen


def check_clean(result: Any, clean: Any) -> None:
    """Tables, files and notes are those of a read that knew nothing."""
    for name in ("responses", "rejects"):
        assert result.table(name).equals(clean.table(name))
    for name in (INDEX_FILE, REPEATED_FILE):
        assert result.path(name).read_bytes() == clean.path(name).read_bytes()
    assert result.runtime.notes == clean.runtime.notes
    assert clean.rows_reused == 0


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
def test_new_rows_alone_are_judged(name: str, tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """Appended, inserted and edited rows are; a row that has another line or neighbour now is not."""
    rows = simple(9, query="q", sentences=["Text"])
    first = read_files(write(tmp_path / name, rows), **SPLITS)
    assert (len(judged), first.computed) == (9, 9)
    rows[4] = rows[4] | {"response": "Text, other."}
    rows.insert(2, rows[0] | {"id": "inserted"})
    rows.append(rows[0] | {"id": "appended"})
    judged.clear()
    result = read_files(write(tmp_path / name, rows), earlier=[first], **SPLITS)
    assert [[word for word in ("inserted", "other", "appended") if word in raw] for raw in judged] == [
        ["inserted"], ["other"], ["appended"],
    ]  # fmt: skip
    assert (result.computed, result.rows_reused) == (3, 8)
    check_clean(result, read_files(tmp_path / name, **SPLITS))


def test_a_deleted_row_is_gone(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """Nothing is judged, and neither table nor index knows the row."""
    rows = simple(6)
    first = read_files(write(tmp_path / "x.jsonl", rows))
    judged.clear()
    result = read_files(write(tmp_path / "x.jsonl", rows[1:]), earlier=[first])
    assert (judged, result.computed) == ([], 0)
    assert [row["response_id"] for row in result.rows("responses")] == [row["id"] for row in rows[1:]]
    assert pq.read_metadata(result.path(INDEX_FILE)).num_rows == 5


def test_other_files_and_formats(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """A row keeps what was made of it in another file of its format; places are those of now."""
    rows = simple(8)
    first = read_files(write(tmp_path / "x.jsonl", rows))
    judged.clear()
    write(tmp_path / "parts" / "z.jsonl", rows[:3])
    write(tmp_path / "parts" / "a.ndjson", rows[:2:-1])
    result = read_files(tmp_path / "parts", earlier=[first])
    assert (judged, result.computed) == ([], 0)
    assert [(row["source"], row["line"]) for row in result.rows("responses")] == [
        ("z.jsonl", 1), ("z.jsonl", 2), ("z.jsonl", 3), *(("a.ndjson", line) for line in (5, 4, 3, 2, 1)),
    ]  # fmt: skip
    write(tmp_path / "x.csv", rows)
    assert read_files(tmp_path / "x.csv", earlier=[first]).computed == 8


def test_bad_rows_are_known_too(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """Of every kind of fault, also several times in a file; their lines are those of now."""
    bad = ["not json", simple(1)[0] | {"response_label": 7}, '{"id": "\\ud800", "response": "x"}', "not json"]
    first = read_files(write(tmp_path / "x.jsonl", [*simple(4), *bad]))
    judged.clear()
    result = read_files(write(tmp_path / "x.jsonl", [*bad, *simple(6)[1:]]), earlier=[first])
    assert [json.loads(raw)["id"] for raw in judged] == ["r004", "r005"]
    assert [(row["line"], row["reason"]) for row in result.rows("rejects")] == [
        (1, "not valid JSON"), (2, "label outside its range"), (3, "text is not UTF-8"), (4, "not valid JSON"),
    ]  # fmt: skip
    check_clean(result, read_files(tmp_path / "x.jsonl"))


def test_damaged_csv_is_known_by_its_fault(tmp_path: Path, read_files: Read) -> None:
    """What is wrong with a line whose quote is open lies in the lines after it."""
    head = "id,response,response_label\na,One,1\nb,Two,0\n"
    (tmp_path / "x.csv").write_text(head + '"c,Three,1\nd,Four,1\n')
    first = read_files(tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text(head + '"c,Three,1\ne,Fi"ve,1\n')
    result = read_files(tmp_path / "x.csv", earlier=[first])
    assert [row["detail"] for row in result.rows("rejects")] != [row["detail"] for row in first.rows("rejects")]
    check_clean(result, read_files(tmp_path / "x.csv"))
    (tmp_path / "x.csv").write_text(head + '"c,Three,1\nd,Four,1\nz,Last,0\n')
    assert read_files(tmp_path / "x.csv", earlier=[first]).computed == 1


def test_repeated_ids_are_found_among_known_rows(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """A row whose id another has stays known, and so it is when the other is gone, or a third one comes."""
    rows = simple(4)
    again = rows[1] | {"response": "Again."}
    first = read_files(write(tmp_path / "x.jsonl", [*rows, again, again]))
    assert [row["detail"] for row in first.rows("rejects")] == [
        "r001 is at x.jsonl:2 and again at x.jsonl:5", "r001 is at x.jsonl:2 and again at x.jsonl:6",
    ]  # fmt: skip
    judged.clear()
    second = read_files(write(tmp_path / "x.jsonl", [*rows, again, again, rows[1]]), earlier=[first])
    assert (judged, second.computed) == ([], 0)
    assert json.loads(second.rows("rejects")[2]["raw"]) == rows[1]
    check_clean(second, read_files(tmp_path / "x.jsonl"))
    judged.clear()
    third = read_files(write(tmp_path / "x.jsonl", [rows[0], again, *rows[2:]]), earlier=[second, first])
    assert (judged, third.computed) == ([], 0)
    assert third.rows("responses")[1]["response"] == "Again."
    check_clean(third, read_files(tmp_path / "x.jsonl"))


def test_pairs(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """Both texts of a known pair are taken, also where another pair's id sorts between them."""
    pairs = [
        {"id": name, "response_a": f"A {name}.", "response_b": f"B {name}.", "preference": i % 3}
        for i, name in enumerate(["p", "p#a", "q", "p"])
    ]
    first = read_files(write(tmp_path / "x.jsonl", pairs), **PREFERENCES)
    judged.clear()
    pairs.insert(0, pairs[0] | {"id": "new"})
    result = read_files(write(tmp_path / "x.jsonl", pairs), earlier=[first], **PREFERENCES)
    assert (len(judged), result.computed) == (1, 2)
    check_clean(result, read_files(tmp_path / "x.jsonl", **PREFERENCES))


def test_split_and_group_are_those_of_now(tmp_path: Path, read_files: Read) -> None:
    """The split that a file's name says, and that of a hash, are decided anew for known rows."""
    rows = simple(40)
    rows[0]["split"] = "dev"
    first = read_files(write(tmp_path / "train.jsonl", rows), **SPLITS)
    assert {row["split"] for row in first.rows("responses")} == {"train", "dev", "test"}
    write(tmp_path / "test.jsonl", [simple(41)[-1]])
    second = read_files(tmp_path, earlier=[first], **SPLITS)
    assert [row["split"] for row in second.rows("responses")] == ["dev", *["train"] * 39, "test"]
    assert second.computed == 1
    (tmp_path / "test.jsonl").rename(tmp_path / "more.jsonl")
    third = read_files(tmp_path, earlier=[second], **SPLITS)
    assert third.computed == 0
    check_clean(third, read_files(tmp_path, **SPLITS))
    assert [row["split"] for row in third.rows("responses")][:40] == [row["split"] for row in first.rows("responses")]


def test_the_newest_of_several_results(tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """Rows come from several earlier results, whichever has them."""
    rows = simple(12)
    parts = [read_files(write(tmp_path / "x.jsonl", rows[i : i + 6])) for i in (0, 3, 6)]
    judged.clear()
    result = read_files(write(tmp_path / "x.jsonl", rows), earlier=parts)
    assert (judged, result.rows_reused) == ([], 12)
    check_clean(result, read_files(tmp_path / "x.jsonl"))


def test_values_that_look_alike(tmp_path: Path, read_files: Read) -> None:
    """Text and numbers of Parquet, and cells under another header, are different rows."""
    labels = {"number": pa.array([Decimal(0), Decimal(1)]), "text": pa.array(["0", "1"])}
    found = []
    for values in labels.values():
        pq.write_table(
            pa.table({"id": ["a", "b"], "response": ["x", "y"], "response_label": values}), tmp_path / "x.parquet"
        )
        found.append([row.raw for row in raw_rows(tmp_path / "x.parquet", "", ["response_label"], lambda _: None)])
    assert found[0] == found[1]
    write(tmp_path / "x.parquet", [row | {"response_label": row["response_label"]} for row in simple(2)])
    pq.write_table(
        pa.table({"id": ["a", "b"], "response": ["x", "y"], "response_label": labels["number"]}), tmp_path / "x.parquet"
    )
    first = read_files(tmp_path / "x.parquet")
    mixed = pa.table({"id": ["a", "c"], "response": ["x", "y"], "response_label": labels["text"]})
    pq.write_table(mixed, tmp_path / "texts.parquet")
    result = read_files(tmp_path, earlier=[first])
    assert [row["reason"] for row in result.rows("rejects")] == ["label is not a number"] * 2
    (tmp_path / "a.csv").write_text("id,response,query,response_label\na,One,Two,1\nb,x,y,0\n")
    (tmp_path / "b.csv").write_text("id,query,response,response_label\na,One,Two,1\nb,x,y,0\n")
    one, other = (read_files(tmp_path / f"{name}.csv") for name in "ab")
    swapped = read_files(tmp_path / "b.csv", earlier=[one])
    assert swapped.computed == 2
    check_clean(swapped, other)


@pytest.mark.parametrize("late", [False, True])
def test_columns_are_looked_for_in_known_rows(late: bool, tmp_path: Path, read_files: Read, judged: list[str]) -> None:
    """A column of some rows may be that of known ones alone; if no row has it, the error is that of a clean read."""
    plain = [{"id": f"p{i}", "response": "x"} for i in range(3)]
    labelled = simple(2)
    rows = [*plain, *labelled] if late else [*labelled, *plain]
    first = read_files(write(tmp_path / "x.jsonl", rows))
    judged.clear()
    bare = {"id": "new", "response": "y"}
    assert read_files(write(tmp_path / "x.jsonl", [bare, *rows]), earlier=[first]).computed == len(judged) == 1
    for left in ([bare | {"mark_label": 1}, *plain], plain):
        write(tmp_path / "x.jsonl", left)
        with pytest.raises(InputError) as clean:
            read_files(tmp_path / "x.jsonl")
        with pytest.raises(InputError) as known:
            read_files(tmp_path / "x.jsonl", earlier=[first])
        assert str(known.value) == str(clean.value)
        assert 'no column "response_label", only "id", "response"' in str(known.value)


def test_faults_of_the_whole_input_are_seen(tmp_path: Path, read_files: Read) -> None:
    """Too many bad rows, and labels that teach nothing, stop a read that has nothing to judge."""
    rows = simple(6)
    first = read_files(write(tmp_path / "x.jsonl", [*rows, rows[0], rows[0]]))
    write(tmp_path / "x.jsonl", [*rows[:3], rows[0], rows[0]])
    with pytest.raises(InputError, match=r"Too many bad rows, 2 of 5 .* duplicate id \(2, first at x.jsonl:4: r000 is"):
        read_files(tmp_path / "x.jsonl", earlier=[first], max_reject_fraction=0.3)
    with pytest.raises(InputError, match=r"Every labelled response in train \(3\) has the same label, 0"):
        read_files(write(tmp_path / "x.jsonl", rows[::2]), earlier=[first])


_TEXTS = st.sampled_from(["One. Two.", "Three.", ""])
_ROWS = st.builds(
    lambda name, response, label, split: {
        "id": name, "response": response, "response_label": label, **({"split": split} if split else {}),
    },
    st.sampled_from(["a", "b", "c", "d"]), _TEXTS, st.sampled_from([0, 1, 7]), st.sampled_from(["", "train", "x"]),
)  # fmt: skip
_FILES = st.dictionaries(
    st.sampled_from(["train.jsonl", "test.jsonl", "z.jsonl", "y.csv", "sub/z.jsonl"]),
    st.lists(_ROWS, min_size=1, max_size=6),
    max_size=3,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_FILES, min_size=2, max_size=3))
def test_any_edits_give_what_a_clean_read_gives(
    steps: list[dict[str, list[Row]]], tmp_path_factory: Any, read_files: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever files come, go and change, with repeated ids and bad rows: the same bytes, and only new rows judged."""
    monkeypatch.setattr(gathered, "OUTPUT_ROWS", 5)
    earlier: list[Any] = []
    for files in steps:
        folder = tmp_path_factory.mktemp("step")
        write(folder / "base.jsonl", simple(4, split="train"))
        for name, rows in files.items():
            blank = {"id": "", "response": "", "response_label": "", "split": ""}
            write(folder / name, [blank | row for row in rows] if name.endswith("csv") else rows)
        result = read_files(folder, earlier=earlier, **SPLITS)
        check_clean(result, read_files(folder, **SPLITS))
        if earlier:
            assert result.rows_reused >= 4
        earlier.insert(0, result)
    again = read_files(folder, earlier=earlier, **SPLITS)
    assert again.computed == 0
