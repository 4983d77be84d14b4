"""A trained scorer on responses that no run has seen says what the run would have said of them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from real_runs import wait_until
from relabelled import QUICK, label_anew, pair_up
from small_data import make_rows, write_jsonl
from typer.testing import CliRunner

import fractal_core
from fractal_core.cli import app
from fractal_core.errors import InputError, StoreError, UsageError
from fractal_core.results import find_run
from fractal_core.scoring import incoming
from fractal_core.scoring.scoring import in_words, score_files
from fractal_core.store.runs import list_runs

# Sums of float32 are rounded by how many sentences are scored at once.
CLOSE = {"abs": 1e-6, "nan_ok": True}
NUMBERS = ("score", "posterior", "pseudolabel", "confidence", "spread")


def score(runner, reporter, output, files=None, **options):
    """Score files, by default the input of the last run."""
    results = find_run(runner.workspace, runner.last.record.run_id, "pseudolabel")
    files = [runner.folder / "responses.jsonl"] if files is None else files
    return score_files(results, files, output, reporter, **options)


def by_sentence(rows):
    """Rows by response and place."""
    return {(row["response_id"], row["sentence_index"]): row for row in rows}


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ((), min),
        (("train.scorer=mlp", "train.guard=false", "train.position=true"), min),
        (("train.scorer=concat", "train.guard=false"), min),
        (("train.scorer=finetune", "train.folds=2"), min),
        (("priors.hybrid=true",), min),
        (("priors.column=true", "input.columns.prior=own"), min),
        (("encoder.kind=static",), min),
        (("aggregation=auto",), min),
        (("aggregation=avg", "input.label_kind=count"), sum),
        (("aggregation=avg", "input.label_kind=real"), lambda gold: 10.0 * sum(gold)),
        (("input.label_kind=ordinal", "input.grades=2"), lambda gold: min(gold) + float(min(gold[1:]))),
        (("input.label_kind=preference", "aggregation=min"), None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_of_its_own_input_it_says_what_the_run_says(runner, reporter, tmp_path, monkeypatch, settings, label):
    """Every score and label of the run, of trained responses by the members that have not seen their label."""
    if label is None:
        pair_up(runner)
    else:
        label_anew(runner, label, count=36)
        runner.edit(lambda rows: [row.update(own=sum(row["sentence_labels"]) / 4) for row in rows])
    runner.run(*QUICK, *settings, until="pseudolabel")
    expected = by_sentence(runner.table("pseudolabel", "pseudolabels").to_pylist())
    sentences = by_sentence(runner.table("segment", "sentences").to_pylist())
    monkeypatch.setattr(incoming, "BATCH_CHARACTERS", 2_000)
    said = score(runner, reporter, tmp_path / "scores.parquet")
    assert said["run_id"] == runner.last.record.run_id
    assert (said["sentences"], said["rejected"]) == (len(expected), 0)
    found = by_sentence(pq.read_table(tmp_path / "scores.parquet").to_pylist())
    assert found.keys() == expected.keys()
    for key, row in found.items():
        assert row["run_id"] == runner.last.record.run_id
        assert {name: row[name] for name in ("start", "end", "text")} == {
            name: sentences[key][name] for name in ("start", "end", "text")
        }
        assert row["agrees"] == expected[key]["agrees"]
        assert row["grade_posteriors"] == pytest.approx(expected[key]["grade_posteriors"], **CLOSE)
        for name in NUMBERS:
            assert row[name] == pytest.approx(expected[key][name], **CLOSE), name


def test_new_responses_are_scored_as_a_frozen_run_scores_them(runner, reporter, tmp_path):
    """Neither kind of label nor split matters to the score; what comes with no id is called by file and line."""
    new = make_rows(6, seed=9)
    for number, row in enumerate(new):
        row.update(id=f"new-{number}", query=f"What about {number}?", split="test")
    runner.run(*QUICK, until="pseudolabel")
    bare = [{name: row[name] for name in ("query", "context", "response", "sentences")} for row in new]
    write_jsonl(tmp_path / "bare.jsonl", bare)
    score(runner, reporter, tmp_path / "scores.jsonl", [tmp_path / "bare.jsonl"])
    found = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["response_id"] for row in found[::4]] == [f"bare.jsonl:{line}" for line in range(1, 7)]
    assert {row["agrees"] for row in found} == {None}
    assert [row["posterior"] for row in found] == pytest.approx([row["score"] for row in found])
    runner.edit(lambda rows: rows.extend(new))
    runner.run("train.on_new_data=freeze", *QUICK, until="pseudolabel")
    frozen = by_sentence(runner.table("pseudolabel", "pseudolabels").to_pylist())
    expected = [frozen[f"new-{number // 4}", row["sentence_index"]]["score"] for number, row in enumerate(found)]
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-6)


def test_without_id_a_response_is_none_of_those_trained_on(runner, reporter, tmp_path):
    """Whatever these are called: all members score it, and files of one name are told apart."""
    runner.edit(lambda rows: [row.update(id=str(line), query=f"{line}?") for line, row in enumerate(rows, 1)])
    runner.run(*QUICK, until="pseudolabel")
    bare = [{name: row[name] for name in ("query", "context", "response", "sentences")} for row in runner.rows()[:6]]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    files = [tmp_path / "a" / "new.jsonl", tmp_path / "b" / "new.jsonl"]
    write_jsonl(files[0], bare)
    write_jsonl(files[1], [dict(row, id=f"new {line}") for line, row in enumerate(bare)])
    score(runner, reporter, tmp_path / "scores.parquet", files)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    half = len(rows) // 2
    assert rows[0]["response_id"] == "a/new.jsonl:1"
    assert [row["score"] for row in rows[:half]] == pytest.approx([row["score"] for row in rows[half:]], abs=1e-6)
    write_jsonl(files[0], [{"response": ""}, *bare])
    score(runner, reporter, tmp_path / "again.parquet", files)
    assert json.loads((tmp_path / "_again.parquet.rejects.jsonl").read_text())["source"] == "a/new.jsonl"
    said = fractal_core.Scorer.load(runner.last.record.run_id, runner.workspace.root)
    one = said(bare[0]["response"], bare[0]["query"], bare[0]["context"])
    named = said(bare[0]["response"], bare[0]["query"], bare[0]["context"], response_id="new 0")
    assert one == named


def test_scorer_from_python(again):
    """Three lines of Python say what the run says, and take the label of a response into account."""
    again.run()
    scorer = fractal_core.Scorer.load(again.last.record.run_id, again.workspace.root)
    assert scorer.run_id == again.last.record.run_id
    row = next(row for row in again.rows() if row["split"] == "test" and "sentences" not in row)
    said = scorer(response=row["response"], query=row["query"], context=row["context"])
    labelled = scorer(row["response"], row["query"], row["context"], label=row["response_label"])
    expected = [
        each for each in again.table("pseudolabel", "pseudolabels").to_pylist() if each["response_id"] == row["id"]
    ]
    assert [row["response"][each.start : each.end] for each in said] == [each.text for each in said]
    assert [each.score for each in said] == pytest.approx([each["score"] for each in expected], abs=1e-6)
    assert [each.posterior for each in said] == [each.score for each in said]
    assert [each.posterior for each in labelled] == pytest.approx([each["posterior"] for each in expected], abs=1e-6)
    assert min(each.pseudolabel for each in labelled) == row["response_label"]
    with pytest.raises(UsageError, match=r"settings go with a configuration, not with a run"):
        fractal_core.Scorer.load(scorer.run_id, again.workspace.root, ["train.epochs=9"])
    with pytest.raises(InputError, match=r"cannot be scored: missing or empty response"):
        scorer(response=" ")
    with pytest.raises(InputError, match=r"label outside its range \(response_label = 0.5, min takes 0 or 1\)"):
        scorer("One.", label=0.5)


def test_bad_and_repeated_rows(runner, reporter, tmp_path):
    """What cannot be scored is kept with file, line and reason; the others are scored, each as often as it comes."""
    runner.run(*QUICK, until="pseudolabel")
    good = {"id": "same", "response": "One stone. Two stones."}
    path = tmp_path / "new.jsonl"
    write_jsonl(path, [good, {"id": "bad", "response": 7}, good, {"id": "worse", "response": "x", "response_label": 3}])
    said = score(runner, reporter, tmp_path / "out.jsonl", [path])
    assert (said["responses"], said["rejected"], said["repeated"]) == (2, 2, 2)
    kept = [json.loads(line) for line in (tmp_path / "_out.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [(row["source"], row["line"], row["reason"]) for row in kept] == [
        ("new.jsonl", 2, "response is not text"),
        ("new.jsonl", 4, "label outside its range"),
    ]
    assert in_words(said).endswith(
        "2 of 4 rows cannot be scored (1 x response is not text; 1 x label outside its range); "
        f"they are in {tmp_path / '_out.jsonl.rejects.jsonl'}. Ids that come more than once: 2 responses have them, of "
        "which response_id and sentence_index do not tell the sentences apart."
    )
    more = {"missing id": 1, "duplicate id": 2, "no text": 3, "no list": 4, "no pair": 1}
    assert "(4 x no list; 3 x no text; 2 x duplicate id; 2 x other reasons)" in in_words(dict(said, reasons=more))
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    half = len(rows) // 2
    assert rows[:half] == rows[half:]
    write_jsonl(path, [good])
    with pytest.raises(UsageError, match=r"exists already"):
        score(runner, reporter, tmp_path / "out.jsonl", [path])
    said = score(runner, reporter, tmp_path / "out.jsonl", [path], force=True)
    assert said["repeated"] == 0
    assert "more than once" not in in_words(said)
    assert not (tmp_path / "_out.jsonl.rejects.jsonl").exists()
    write_jsonl(path, [{"response": ""}])
    with pytest.raises(InputError, match=r"nothing to score \(1 x missing or empty response\)"):
        score(runner, reporter, tmp_path / "none.jsonl", [path])
    assert not (tmp_path / "none.jsonl").exists()


def test_shares_where_labels_are_0_or_1(runner, reporter, tmp_path):
    """Aggregation "auto" takes shares until it has seen labels: then a share is a bad row, and stops nothing."""
    label_anew(runner, min, count=36)
    runner.run(*QUICK, "aggregation=auto", until="pseudolabel")
    path = tmp_path / "new.jsonl"
    write_jsonl(path, [{"response": "One stone.", "response_label": label} for label in (1, 0.5, 0)])
    said = score(runner, reporter, tmp_path / "out.jsonl", [path])
    assert (said["responses"], said["reasons"]) == (2, {"label outside its range": 1})
    with pytest.raises(InputError, match=r"response_label = 0.5, auto takes 0 or 1"):
        fractal_core.Scorer.load(said["run_id"], runner.workspace.root)("One stone.", label=0.5)


def test_single_responses_by_a_scorer_of_pairs(runner, reporter, tmp_path):
    """What was learned from pairs scores one response as well, and says what it says of it in a pair."""
    pair = pair_up(runner)[3]
    runner.run("input.label_kind=preference", "aggregation=min", *QUICK, until="pseudolabel")
    single = {"id": "one", "context": pair["context"], "response": pair["response_a"], "sentences": pair["sentences_a"]}
    write_jsonl(tmp_path / "one.jsonl", [single])
    score(runner, reporter, tmp_path / "one.parquet", [tmp_path / "one.jsonl"])
    found = pq.read_table(tmp_path / "one.parquet").column("score").to_pylist()
    scores = by_sentence(runner.table("pseudolabel", "pseudolabels").to_pylist())
    expected = [scores[f"{pair['id']}#a", place]["score"] for place in range(len(found))]
    assert found == pytest.approx(expected, abs=1e-6)


def test_command(again, tmp_path, monkeypatch):
    """Standard input to standard output, a line a sentence; and to a file, with the run in what is said."""
    again.run()
    (again.folder / "ws").rename(again.folder / ".fractal")
    monkeypatch.chdir(again.folder)
    text = "".join(json.dumps({"response": row["response"], "context": row["context"]}) + "\n" for row in again.rows())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    streamed = CliRunner().invoke(app, ["score", "fractal.toml"], input=text, catch_exceptions=False)
    assert CliRunner().invoke(app, ["score", "fractal.toml", "-"], input=text).stdout == streamed.stdout
    lines = [json.loads(line) for line in streamed.stdout.splitlines()]
    assert len({line["response_id"] for line in lines}) == 24
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    arguments = ["score", "fractal.toml", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet"), "--json"]
    said = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    assert said["run_id"] in {run.run_id for run in list_runs(again.workspace.__class__(again.folder / ".fractal"))}
    assert [line["response_id"] for line in lines[:2]] == ["standard input:1"] * 2
    for line in lines:
        line["response_id"] = line["response_id"].replace("standard input", "in.jsonl")
    assert pq.read_table(said["output"]).to_pylist() == lines
    refused = CliRunner().invoke(app, ["score", "fractal.toml", "-", str(tmp_path / "in.jsonl")], input=text)
    assert "- is standard input, which is scored by itself" in str(refused.exception)


def test_what_cannot_be_asked_of_new_responses(runner, reporter, tmp_path, monkeypatch):
    """A prior by a query over all responses, another encoder, other code: each is one sentence."""
    label_anew(runner, min, count=36)
    right = "CASE WHEN length(regexp_extract(text, '[0-9]+')) = 3 THEN 1 ELSE 0 END"
    sql = f"priors.sql=SELECT response_id, sentence_index, {right} AS prior FROM sentences"
    runner.run(*QUICK, sql, until="pseudolabel")
    with pytest.raises(UsageError, match=r"starts from priors.sql, .* train.on_new_data = \"freeze\""):
        score(runner, reporter, tmp_path / "out.jsonl")
    runner.run(*QUICK, until="pseudolabel")
    with monkeypatch.context() as patch:
        patch.setattr("fractal_core.scoring.trained.code_digests", lambda module: {})
        with pytest.raises(StoreError, match=r"another version of the code of stage segment"):
            score(runner, reporter, tmp_path / "out.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr("fractal_core.scoring.trained.external_digests", lambda *arguments: {"encoder": ["other"]})
        with pytest.raises(StoreError, match=r"files of the encoder .* are others than in run"):
            score(runner, reporter, tmp_path / "out.jsonl")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_scoring_leaves_nothing(again, tmp_path, number, code):
    """Ctrl-C and SIGTERM in the middle of a stream: neither the output nor what was written of it is there."""
    again.run()
    program = "from fractal_core.start import main; main()"
    arguments = ["score", "fractal.toml", "-", "--workspace", "ws", "--output", str(tmp_path / "out.jsonl")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=again.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b'{"response": "One stone."}\n')
        process.stdin.flush()
        wait_until(lambda: list(tmp_path.glob(".out*")), 60)
        process.send_signal(number)
        process.stdin.close()
        assert process.wait(30) == code
    assert list(tmp_path.glob("*out*")) == []
