"""Reuse by row: units found by key in earlier tables, whatever their order and row groups."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.encode.opening import STATIC_FILE
from fractal_core.pipeline import stage_named
from fractal_core.reuse import KEYS_FILE, EarlierRows, KeyWriter, merged, unit_key


class Result:
    """An artefact of one table in a folder."""

    def __init__(self, folder, units, group_rows):
        """Write the rows of some units, {name: values}, in row groups of a given size."""
        folder.mkdir(parents=True)
        self.folder = folder
        rows = [(f"old {name}", value) for name, values in units.items() for value in values]
        ids, values = zip(*rows, strict=True) if rows else ((), ())
        table = pa.table({"response_id": pa.array(ids, pa.string()), "value": pa.array(values, pa.int64())})
        pq.write_table(table, folder / "things.parquet", row_group_size=group_rows)
        keys = KeyWriter(folder / KEYS_FILE)
        keys.add([unit_key(name) for name in units], map(len, units.values()))
        keys.close()

    def path(self, name):
        return self.folder / name

    def group_rows(self, name):
        metadata = pq.read_metadata(self.folder / f"{name}.parquet")
        return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def group(self, name, columns, number):
        return pq.ParquetFile(self.folder / f"{name}.parquet").read_row_group(number, columns=list(columns))


def rows_of(name):
    """What a unit is made into: as many rows as its number says."""
    return [10 * name + row for row in range(name % 4 + 1)]


@settings(max_examples=60)
@given(
    st.lists(st.sets(st.integers(0, 20)), max_size=3),
    st.lists(st.integers(0, 25), min_size=1, max_size=20),
    st.integers(1, 7),
)
def test_merged_rows_are_those_of_a_clean_run(tmp_path_factory, earlier, wanted, group_rows):
    """Known units from any of the artefacts, the others computed: the rows of all of them, in order."""
    root = tmp_path_factory.mktemp("earlier")
    results = [
        Result(root / str(number), {name: rows_of(name) for name in sorted(names, reverse=number % 2 == 1)}, group_rows)
        for number, names in enumerate(earlier)
    ]
    known = EarlierRows(results, "things", ["value"])
    there = set().union(*earlier)
    new = [name for name in wanted if name not in there]
    assert [unit_key(name) in known for name in wanted] == [name in there for name in wanted]
    computed = pa.table({"value": pa.array([value for name in new for value in rows_of(name)], pa.int64())})
    ids = pa.array([f"now {name}" for name in wanted])
    rows, counts = merged(ids, [unit_key(n) for n in wanted], known, computed, [len(rows_of(n)) for n in new])
    assert counts == [len(rows_of(name)) for name in wanted]
    assert rows.column_names == ["response_id", "value"]
    assert rows.column("value").to_pylist() == [value for name in wanted for value in rows_of(name)]
    assert rows.column("response_id").to_pylist() == [f"now {name}" for name in wanted for _ in rows_of(name)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", None), ("a", "null")),
        ((["a", "b"],), (["a,b"],)),
        (("1",), (1,)),
        ((), (None,)),
    ],
)
def test_keys_tell_units_apart(one, other):
    """Parts that look alike when put together have keys of their own; equal parts have the same."""
    assert unit_key(*one) != unit_key(*other)
    assert unit_key(*one) == unit_key(*one)
    assert len(unit_key(*one)) == 16


def test_text_that_is_no_utf8_has_a_key():
    """A lone surrogate, as broken input may hold, is no error."""
    assert unit_key("\ud800") != unit_key("\ud801")


@pytest.mark.parametrize(("stage", "files"), [("segment", (KEYS_FILE,)), ("embed", (KEYS_FILE, STATIC_FILE))])
def test_row_local_stages_declare_what_is_reused(stage, files):
    """The pipeline names the files that the stages write and look for in earlier results."""
    assert stage_named(stage).files == files
