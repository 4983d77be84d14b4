"""Folds stay: of responses, of groups, and evenly dealt where new."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.mil.examples import NO_FOLD, assign_folds
from fractal_core.mil.folds import deal, deal_more, read_folds, write_folds


def responses(groups, prefix="r"):
    """Table responses, a response a group given."""
    ids = [f"{prefix}{number:03d}" for number in range(len(groups))]
    return pa.table({"response_id": pa.array(ids, pa.string()), "group": pa.array(groups, pa.string())})


def everyone(table):
    """All of them are learned from."""
    return np.ones(table.num_rows, dtype=bool)


def as_dict(folds):
    """Folds by id: (group, fold of each dealing)."""
    rows = zip(folds.ids.to_pylist(), folds.groups.to_pylist(), folds.fold.T.tolist(), strict=True)
    return {name: (group, fold) for name, group, fold in rows}


def test_a_fresh_dealing_is_by_groups_alone():
    """The folds of all responses are dealt, and those of the ones that are learned from are kept."""
    table = responses([f"g{number // 3}" for number in range(40)])
    taught = np.arange(40) % 4 != 0
    folds = deal(table, taught, 5, 2, 7)
    expected = np.stack([assign_folds(table["group"].to_pylist(), 5, seed) for seed in (7, 7 + 1_000_003)])
    assert np.array_equal(folds.of(table, taught), np.where(taught, expected, NO_FOLD))
    assert folds.ids.to_pylist() == sorted(
        name for name, of in zip(table["response_id"].to_pylist(), taught, strict=True) if of
    )


@settings(max_examples=60)
@given(st.data())
def test_old_responses_stay_and_new_groups_are_dealt_evenly(data):
    """Whatever comes and goes: old folds stay, groups stay whole, and new groups fill the emptiest folds."""
    count = data.draw(st.integers(6, 20))
    before = responses([f"g{data.draw(st.integers(0, 9))}" for _ in range(count)])
    folds = deal(before, everyone(before), data.draw(st.integers(2, 4)), 2, 0)
    kept = np.array([data.draw(st.booleans()) for _ in range(count)])
    new = responses([f"g{data.draw(st.integers(0, 25))}" for _ in range(data.draw(st.integers(0, 20)))], "n")
    now = pa.concat_tables([before.filter(pa.array(kept)), new])
    more = deal_more(folds, now, everyone(now), 0)
    old, found = as_dict(folds), as_dict(more)
    assert {name: found[name] for name in old} == old
    assert set(found) == {*old, *now["response_id"].to_pylist()}
    assert more.count == folds.count
    dealt = more.of(now, everyone(now))
    assert (dealt != NO_FOLD).all()
    groups = np.array(now["group"].to_pylist())
    known = {group for group, _ in old.values()}
    for row in dealt:
        of_group = {group: {int(fold) for fold in row[groups == group]} for group in set(groups.tolist())}
        assert all(len(found) == 1 for found in of_group.values())
        here = [min(found) for group, found in of_group.items() if group in set(now["group"].to_pylist())]
        load = np.bincount(here, minlength=folds.count)
        fresh = {min(found) for group, found in of_group.items() if group not in known}
        # A fold that got a new group had at most as many as any other when it got it.
        assert all(load[fold] - 1 <= load.min() for fold in fresh)


def test_new_groups_go_to_the_emptiest_folds():
    """Groups whose responses are gone make room."""
    before = responses([f"g{number}" for number in range(12)])
    folds = deal(before, everyone(before), 3, 1, 0)
    left = before.filter(pa.array(folds.fold[0] != 1))
    new = responses([f"h{number}" for number in range(4)], "n")
    more = deal_more(folds, pa.concat_tables([left, new]), np.ones(12, dtype=bool), 0)
    assert more.of(new, everyone(new)).tolist() == [[1, 1, 1, 1]]


def test_a_response_keeps_its_fold_whatever_becomes_of_it():
    """Unlabelled, gone and back, of another group: its label has been seen by the others."""
    before = responses([f"g{number}" for number in range(8)])
    folds = deal(before, everyone(before), 4, 2, 0)
    moved = before.set_column(1, "group", pa.array([f"m{number}" for number in range(8)], pa.string()))
    nobody = np.zeros(8, dtype=bool)
    assert np.array_equal(folds.of(moved, nobody), folds.of(before, everyone(before)))
    gone = deal_more(folds, before.slice(0, 4), np.ones(4, dtype=bool), 0)
    assert np.array_equal(gone.of(before, nobody), folds.of(before, nobody))


def test_who_joins_a_group_gets_its_fold_and_others_none():
    """A new response is in the fold of its group, by the name it had or has; only if there is something to learn."""
    before = responses(["a", "a", "b", "c", "d"])
    folds = deal(before, everyone(before), 2, 3, 0)
    moved = before.set_column(1, "group", pa.array(["a", "a", "b", "c", "later"], pa.string()))
    new = responses(["b", "d", "later", "none", "b"], "n")
    now = pa.concat_tables([moved, new])
    found = folds.of(now, np.array([True] * 9 + [False]))
    assert np.array_equal(found[:, :5], folds.of(before, everyone(before)))
    assert np.array_equal(found[:, 5], found[:, 2])
    assert np.array_equal(found[:, 6], found[:, 4])
    assert np.array_equal(found[:, 7], found[:, 4])
    assert (found[:, 8:] == NO_FOLD).all()


@pytest.mark.parametrize("dealings", [1, 3])
def test_round_trip(tmp_path, dealings):
    """What is read is what was written, and the same folds have the same bytes."""
    table = responses([f"g{number // 2}" for number in range(20)])
    folds = deal(table, np.arange(20) % 3 > 0, 4, dealings, 0)
    first, second = tmp_path / "one.parquet", tmp_path / "two.parquet"
    write_folds(folds, first)
    loaded = read_folds(first)
    assert as_dict(loaded) == as_dict(folds)
    write_folds(loaded, second)
    assert first.read_bytes() == second.read_bytes()
    assert pq.read_table(first).column_names == ["response_id", "group", "dealing", "fold"]
