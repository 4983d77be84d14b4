"""The benchmark of a million sentences still runs, small."""

from __future__ import annotations

import sys

import pytest

from benchmarks.children import measure
from benchmarks.made_responses import FEWEST, MOST, make_rows
from benchmarks.million import exponent, report


def test_responses_are_the_same_each_time_and_repeat_themselves():
    """Also from the middle on; 5 to 15 sentences, contexts shared by neighbours, some sentences in many of them."""
    rows = list(make_rows(300))
    assert list(make_rows(300)) == rows
    assert list(make_rows(100, first=200)) == rows[200:]
    sentences = [row["response"][:-1].split(". ") for row in rows]
    assert {len(each) for each in sentences} == set(range(FEWEST, MOST + 1))
    assert len({str(row["context"]) for row in rows}) < 150
    assert {row["response_label"] for row in rows} == {0, 1}
    said = [sentence for each in sentences for sentence in each]
    assert 0.7 * len(said) < len(set(said)) < 0.97 * len(said)


def test_a_process_is_measured_with_its_children():
    """100 MB of its own and 100 MB of a child's: the peak has that of one, together they have both."""
    child = "held = bytearray(100_000_000); import time; time.sleep(1)"
    code = f"import subprocess, sys; held = bytearray(100_000_000); subprocess.run([sys.executable, '-c', {child!r}])"
    measured = measure([sys.executable, "-c", f"{code}; print(7)"])
    assert measured.said == 7
    assert measured.peak > 0.1  # And no less than this process had when it started the other.
    assert measured.together > 0.2
    assert 0 < measured.cpu < measured.seconds


def test_the_report_has_every_figure():
    """A row a run, the power by which costs grow, queries and scoring."""
    stages = {"read": 1.0, "embed": 2.0}
    costs = {"seconds": 10.0, "cpu": 5.0, "peak": 1.25, "together": 1.5, "notes": [], "stages": stages}
    fewer = {"responses": 1_000, "sentences": 10_000, **costs}
    more = {"responses": 10_000, "sentences": 100_000, **costs, "cpu": 500.0, "notes": ["an HNSW index"]}
    assert exponent(fewer, more, "cpu") == pytest.approx(2.0)
    found = {
        "runs": [fewer, more],
        "load": 1.0,
        "threads": 2,
        "rows": 5_000,
        "unchanged": {**more, "kind": "unchanged"},
        "appended": {**more, "kind": "appended", "responses": 10_100},
        "queries": {"counts": {"first": 2.0, "again": 1.0, "cpu": 0.5, "peak": 0.2}},
        "scored": [{"sentences": 77, "seconds": 3.0, "cpu": 2.0, "peak": 0.5}],
    }
    text = report("command", found)
    for figure in (
        "| 1,000 | 10,000 | 1.0 | 2.0 | 10.0 | 5.0 | 1.25 (1.50) |",
        "| 10,100 (1 % new) |",
        "(nothing new)",
        "CPU 2.00, clock 0.00",
        "100,000: an HNSW index",
        "5,000 rows",
        "| counts | 2.00 | 1.00 | 0.50 | 0.20 |",
        "| 77 | 3.0 | 2.0 | 0.50 |",
    ):
        assert figure in text
