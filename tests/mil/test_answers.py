"""Answers for labels of every kind, against all labellings of small responses, and the rows that users read."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import keys_of, make_examples

from fractal_core.mil.answers import answer, given_label, noise
from fractal_core.mil.rows import pseudolabel_rows, score_rows
from fractal_core.mil.supervision import Supervision
from fractal_core.mil.task import Task

EXTRA = torch.tensor([0.8])
NONE = torch.zeros(0)
BINARY = {
    "min": (Task("min", "binary"), lambda y, label: min(y) == label),
    "max": (Task("max", "binary"), lambda y, label: max(y) == label),
    "share": (Task("avg", "share"), lambda y, label: sum(y) == math.floor(len(y) * label + 0.5)),
    "count": (Task("avg", "count", loss="count"), lambda y, label: sum(y) == round(len(y) * label)),
}
BEATS = {"min": min, "max": max, "avg": lambda y: sum(y) / len(y)}


def problem(seed=0, pairs=False, responses=16, **changes):
    """Small responses, random logits, and every fourth unit unlabelled."""
    examples, _ = make_examples(seed, responses=responses, pairs=pairs)
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(scale=2.0, size=examples.segments.total))
    labels = changes.get("labels", examples.labels).clone()
    labels[::4] = torch.nan
    return replace(examples, labels=labels), logits


def by_response(examples, values):
    """A tensor [..., N] cut into responses, as NumPy arrays."""
    return [part.numpy() for part in torch.split(values, examples.segments.sizes.tolist(), dim=-1)]


def probability_of(labelling, p):
    """Of independent sentences."""
    return math.prod(q if y else 1 - q for y, q in zip(labelling, p, strict=True))


def check_by_enumeration(every, p, given, chosen, sure):
    """Posterior, most likely labels and confidence are those of the labellings that agree."""
    weights = np.array([probability_of(y, p) for y in every])
    expected = (np.array(every) * weights[:, None]).sum(0) / weights.sum()
    assert given == pytest.approx(expected, abs=1e-9)
    assert probability_of(chosen, p) == pytest.approx(weights.max())
    assert sure == pytest.approx(np.where(chosen == 1, expected, 1 - expected), abs=1e-9)


@pytest.mark.parametrize("name", BINARY)
def test_right_or_wrong(name):
    """Score, posterior, pseudo-label, confidence and agreement, by adding up all labellings that agree."""
    task, fits = BINARY[name]
    sizes = problem()[0].segments.sizes
    random = np.random.default_rng(1)
    labels = torch.from_numpy(random.integers(0, 2, 16).astype(np.float64))
    if task.aggregation == "avg":
        labels = torch.from_numpy(random.integers(0, sizes.numpy() + 1)) / sizes.double()
    examples, logits = problem(labels=labels)
    said = answer(task, logits, NONE, examples)
    assert said.grades is None
    assert said.grades_given is None
    assert said.score.numpy() == pytest.approx(1 / (1 + np.exp(-logits.numpy())))
    assert said.labelled.tolist() == [index % 4 != 0 for index in range(16)]
    assert said.agrees.all()
    parts = [by_response(examples, each) for each in (said.score, said.posterior, said.pseudolabel, said.confidence)]
    for label, p, given, chosen, sure in zip(examples.labels.tolist(), *parts, strict=True):
        every = [y for y in itertools.product((0, 1), repeat=len(p)) if math.isnan(label) or fits(y, label)]
        check_by_enumeration(every, p, given, chosen, sure)


@pytest.mark.parametrize("aggregation", ["min", "max"])
def test_grades(aggregation):
    """Expected grades, posteriors over grades and the most likely grades, by all gradings that agree."""
    reduce = {"min": min, "max": max}[aggregation]
    labels = torch.from_numpy(np.random.default_rng(2).integers(0, 3, 16).astype(np.float64))
    examples, logits = problem(labels=labels)
    said = answer(Task(aggregation, "ordinal", grades=2), logits, EXTRA.expand(len(logits), -1), examples)
    assert said.grades.shape == said.grades_given.shape == (3, len(logits))
    above = torch.sigmoid(torch.stack([logits, logits - math.log1p(math.exp(0.8))]))
    expected_before = torch.stack([1 - above[0], above[0] - above[1], above[1]])
    assert torch.allclose(said.grades, expected_before, atol=1e-6)
    assert torch.allclose(said.score, expected_before[1] + 2 * expected_before[2], atol=1e-6)
    assert said.agrees.all()
    parts = [said.grades, said.grades_given, said.posterior, said.pseudolabel, said.confidence]
    parts = [by_response(examples, each) for each in parts]
    for label, before, given, mean, chosen, sure in zip(examples.labels.tolist(), *parts, strict=True):
        count = before.shape[1]
        every = [g for g in itertools.product(range(3), repeat=count) if math.isnan(label) or reduce(g) == label]
        weights = np.array([math.prod(before[g[i], i] for i in range(count)) for g in every])
        marginal = np.array([[weights[[g[i] == c for g in every]].sum() for i in range(count)] for c in range(3)])
        marginal /= weights.sum()
        assert given == pytest.approx(marginal, abs=1e-7)
        assert mean == pytest.approx(marginal[1] + 2 * marginal[2], abs=1e-7)
        assert math.prod(before[chosen[i], i] for i in range(count)) == pytest.approx(weights.max(), rel=1e-6)
        assert sure == pytest.approx([marginal[chosen[i], i] for i in range(count)], abs=1e-7)


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_preferences(aggregation):
    """Both responses of a pair together, by all labellings that compare as preferred; no label leaves scores alone."""
    wins = torch.tensor([0.0, 1.0, 0.0, 0.5, 0.0, 1.0, 0.5, 0.0]).double()
    examples, logits = problem(pairs=True, labels=wins)
    said = answer(Task(aggregation, "preference"), logits, EXTRA, examples)
    assert said.labelled.tolist() == [index // 2 % 4 != 0 for index in range(16)]
    assert said.agrees.all()
    parts = [by_response(examples, each) for each in (said.score, said.posterior, said.pseudolabel, said.confidence)]
    reduce = BEATS[aggregation]
    for (first, second), label in zip(examples.units.tolist(), examples.labels.tolist(), strict=True):
        p, given, chosen, sure = (np.concatenate([part[first], part[second]]) for part in parts)
        cut = len(parts[0][first])
        every = [
            y
            for y in itertools.product((0, 1), repeat=len(p))
            if math.isnan(label) or (np.sign(reduce(y[:cut]) - reduce(y[cut:])) + 1) / 2 == label
        ]
        check_by_enumeration(every, p, given, chosen, sure)


REDUCE = {"min": np.min, "max": np.max, "avg": np.mean}


def real_problem(aggregation, seed=0):
    """Real labels as shares of their range."""
    labels = torch.from_numpy(np.random.default_rng(seed).random(16))
    examples, logits = problem(seed, labels=labels)
    return examples, logits, Task(aggregation, "real", "hard", "mse")


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_values(aggregation):
    """Values aggregate to the label exactly; where there is none they stay; nobody is confident of a value."""
    examples, logits, task = real_problem(aggregation)
    said = answer(task, logits, NONE, examples)
    assert torch.isnan(said.confidence).all()
    assert said.agrees.all()
    parts = [by_response(examples, each) for each in (said.score, said.posterior, said.pseudolabel)]
    for label, score, given, chosen in zip(examples.labels.tolist(), *parts, strict=True):
        if math.isnan(label):
            assert given == pytest.approx(score)
            assert chosen == pytest.approx(score)
            continue
        assert REDUCE[aggregation](chosen) == pytest.approx(label)
        if aggregation == "avg":
            assert given == pytest.approx(score + label - score.mean())
        elif len(score) == 1:
            assert given == pytest.approx([label])
        else:
            assert (given >= label - 1e-9 if aggregation == "min" else given <= label + 1e-9).all()


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_posterior_means_of_values(aggregation):
    """E[v_i | aggregate = y] on a grid: a normal of the estimated noise for each of two sentences."""
    examples, logits, task = real_problem(aggregation, seed=4)
    said = answer(task, logits, NONE, examples)
    means = torch.sigmoid(logits)
    sigma = noise(task, means[None], examples)
    response = next(b for b in range(16) if examples.segments.sizes[b] == 2 and not torch.isnan(examples.labels[b]))
    rows = (examples.segments.ids == response).numpy()
    first, second = means.numpy()[rows]
    y = float(examples.labels[response])
    t = np.linspace(-12, 12, 240_001) * sigma

    def density(x, mean):
        return np.exp(-(((x - mean) / sigma) ** 2) / 2)

    if aggregation == "avg":
        weight = density(y + t, first) * density(y - t, second)
        expected = [(weight * (y + t)).sum() / weight.sum(), (weight * (y - t)).sum() / weight.sum()]
    else:
        other = y + np.abs(t) * (1 if aggregation == "min" else -1)
        if_first = density(y, first) * density(other, second)
        if_second = density(y, second) * density(other, first)
        total = if_first.sum() + if_second.sum()
        expected = [
            (if_first.sum() * y + (if_second * other).sum()) / total,
            (if_second.sum() * y + (if_first * other).sum()) / total,
        ]
    assert said.posterior.numpy()[rows] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("aggregation", ["min", "max", "avg"])
def test_noise(aggregation):
    """How far aggregates are from the labels of train responses, by response; a mean of n counts root n times."""
    examples, logits, task = real_problem(aggregation)
    means = torch.stack([torch.sigmoid(logits), torch.sigmoid(-logits)])
    squares = []
    for team in means:
        for response, values in enumerate(by_response(examples, team)):
            label = float(examples.labels[response])
            if examples.train[response] and not math.isnan(label):
                gap = REDUCE[aggregation](values) - label
                squares.append(gap**2 * (len(values) if aggregation == "avg" else 1))
    assert noise(task, means, examples) == pytest.approx(math.sqrt(np.mean(squares)))


def test_noise_is_never_nothing():
    """Labels that are met exactly leave a little noise, or no posterior could be taken."""
    examples, logits, task = real_problem("avg")
    exact = replace(examples, labels=examples.segments.mean(torch.sigmoid(logits)))
    assert noise(task, torch.sigmoid(logits)[None], exact) == 1e-3
    said = answer(task, logits, NONE, exact)
    assert torch.allclose(said.posterior, said.score)


@pytest.mark.parametrize(
    "task",
    [
        Task("min", "binary"),
        Task("avg", "share"),
        Task("min", "ordinal", grades=2),
        Task("max", "real", "hard", "mse"),
        Task("avg", "preference"),
    ],
    ids=lambda task: task.kind,
)
def test_teams_are_answered_one_by_one(task):
    """What is said of two teams at once is what is said of each; but for values, whose noise they share."""
    pairs = task.kind == "preference"
    examples, logits = problem(pairs=pairs)
    both = torch.stack([logits, -logits])
    extra = torch.stack([EXTRA[: task.extras], EXTRA[: task.extras] + 1])
    given = given_label(task, both, extra, examples)
    assert given.dtype == torch.float64
    assert given.shape == ((2, 3, len(logits)) if task.kind == "ordinal" else (2, len(logits)))
    if task.kind != "real":
        each = [given_label(task, both[team : team + 1], extra[team : team + 1], examples)[0] for team in range(2)]
        assert torch.allclose(given, torch.stack(each), atol=1e-12)


# Rows.


def supervision_of(examples, low=0.0, high=1.0):
    """Supervision of the units."""
    return Supervision(examples.units, examples.labels, np.array(["train"] * len(examples.labels)), low, high)


def test_values_are_in_the_unit_of_the_labels():
    """A label is low + share * (high - low), and so are score, posterior and pseudo-label, whose mean it is."""
    examples, logits, task = real_problem("avg")
    said = answer(task, logits, NONE, examples)
    spread = torch.linspace(0, 1, len(logits)).double()
    rows = pseudolabel_rows(keys_of(examples), said, spread, supervision_of(examples, -3.0, 7.0), examples.segments, 2)
    assert rows.column("score").to_numpy() == pytest.approx(-3 + 10 * said.score.numpy())
    assert rows.column("confidence").null_count == rows.num_rows
    assert rows.column("grade_posteriors").null_count == rows.num_rows
    assert rows.column("spread").to_numpy() == pytest.approx(spread.numpy())
    assert set(rows.column("round").to_pylist()) == {2}
    for response, label in enumerate(examples.labels.tolist()):
        own = [row for row in rows.to_pylist() if row["response_id"] == f"r{response}"]
        assert {row["agrees"] for row in own} == {None if math.isnan(label) else True}
        if not math.isnan(label):
            assert np.mean([row["pseudolabel"] for row in own]) == pytest.approx(-3 + 10 * label)
            assert np.mean([row["posterior"] for row in own]) == pytest.approx(-3 + 10 * label)


def test_grades_are_lists():
    """A list of L + 1 probabilities a sentence, before in scores and after in pseudolabels; values stay grades."""
    labels = torch.from_numpy(np.random.default_rng(2).integers(0, 3, 16).astype(np.float64))
    examples, logits = problem(labels=labels)
    task = Task("min", "ordinal", grades=2)
    said = answer(task, logits, EXTRA.expand(len(logits), -1), examples)
    spread = torch.zeros(len(logits)).double()
    rows = pseudolabel_rows(keys_of(examples), said, spread, supervision_of(examples), examples.segments, 0)
    scores = score_rows(keys_of(examples), 0, task, logits, EXTRA.expand(len(logits), -1), spread)
    assert np.array(rows.column("grade_posteriors").to_pylist()) == pytest.approx(said.grades_given.T.numpy())
    assert np.array(scores.column("grade_probabilities").to_pylist()) == pytest.approx(said.grades.T.numpy(), abs=1e-6)
    assert scores.column("probability").to_numpy() == pytest.approx(1 - said.grades[0].numpy(), abs=1e-6)
    assert set(rows.column("pseudolabel").to_pylist()) <= {0.0, 1.0, 2.0}
    assert rows.column("score").to_numpy() == pytest.approx(said.score.numpy())


def test_rows_of_labels_that_are_no_grades():
    """Lists are null, and a response without label agrees with nothing and contradicts nothing."""
    examples, logits = problem()
    said = answer(Task("min", "binary"), logits, NONE, examples)
    spread = torch.zeros(len(logits)).double()
    rows = pseudolabel_rows(keys_of(examples), said, spread, supervision_of(examples), examples.segments, 0)
    assert rows.column("grade_posteriors").null_count == rows.num_rows
    assert score_rows(keys_of(examples), 0, Task("min", "binary"), logits, NONE, spread).column(
        "grade_probabilities"
    ).null_count == len(logits)
    unlabelled = examples.segments.expand(torch.isnan(examples.labels)).tolist()
    assert [value is None for value in rows.column("agrees").to_pylist()] == unlabelled
