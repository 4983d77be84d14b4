"""Small problems of texts with a known answer, for tests of fine-tuning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from fractal_core.mil.aggregations import aggregate
from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.finetune.examples import TextBags
from fractal_core.mil.finetune.settings import FineTuneSettings
from fractal_core.mil.losses import bag_cross_entropy
from fractal_core.mil.segments import Segments

FAST = FineTuneSettings(against="query", epochs=6, learning_rate=3e-3, head_learning_rate=1e-2, patience=30)
SHORT = replace(FAST, epochs=0.5, checks=2)


def make_bags(responses=60, folds=3, seed=0):
    """Responses of 1 to 4 sentences, right iff one sentence is made of vowels; the query says nothing.

    Returns the bags, the labels of the responses and the truth of the sentences.
    """
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 5, responses)
    count = int(sizes.sum())
    truth = random.random(count) < 0.3
    words = ["".join(random.choice(list("aeiou" if right else "bdgkt"), 5)) for right in truth]
    texts = ["which", *words]
    segments = Segments.from_sizes(torch.from_numpy(sizes))
    labels = segments.maximum(torch.from_numpy(truth.astype(np.float64)))
    fold = torch.arange(responses) % folds
    fold[::5] = NO_FOLD
    bags = TextBags(
        texts=texts,
        sentence=torch.arange(1, count + 1),
        partners={"query": torch.zeros(count, 1, dtype=torch.int64)},
        segments=segments,
        fold=fold,
        dev=fold == NO_FOLD,
    )
    return bags, labels, torch.from_numpy(truth)


def loss_of(bags, labels, kind="noisy_or"):
    """The bag loss as a caller would give it."""

    def loss(logits, responses):
        return bag_cross_entropy(aggregate(kind, logits, bags.segments.select(responses)[1]), labels[responses])

    return loss


def family_bags():
    """Two responses, three sentences: against query and two chunks; against chunks alone; against nothing."""
    return TextBags(
        texts=["q", "first", "second", "third", "chunk one", "chunk two"],
        sentence=torch.tensor([1, 2, 3]),
        partners={
            "query": torch.tensor([[0], [-1], [-1]]),
            "context": torch.tensor([[4, 5], [5, 5], [-1, -1]]),
        },
        segments=Segments.from_sizes(torch.tensor([1, 2])),
        fold=torch.tensor([0, 1]),
        dev=torch.tensor([False, False]),
    )
