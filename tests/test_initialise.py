"""`fractal init`: what it finds out about the data, and the summary's figures for every kind of labels."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fractal_core.config_loading import load_config
from fractal_core.errors import InputError, UsageError
from fractal_core.initialise import highest_grade, write_template
from fractal_core.store.runs import StageRecord
from fractal_core.summary import print_summary, summarise
from fractal_core.text.rows import first_columns

PAIR = {"id": "p", "response_a": "One.", "response_b": "Two.", "preference": 1}
SINGLE = {"id": "p", "response": "One.", "response_label": 1}


def _write(path, row):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    elif path.suffix == ".csv":
        path.write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    else:
        path.write_text("\n" + json.dumps(row) + "\nnot json\n")
    return path


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
@pytest.mark.parametrize("row", [PAIR, SINGLE], ids=["pair", "single"])
def test_first_columns(row, name, tmp_path):
    """The columns of every format, from its beginning alone."""
    assert first_columns(_write(tmp_path / name, row)) == list(row)


def test_first_columns_of_nothing(tmp_path):
    """An empty file has no columns, nor has one that begins with a bad row; a damaged one is an error."""
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "bad.jsonl").write_text("not json\n" + json.dumps(PAIR))
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    assert first_columns(tmp_path / "empty.jsonl") == first_columns(tmp_path / "bad.jsonl") == []
    with pytest.raises(InputError, match="cannot be read as parquet"):
        first_columns(tmp_path / "damaged.parquet")


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.parquet"])
@pytest.mark.parametrize("aggregation", [None, "auto"])
def test_pairs_are_found(name, aggregation, tmp_path):
    """A file with response_a and response_b gets a configuration that learns from preferences."""
    config = load_config(write_template(_write(tmp_path / name, PAIR), aggregation, None))
    assert (config.input.label_kind, config.aggregation) == ("preference", "auto")


@pytest.mark.parametrize(("aggregation", "expected"), [(None, "min"), ("max", "max"), ("auto", "auto")])
def test_single_responses(aggregation, expected, tmp_path):
    """One response a row: the aggregation that was asked for, else min; the kind of the labels follows it."""
    config = load_config(write_template(_write(tmp_path / "x.jsonl", SINGLE), aggregation, None))
    assert (config.input.label_kind, config.aggregation) == ("auto", expected)


def test_pairs_have_no_aggregation(tmp_path):
    """An aggregation that the data contradict is refused, and nothing is written."""
    with pytest.raises(UsageError, match=r"--aggregation max does not fit .*x\.jsonl"):
        write_template(_write(tmp_path / "x.jsonl", PAIR), "max", None)
    assert not (tmp_path / "fractal.toml").exists()


@pytest.mark.parametrize(
    ("labels", "aggregation", "expected"),
    [
        ([0, 3, None, 1.0], "max", ("ordinal", 3)),
        ([True, "?", 20, 0], None, ("ordinal", 20)),
        ([0, 4], "avg", ("ordinal", 4)),
        ([0, 4], "auto", ("auto", 2)),
        ([0, 1], "max", ("auto", 2)),
        ([0, 21], "max", ("auto", 2)),
        ([2, 1.5], "max", ("auto", 2)),
        ([2, -1], "max", ("auto", 2)),
        ([2, float("inf")], "max", ("auto", 2)),
    ],
)
def test_grades_are_found(labels, aggregation, expected, tmp_path):
    """Whole labels above 1 are taken for grades, with the highest one; the comment says so, and that counts look so."""
    rows = [{"id": str(number), "response": "One.", "response_label": label} for number, label in enumerate(labels)]
    (tmp_path / "x.jsonl").write_text("not json\n" + "".join(json.dumps(row) + "\n" for row in rows))
    path = write_template(tmp_path / "x.jsonl", aggregation, None)
    config = load_config(path)
    assert (config.input.label_kind, config.input.grades) == expected
    words = " ".join(path.read_text().replace("\n##", "").split())
    assert (f"Found in the data: labels are whole numbers from 0 to {expected[1]}" in words) is (expected[0] != "auto")
    assert ('or "count" if they are' in words) is (aggregation == "avg")


def test_grades_in_text_and_many_files(tmp_path):
    """Cells of CSV count as the numbers they spell; all files are looked at, up to a number of rows."""
    for name, label in (("a", " 1 "), ("b", "2.0"), ("c", "5")):
        _write(tmp_path / f"{name}.csv", {"id": name, "response": "One.", "response_label": label})
    files = sorted(tmp_path.glob("*.csv"))
    assert (highest_grade(files), highest_grade(files, rows=2), highest_grade(files, rows=1)) == (5, 2, None)


def _summary_of(metrics, monkeypatch, kind="binary"):
    """Return what is printed of a run whose stage `evaluate` wrote some rows of metrics."""
    names = ("split", "level", "method", "metric", "value")
    rows = [dict(zip(names, row, strict=True)) for row in metrics]
    artefact = SimpleNamespace(rows_out={}, table=lambda name: SimpleNamespace(to_pylist=lambda: rows))
    monkeypatch.setattr("fractal_core.summary.find_artefact", lambda *_: artefact)
    reason = "/w/artefacts/a/x.parquet is missing"
    stage = StageRecord("evaluate", "f", False, reason, 0.0, 0, {}, [])
    record = SimpleNamespace(stages=[stage], config={"input": {"label_kind": kind}}, run_id="r", state="completed")
    summary = summarise(SimpleNamespace(root="/w"), record)
    output = io.StringIO()
    print_summary(summary, Console(file=output, width=200))
    return summary, output.getvalue()


def test_summary_of_preferences(monkeypatch):
    """Predicted preferences are in the summary, test first; sentence accuracy against gold is another figure."""
    metrics = [
        ("dev", "response", "score", "accuracy", 0.5),
        ("test", "response", "score", "accuracy", 0.625),
        ("test", "sentence", "score", "accuracy", 0.9),
    ]
    summary, text = _summary_of(metrics, monkeypatch, "preference")
    assert summary["preference_accuracy"] == [{"split": "test", "score": 0.625}, {"split": "dev", "score": 0.5}]
    assert "preferences predicted rightly on test: score 0.625\n" in text
    assert "0.900" not in text
    summary, text = _summary_of(metrics, monkeypatch)
    assert summary["preference_accuracy"] == []
    assert "0.625" not in text


def test_summary_of_grades(monkeypatch):
    """Grades and real values have a mean absolute error instead of, or beside, an AUC."""
    metrics = [("test", "sentence", "score", "mae", 0.25), ("test", "sentence", "posterior", "mae", 0.125)]
    _, text = _summary_of([*metrics, ("test", "sentence", "score", "auc_roc", 0.75)], monkeypatch)
    assert "sentence AUC-ROC on test: score 0.750\n" in text
    assert " artefacts/a/x.parquet is missing" in text
    assert "sentence mean absolute error on test: score 0.250, posterior 0.125\n" in text
