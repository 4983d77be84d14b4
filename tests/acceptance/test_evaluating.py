"""`fractal evaluate`: figures from the store, and anew where gold labels have come; nothing else is computed."""

from __future__ import annotations

import json

import pytest
from small_data import write_jsonl
from typer.testing import CliRunner

from flows.evaluate import evaluate
from fractal_core.cli import app
from fractal_core.errors import InputError, StoreError
from fractal_core.store.runs import list_runs


@pytest.fixture
def folder(again):
    """The finished project, its workspace where commands look for it."""
    again.run()
    (again.folder / "ws").rename(again.folder / ".fractal")
    return again.folder


def ran(folder, workspace):
    """The stages that the newest run computed."""
    return [record.stage for record in list_runs(workspace)[0].stages if not record.reused]


def test_gold_that_comes_later(folder, again, reporter):
    """Gold of a file: evaluate alone runs, in a run of its own that tables can be asked for; again, nothing runs."""
    workspace = type(again.workspace)(folder / ".fractal")
    arguments = (folder / "fractal.toml", workspace.root, ())
    before = evaluate(*arguments, None, reporter)
    assert ran(folder, workspace) == []
    gold = folder / 'a "gold" \U0001f947' / "gold.jsonl"
    gold.parent.mkdir()
    sentences = {row["response_id"]: row["sentence_index"] for row in again_sentences(workspace)}
    write_jsonl(gold, [{"id": name, "sentence_labels": [1, *([0] * last)]} for name, last in sentences.items()])
    found = evaluate(*arguments, gold, reporter)
    assert ran(folder, workspace) == ["evaluate"]
    assert found.run_id == list_runs(workspace)[0].run_id
    assert found.metrics != before.metrics
    rows = [row["rows"] for row in found.metrics if (row["method"], row["metric"]) == ("score", "log_loss")]
    assert sum(rows) == sum(last + 1 for last in sentences.values())
    assert evaluate(*arguments, gold, reporter) == found
    write_jsonl(gold, [{"id": "nobody", "sentence_labels": [1]}])
    runs = list_runs(workspace)
    with pytest.raises(InputError, match=r"gold.jsonl:1: no such response"):
        evaluate(*arguments, gold, reporter)
    assert list_runs(workspace) == runs


def again_sentences(workspace):
    """Rows of table sentences of the newest run."""
    from fractal_core.store.artefact import find_artefact

    fingerprint = list_runs(workspace)[0].fingerprints()["segment"]
    return find_artefact(workspace, "segment", fingerprint).table("sentences").to_pylist()


def test_stale_results_are_not_judged(folder, again, reporter):
    """Nothing is trained by the way: the sentence names the stage and what to do."""
    with pytest.raises(StoreError, match=r"stage train would run \(train.epochs changed from 3 to 4\); run `fractal r"):
        evaluate(folder / "fractal.toml", folder / ".fractal", ("train.epochs=4",), None, reporter)


def test_command(folder, monkeypatch):
    """A table a level and split, scores before priors; JSON for programs; an unknown split is an error."""
    monkeypatch.chdir(folder)
    shown = CliRunner().invoke(app, ["evaluate", "fractal.toml", "--split", "train"], catch_exceptions=False).stdout
    lines = shown.splitlines()
    assert lines[0].strip() == "Sentences against gold labels, train"
    assert [line.split()[0] for line in lines[2:5]] == ["score", "posterior", "pseudolabel"]
    assert "Responses against their labels, train" in shown
    said = json.loads(CliRunner().invoke(app, ["evaluate", "fractal.toml", "--json"], catch_exceptions=False).stdout)
    assert {row["split"] for row in said["metrics"]} == {"train", "dev", "test"}
    assert all(f"({row['low']:.3f}-{row['high']:.3f})" in shown for row in said["metrics"]
               if row["split"] == "train" and row["low"] is not None)  # fmt: skip
    arguments = ["evaluate", "fractal.toml", "--json", "--split"]
    of_test = json.loads(CliRunner().invoke(app, [*arguments, "test"], catch_exceptions=False).stdout)["metrics"]
    assert of_test == [row for row in said["metrics"] if row["split"] == "test"]
    for form in ([], ["--json"]):
        result = CliRunner().invoke(app, ["evaluate", "fractal.toml", "--split", "val", *form])
        assert "There are no figures of split val; there are test, dev, train." in str(result.exception)
