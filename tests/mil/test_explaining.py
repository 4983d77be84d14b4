"""Contributions: they add up to the score, come in order, name priors, and are silent where nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import keys_of, make_examples

from fractal_core.mil import explaining
from fractal_core.mil.ensemble import Component, ensemble_logits
from fractal_core.mil.explaining import STRONGEST, contribution_rows
from fractal_core.tables import TABLES

NAMES = ["first", "second", "third"]


def linear(share=1.0, family="none", seed=0, width=3):
    """A linear component of random weights."""
    generator = torch.Generator().manual_seed(seed)
    parameters = {
        "weights": torch.randn(4, width, generator=generator),
        "bias": torch.randn(4, generator=generator),
        "offset": torch.rand(4, generator=generator) if family != "none" else torch.zeros(4),
        "extra": torch.zeros(4, 0),
    }
    return Component("head", "evidence", family, parameters, share)


def rows_of(components, examples, names=NAMES):
    """The rows by sentence, in order."""
    pieces = contribution_rows(keys_of(examples), components, examples, names)
    found = {index: [] for index in range(examples.segments.total)}
    for row in pa.concat_tables(pieces).to_pylist():
        found[row["sentence_index"]].append(row)
    return found


MIXTURES = {
    "head": lambda: [linear()],
    "head from a prior": lambda: [linear(family="context")],
    "two heads": lambda: [linear(0.5, "context"), linear(0.5, "query", seed=1)],
    "head and bare prior": lambda: [linear(0.5), linear(0.5, "context", seed=1, width=0)],
    "head from a prior and that prior": lambda: [linear(0.25, "context"), linear(0.75, "context", seed=1, width=0)],
    "bare prior": lambda: [linear(family="query", width=0)],
}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_contributions_add_up(mixture):
    """There are fewer reasons than are kept, so that they sum to the mean logit less the mean bias."""
    examples, _ = make_examples(responses=40)
    components = MIXTURES[mixture]()
    logits = ensemble_logits(components, examples).mean(0)
    bias = sum(c.share * float(c.parameters["bias"].mean()) for c in components)
    for index, rows in rows_of(components, examples).items():
        assert sum(row["contribution"] for row in rows) == pytest.approx(float(logits[index]) - bias, abs=1e-4)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_reasons_are_in_order_and_named(mixture):
    """Ranks count from 1 by falling size; z is the value of the feature or prior that is named; nothing comes twice."""
    examples, _ = make_examples(responses=40)
    components = MIXTURES[mixture]()
    families = sorted({c.family for c in components} - {"none"})
    values = {name: examples.features[:, column] for column, name in enumerate(NAMES)}
    values |= {f"{family} prior": examples.priors[family] for family in families}
    seen = set()
    for index, rows in rows_of(components, examples).items():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        sizes = [abs(row["contribution"]) for row in rows]
        assert sizes == sorted(sizes, reverse=True)
        assert len({row["feature"] for row in rows}) == len(rows)
        assert all(row["z"] == float(values[row["feature"]][index]) for row in rows)
        assert all(row["contribution"] != 0 for row in rows)
        seen |= {row["feature"] for row in rows}
    heads = any(c.parameters["weights"].shape[1] for c in components)
    assert seen == {*(NAMES if heads else ()), *(f"{family} prior" for family in families)}


def test_only_the_strongest_are_kept():
    """Of many features those that move the score most, in any sentence."""
    examples, truth = make_examples(responses=10)
    features = torch.randn(len(truth), 30, generator=torch.Generator().manual_seed(0))
    examples = replace(examples, features=features)
    component = linear(width=30)
    every = (component.parameters["weights"].mean(0) * features).numpy()
    for index, rows in rows_of([component], examples, [f"f{c}" for c in range(30)]).items():
        expected = np.argsort(-np.abs(every[index]))[:STRONGEST]
        assert [row["feature"] for row in rows] == [f"f{column}" for column in expected]


def test_of_equal_reasons_the_first_comes_first():
    """Ties are broken by the order of the features, so that two runs say the same."""
    examples, _ = make_examples(responses=5)
    examples = replace(examples, features=torch.ones_like(examples.features))
    component = linear()
    component.parameters["weights"][:] = 1.0
    assert all([row["feature"] for row in rows] == NAMES for rows in rows_of([component], examples).values())


def test_nothing_is_said_of_other_scorers():
    """One component that is not linear in named things, and no sentence is explained."""
    examples, truth = make_examples(responses=10)
    keys = keys_of(examples)
    given = replace(linear(width=0), given=torch.zeros(4, len(truth)))
    for other in (replace(linear(), scorer="mlp"), replace(linear(), scorer="concat"), given):
        assert contribution_rows(keys, [linear(0.5), replace(other, share=0.5)], examples, NAMES) == []


def test_a_bare_prior_beside_unnamed_features():
    """Where features are not those that are named (scorers mlp and concat), a prior that won explains itself alone."""
    examples, truth = make_examples(responses=10)
    extra = torch.full((len(truth), 4), 9.0)
    wide = replace(examples, features=torch.cat([examples.features, extra], dim=1))
    for index, rows in rows_of([linear(family="query", width=0)], wide).items():
        assert [row["feature"] for row in rows] == ["query prior"]
        assert rows[0]["z"] == float(examples.priors["query"][index])


def test_pieces_are_as_one(monkeypatch):
    """Many rows are worked through in pieces, which say what the whole would; the schema is the table's."""
    examples, _ = make_examples(responses=30)
    keys, components = keys_of(examples), [linear(0.5, "context"), linear(0.5, seed=1)]
    (whole,) = contribution_rows(keys, components, examples, NAMES)
    monkeypatch.setattr(explaining, "_ROWS_AT_ONCE", 7)
    pieces = contribution_rows(keys, components, examples, NAMES)
    assert len(pieces) > 5
    assert pa.concat_tables(pieces).combine_chunks().equals(whole.combine_chunks())
    assert whole.schema.names == TABLES["contributions"].schema.names
    assert whole.schema.types == TABLES["contributions"].schema.types
