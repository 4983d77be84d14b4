"""The configuration of learning: prior terms, scorer and pseudo-labels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fractal_core.config_section import Section

_SCORERS = ("evidence", "mlp", "concat", "finetune")
_POOLINGS = ("auto", "noisy", "hard", "soft", "logsumexp", "power_mean", "attention")


Weight = Annotated[float, Field(ge=0.0, lt=1.0)]
# Weights such as 0.7 + 0.2 + 0.1 miss 1 by rounding alone.
_LEAST_BAG_LOSS = 1e-9


class PriorWeights(Section):
    """Weights of the prior terms in the loss; the bag loss, of the response labels, has what they leave of 1."""

    document: Weight = Field(0.0, description="Pull towards similarity with the context.")
    query: Weight = Field(0.0, description="Pull towards similarity with the query.")
    context_evidence: Weight = Field(0.0, description="Pull towards the evidence against the context.")
    query_evidence: Weight = Field(0.0, description="Pull towards the evidence against the query.")
    column: Weight = Field(0.0, description="Pull towards the input's column prior (needs priors.column).")
    sql: Weight = Field(0.0, description="Pull towards your own query's prior (needs priors.sql).")
    hybrid: Weight = Field(0.0, description="Pull towards what gold sentence labels teach (needs priors.hybrid).")
    correlation: Weight = Field(0.0, description="Correlated sentences of a response score alike.")
    neighbours: Weight = Field(0.0, description="Similar sentences of different responses score alike.")

    @model_validator(mode="after")
    def _leave_room_for_the_bag_loss(self) -> Self:
        total = sum(self.model_dump().values())
        if total > 1.0 - _LEAST_BAG_LOSS:
            raise ValueError(
                f"the prior weights sum to {total:g}; they must sum to less than 1, because the bag loss, which learns "
                "from the response labels, has what they leave of it: lower one of them"
            )
        return self


class FineTuneConfig(Section):
    """How the encoder itself is trained, with scorer = "finetune"; it soon learns labels by heart."""

    mode: Literal["bi", "cross"] = Field(
        "bi", description="bi compares the vectors of two texts, cross reads both at once (slower)."
    )
    against: Literal["auto", "query", "context"] = Field(
        "auto", description="What a sentence is read with; auto takes what explains the labels better before training."
    )
    epochs: float = Field(2.0, gt=0.0, le=100.0, description="Most epochs; the best quarter of an epoch is kept.")
    learning_rate: float = Field(3e-5, gt=0.0, le=1.0, description="AdamW's, of the encoder.")
    batch_responses: int = Field(8, ge=1, description="Responses a step.")


class TrainSettings(Section):
    """What of the configuration of training can change a scorer that is trained anew."""

    scorer: str = Field(
        "evidence",
        description="evidence: linear on evidence features. mlp: evidence and compared vectors. concat: the scorer of "
        "the FRACTAL paper. finetune: the encoder itself (best on a GPU).",
    )
    pooling: str = Field(
        "auto",
        description="How scores become a response's in training: noisy (-AND / -OR), hard (min / max), soft, "
        "logsumexp, power_mean, attention; auto trains noisy and hard and takes what explains held-out labels "
        "better, or both. avg is always the mean.",
    )
    bag_loss: Literal["likelihood", "count", "mae", "mse"] = Field(
        "likelihood",
        description="Loss of a response: likelihood of its label, exact likelihood of the count of good sentences (avg "
        "only), or absolute or squared error.",
    )
    folds: int = Field(
        5, ge=2, le=20, description="Cross-fitting folds: no response is scored by a model that saw its label."
    )
    repeats: int = Field(
        2, ge=1, le=20, description="Times the folds are dealt anew; scores are averaged, their spread is kept."
    )
    epochs: int = Field(200, ge=1, le=10_000, description="Most epochs; the best one by validation bag loss is kept.")
    batch_responses: int = Field(256, ge=1, description="Responses a step.")
    learning_rate: float = Field(0.0, ge=0.0, le=10.0, description="Adam's learning rate; 0 takes the scorer's own.")
    position: bool = Field(
        False,
        description="Let a sentence's place in its response and the number of sentences count; misleading where "
        "labelling stops at the first error.",
    )
    adjust_for: Literal["auto", "none", "context", "query"] = Field(
        "auto",
        description="Of preferences: the evidence that speaks for a whole response and for no sentence of it; auto: "
        "query under min (a sentence is right), context under max and avg (a sentence is relevant).",
    )
    prior_offset: bool = Field(
        True, description="Start from the prior that explains the labels best and learn a correction to it."
    )
    prior_weights: PriorWeights = Field(
        default_factory=PriorWeights, description="Weights of the prior terms in the loss, together below 1."
    )
    prior_fade: bool = Field(
        False, description="Curriculum: prior weights fall to 0 over train.epochs; training may end before."
    )
    guard: bool = Field(
        True, description="Fall back to a bare prior, or average with it, if that explains held-out labels better."
    )
    finetune: FineTuneConfig = Field(default_factory=FineTuneConfig, description="Training of the encoder itself.")

    @field_validator("pooling")
    @classmethod
    def _is_a_pooling(cls, name: str) -> str:
        if name not in _POOLINGS:
            from fractal_core.mil.aggregations import POOLINGS  # One that was added; torch is slow to import.

            if name not in POOLINGS:
                raise ValueError(f'there is no pooling "{name}"; use auto or one of {", ".join(POOLINGS)}')
        return name

    @field_validator("scorer")
    @classmethod
    def _is_a_scorer(cls, name: str) -> str:
        if name not in _SCORERS:
            from fractal_core.mil.scorers.registry import SCORERS

            if name not in SCORERS:
                raise ValueError(f'there is no scorer "{name}"; use one of {", ".join(SCORERS)} or finetune')
        return name

    @model_validator(mode="after")
    def _have_a_loss_that_takes_prior_weights(self) -> Self:
        for name, weight in self.prior_weights.model_dump().items():
            if weight > 0 and self.scorer == "finetune":
                raise ValueError(
                    f'prior_weights.{name} = {weight:g} has no effect with scorer = "finetune", which learns from '
                    "response labels alone; set it to 0, or take another scorer"
                )
        return self

    @model_validator(mode="after")
    def _have_evidence_to_attend_by(self) -> Self:
        if self.pooling == "attention" and self.scorer not in ("evidence", "mlp"):
            raise ValueError(f'pooling = "attention" needs scorer = "evidence" or "mlp", not "{self.scorer}"')
        return self


class TrainConfig(TrainSettings):
    """How the scorer is trained from response labels."""

    on_new_data: Literal["retrain", "warm-start", "freeze"] = Field(
        "retrain",
        description="Where responses were added, edited or removed since an earlier run. retrain: train anew. "
        "warm-start: go on from the scorer of that run. freeze: keep it, and its student, and only score and label.",
    )


class PseudolabelConfig(Section):
    """How sentence labels that agree with the response labels are made."""

    rounds: int = Field(
        1,
        ge=0,
        le=20,
        description="Retrainings on the posteriors; the first that fits held-out responses worse ends them.",
    )
    confidence: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Retrain on posteriors at least this sure, less for classes hard to be sure of; 0: on all.",
    )
