"""Which responses are compared: all pairs with different labels, or an even choice of them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fractal_core.publish.pairing import pair_up

GROUPS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), max_size=6)


def _rows(groups):
    group = np.repeat(np.arange(len(groups)), [len(labels) for labels in groups]).astype(np.int64)
    label = np.array([float(value) for labels in groups for value in sorted(labels)])
    return group, label


@given(GROUPS)
def test_all_pairs(groups):
    """Without a limit that counts, every pair of a group with different labels is there once, and no other."""
    group, label = _rows(groups)
    pairs = pair_up(group, label, most=1_000)
    expected = {(b, a) for a, b in combinations(range(len(label)), 2) if group[a] == group[b] and label[a] != label[b]}
    found = list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    assert Counter(found) == Counter(expected)
    assert pairs.over == 0
    same = sum(1 for a, b in combinations(range(len(label)), 2) if group[a] == group[b] and label[a] == label[b])
    assert pairs.ties == same


@given(GROUPS, st.integers(1, 6))
def test_limit(groups, most):
    """With a limit a group gives as many pairs as it says, each a right one and once; the others are counted."""
    group, label = _rows(groups)
    pairs, every = pair_up(group, label, most), pair_up(group, label, most=1_000)
    found = list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert set(found) <= set(zip(every.better.tolist(), every.worse.tolist(), strict=True))
    by_group = Counter(group[every.better].tolist())
    assert Counter(group[pairs.better].tolist()) == {g: min(count, most) for g, count in by_group.items()}
    assert pairs.over == len(every.better) - len(found)


def test_limited_pairs_are_spread():
    """Of a large group, rows are used once before any is used twice, and from everywhere in the order of labels."""
    label = np.repeat([0.0, 1.0], 5_000)
    pairs = pair_up(np.zeros(10_000, np.int64), label, most=100)
    assert len({*pairs.better.tolist(), *pairs.worse.tolist()}) == 200
    assert pairs.worse.min() < 100
    assert pairs.worse.max() > 4_800
    assert pairs.over == 5_000 * 5_000 - 100
