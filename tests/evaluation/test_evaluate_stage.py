"""Stage `evaluate`: which figures it writes, and over which rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from evaluated import make_tables, rows_of, run, with_column, written_by
from safetensors.numpy import save

from fractal_core.errors import StoreError
from fractal_core.evaluation.metrics import accuracy, auc_roc, best_thresholds, f1


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_figures_equal_a_loop_over_rows(split: str) -> None:
    """Splits, gold, nulls and labels select the rows that a walk over dictionaries selects."""
    tables = make_tables()
    figures = run(tables)
    response = {row["response_id"]: row for row in tables["responses"].to_pylist()}
    rows = [
        {**prior, **pseudo, **sentence}
        for prior, pseudo, sentence in zip(
            *(tables[name].to_pylist() for name in ("priors", "pseudolabels", "sentences")), strict=True
        )
    ]
    mine = [r for r in rows if response[r["response_id"]]["split"] == split and r["gold"] is not None]
    for method in ("score", "posterior", "document_similarity", "context_evidence"):
        used = [r for r in mine if r[method] is not None]
        if method == "posterior":
            used = [r for r in used if response[r["response_id"]]["label"] is not None]
        value = auc_roc(np.array([r["gold"] for r in used]), np.array([r[method] for r in used]))
        assert figures[(split, "sentence", method, "auc_roc")] == (pytest.approx(value), len(used))
    right = [r["pseudolabel"] == r["gold"] for r in mine if response[r["response_id"]]["label"] is not None]
    assert figures[(split, "sentence", "pseudolabel", "accuracy")] == (pytest.approx(np.mean(right)), len(right))
    assert not any(method == "query_similarity" for _, _, method, _ in figures)


def test_response_level_is_the_hard_minimum() -> None:
    """The response figure compares the smallest sentence score of each labelled response with its label."""
    tables = make_tables()
    pseudo = tables["pseudolabels"].to_pylist()
    labelled = [r for r in tables["responses"].to_pylist() if r["label"] is not None and r["split"] == "train"]
    lowest = [min(p["score"] for p in pseudo if p["response_id"] == r["response_id"]) for r in labelled]
    expected = auc_roc(np.array([r["label"] for r in labelled]), np.array(lowest))
    assert run(tables)[("train", "response", "score", "auc_roc")] == (pytest.approx(expected), len(labelled))


def test_shares_give_mae() -> None:
    """Under avg with shares as labels the response figure is the mean absolute error, and there is no AUC."""
    tables = make_tables()
    shares = pa.array(np.linspace(0, 1, 40))
    tables["responses"] = tables["responses"].set_column(1, "label", shares)
    level = {(method, metric) for _, level, method, metric in run(tables, "avg") if level == "response"}
    assert level == {("score", "mae")}


def test_counts_are_compared_as_shares() -> None:
    """A count of good sentences is divided by the number of sentences, and more than all are all.

    What each sentence inherits is that share too: a long response is no better than a short one.
    """
    tables = make_tables()
    ids = tables["sentences"].column("response_id").to_pylist()
    names = tables["responses"].column("response_id").to_pylist()
    counts = [min(i % 4, ids.count(name)) for i, name in enumerate(names)]
    counts[0] = 99
    with_column(tables, "responses", "label", [float(count) for count in counts], pa.float64())
    figures = run(tables, "avg", "count")
    scores = tables["pseudolabels"].column("score").to_pylist()
    errors: dict[str, list[float]] = {}
    for name, count, split in zip(names, counts, tables["responses"].column("split").to_pylist(), strict=True):
        own = [score for score, owner in zip(scores, ids, strict=True) if owner == name]
        errors.setdefault(split, []).append(abs(np.mean(own) - min(count / len(own), 1.0)))
    for split, values in errors.items():
        assert figures[(split, "response", "score", "mae")] == (pytest.approx(np.mean(values)), len(values))
    share = {name: min(count / max(ids.count(name), 1), 1.0) for name, count in zip(names, counts, strict=True)}
    test = {row["response_id"] for row in tables["responses"].to_pylist() if row["split"] == "test"}
    used = [s for s in tables["sentences"].to_pylist() if s["response_id"] in test and s["gold"] is not None]
    value = auc_roc(np.array([s["gold"] for s in used]), np.array([share[s["response_id"]] for s in used]))
    assert figures[("test", "sentence", "inherited_label", "auc_roc")] == (pytest.approx(value), len(used))


def test_grades() -> None:
    """Ordinal labels: the expected grade against gold grades, at both levels."""
    tables = make_tables()
    grades = [None if gold is None else gold * 2 for gold in tables["sentences"].column("gold").to_pylist()]
    with_column(tables, "sentences", "gold", grades, pa.float64())
    tables["pseudolabels"] = tables["pseudolabels"].drop_columns("pseudolabel")
    tables["pseudolabels"] = tables["pseudolabels"].append_column("pseudolabel", tables["pseudolabels"].column("score"))
    found = {key[1:] for key in run(tables, "max", "ordinal")}
    assert {(level, metric) for level, method, metric in found if method == "score"} == {
        ("response", "mae"), ("sentence", "mae"), ("sentence", "auc_roc"), ("sentence", "auc_pr"),
        ("sentence", "f1"), ("sentence", "accuracy"),
    }  # fmt: skip
    assert ("sentence", "pseudolabel", "mae") in found
    assert ("sentence", "document_similarity", "auc_roc") in found


def paired(tables: dict[str, pa.Table]) -> dict[str, tuple[str, float | None]]:
    """Make pairs of the responses, every fifth a tie or unknown; return the better one and what was said by pair."""
    names = sorted(tables["responses"].column("response_id").to_pylist())
    said = {i: [1.0, 0.0, 1.0, 0.5, None][i % 5] for i in range(20)}
    pair = {name: i // 2 for i, name in enumerate(names)}
    preferred = {
        name: None if said[i // 2] is None else abs(said[i // 2] - i % 2)  # type: ignore[operator]
        for i, name in enumerate(names)
    }
    order = tables["responses"].column("response_id").to_pylist()
    with_column(tables, "responses", "pair", [f"p{pair[name]}" for name in order], pa.string())
    with_column(tables, "responses", "preferred", [preferred[name] for name in order], pa.float64())
    with_column(tables, "responses", "label", [None] * 40, pa.float64())
    with_column(tables, "responses", "split", [["train", "dev", "test"][pair[name] % 3] for name in order], pa.string())
    return {name: (f"p{pair[name]}", preferred[name]) for name in names}


@pytest.mark.parametrize("used", ["min", "max", "avg", None])
def test_preferences_by_the_aggregation_that_was_used(used: str | None, tmp_path: Path) -> None:
    """The better one of a pair should score higher, by the aggregation that was trained; else by the mean."""
    tables = make_tables()
    said = paired(tables)
    student = tmp_path / "student.safetensors"
    metadata = {"fractal": json.dumps({"aggregation": used or "auto"})} if used else None
    student.write_bytes(save({"x": np.zeros(1)}, metadata=metadata))
    figures = run(tables, "auto", "preference", student)
    pseudo = tables["pseudolabels"].to_pylist()
    function = {"min": min, "max": max}.get(used or "avg", np.mean)
    value = {name: function([p["score"] for p in pseudo if p["response_id"] == name]) for name in said}
    for split, remainder in (("train", 0), ("dev", 1), ("test", 2)):
        right = []
        for number in range(remainder, 20, 3):
            names = [
                name for name, (pair, preferred) in said.items() if pair == f"p{number}" and preferred in (0.0, 1.0)
            ]
            if names:
                better, worse = sorted(names, key=lambda name: -said[name][1])  # type: ignore[operator]
                right.append(value[better] > value[worse])
        assert figures[(split, "response", "score", "accuracy")] == (pytest.approx(np.mean(right)), len(right))
    assert {metric for _, level, _, metric in figures if level == "response"} == {"accuracy"}


def test_sentences_of_pairs_are_compared_with_gold(tmp_path: Path) -> None:
    """Sentence figures of pairs: posteriors over pairs with a preference or tie, scores over all."""
    tables = make_tables()
    said = paired(tables)
    student = tmp_path / "student.safetensors"
    student.write_bytes(save({"x": np.zeros(1)}))
    figures = run(tables, "auto", "preference", student)
    owners = tables["sentences"].column("response_id").to_pylist()
    known = [gold is not None for gold in tables["sentences"].column("gold").to_pylist()]
    counts = {method: 0 for method in ("score", "posterior")}
    for (_, level, method, metric), (_, rows) in figures.items():
        if level == "sentence" and metric == "auc_roc" and method in counts:
            counts[method] += rows
    assert counts["score"] == sum(known)
    assert counts["posterior"] == sum(k and said[name][1] is not None for k, name in zip(known, owners, strict=True))
    assert counts["posterior"] < counts["score"]


def test_every_prior_that_can_be_seen_is_measured() -> None:
    """A prior is measured because it is there, not because it is known."""
    tables = make_tables()
    values = tables["pseudolabels"].column("score")
    tables["priors"] = tables["priors"].append_column("another", values)
    figures = run(tables)
    assert figures[("train", "sentence", "another", "auc_roc")] == figures[("train", "sentence", "score", "auc_roc")]


def test_accuracy_and_f1_are_at_the_thresholds_of_dev() -> None:
    """Each is at the one that is best for it on dev and not taken there; figures have intervals around them."""
    tables = make_tables(2)
    found = rows_of(tables)
    split = {row["response_id"]: row["split"] for row in tables["responses"].to_pylist()}
    sentences = [
        (split[s["response_id"]], s["gold"], p["score"])
        for s, p in zip(tables["sentences"].to_pylist(), tables["pseudolabels"].to_pylist(), strict=True)
        if s["gold"] is not None
    ]
    of = {name: np.array([row[1:] for row in sentences if row[0] == name]).T for name in ("train", "dev", "test")}
    best = best_thresholds(*of["dev"])
    for metric, function in {"f1": f1, "accuracy": accuracy}.items():
        for name in ("train", "test"):
            row = found[(name, "sentence", "score", metric)]
            assert row["threshold"] == best[metric] != 0.5
            assert row["value"] == pytest.approx(function(*of[name], best[metric]))
            assert row["low"] <= row["value"] <= row["high"]
        assert {key[1] for key in found if key[-1] == metric} == {"sentence", "response"}
        assert (("test", "sentence", "document_similarity", metric)) in found
    on_dev = {key[1:]: row["threshold"] for key, row in found.items() if key[0] == "dev" and row["threshold"]}
    assert on_dev == {("sentence", method, "accuracy"): 0.5 for method in ("score", "pseudolabel")}
    inside = [row["low"] <= row["value"] <= row["high"] for row in found.values() if row["metric"] == "auc_roc"]
    assert len(inside) > 10
    assert all(inside)


def test_the_label_of_the_response_for_each_sentence() -> None:
    """What is learned has to beat it: every sentence of a labelled response has the response's label."""
    tables = make_tables()
    label = {row["response_id"]: row["label"] for row in tables["responses"].to_pylist() if row["split"] == "train"}
    used = [s for s in tables["sentences"].to_pylist() if label.get(s["response_id"]) is not None]
    used = [s for s in used if s["gold"] is not None]
    value = auc_roc(np.array([s["gold"] for s in used]), np.array([label[s["response_id"]] for s in used]))
    assert run(tables)[("train", "sentence", "inherited_label", "auc_roc")] == (pytest.approx(value), len(used))


def test_no_labels_no_rows() -> None:
    """Without gold and response labels nothing is written."""
    tables = make_tables()
    tables["responses"] = tables["responses"].set_column(1, "label", pa.nulls(40, pa.float64()))
    count = tables["sentences"].num_rows
    tables["sentences"] = tables["sentences"].set_column(2, "gold", pa.nulls(count, pa.float64()))
    assert run(tables) == {}


def test_tables_that_do_not_fit_are_an_error() -> None:
    """Pseudo-labels of other sentences, or sentences of unknown responses, stop the stage."""
    tables = make_tables()
    with pytest.raises(StoreError, match="do not hold the same sentences"):
        run({**tables, "pseudolabels": tables["pseudolabels"].slice(1)})
    with pytest.raises(StoreError, match="not in table responses"):
        run({**tables, "responses": tables["responses"].slice(1)})


def test_reliability_is_that_of_tenths_of_the_sentences() -> None:
    """Each tenth by score, its mean score and mean gold; posteriors over labelled responses alone."""
    tables = make_tables(3)
    curves = written_by(tables).curves
    response = {row["response_id"]: row for row in tables["responses"].to_pylist()}
    for method in ("score", "posterior"):
        mine = sorted(
            (p[method], s["gold"])
            for s, p in zip(tables["sentences"].to_pylist(), tables["pseudolabels"].to_pylist(), strict=True)
            if s["gold"] is not None and response[s["response_id"]]["split"] == "train"
            and (method == "score" or response[s["response_id"]]["label"] is not None)
        )  # fmt: skip
        expected = [np.array(part) for part in np.array_split(np.array(mine), 10)]
        curve = [row for row in curves if (row["split"], row["method"]) == ("train", method)]
        assert [row["rows"] for row in curve] == [len(part) for part in expected]
        assert [row["score"] for row in curve] == pytest.approx([part[:, 0].mean() for part in expected])
        assert [row["gold"] for row in curve] == pytest.approx([part[:, 1].mean() for part in expected])
        assert [row["error"] for row in curve] == pytest.approx(
            [part[:, 1].std() / len(part) ** 0.5 for part in expected]
        )
