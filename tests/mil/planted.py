"""Small problems with a known answer, and what is learned from them, for tests of training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from fractal_core.mil.ensemble import cross_fitted, ensemble_logits
from fractal_core.mil.examples import NO_FOLD, Examples, PriorTerms, assign_folds, segments_of
from fractal_core.mil.learning import learn
from fractal_core.mil.recipe import Recipe
from fractal_core.mil.task import Task
from fractal_core.mil.training import Schedule

TASK = Task("min", "binary")
SCHEDULE = Schedule(epochs=60, batch_responses=64, learning_rate=0.05, seed=0)
QUICK = replace(SCHEDULE, epochs=25, penalties=(0.003, 0.1))
RECIPE = Recipe("evidence", ("noisy",), prior_offset=False, weights={}, fade=False, guard=True)


def nothing(*_):
    """Take no note of progress."""


def examples_of(features, labels, sizes, priors=None, folds=3, **changes):
    """Examples of responses of given sizes, all in train, every response a group of its own, unless changed."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    features = torch.as_tensor(features, dtype=torch.float32)
    given = {
        "features": features,
        "priors": priors or {},
        "families": {family: torch.zeros(features.shape[-1]) for family in priors or {}},
        "segments": segments_of(owners, len(sizes)),
        "units": torch.arange(len(sizes))[:, None],
        "labels": torch.as_tensor(labels, dtype=torch.float64),
        "fold": torch.from_numpy(assign_folds([f"g{index}" for index in range(len(sizes))], folds, 0)[None]),
        "train": torch.ones(len(sizes), dtype=torch.bool),
        "dev": torch.zeros(len(sizes), dtype=torch.bool),
        "gold": torch.full((len(owners),), torch.nan, dtype=torch.float64),
        "terms": PriorTerms(),
    }
    return Examples(**{**given, **changes})


def of_these(logits):
    """Return logits [M, N] as a score of some members and sentences, without attention."""
    return lambda members, sentences: (logits[members][:, sentences], None)


def make_examples(seed=0, responses=240, folds=4, signal=3.0, dealings=1, label=None, pairs=False):
    """Sentences whose first feature decides; the second is noise, the third is the first turned round.

    A response is right iff all of its sentences are, unless `label` makes something else of the true labels of its
    sentences; with `pairs` the response of more right sentences of two is preferred. Returns the examples and the
    sentences' true labels.
    """
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 6, responses)
    owners = np.repeat(np.arange(responses), sizes)
    features = random.normal(size=(len(owners), 3)).astype(np.float32)
    features[:, 2] = -features[:, 0]
    truth = random.random(len(owners)) < 1 / (1 + np.exp(-(signal * features[:, 0] + (0 if pairs else 2))))
    make = label or (lambda sentences: float(sentences.all()))
    labels = np.array([make(truth[owners == b]) for b in range(responses)], dtype=np.float64)
    units = np.arange(responses)[:, None]
    if pairs:
        units = np.arange(responses).reshape(-1, 2)
        share = np.array([truth[owners == b].mean() for b in range(responses)])
        labels = (np.sign(share[units[:, 0]] - share[units[:, 1]]) + 1) / 2
    fold = np.stack([assign_folds([f"g{b // 2}" for b in range(responses)], folds, seed + s) for s in range(dealings)])
    outside = np.arange(responses) // 2 % 6 == 0
    fold[:, outside] = NO_FOLD
    examples = examples_of(
        features,
        labels,
        sizes,
        {"context": torch.from_numpy(features[:, 0].copy()), "query": torch.from_numpy(features[:, 1].copy())},
        families={"context": torch.tensor([1.0, 0.0, -1.0]), "query": torch.tensor([0.0, 1.0, 0.0])},
        units=torch.from_numpy(units),
        fold=torch.from_numpy(fold),
        train=torch.from_numpy(~outside[units[:, 0]]),
        dev=torch.from_numpy(outside[units[:, 0]]),
    )
    return examples, truth


def keys_of(examples):
    """Keys of all sentences, as the tables have them."""
    return pa.table(
        {
            "response_id": [f"r{b}" for b in examples.segments.ids.tolist()],
            "sentence_index": pa.array(range(examples.segments.total), pa.int32()),
        }
    )


def learnt(examples, task=TASK, schedule=QUICK, **changes):
    """Learn with the plain recipe, changed."""
    return learn(examples, task, replace(RECIPE, **changes), schedule, nothing)


def own(components, examples):
    """The cross-fitted logits of an ensemble."""
    return cross_fitted(ensemble_logits(components, examples), examples)[0]


def ranks(scores, truth):
    """AUC by counting pairs."""
    truth = np.asarray(truth)
    positive, negative = np.asarray(scores)[truth], np.asarray(scores)[~truth]
    return float((positive[:, None] > negative[None, :]).mean())
