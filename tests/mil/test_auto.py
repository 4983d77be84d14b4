"""What auto decides, by held-out response labels: the pooling, the aggregation and the kind of the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import QUICK, TASK, examples_of, learnt, make_examples, own, ranks

from fractal_core.config_training import TrainConfig
from fractal_core.mil import guard
from fractal_core.mil.calibration import calibrate
from fractal_core.mil.recipe import recipe_of, tasks_of
from fractal_core.mil.task import Task
from fractal_core.stage_params import TrainParams


def copies(hard, seed=0):
    """Responses that say one thing 1 or 10 times: right as often as that thing, or only if every copy is."""
    random = np.random.default_rng(seed)
    sizes = np.where(np.arange(400) % 2 == 0, 1, 10)
    x = random.normal(size=400)
    p = 1 / (1 + np.exp(-(2 * x + (0 if hard else 2))))
    labels = random.random(400) < (p if hard else p**sizes)
    return examples_of(np.repeat(x, sizes)[:, None], labels.astype(float), sizes)


@pytest.mark.parametrize(("hard", "pooling"), [(True, "hard"), (False, "noisy")])
def test_pooling_auto_takes_what_explains_the_labels(hard, pooling):
    """Labels of hard minima and of independent sentences are told apart, and the loser is left out."""
    learned = learnt(copies(hard), schedule=replace(QUICK, epochs=60), poolings=("noisy", "hard"))
    assert learned.winner == pooling
    assert [component.name for component in learned.components] == [pooling]
    assert learned.heads["hard" if hard else "noisy"] < learned.heads["noisy" if hard else "hard"] - 0.05
    assert {head for head, *_ in learned.history} == {"noisy", "hard"}


def test_pooling_auto_averages_what_is_close():
    """Where both poolings explain the labels about as well, both heads stay, with equal shares."""
    examples, truth = make_examples(responses=160)
    examples = replace(examples, priors={})
    learned = learnt(examples, poolings=("noisy", "hard"))
    assert learned.winner == "noisy and hard"
    assert [(part.name, part.share) for part in learned.components] == [("noisy", 0.5), ("hard", 0.5)]
    assert ranks(own(learned.components, examples), truth) > 0.9


def test_a_prior_is_calibrated_once_for_each_judge(monkeypatch):
    """To start from, by either pooling, and by the guard."""
    examples, _ = make_examples()
    names = {id(prior): family for family, prior in examples.priors.items()}
    made = []

    def counted(examples, judge, score):
        made.append((names.get(id(score)), judge.pooling))
        return calibrate(examples, judge, score)

    monkeypatch.setattr(guard, "calibrate", counted)
    learnt(examples, poolings=("noisy", "hard"), prior_offset=True, guard=True)
    of_priors = [each for each in made if each[0] is not None]
    assert sorted(of_priors) == sorted((family, pooling) for family in examples.priors for pooling in ("hard", "noisy"))


def params(aggregation, label_kind="auto", grades=2, **train):
    """Parameters of stage train."""
    return TrainParams(
        aggregation=aggregation, label_kind=label_kind, grades=grades, hybrid=False, seed=0, train=TrainConfig(**train),
        chunk_tokens=0, max_tokens=0,
    )  # fmt: skip


@pytest.mark.parametrize("meaning", ["min", "max", "avg"])
def test_aggregation_auto_reads_the_labels(meaning):
    """Labels 0 and 1 that are the minimum, the maximum, or one sentence's at random are read as what they are."""
    random = np.random.default_rng(5)
    make = {"min": np.min, "max": np.max, "avg": random.choice}[meaning]
    examples, _ = make_examples(responses=240, label=lambda sentences: float(make(sentences)))
    examples = replace(examples, features=examples.features[:, :2], priors={})
    tasks = tasks_of(params("auto"), labels_are_binary=True)
    assert [(task.aggregation, task.kind) for task in tasks] == [("min", "binary"), ("max", "binary"), ("avg", "share")]
    losses = {task.aggregation: learnt(examples, task).held_out for task in tasks}
    assert min(losses, key=losses.get) == meaning


def test_tasks_of_says_how_labels_can_be_read():
    """Shares are read as a mean alone; pairs in three ways; a set aggregation in one; losses follow the kind."""

    def of(*arguments, binary=False, **train):
        return [(t.aggregation, t.kind, t.loss, t.grades) for t in tasks_of(params(*arguments, **train), binary)]

    assert of("auto") == [("avg", "share", "likelihood", 1)]
    assert [each[:2] for each in of("auto", "preference")] == [(a, "preference") for a in ("min", "max", "avg")]
    assert of("min", binary=True) == [("min", "binary", "likelihood", 1)]
    assert of("avg", "binary", binary=True) == [("avg", "share", "likelihood", 1)]
    assert of("avg", "count") == [("avg", "count", "count", 1)]
    assert of("avg", "count", bag_loss="mae") == [("avg", "count", "mae", 1)]
    assert of("max", "ordinal", 4) == [("max", "ordinal", "likelihood", 4)]
    assert of("avg", "ordinal", 4) == [("avg", "real", "mse", 1)]


def test_recipe_of_says_which_poolings_are_trained():
    """Auto is noisy and hard, but the mean alone under avg and the hard aggregate for real values."""

    def poolings(task, pooling="auto"):
        return recipe_of(TrainConfig(pooling=pooling), task).poolings

    assert poolings(TASK) == ("noisy", "hard")
    assert poolings(Task("avg", "share")) == ("noisy",)
    assert poolings(Task("min", "real")) == ("hard",)
    assert poolings(TASK, "soft") == ("soft",)
    assert not recipe_of(TrainConfig(scorer="concat"), TASK).prior_offset
