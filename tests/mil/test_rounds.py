"""Students: who they learn from, which posteriors are sure enough, and what unlabelled responses teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import SCHEDULE, TASK, make_examples, nothing, own, ranks

from fractal_core.mil.calibration import calibrate
from fractal_core.mil.ensemble import Component
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.objective import BagObjective, PseudolabelObjective
from fractal_core.mil.rounds import confident, student
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.task import Task

QUICK = replace(SCHEDULE, epochs=25, penalties=(0.003,))


def prior_teacher(examples, task=TASK, family="context"):
    """A teacher that is nothing but a calibrated prior."""
    judge = task.judged()
    return [Component(family, "evidence", family, calibrate(examples, judge, examples.priors[family]))]


def taught(examples, task=TASK, confidence=0.0, teacher=None):
    """A student of the context prior."""
    return student(teacher or prior_teacher(examples, task), examples, task, "evidence", confidence, QUICK, nothing)


@pytest.mark.parametrize(
    "task",
    [TASK, Task("max", "binary"), Task("avg", "share"), Task("avg", "count", loss="count"), Task("avg", "preference")],
    ids=lambda task: f"{task.aggregation}-{task.kind}",
)
def test_a_student_learns_what_its_teacher_knows(task):
    """Of every kind: it ranks sentences as well as its teacher, from the teacher's posteriors alone."""
    label = {"min": lambda s: float(s.all()), "max": lambda s: float(s.any()), "avg": lambda s: float(s.mean())}
    examples, truth = make_examples(responses=160, label=label[task.aggregation], pairs=task.kind == "preference")
    examples = replace(examples, families={"context": torch.zeros(3)}, priors={"context": examples.priors["context"]})
    teacher = prior_teacher(examples, task)
    component = taught(examples, task, teacher=teacher)
    assert (component.name, component.scorer, component.family, component.share) == (
        "student", "evidence", "context", 1.0,
    )  # fmt: skip
    assert ranks(own([component], examples), truth) > ranks(own(teacher, examples), truth) - 0.02


def test_a_student_of_grades_and_of_values():
    """Posteriors over grades and posterior means are learned from as well."""
    examples, _ = make_examples(responses=160)
    x = examples.features[:, 0]
    grades = (x > -1).long() + (x > 0.3).long()
    graded = replace(examples, labels=examples.segments.minimum(grades.double()))
    task = Task("min", "ordinal", grades=2)
    component = taught(graded, task)
    assert component.parameters["extra"].shape == (4, 1)
    assert ranks(own([component], graded), grades.numpy() > 1) > 0.9
    values = torch.sigmoid(2 * x.double())
    real = replace(examples, labels=examples.segments.mean(values))
    logits = own([taught(real, Task("avg", "real", "hard", "mse"))], real)
    assert float((torch.sigmoid(logits) - values).abs().mean()) < 0.1


def test_targets_of_real_values_are_shares_of_the_range(monkeypatch):
    """A posterior mean beyond the range counts as its end: cross-entropy has no minimum outside 0..1."""
    examples, _ = make_examples(responses=60)
    random = np.random.default_rng(0)
    examples = replace(examples, labels=torch.from_numpy(random.choice([0.0, 1.0], 60)))
    seen = []
    original = PseudolabelObjective.__init__

    def record(self, task, targets, sure):
        seen.append(targets)
        original(self, task, targets, sure)

    monkeypatch.setattr(PseudolabelObjective, "__init__", record)
    taught(examples, Task("avg", "real", "hard", "mse"))
    assert float(seen[0].min()) >= 0
    assert float(seen[0].max()) <= 1


def test_a_student_starts_from_the_prior_of_the_first_head():
    """Bare priors have no weights; the first component that has some says where to start, and with which scorer."""
    examples, _ = make_examples(responses=80)
    bare = prior_teacher(examples, family="query")[0]
    head = taught(examples)
    assert taught(examples, teacher=[replace(bare, share=0.5), replace(head, share=0.5)]).family == "context"
    assert taught(examples, teacher=[bare]).family == "query"
    parameters = SCORERS["mlp"].start(4, 3, torch.Generator().manual_seed(0)) | {"extra": torch.zeros(4, 0)}
    component = taught(examples, teacher=[Component("free", "mlp", "none", parameters)])
    assert (component.family, component.scorer) == ("none", "mlp")


def test_a_student_of_a_bare_prior_reads_any_features():
    """Where features are wider than the evidence (scorers mlp and concat), a prior that won still has students."""
    examples, truth = make_examples(responses=80)
    extra = torch.randn(len(truth), 5, generator=torch.Generator().manual_seed(0))
    signs = {family: torch.cat([each, torch.zeros(5)]) for family, each in examples.families.items()}
    wide = replace(examples, features=torch.cat([examples.features, extra], dim=1), families=signs)
    assert ranks(own([taught(wide)], wide), truth) > 0.85


def test_unlabelled_train_responses_are_learned_from():
    """Train responses without a label join in, though the bag loss cannot use them; others do not."""
    examples, _ = make_examples(responses=120)
    hidden = (torch.arange(120) % 3 > 0) & examples.train
    labels = torch.where(hidden, torch.nan, examples.labels)
    fold = torch.where(hidden, NO_FOLD, examples.fold)
    partly = replace(examples, labels=labels, fold=fold)
    objective = PseudolabelObjective(TASK, torch.zeros(4, 1), torch.ones(4, 1))
    assert objective.units(partly).tolist() == torch.nonzero(examples.train).flatten().tolist()
    assert BagObjective(TASK, {}).units(partly).tolist() == torch.nonzero(examples.train & ~hidden).flatten().tolist()
    without = replace(partly, train=examples.train & ~hidden)
    first, second = (taught(each).parameters["weights"] for each in (partly, without))
    assert not torch.equal(first, second)


def test_same_seed_same_student():
    """Two students of one teacher are equal bit for bit."""
    examples, _ = make_examples(responses=60)
    first, second = (taught(examples, confidence=0.6).parameters for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_confidence_leaves_out_the_unsure():
    """A student of sure posteriors alone is another one."""
    examples, _ = make_examples(responses=60)
    every, sure = (taught(examples, confidence=least).parameters["weights"] for least in (0.0, 0.95))
    assert not torch.equal(every, sure)


def everything(targets):
    """All sentences are of train."""
    return torch.ones(targets.shape[-1], dtype=torch.bool)


def brute_force_confident(classes, threshold):
    """The rule, sentence by sentence: classes [C, N] of one team."""
    count, total = classes.shape
    label = [max(range(count), key=lambda c, i=i: (classes[c, i], -c)) for i in range(total)]
    means = [
        np.mean([classes[c, i] for i in range(total) if label[i] == c]) if c in label else None for c in range(count)
    ]
    surest = max(mean for mean in means if mean is not None)
    return [bool(classes[label[i], i] >= threshold * means[label[i]] / surest - 1e-12) for i in range(total)]


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 100), min_size=5, max_size=5), min_size=1, max_size=3),
    st.sampled_from([0.0, 0.3, 0.5, 0.62, 0.8, 0.95]),
)
def test_confident_is_adapted_to_the_class(posteriors, threshold):
    """The threshold of each class and team is scaled by how sure the team is of it, as by brute force."""
    targets = torch.tensor(posteriors).double() / 100
    found = confident(targets, "binary", threshold, everything(targets))
    for team, own_targets in zip(found, targets.numpy(), strict=True):
        expected = brute_force_confident(np.stack([1 - own_targets, own_targets]), threshold)
        assert team.tolist() == expected


def test_a_hard_class_is_not_starved():
    """A fixed threshold of 0.8 would leave no positive sentence; the adapted one keeps the surer of them."""
    targets = torch.tensor([[0.0, 0.0, 0.01, 0.3, 0.6, 0.75]]).double()
    assert confident(targets, "binary", 0.8, everything(targets)).tolist() == [[True, True, True, False, True, True]]
    assert confident(targets, "binary", 0.0, everything(targets)).all()


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.6, 0.9])
def test_confident_of_grades(threshold):
    """Grades are classes, each with a threshold of its own; a grade that nobody has does not matter."""
    random = np.random.default_rng(0)
    grades = random.dirichlet([0.6, 0.6, 0.6, 0.01], size=(2, 30)).transpose(0, 2, 1)
    found = confident(torch.from_numpy(grades), "ordinal", threshold, everything(grades))
    assert found.shape == (2, 30)
    assert found.tolist() == [brute_force_confident(team, threshold) for team in grades]


def test_labels_outside_train_set_no_threshold():
    """What is known of dev and test sentences does not move the thresholds of train sentences."""
    targets = torch.tensor([[0.1, 0.3, 0.7, 0.9, 0.5, 0.5]]).double()
    rows = torch.tensor([True, True, True, True, False, False])
    surer = torch.cat([targets[:, :4], torch.tensor([[1.0, 1.0]]).double()], dim=1)
    first, second = (confident(each, "binary", 0.75, rows)[0, :4].tolist() for each in (targets, surer))
    assert first == second
    assert confident(surer, "binary", 0.75, everything(surer))[0, :4].tolist() != first


def test_all_real_values_are_learned_from():
    """Values have no classes to be sure of."""
    assert (
        confident(torch.full((2, 3), 0.5), "real", 0.99, torch.ones(3, dtype=torch.bool)).tolist() == [[True] * 3] * 2
    )
