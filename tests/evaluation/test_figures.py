"""Which figures are taken, over which rows."""

from __future__ import annotations

import numpy as np
import pytest

from fractal_core.evaluation.figures import BINARY, GRADED, ORDINAL, RANKING, REAL, is_binary, sentence_figures
from fractal_core.evaluation.metrics import auc_pr, auc_roc, ece, mae
from fractal_core.evaluation.of_responses import aggregate, preference_figures, response_figures
from fractal_core.tables import METRICS, PSEUDOLABELS

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
    names = (*BINARY, "document_similarity", "query_evidence")
    return {name: np.array(given.get(name, [NAN] * size)) for name in names}


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
    assert [figure.metric for figure in figures] == ["accuracy", "log_loss", "ece"]


def test_graded_gold_gives_mae_alone() -> None:
    """Gold between 0 and 1 has no classes."""
    gold, score = np.array([0.5, 1.0]), [0.25, 0.5]
    figures = list(sentence_figures(gold, methods(score=score), np.ones(2, dtype=bool), binary=False))
    assert [(figure.method, figure.metric, figure.value) for figure in figures] == [("score", "mae", 0.375)]


def test_response_figures() -> None:
    """AUC-ROC for 0/1 labels, mae for avg, unlabelled responses and those without sentences left out."""
    label, score = np.array([1.0, 0.0, NAN, 1.0]), np.array([0.8, 0.4, 0.1, NAN])
    assert [f[2:5] for f in response_figures(label, {"score": score}, "min", binary=True)] == [
        ("auc_roc", 1.0, 2), ("auc_pr", 1.0, 2),
    ]  # fmt: skip
    share = np.array([0.5, 0.25, NAN, 0.1])
    assert [f[2:5] for f in response_figures(share, {"score": score}, "avg", binary=False)] == [
        ("mae", mae(share[:2], score[:2]), 2)
    ]
    assert list(response_figures(share, {"score": score}, "max", binary=False)) == []


def test_methods_are_columns() -> None:
    """Every method is a column of table pseudolabels, and every metric is named in table metrics."""
    columns = {column.name for column in PSEUDOLABELS.columns}
    documented = next(column.doc for column in METRICS.columns if column.name == "metric")
    for figures in (BINARY, GRADED, ORDINAL, REAL):
        assert set(figures) <= columns
        assert all(metric in documented for metrics in (*figures.values(), RANKING) for metric in metrics)


def test_grades_are_ranked_by_more_than_nothing() -> None:
    """Of grades, `mae` compares expected grades and the AUC asks for grade 0 against the rest; priors are ranked."""
    random = np.random.default_rng(1)
    gold = random.integers(0, 3, 50).astype(float)
    given = methods(
        score=(random.random(50) * 2).tolist(),
        posterior=(random.random(50) * 2).tolist(),
        pseudolabel=random.integers(0, 3, 50).astype(float).tolist(),
        query_evidence=random.normal(size=50).tolist(),
    )
    figures = sentence_figures(gold, given, np.ones(50, dtype=bool), binary=False, kind="ordinal")
    found = {(figure.method, figure.metric): figure.value for figure in figures}
    assert found[("score", "mae")] == pytest.approx(np.mean([abs(gold[i] - given["score"][i]) for i in range(50)]))
    some = np.array([1 if grade in (1, 2) else 0 for grade in gold])
    for method in ("score", "posterior", "query_evidence"):
        assert found[(method, "auc_roc")] == pytest.approx(auc_roc(some, given[method]))
        assert found[(method, "auc_pr")] == pytest.approx(auc_pr(some, given[method]))
    assert found[("pseudolabel", "mae")] == pytest.approx(mae(gold, given["pseudolabel"]))
    assert {metric for _, metric in found} == {"mae", "auc_roc", "auc_pr"}
    assert ("query_evidence", "mae") not in found


def test_grades_that_are_never_zero_have_no_ranking_figure() -> None:
    """Grades 1 and 2 alone are all positive."""
    figures = sentence_figures(
        np.array([1.0, 2.0]), methods(score=[1.0, 1.5]), np.ones(2, dtype=bool), binary=False, kind="ordinal"
    )
    assert [(figure.metric, figure.value) for figure in figures] == [("mae", 0.25)]


def test_real_values_give_mae_alone() -> None:
    """Real values have no classes, even if all that are given are 0 and 1, and priors are not in their unit."""
    gold = np.array([0.0, 1.0, NAN])
    given = methods(score=[-1.0, 1.0, 5.0], posterior=[0.0, 2.0, 5.0], pseudolabel=[0.0, 1.0, 5.0])
    given["document_similarity"] = np.array([0.1, 0.2, 0.3])
    figures = sentence_figures(gold, given, np.array([True, False, True]), binary=True, kind="real")
    assert [figure[1:5] for figure in figures] == [
        ("score", "mae", 0.5, 2), ("posterior", "mae", 0.0, 1), ("pseudolabel", "mae", 0.0, 1),
    ]  # fmt: skip


def test_calibration_of_probabilities() -> None:
    """Score and posterior have their calibration error, posterior over labelled responses; no prior has one."""
    random = np.random.default_rng(2)
    gold, score, posterior = random.integers(0, 2, 60).astype(float), random.random(60), random.random(60)
    labelled = random.random(60) < 0.5
    given = methods(score=score.tolist(), posterior=posterior.tolist(), document_similarity=score.tolist())
    figures = sentence_figures(gold, given, labelled, binary=True)
    found = {figure.method: (figure.value, figure.rows) for figure in figures if figure.metric == "ece"}
    assert found == {
        "score": (pytest.approx(ece(gold, score)), 60),
        "posterior": (pytest.approx(ece(gold[labelled], posterior[labelled])), labelled.sum()),
    }


@pytest.mark.parametrize("kind", ["ordinal", "real"])
@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_graded_responses_give_mae(kind: str, aggregation: str) -> None:
    """Grades and real values of responses are compared in their own unit, whatever the aggregation."""
    label, score = np.array([0.0, 1.0, NAN]), np.array([0.5, 2.0, 1.0])
    figures = response_figures(label, {"score": score}, aggregation, binary=True, kind=kind)  # type: ignore[arg-type]
    assert [figure[2:5] for figure in figures] == [("mae", 0.75, 2)]


def test_preferences_are_counted_pair_by_pair() -> None:
    """A pair is right if the better one scores higher, half right if they tie; ties and unknown ones do not count."""
    random = np.random.default_rng(3)
    pair = random.permutation(np.repeat(np.arange(40), 2))
    preferred, score = np.zeros(80), random.integers(0, 4, 80).astype(float)
    right = []
    for name in range(40):
        first, second = np.flatnonzero(pair == name)
        said = [1.0, 0.0, 0.5, NAN][name % 4]
        preferred[[first, second]] = said, 1 - said
        if said in (0.0, 1.0):
            better, worse = (first, second) if said else (second, first)
            right.append(1.0 if score[better] > score[worse] else 0.5 if score[better] == score[worse] else 0.0)
    (figure,) = preference_figures(pair, preferred, {"score": score})
    assert figure[:5] == ("response", "score", "accuracy", pytest.approx(np.mean(right)), 20)
    score[pair == 0] = NAN
    (figure,) = preference_figures(pair, preferred, {"score": score})
    assert (figure.value, figure.rows) == (pytest.approx(np.mean(right[1:])), 19)
    assert list(preference_figures(pair, np.full(80, 0.5), {"score": score})) == []
