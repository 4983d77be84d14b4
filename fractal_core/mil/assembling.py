"""From the tables to the trainer's examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fractal_core.mil.examples import Examples, PriorTerms
from fractal_core.mil.folds import Folds, deal, deal_more
from fractal_core.mil.gold import HYBRID, gold_to_learn, learn_hybrid
from fractal_core.mil.prior_terms import prior_terms
from fractal_core.mil.sentences import Fit, Sentences, read_sentences
from fractal_core.mil.supervision import Supervision, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from fractal_core.store.stage import Inputs


@dataclass(frozen=True)
class Plan:
    """What is to be assembled.

    Attributes:
        kind: of the labels, as trained.
        highest_grade: of grades trained as real values, else None.
        scorer: a key of `SCORERS`, or "finetune".
        folds: of a dealing.
        repeats: dealings into folds.
        seed: of the first dealing.
        hybrid: whether gold labels of train sentences are learned from.
        position: whether a sentence's place in its response is among the features.
        weights: of the prior terms.
        chunk_tokens: as stage `embed` cut the context.
    """

    kind: str
    highest_grade: int | None
    scorer: str
    folds: int
    repeats: int
    seed: int
    hybrid: bool
    position: bool
    weights: Mapping[str, float]
    chunk_tokens: int


@dataclass(frozen=True, eq=False)
class Settled:
    """What a scorer has settled, that is there already.

    Attributes:
        fit: how it reads sentences.
        folds: of the responses it learned from.
        trains: whether it is to be trained further: then responses that are new to it are dealt into the folds, and
            what follows from labels, the hybrid prior and the span of real labels, is learned anew. Otherwise all is
            taken as it is, and there are no targets of prior terms.
    """

    fit: Fit
    folds: Folds
    trains: bool = False


@dataclass(frozen=True, eq=False)
class Assembled:
    """Examples, what they are made of, and the folds.

    Attributes:
        responses: table responses.
        examples: what the trainer sees.
        sentences: what is read of the sentences, and how.
        supervision: the labels.
        folds: of all responses that some member has learned from or is to learn from.
        taught: bool [B], train responses with something to learn from.
    """

    responses: pa.Table
    examples: Examples
    sentences: Sentences
    supervision: Supervision
    folds: Folds
    taught: NDArray[np.bool_]

    @property
    def keys(self) -> pa.Table:
        """The keys of the sentences."""
        return self.sentences.keys

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features."""
        return self.sentences.names

    @property
    def fit(self) -> Fit:
        """How sentences are read."""
        return self.sentences.fit


def assemble(inputs: Inputs, plan: Plan, settled: Settled | None, note: Callable[[str], None]) -> Assembled:
    """Build examples from responses, sentences, embeddings, evidence and priors.

    Args:
        inputs: the tables, sentence tables in one order.
        plan: what to build.
        settled: by a scorer that is used or trained further; None for a fresh training.
        note: told what could not be used.
    """
    responses = inputs.table("responses")
    before = settled.fit if settled else None
    scores = before if settled and not settled.trains else None  # Nothing follows from labels any more.
    sentences = read_sentences(inputs, plan.scorer, plan.chunk_tokens, plan.position, before, note)
    segments, rows = sentences.segments, sentences.train
    supervision = supervise(responses, segments, plan.kind, plan.highest_grade, note, scores.span if scores else None)
    gold = np.full(len(rows), np.nan)
    if plan.hybrid:
        heard = note if scores is None else _silent  # Nothing is learned from them any more.
        gold = gold_to_learn(inputs.table("sentences"), plan.kind, rows, heard)
    taught = segments.sum(torch.from_numpy(np.isfinite(gold)).long()).numpy() > 0
    labelled = np.isfinite(supervision.labels.numpy()) & (supervision.split == "train")
    taught[supervision.units.numpy()[labelled].ravel()] = True
    folds = _dealt(settled, responses, taught, plan)
    fold = folds.of(responses, taught)
    of_sentences = fold[:, segments.ids.numpy()]
    if scores is None:
        pulls = plan.weights.get(HYBRID, 0.0) > 0
        learned = learn_hybrid(sentences.evidence, gold, of_sentences, pulls, note, folds.count)
        if learned.prior is not None:
            sentences = sentences.with_prior(HYBRID, learned.prior, note=note)
        hybrid, priors = learned.weights, inputs.table("priors")
        terms = prior_terms(inputs, priors, segments, plan.weights, rows, learned.targets, note)
    else:
        sentences = sentences.with_hybrid(scores, of_sentences[0])
        hybrid, terms = scores.hybrid, PriorTerms()
    fit = replace(sentences.fit, hybrid=hybrid, span=(supervision.low, supervision.high))
    sentences = replace(sentences, fit=fit)
    examples = Examples(
        features=sentences.features,
        priors=sentences.priors,
        families=sentences.families,
        segments=segments,
        units=supervision.units,
        labels=supervision.labels,
        fold=torch.from_numpy(fold),
        train=torch.from_numpy(supervision.split == "train"),
        dev=torch.from_numpy(supervision.split == "dev") & ~torch.isnan(supervision.labels),
        gold=torch.from_numpy(gold),
        terms=terms,
        members=folds.count,
    )
    return Assembled(responses, examples, sentences, supervision, folds, taught)


def _dealt(settled: Settled | None, responses: pa.Table, taught: NDArray[np.bool_], plan: Plan) -> Folds:
    if settled is None:
        return deal(responses, taught, plan.folds, plan.repeats, plan.seed)
    return deal_more(settled.folds, responses, taught, plan.seed) if settled.trains else settled.folds


def _silent(text: str) -> None:
    """Note nothing."""
