"""Losses on units that a team has not seen are those of all units, to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from planted import make_examples, of_these

from fractal_core.mil.held_out import HeldOut, UnitSentences, losses_of, unit_losses
from fractal_core.mil.segments import Segments
from fractal_core.mil.task import COVARIATES, Task, handicaps

TASKS = [
    Task("min", "binary"),
    Task("max", "binary", "hard"),
    Task("min", "binary", "power_mean"),
    Task("avg", "share"),
    Task("avg", "count", loss="count"),
    Task("min", "real", "hard", "mse"),
    Task("min", "ordinal", grades=3),
    Task("avg", "preference", adjusted="context"),
]


def problem(task, pairs):
    """Responses of one to nine sentences, alone or in pairs, with labels that the task may have; and logits."""
    random = torch.Generator().manual_seed(0)
    examples, _ = make_examples(responses=400)
    segments = Segments.from_sizes(torch.randint(1, 10, (400,), generator=random))
    units = torch.arange(400).reshape(-1, 2 if pairs else 1)
    share = torch.rand(400, generator=random, dtype=torch.float64)
    count = (share * (segments.sizes + 1)).floor().clamp(max=segments.sizes)
    labels = {"share": share, "real": share, "count": count / segments.sizes, "ordinal": (share * 4).floor()}
    given = labels.get(task.kind, share.round())[: len(units)]
    gold = torch.where(torch.rand(segments.total, generator=random) < 0.1, 1.0, torch.nan).double()
    covariates = torch.randn(len(units), COVARIATES, generator=random) if task.adjusted else None
    changed = {"segments": segments, "units": units, "labels": given, "gold": gold, "covariates": covariates}
    logits = 4 * torch.randn(6, segments.total, generator=random)
    return replace(examples, **changed), logits, torch.randn(6, task.extras, generator=random)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.kind}-{task.pooled}")
def test_a_unit_s_loss_does_not_depend_on_what_others_it_is_taken_with(task):
    """Any units, for any members: exactly what the whole has for them."""
    examples, logits, extra = problem(task, task.kind == "preference")
    whole = unit_losses(examples, task, logits, extra)
    everyone = handicaps(extra, examples.covariates)
    ahead = None if everyone is None else everyone[2:5]
    for seed, count in enumerate((1, 2, 7, 63, len(examples.units))):
        random = torch.Generator().manual_seed(seed)
        units = torch.randperm(len(examples.units), generator=random)[:count].sort().values
        chosen = UnitSentences.of(examples, units)
        part = losses_of(examples, task, chosen, logits[2:5][:, chosen.sentences], extra[2:5], ahead=ahead)
        assert torch.equal(part, whole[2:5, units])


def test_the_mean_is_that_over_the_losses_of_all_units():
    """A reference that takes every loss and leaves out those of units a team has seen: the same bits."""
    examples, _ = make_examples(responses=300, folds=3, dealings=2)
    teams, penalties = 6, 2
    logits = torch.randn(teams * penalties, examples.segments.total, generator=torch.Generator().manual_seed(1))
    extra = torch.zeros(teams * penalties, 0)
    team = torch.arange(teams)
    hidden = examples.unit_fold[team // examples.folds] == (team % examples.folds)[:, None]
    losses = unit_losses(examples, Task("min", "binary"), logits, extra).reshape(teams, penalties, -1)
    weight = (hidden & (examples.taught | examples.dev)).float() + examples.dev.float() / 3
    weight = weight[:, None].repeat(1, penalties, 1)
    expected = (losses * weight).sum((0, 2)) / weight.sum((0, 2))
    assert torch.equal(HeldOut(examples, hidden).mean(Task("min", "binary"), of_these(logits), extra), expected)


def test_only_what_judges_a_team_is_scored():
    """Each team scores the sentences of its own fold and of dev, once, and no others."""
    examples, _ = make_examples(responses=90, folds=3)
    hidden = examples.unit_fold == torch.arange(3)[:, None]
    asked = []

    def score(members, sentences):
        asked.append((members, sentences.tolist()))
        return torch.zeros(2, len(sentences)), None

    HeldOut(examples, hidden).mean(Task("min", "binary"), score, torch.zeros(6, 0))
    of_unit = (hidden & examples.taught) | examples.dev
    expected = [torch.nonzero(examples.segments.expand(of_team)).flatten().tolist() for of_team in of_unit]
    assert asked == [(slice(2 * team, 2 * team + 2), sentences) for team, sentences in enumerate(expected)]
    assert all(0 < len(sentences) < examples.segments.total / 2 for sentences in expected)
