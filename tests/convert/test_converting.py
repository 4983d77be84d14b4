"""`fractal convert`: what it writes is what fractal reads; what it leaves out is kept and counted."""

from __future__ import annotations

import json

import pytest
from made_files import judged, passage, question, solution, step, write_json, write_lines
from rich.console import Console
from small_data import read_jsonl
from typer.testing import CliRunner

from fractal_core.cli import app
from fractal_core.config_loading import load_config
from fractal_core.convert.converting import convert
from fractal_core.convert.formats import FORMATS
from fractal_core.errors import InputError, StoreError, UsageError
from fractal_core.labelling import LabellingRun
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace


def _prm800k(folder):
    good = [solution(f"{n} + 1?", step(("I add.", 1)), step((f"It is {n + 1}.", 0))) for n in range(4)]
    wrong = [solution(f"{n} + 2?", step((f"It is {n}.", -1)), reason="found_error") for n in range(4)]
    return [write_lines(folder / "phase2.jsonl", [*good, *wrong])]


def _qa_feedback(folder):
    answers = [
        ("It is old. It is big.", [("Irrelevant", "big")]),
        ("It is old.", []),
        ("It is new.", [("Unverifiable", "new")]),
    ]
    records = [question(f"What is {n}?", *answer, (1, 2, 0, 1, 2, 1)) for n in range(3) for answer in answers]
    return [write_json(folder / "train_feedback.json", records)]


def _multispanqa(folder):
    records = [passage(f"q{n}", "A *b* c .", "D e \u00e9 .", "F *g* .", question=f"what {n}") for n in range(12)]
    return [write_json(folder / "train.json", {"data": [*records, passage("q99", "A b .", question="why")]})]


def _fira(folder):
    grades = ["3_PERFECT_ANSWER", "0_NOT_RELEVANT", "2_GOOD_ANSWER", "1_TOPIC_RELEVANT_DOES_NOT_ANSWER"]
    documents = {f"D{n}": f"Tree {n}. It grows." for n in range(8)}
    judgements = [(str(n), f"D{n}", grades[n % 4], "0-3" if n % 4 == 0 else "") for n in range(8)]
    return judged(folder, documents, {str(n): f"what is tree {n}" for n in range(8)}, judgements)


FILES = {"prm800k": _prm800k, "qa": _qa_feedback, "multispanqa": _multispanqa, "fira": _fira}


def _convert(name, files, output, **options):
    return convert(name, files, output, lambda count: None, **options)


@pytest.mark.parametrize("name", FORMATS)
def test_fractal_reads_every_row(tmp_path, name):
    """No row of any format is rejected by a run with the settings that it names, and spans and gold labels arrive."""
    said = _convert(name, FILES[name.split("-")[0]](tmp_path), tmp_path / "rows.jsonl")
    assert said["left_out"] == 0
    rows = read_jsonl(tmp_path / "rows.jsonl")
    assert len(rows) == said["rows"] > 3
    grades = "" if said["grades"] is None else f"grades = {said['grades']}\n"
    (tmp_path / "fractal.toml").write_text(
        f'aggregation = "{said["aggregation"]}"\n[input]\npath = "rows.jsonl"\nlabel_kind = "{said["label_kind"]}"\n'
        f"{grades}dev_fraction = 0\ntest_fraction = 0\n",
        encoding="utf-8",
    )
    config = load_config(tmp_path / "fractal.toml")
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(tmp_path / "ws"), config, runtime) as run:
        run.execute("read")
        run.execute("segment")
    assert run.artefacts["read"].rows_out["rejects"] == 0
    gold = {}
    for sentence in run.artefacts["segment"].table("sentences").to_pylist():
        gold.setdefault(sentence["response_id"], []).append((sentence["text"], sentence["gold"]))
    for row in rows:
        for side, end in (("", ""), ("_a", "#a")):
            if f"sentence_labels{side}" in row:
                text, found = row[f"response{side}"], gold[row["id"] + end]
                assert [sentence for sentence, _ in found] == [text[start:end] for start, end in row[f"spans{side}"]]
                assert [label for _, label in found] == row[f"sentence_labels{side}"]


def test_bad_records_are_kept(tmp_path, monkeypatch):
    """What was left out is in a file beside the output that fractal does not read, with file, line and reason."""
    monkeypatch.chdir(tmp_path)
    file = _prm800k(tmp_path)[0]
    with file.open("ab") as stream:
        stream.write(b'not json\n\n{"label": {"finish_reason": "give_up"}}\n"\xff"\n')
        stream.write(json.dumps(solution("\ud800?", step(("x", 1)))).encode() + b"\nnot json either\n")
    result = CliRunner().invoke(app, ["convert", "prm800k", str(file), "--output", "rows.jsonl", "--json"])
    said = json.loads(result.stdout)
    assert (said["rows"], said["left_out"], said["rejects"]) == (8, 5, "_rows.jsonl.rejects.jsonl")
    assert said["reasons"] == [
        {"reason": "not valid JSON", "count": 2, "first": "phase2.jsonl:9"},
        {"reason": "text is not UTF-8", "count": 2, "first": "phase2.jsonl:12"},
        {"reason": "the labeller gave up", "count": 1, "first": "phase2.jsonl:11"},
    ]
    kept = read_jsonl(tmp_path / "_rows.jsonl.rejects.jsonl")
    assert [(each["line"], each["raw"][:8]) for each in kept] == [
        (9, "not json"), (11, '{"label"'), (12, '"\\xff"'), (13, '{"labele'), (14, "not json"),
    ]  # fmt: skip
    words = CliRunner().invoke(app, ["convert", "prm800k", str(file), "--output", "rows.jsonl", "--force"]).stdout
    assert (
        "Left out 5 records, which are in _rows.jsonl.rejects.jsonl:\n  2 x not valid JSON (first at phase2.jsonl:9)"
        in words
    )
    assert "Next: fractal init rows.jsonl --aggregation min." in words
    clean = write_lines(tmp_path / "clean.jsonl", [solution("1?", step(("x", 1)))])
    _convert("prm800k", [clean], tmp_path / "rows.jsonl", force=True)
    assert not (tmp_path / "_rows.jsonl.rejects.jsonl").exists()


def test_ids_are_unique(tmp_path):
    """A second row of the same id is left out, as a run would."""
    file = write_json(tmp_path / "x.json", {"data": [passage("q", "A *b* ."), passage("q", "C *d* .")]})
    said = _convert("multispanqa-whole", [file], tmp_path / "rows.jsonl")
    assert (said["rows"], [each["reason"] for each in said["reasons"]]) == (1, ["duplicate id"])


def test_same_bytes(tmp_path):
    """The same files give the same bytes."""
    files = _qa_feedback(tmp_path)
    for name in ("one", "two"):
        _convert("qa-feedback-preference", files, tmp_path / f"{name}.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("name", "files", "output", "error", "words"),
    [
        ("prm", ["phase2.jsonl"], "rows.jsonl", UsageError, "no format prm; known are prm800k, "),
        ("prm800k", ["nowhere.jsonl"], "rows.jsonl", InputError, "no file .*nowhere.jsonl"),
        ("prm800k", ["phase2.jsonl"], "phase2.jsonl", UsageError, "one of the files that are read"),
        ("prm800k", ["phase2.jsonl"], "taken.jsonl", UsageError, "exists already"),
        ("prm800k", ["phase2.jsonl"], "rows.csv", UsageError, "ends in .jsonl"),
        ("prm800k", ["phase2.jsonl"], "no/folder/rows.jsonl", StoreError, "cannot be written"),
        ("prm800k", ["broken.json"], "rows.jsonl", InputError, "broken.json, line 3: not valid JSON"),
        ("prm800k", ["empty.jsonl"], "rows.jsonl", InputError, r"nothing to convert as prm800k \(no records\)"),
        ("prm800k", ["table.xml"], "rows.jsonl", InputError, "table.xml"),
        ("multispanqa", ["phase2.jsonl"], "rows.jsonl", InputError, r"8 x id is missing .*first at phase2.jsonl:1"),
        ("fira", ["phase2.jsonl"], "rows.jsonl", UsageError, "fira reads judgements"),
    ],
)  # fmt: skip
def test_errors(tmp_path, name, files, output, error, words):
    """Wrong usage and files that are not of the format are one sentence each; nothing is written or lost then."""
    _prm800k(tmp_path)
    (tmp_path / "broken.json").write_text('[\n{"a": 1},\n{"a": x}\n]')
    (tmp_path / "taken.jsonl").write_text("mine\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "table.xml").write_text("<a/>")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error, match=words) as caught:
        _convert(name, [tmp_path / file for file in files], tmp_path / output)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
