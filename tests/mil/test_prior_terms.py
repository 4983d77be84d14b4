"""Prior terms: scales of priors, constants that say nothing, and weights that have no target."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from planted import TASK, make_examples

from fractal_core.mil.examples import PriorTerms
from fractal_core.mil.objective import BagObjective
from fractal_core.mil.prior_terms import COLUMNS, NEEDS, note_constants, prior_terms, scale_of, scaled
from fractal_core.mil.segments import Segments

TRAIN = np.array([True, True, True, False])


def test_scale_is_that_of_train():
    """Mean and deviation of the known values of train; z-scores of all, NaN where nothing is known."""
    values = np.array([1.0, 3.0, np.nan, 6.0])
    assert scale_of(values, TRAIN) == (2.0, 1.0)
    assert scaled(values, 2.0, 1.0).tolist() == pytest.approx([-1.0, 1.0, np.nan, 4.0], nan_ok=True)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.5, 1e6])
def test_a_constant_has_no_scale(value):
    """One value everywhere in train, in the rounding of float32, gives no z-score to any sentence, of dev either."""
    values = np.array([value, value, value, 5.0], dtype=np.float32).astype(np.float64)
    values[1] += 1e-9 * abs(value)
    mean, scale = scale_of(values, TRAIN)
    assert mean == pytest.approx(value)
    assert scale == 0.0
    assert np.isnan(scaled(values, mean, scale)).all()
    assert scale_of(np.full(4, np.nan), TRAIN) == (0.0, 0.0)


def test_constants_are_told():
    """A prior of one value is noted with its value and what turns it off; one that is missing is none."""
    known = {
        "column": np.array([0.5, 0.5, np.nan, 0.7]),
        "sql": np.array([0.0, 1.0, 2.0, 3.0]),
        "query": np.full(4, np.nan),
        "context": np.full(4, 2.0),
    }
    notes = []
    note_constants(known, {name: scale_of(values, TRAIN) for name, values in known.items()}, TRAIN, notes.append)
    assert notes == [
        "the column prior is the same for every sentence of train, 0.5: not used; give numbers that differ, or set "
        "priors.column = false",
        "the context prior is the same for every sentence of train, 2: not used",
    ]


def tables(**columns):
    """Table priors of two responses of two sentences, of which the first is train, and table sentences."""
    priors = {
        "response_id": ["a", "a", "b", "b"],
        "sentence_index": pa.array([0, 1, 0, 1], pa.int32()),
        "neighbour_ids": pa.array([[]] * 4, pa.list_(pa.string())),
        "neighbour_similarities": pa.array([[]] * 4, pa.list_(pa.float32())),
        **{column: pa.array([1.0, 2.0, 3.0, 4.0], pa.float32()) for column in COLUMNS.values()},
    }
    return pa.table({**priors, **{name: pa.array(values, pa.float32()) for name, values in columns.items()}})


def build(priors, weights, sizes=(2, 2), hybrid=None):
    """Call prior_terms with the first response in train; return terms and notes."""
    notes = []
    segments = Segments.from_sizes(torch.tensor(sizes))
    rows = (segments.ids == 0).numpy()
    texts = [f"text {index}" for index in range(len(rows))]
    hashes = [blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
    vectors = pa.array(np.eye(len(texts), 4, dtype=np.float32).tolist(), pa.list_(pa.float32(), 4))
    read = {"sentences": pa.table({"text": texts}), "embeddings": pa.table({"text_hash": hashes, "vector": vectors})}
    inputs = SimpleNamespace(table=read.__getitem__, batches=lambda name: read[name].to_batches())
    return prior_terms(inputs, priors, segments, weights, rows, hybrid, notes.append), notes


@pytest.mark.parametrize("term", COLUMNS)
def test_a_weight_without_targets_in_train_is_told(term):
    """Null or constant in train: the term is left out and the note has its weight, where it goes, and what to do."""
    for values in ([None] * 4, [None, None, 1.0, 2.0], [0.5, 0.5, 1.0, 2.0]):
        terms, notes = build(tables(**{COLUMNS[term]: values}), {term: 0.25, "hybrid": 0.0})
        assert terms.probabilities == {}
        assert notes == [
            f"train.prior_weights.{term} = 0.25 pulls nowhere, because no train sentence has a target, so the bag loss "
            f"has this weight: give {NEEDS[term]}, or set it to 0"
        ]
    terms, notes = build(tables(), {term: 0.25})
    assert set(terms.probabilities) == {term}
    assert notes == []
    z = (np.arange(1, 5) - 1.5) / 0.5
    assert terms.probabilities[term].tolist() == pytest.approx((1 / (1 + np.exp(-z))).tolist())


def test_hybrid_weight_without_a_hybrid_prior_is_told():
    """No hybrid prior, no term; with one its log-odds of every team are probabilities."""
    terms, notes = build(tables(), {"hybrid": 0.3})
    assert terms.probabilities == {}
    assert notes[0].startswith("train.prior_weights.hybrid = 0.3 pulls nowhere")
    assert "the bag loss has this weight: give gold sentence labels" in notes[0]
    terms, notes = build(tables(), {"hybrid": 0.3}, hybrid=np.array([[0.0, 1.0, 2.0, 3.0]] * 6))
    assert terms.probabilities["hybrid"].shape == (6, 4)
    assert notes == []


def test_pairwise_weights_without_pairs_are_told():
    """Single sentences in train correlate with nothing, and without neighbours there is no neighbour term."""
    terms, notes = build(tables(), {"correlation": 0.2, "neighbours": 0.1}, sizes=(1, 3))
    assert (terms.pairs, terms.neighbours) == (None, None)
    assert [note.split(" = ")[0].removeprefix("train.prior_weights.") for note in notes] == [
        "correlation",
        "neighbours",
    ]
    terms, notes = build(tables(), {"correlation": 0.2}, sizes=(2, 2))
    assert terms.pairs is not None
    assert notes == []


def losses(examples, weights, terms):
    """The objective's loss of all units for two members."""
    examples = replace(examples, terms=terms)
    logits = torch.stack([examples.features[:, 0], examples.features[:, 1]])
    units = torch.arange(len(examples.units))
    sentences, segments = examples.by_unit
    objective = BagObjective(TASK, weights)
    return objective.loss(examples, logits, torch.zeros(2, 0), units, sentences, segments, None)


@pytest.mark.parametrize("term", NEEDS)
def test_the_bag_loss_has_the_weight_of_a_term_without_targets(term):
    """The loss is that without the term, to the bit; the weights of other terms stay."""
    examples, truth = make_examples(responses=30)
    assert torch.equal(losses(examples, {term: 0.4}, PriorTerms()), losses(examples, {}, PriorTerms()))
    there = PriorTerms(probabilities={"other": torch.full((len(truth),), 0.5)})
    assert torch.equal(losses(examples, {term: 0.4, "other": 0.2}, there), losses(examples, {"other": 0.2}, there))
    assert not torch.equal(losses(examples, {"other": 0.2}, there), losses(examples, {}, there))


def test_every_team_has_its_own_targets():
    """Targets [T, N] are those of the members of each team, penalty by penalty; [N] are everyone's."""
    examples, truth = make_examples(responses=30)
    targets = torch.rand(2, len(truth), generator=torch.Generator().manual_seed(0))
    both = losses(examples, {"hybrid": 0.4}, PriorTerms(probabilities={"hybrid": targets}))
    for team in range(2):
        one = losses(examples, {"hybrid": 0.4}, PriorTerms(probabilities={"hybrid": targets[team]}))
        assert torch.equal(both[team], one[team])
        assert not torch.equal(both[1 - team], one[1 - team])
