"""The accuracy benchmark: joins, figures and report on toys, and a whole run on the project's own sample data."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_data import make_rows, read_jsonl, write_jsonl

from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy.figures import Row, row_of, truth_of
from benchmarks.accuracy.methods import METHODS, baseline_stage
from benchmarks.accuracy.preferences import join_gold
from benchmarks.accuracy.running import Results, Scores
from benchmarks.accuracy.sets import SETS, DataSet, make_config
from benchmarks.accuracy.summary import best_prior, mean_auc, summary
from fractal_core.evaluation.metrics import auc_roc

DATA = Path(__file__).resolve().parents[2] / "data"
BASELINES = [name for name, method in METHODS.items() if not method.product and not method.prior]


def spans(owner, *cuts):
    """Return rows of a sentences table."""
    return [{"response_id": owner, "sentence_index": i, "start": s, "end": e} for i, (s, e) in enumerate(cuts)]


def test_gold_is_joined_by_question_and_answer():
    """The same answer to the same question gets its gold once; another question, text or cut gets none."""
    pairs = pa.table(
        {
            "response_id": ["p1#a", "p1#b", "p2#a", "p2#b", "p3#a"],
            "query": ["q1", "q1", "q1", "q1", "q2"],
            "response": ["One. Two.", "Other.", "One. Two.", "Three.", "One. Two."],
        }
    )
    rows = [
        *spans("p1#a", (0, 4), (5, 9)), *spans("p1#b", (0, 6)), *spans("p2#a", (0, 4), (5, 9)),
        *spans("p2#b", (0, 6)), *spans("p3#a", (0, 4), (5, 9)),
    ]  # fmt: skip
    sentences = pa.Table.from_pylist(rows).append_column("gold", pa.nulls(len(rows), pa.float64()))
    gold_responses = pa.table({"response_id": ["g1", "g2"], "query": ["q1", "q1"], "response": ["One. Two.", "Three."]})
    gold_rows = [*spans("g1", (0, 4), (5, 9)), *spans("g2", (0, 3), (3, 6))]
    gold = pa.Table.from_pylist(gold_rows).append_column("gold", pa.array([1.0, 0.0, 1.0, 1.0]))
    joined = join_gold(pairs, sentences, gold_responses, gold)
    assert joined.column("gold").to_pylist() == [1.0, 0.0, None, None, None, None, None, None]
    assert joined.drop_columns(["gold"]).equals(sentences.drop_columns(["gold"]))


def toy(dataset=None, *, label=(1.0, 0.0, 1.0, 0.0), preferred=(None,) * 4, pair=(None,) * 4):
    """Four responses of two sentences: one of train, three of test."""
    responses = pa.table(
        {
            "response_id": ["a", "b", "c", "d"],
            "label": pa.array(label, pa.float64()),
            "split": ["train", "test", "test", "test"],
            "pair": pa.array(pair, pa.string()),
            "preferred": pa.array(preferred, pa.float64()),
        }
    )
    sentences = pa.table(
        {
            "response_id": ["a", "a", "b", "b", "c", "c", "d", "d"],
            "gold": pa.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, None]),
        }
    )
    return Results(dataset or DataSet("toy", "min", "min"), responses, sentences, {}, {}, {})


SCORE = np.array([0.2, 0.9, 0.3, 0.6, 0.8, 0.7, 0.65, 0.5])


def test_figures_are_of_test_sentences_with_gold():
    """AUC is the metric on the test rows that have gold; the mean is taken over seeds; the interval holds it."""
    results = toy()
    truth = truth_of(results)
    gold, first = np.array([0.0, 1, 1, 1, 0]), SCORE[2:7]
    other = SCORE[::-1].copy()
    scores = [Scores(SCORE, None, 1.0), Scores(other, None, 3.0)]
    row = row_of(results.dataset, METHODS["single_instance"], scores, truth, draws=50)
    assert row.auc == pytest.approx((auc_roc(gold, first) + auc_roc(gold, other[2:7])) / 2)
    assert row.auc_low <= auc_roc(gold, (first + other[2:7]) / 2) <= row.auc_high
    assert row.sentences == 5
    assert row.seconds == 2.0
    one = row_of(results.dataset, METHODS["single_instance"], scores[:1], truth, draws=2)
    assert one.response == auc_roc(np.array([0, 1, 0]), np.array([0.3, 0.7, 0.5]))


def test_posterior_on_train_is_of_the_method_or_of_its_scores():
    """The product's own posterior is taken; that of a cross-fitted baseline is computed; the paper's has none."""
    results = toy()
    dataset = results.dataset
    truth = truth_of(replace(results, sentences=results.sentences.set_column(1, "gold", pa.array([1.0, 0.0] * 4))))
    own = row_of(dataset, METHODS["fractal"], [Scores(SCORE, 1 - SCORE, 0.0)], truth, draws=2)
    assert own.train == 1.0
    assert row_of(dataset, METHODS["bag_loss"], [Scores(SCORE, None, 0.0)], truth, draws=2).train == 0.5
    assert math.isnan(row_of(dataset, METHODS["paper_bag_loss"], [Scores(SCORE, None, 0.0)], truth, draws=2).train)


def test_grades_have_an_error():
    """The product's score is an expected grade, a baseline's a share of the highest; AUC is of grades over 0."""
    dataset = DataSet("toy", "min", "min", label_kind="ordinal", grades=2)
    results = toy(dataset)
    grades = results.sentences.set_column(1, "gold", pa.array([2.0, 2, 0, 1, 2, 2, 0, None], pa.float64()))
    truth = truth_of(replace(results, sentences=grades))
    ours = row_of(dataset, METHODS["fractal"], [Scores(2 * SCORE, SCORE, 0.0)], truth, draws=2)
    rival = row_of(dataset, METHODS["proportions"], [Scores(SCORE, None, 0.0)], truth, draws=2)
    expected = np.abs(np.array([0, 1, 2, 2, 0]) - 2 * SCORE[2:7]).mean()
    assert ours.error == pytest.approx(expected)
    assert rival.error == pytest.approx(expected)
    assert rival.auc == auc_roc(np.array([0, 1, 1, 1, 0]), SCORE[2:7])


def test_pairs_are_ordered_by_their_means():
    """Of preferences the response figure is the share of pairs whose better one scores higher."""
    dataset = DataSet("toy", "auto", "avg", label_kind="preference")
    truth = truth_of(toy(dataset, label=(None,) * 4, preferred=(None, None, 1.0, 0.0), pair=(None, None, "p", "p")))
    row = row_of(dataset, METHODS["single_instance"], [Scores(SCORE, None, 0.0)], truth, draws=2)
    assert row.response == 1.0
    assert math.isnan(row.train)


def test_summary_says_what_is_reached():
    """Means over the headline sets, the hardest prior to beat, the ratio to supervision, targets marked."""
    headline = [name for name, dataset in SETS.items() if dataset.headline]
    assert len(headline) == 7
    rows = {
        name: {
            "fractal": Row(auc=0.8, ece=0.04, train=0.9, train_ece=0.06),
            "query_similarity": Row(auc=0.6),
            "context_evidence": Row(auc=0.7),
            "supervised": Row(auc=0.9),
        }
        for name in headline
    }
    assert mean_auc(rows, headline, "fractal") == pytest.approx(0.8)
    assert best_prior(rows["wikiqa"]) == ("context_evidence", 0.7)
    text = "\n".join(summary(rows))
    assert "| mean of the seven | 0.800 | 0.780: **reached** | 0.810: **not reached** |" in text
    assert "| wikiqa: sentence AUC-ROC on test | 0.800 | 0.840: **not reached** | 0.880: **not reached** |" in text
    assert "| multispanqa: AUC-ROC of the posterior on train | 0.900 | 0.870: **reached** | - |" in text
    assert "| mean ECE of scores on test | 0.040 | below 0.050: **reached** | - |" in text
    assert "| mean ECE of the posterior on train | 0.060 | below 0.050: **not reached** | - |" in text
    assert "| mean | | | 88.9 % | | +0.100 |" in text
    del rows["wikiqa"]["fractal"]
    assert math.isnan(mean_auc(rows, headline, "fractal"))


@pytest.mark.parametrize("name", list(SETS))
def test_every_set_has_a_configuration(name, tmp_path):
    """The configurations are valid, and the gold of a joined set comes from a known one."""
    config = make_config(SETS[name], tmp_path, tmp_path, [])
    assert config.input.label_kind == SETS[name].label_kind
    assert not SETS[name].gold_from or SETS[name].gold_from in SETS


@pytest.mark.parametrize("name", BASELINES)
def test_only_rows_marked_gold_can_see_gold(name, tmp_path):
    """A baseline's stage reads gold iff its row says so; stages of different baselines have different names."""
    dataset = SETS["multispanqa"]
    method = METHODS[name]
    stage = baseline_stage(method, dataset, 0)
    assert ("gold" in stage.reads.get("segment.sentences", ())) == method.gold
    assert stage.params(make_config(dataset, tmp_path, tmp_path, [])).gold == method.gold
    assert callable(stage.load())
    others = {baseline_stage(METHODS[n], dataset, 0).name: METHODS[n].function for n in BASELINES}
    assert others[stage.name] == method.function


def graded(row):
    """Return a row with grades 0 and 2 instead of labels 0 and 1."""
    return {
        **row,
        "sentence_labels": [2 * label for label in row["sentence_labels"]],
        "response_label": 2 * row["response_label"],
    }


def pair_of(a, b):
    """Return the preference between two rows: the larger share of right sentences is better."""
    better = 1 if a["response_label"] > b["response_label"] else 2 if a["response_label"] < b["response_label"] else 0
    return {
        "id": a["id"], "query": a["query"], "context": a["context"], "split": a["split"], "preference": better,
        "response_a": a["response"], "response_b": b["response"],
        "sentences_a": a["sentences"], "sentences_b": b["sentences"],
    }  # fmt: skip


@pytest.fixture
def bench(tmp_path, tiny_encoder, monkeypatch):
    """Run the benchmark's command line on small data and return its exit code, report and lines."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_jsonl(folder / "tiny_min.jsonl", make_rows(60))
    write_jsonl(folder / "tiny_avg.jsonl", read_jsonl(DATA / "relevance.jsonl")[:80])
    monkeypatch.setitem(SETS, "tiny_min", DataSet("tiny_min", "min", "min"))
    monkeypatch.setitem(SETS, "tiny_avg", DataSet("tiny_avg", "avg", "avg"))
    write_jsonl(folder / "tiny_grades.jsonl", [graded(row) for row in make_rows(60)])
    kinds = {"label_kind": "ordinal", "grades": 2}
    monkeypatch.setitem(SETS, "tiny_grades", DataSet("tiny_grades", "min", "min", **kinds))
    rows = make_rows(120, aggregation="avg", seed=1)
    write_jsonl(folder / "tiny_answers.jsonl", rows)
    write_jsonl(folder / "tiny_pairs.jsonl", [pair_of(*two) for two in zip(rows[::2], rows[1::2], strict=True)])
    monkeypatch.setitem(SETS, "tiny_answers", DataSet("tiny_answers", "avg", "avg"))
    kinds = {"label_kind": "preference", "gold_from": "tiny_answers"}
    monkeypatch.setitem(SETS, "tiny_pairs", DataSet("tiny_pairs", "auto", "avg", **kinds))
    output = tmp_path / "ACCURACY.md"

    def run(capsys, *arguments):
        code = main(
            [
                "--data", str(folder), "--workspace", str(tmp_path / "ws"), "--output", str(output), "--seeds", "0",
                "--set", f"encoder.model={json.dumps(str(tiny_encoder))}", "--set", "train.epochs=3", *arguments,
            ]
        )  # fmt: skip
        return code, output.read_text(encoding="utf-8"), capsys.readouterr().out.splitlines()

    return run


def test_a_whole_run_and_its_resumption(bench, capsys):
    """Every method of both small sets has a row with figures; a second run computes nothing and says the same."""
    code, text, lines = bench(capsys, "--sets", "tiny_min", "tiny_avg", "--methods", *BASELINES, "query_evidence")
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert code == 0
    assert "## Failed" not in text
    assert {(row["set"], row["method"]) for row in rows} >= {
        (s, m) for s in ("tiny_min", "tiny_avg") for m in BASELINES
    }
    assert all(0 <= row["auc"] <= 1 and row["auc_low"] <= row["auc_high"] for row in rows)
    code, again, lines = bench(capsys, "--sets", "tiny_min", "tiny_avg", "--methods", *BASELINES, "query_evidence")
    assert code == 0
    assert not [line for line in lines if line.endswith(" s")]
    assert again == text


def test_grades_and_pairs_run_too(bench, capsys):
    """Ordinal sets have an error of grades; sets of pairs have joined gold and the supervised rows of its set."""
    sets = ("tiny_grades", "tiny_answers", "tiny_pairs")
    methods = ("proportions", "bag_loss", "transport", "paper_bag_loss", "paper_pseudolabels", "supervised")
    code, text, lines = bench(capsys, "--sets", *sets, "--methods", *methods)
    rows = {(row["set"], row["method"]): row for row in (json.loads(line) for line in lines if line.startswith("{"))}
    assert code == 0, text
    assert {method for name, method in rows if name == "tiny_grades"} == set(methods)
    assert all(0 <= row["error"] <= 2 for (name, _), row in rows.items() if name == "tiny_grades")
    assert {method for name, method in rows if name == "tiny_pairs"} == set(methods) - {"paper_pseudolabels"}
    assert rows["tiny_pairs", "supervised"]["auc"] == rows["tiny_answers", "supervised"]["auc"]
    assert rows["tiny_pairs", "bag_loss"]["sentences"] == rows["tiny_answers", "bag_loss"]["sentences"] > 0
    assert rows["tiny_pairs", "bag_loss"]["response"] >= 0


def test_the_product_runs_by_its_own_stages(bench, capsys):
    """The headline method has scores, a posterior on train and seconds, through the pipeline's own stages."""
    code, text, lines = bench(capsys, "--sets", "tiny_min", "--methods", "fractal", "supervised", "context_evidence")
    rows = {row["method"]: row for row in (json.loads(line) for line in lines if line.startswith("{"))}
    assert code == 0, text
    assert rows["fractal"]["train"] > 0.5
    assert rows["fractal"]["seconds"] > 0
    assert "## Against supervision and against the best bare prior" in text


def test_a_failure_is_reported_and_the_rest_goes_on(bench, capsys, monkeypatch):
    """A method that fails is named with its reason, and the exit code is 1."""

    def fail(problem, settings):
        raise ValueError("no luck")

    monkeypatch.setattr("fractal_core.evaluation.baselines.attention.attention", fail)
    code, text, lines = bench(capsys, "--sets", "tiny_min", "--methods", "attention", "proportions")
    assert code == 1
    assert "- tiny_min, attention: ValueError: no luck" in text
    assert [json.loads(line)["method"] for line in lines if line.startswith("{")] == ["proportions"]
