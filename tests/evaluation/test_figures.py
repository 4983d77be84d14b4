"""Which figures are taken, over which rows."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.evaluation.figures import BINARY, aggregate, is_binary, response_figures, sentence_figures
from fractal_core.evaluation.metrics import mae
from fractal_core.tables import METRICS, PRIORS, PSEUDOLABELS

NAN = float("nan")


@pytest.mark.parametrize(("aggregation", "function"), [("min", min), ("max", max), ("avg", np.mean)])
def test_aggregate_equals_a_loop(aggregation: str, function: object) -> None:
    """Each response's score is the minimum, maximum or mean of its sentences; NaN without sentences."""
    random = np.random.default_rng(0)
    response, score = random.integers(0, 9, size=40), random.random(40)
    response[response == 4] = 5
    expected = [
        function(score[response == b].tolist()) if (response == b).any() else NAN  # type: ignore[operator]
        for b in range(10)
    ]
    np.testing.assert_allclose(aggregate(score, response, 10, aggregation), expected)


def test_is_binary_ignores_missing_labels() -> None:
    """Only 0 and 1 are binary; NaN is no label."""
    assert is_binary(np.array([0.0, NAN, 1.0]))
    assert not is_binary(np.array([0.0, 0.5]))


def methods(**given: list[float]) -> dict[str, np.ndarray]:
    """Return values for every method, NaN where none are given."""
    size = len(next(iter(given.values())))
    return {name: np.array(given.get(name, [NAN] * size)) for name in BINARY}


def test_rows_without_gold_or_prior_are_left_out() -> None:
    """A figure is over the rows that have both; `rows` counts them; a prior that is all null has no figure."""
    figures = list(
        sentence_figures(
            np.array([1.0, 0.0, NAN, 0.0]),
            methods(score=[0.9, 0.8, 0.1, 0.2], document_similarity=[0.3, 0.7, 0.1, NAN]),
            np.ones(4, dtype=bool),
            binary=True,
        )
    )
    found = {(figure.method, figure.metric): (figure.value, figure.rows) for figure in figures}
    assert found[("score", "auc_roc")] == (1.0, 3)
    assert found[("score", "accuracy")] == (pytest.approx(2 / 3), 3)
    assert found[("document_similarity", "auc_roc")] == (0.0, 2)
    assert {figure.method for figure in figures} == {"score", "document_similarity"}


def test_posterior_and_pseudolabel_are_over_labelled_responses() -> None:
    """Sentences of unlabelled responses do not count for methods that use the response's label."""
    figures = sentence_figures(
        np.array([1.0, 0.0, 0.0]),
        methods(score=[0.9, 0.1, 0.95], posterior=[0.9, 0.1, 0.95], pseudolabel=[1.0, 0.0, 1.0]),
        np.array([True, True, False]),
        binary=True,
    )
    found = {(figure.method, figure.metric): (figure.value, figure.rows) for figure in figures}
    assert found[("posterior", "auc_roc")] == (1.0, 2)
    assert found[("pseudolabel", "accuracy")] == (1.0, 2)
    assert found[("score", "auc_roc")] == (0.5, 3)


def test_one_class_has_no_ranking_figure() -> None:
    """With positives alone there is nothing to rank, but accuracy and log loss stand."""
    figures = sentence_figures(np.ones(2), methods(score=[0.9, 0.2]), np.ones(2, dtype=bool), binary=True)
    assert [figure.metric for figure in figures] == ["accuracy", "log_loss"]


def test_graded_gold_gives_mae_alone() -> None:
    """Gold between 0 and 1 has no classes."""
    gold, score = np.array([0.5, 1.0]), [0.25, 0.5]
    figures = list(sentence_figures(gold, methods(score=score), np.ones(2, dtype=bool), binary=False))
    assert [(figure.method, figure.metric, figure.value) for figure in figures] == [("score", "mae", 0.375)]


def test_response_figures() -> None:
    """AUC-ROC for 0/1 labels, mae for avg, unlabelled responses and those without sentences left out."""
    label, score = np.array([1.0, 0.0, NAN, 1.0]), np.array([0.8, 0.4, 0.1, NAN])
    assert [f[2:] for f in response_figures(label, score, "min", binary=True)] == [("auc_roc", 1.0, 2)]
    share = np.array([0.5, 0.25, NAN, 0.1])
    assert [f[2:] for f in response_figures(share, score, "avg", binary=False)] == [
        ("mae", mae(share[:2], score[:2]), 2)
    ]
    assert list(response_figures(share, score, "max", binary=False)) == []


def test_methods_are_columns() -> None:
    """Every method is a column of table priors or pseudolabels, and every metric is named in table metrics."""
    columns = {column.name for table in (PRIORS, PSEUDOLABELS) for column in table.columns}
    documented = next(column.doc for column in METRICS.columns if column.name == "metric")
    assert set(BINARY) <= columns
    assert all(metric in documented for metrics in BINARY.values() for metric in metrics)
