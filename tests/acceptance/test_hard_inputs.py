"""Whole runs on hard input: a clear result, or one sentence that says what to do."""

from __future__ import annotations

import json

import pytest
from small_data import make_rows

from fractal_core.errors import FractalError

# As few members as there can be: each takes its time with such a response, and all do the same.
FEW = ("train.repeats=1", "train.folds=2")


@pytest.fixture
def run_rows(runner):
    """Run the pipeline over some rows, with few epochs, and return the runner."""

    def _run(rows, *settings, aggregation="min"):
        runner.give(rows)
        runner.run("train.epochs=3", f"aggregation={aggregation}", *settings)
        return runner

    return _run


def _plain(rows):
    """Leave segmentation to the pipeline."""
    return [{k: v for k, v in row.items() if k not in ("sentences", "sentence_labels")} for row in rows]


def _check_offsets(runner):
    responses = {r["response_id"]: r["response"] for r in runner.table("read", "responses").to_pylist()}
    sentences = runner.table("segment", "sentences").to_pylist()
    assert {s["response_id"] for s in sentences} == responses.keys()
    for sentence in sentences:
        assert responses[sentence["response_id"]][sentence["start"] : sentence["end"]] == sentence["text"]
    labels = runner.table("pseudolabel", "pseudolabels").to_pylist()
    assert len(labels) == len(sentences)
    assert all(0 <= label["posterior"] <= 1 for label in labels)
    return sentences


def test_one_sentence_responses(run_rows):
    """The response's label is the sentence's: pseudo-label and posterior say so."""
    rows = _plain(make_rows(40))
    for row in rows:
        row["response"] = row["response"].split(". ")[0] + "."
    result = run_rows(rows)
    _check_offsets(result)
    labels = {row["id"]: row["response_label"] for row in rows}
    for label in result.table("pseudolabel", "pseudolabels").to_pylist():
        assert label["pseudolabel"] == labels[label["response_id"]]
        assert label["posterior"] == pytest.approx(labels[label["response_id"]])


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_ten_thousand_sentences(run_rows, aggregation):
    """A response of 10,000 sentences among short ones."""
    rows = _plain(make_rows(24, aggregation=aggregation))
    rows[3]["response"] = " ".join(f"The mill was built in {100 + i % 900}." for i in range(10_000))
    rows[3]["response_label"] = 0.25 if aggregation == "avg" else rows[3]["response_label"]
    result = run_rows(rows, *FEW, aggregation=aggregation)
    sentences = _check_offsets(result)
    own = [s["response_id"] == rows[3]["id"] for s in sentences]
    assert sum(own) == 10_000
    if aggregation == "avg":
        labels = result.table("pseudolabel", "pseudolabels").to_pylist()
        assert sum(label["pseudolabel"] for label, mine in zip(labels, own, strict=True) if mine) == 2_500


def test_scripts_and_symbols(run_rows):
    """Emoji beyond the basic plane, right-to-left text, combining characters, line ends of other systems."""
    rows = _plain(make_rows(40))
    texts = [
        "Great 👍🏽! It was built in 412. 🎉🎉",
        "בית הטחנה נבנה בשנת 412. הוא נשרף.",
        "بنيت الطاحونة سنة 412. ثم احترقت.",
        "Cafe\u0301 was built.\r\nIt closed in 1912.\r\n",
        "水车建于412年。它后来被烧毁了。",
        "👩‍👩‍👧‍👦",
    ]
    for row, text in zip(rows, texts, strict=False):
        row["response"] = text
    _check_offsets(run_rows(rows))


def test_byte_order_mark_and_crlf(runner):
    """A file as Windows editors write it gives the same responses."""
    rows = make_rows(30)
    runner.give(rows)
    assert "read" in runner.run(until="segment")
    content = (runner.folder / "responses.jsonl").read_bytes()
    (runner.folder / "responses.jsonl").write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert runner.run(until="segment") == ["read"]


def test_neither_query_nor_context(run_rows):
    """With nothing to compare with, a run still ends, and labels agree with the responses."""
    rows = [{k: row[k] for k in ("id", "response", "response_label")} for row in make_rows(60)]
    labels = run_rows(rows).table("pseudolabel", "pseudolabels").to_pylist()
    assert {label["agrees"] for label in labels} == {True}


def test_fewer_groups_than_folds(run_rows):
    """Two questions in train: folds stay empty, nothing breaks."""
    rows = make_rows(24)
    for index, row in enumerate(rows):
        row["query"] = f"Question {index % 2}?"
        row["split"] = "train"
    _check_offsets(run_rows(rows))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: [r.update(response_label=1) for r in rows], ["same", "1"]),
        (lambda rows: [r.update(response_label=3) for r in rows], ["label outside its range", "label_kind"]),
        (lambda rows: [r.update(response_label=None) for r in rows], ["label"]),
        (lambda rows: rows.clear(), ["no rows"]),
        (lambda rows: [r.pop("response") for r in rows], ["input.columns", "response"]),
        (lambda rows: [r.pop("id") for r in rows], ["input.columns", "id"]),
    ],
    ids=["all alike", "out of range", "no labels", "empty", "no response column", "no id column"],
)
def test_input_that_cannot_be_learned_from(runner, change, words):
    """One sentence, before anything is committed."""
    rows = make_rows(30)
    change(rows)
    runner.give(rows)
    with pytest.raises(FractalError) as error:
        runner.run()
    message = str(error.value)
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert list(runner.workspace.manifests.iterdir()) == []


def test_every_kind_of_bad_row_is_kept(run_rows):
    """Bad rows lie in rejects with file, line and reason; the good ones are labelled."""
    rows = make_rows(60)
    bad = [
        {**rows[0], "id": None},
        {**rows[1]},
        {**rows[2], "id": "empty", "response": " "},
        {**rows[3], "id": "label", "response_label": 7},
        {**rows[4], "id": "spans", "sentences": None, "sentence_labels": None, "spans": [[0, 10_000]]},
        {**rows[5], "id": "surrogate", "response": "\ud800"},
    ]
    result = run_rows(rows)
    file = result.folder / "responses.jsonl"
    lines = [json.dumps(row) for row in bad]
    with file.open("ab") as stream:
        stream.write("\n".join(lines).encode() + b"\nnot json\n" + b'{"id": "bytes", "response": "\xff"}\n')
    result.run("train.epochs=3", "input.max_reject_fraction=0.5")
    rejects = result.table("read", "rejects").to_pylist()
    assert [r["line"] for r in rejects] == list(range(61, 69))
    assert {r["source"] for r in rejects} == {"responses.jsonl"}
    assert len({r["reason"] for r in rejects}) >= 6
    assert "responses.jsonl:2" in next(r["detail"] for r in rejects if r["line"] == 62)
    assert result.last.artefacts["read"].rows_out == {"responses": 60, "rejects": 8}
