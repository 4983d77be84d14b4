"""What of the configuration can change the result of each stage."""

from __future__ import annotations

from pathlib import Path

from fractal_core.config import (
    Aggregation,
    Columns,
    EncoderKind,
    PseudolabelConfig,
    RunConfig,
    Section,
    SegmentConfig,
    TrainSettings,
)
from fractal_core.label_kinds import LabelKind


class ReadParams(Section):
    """What of the configuration can change the responses that are read."""

    columns: Columns
    max_reject_fraction: float
    dev_fraction: float
    test_fraction: float
    aggregation: Aggregation
    label_kind: LabelKind
    grades: int
    seed: int


class EmbedParams(Section):
    """What of the configuration can change vectors and evidence."""

    model: str
    kind: EncoderKind
    max_tokens: int
    chunk_tokens: int


class PriorsParams(Section):
    """What of the configuration can change the priors."""

    neighbours: int
    index: str
    column: bool
    sql: str


class TrainParams(Section):
    """What of the configuration can change the scorer."""

    aggregation: Aggregation
    label_kind: LabelKind
    grades: int
    hybrid: bool
    seed: int
    train: TrainSettings
    chunk_tokens: int
    max_tokens: int


class PseudolabelParams(TrainParams):
    """What of the configuration can change the pseudo-labels."""

    pseudolabel: PseudolabelConfig


class EvaluateParams(Section):
    """What of the configuration can change the figures."""

    aggregation: Aggregation
    label_kind: LabelKind
    id: str
    sentence_labels: str
    grades: int


class NoParams(Section):
    """A stage that depends on its inputs alone."""


def read_params(config: RunConfig) -> ReadParams:
    """Return what `read` depends on."""
    source = config.input
    return ReadParams(
        columns=source.columns,
        max_reject_fraction=source.max_reject_fraction,
        dev_fraction=source.dev_fraction,
        test_fraction=source.test_fraction,
        aggregation=config.aggregation,
        label_kind=source.label_kind,
        grades=source.grades,
        seed=config.seed,
    )


def segment_params(config: RunConfig) -> SegmentConfig:
    """Return what `segment` depends on."""
    return config.segment


def embed_params(config: RunConfig) -> EmbedParams:
    """Return what `embed` depends on."""
    encoder = config.encoder
    return EmbedParams(
        model=Path(encoder.model).name,
        kind=encoder.kind,
        max_tokens=encoder.max_tokens,
        chunk_tokens=encoder.chunk_tokens,
    )


def priors_params(config: RunConfig) -> PriorsParams:
    """Return what `priors` depends on."""
    priors = config.priors
    return PriorsParams(neighbours=priors.neighbours, index=priors.index, column=priors.column, sql=priors.sql.strip())


def train_params(config: RunConfig) -> TrainParams:
    """Return what `train` depends on; how contexts are cut matters to scorers that read texts alone.

    Whether an earlier scorer is gone on from is no parameter: it matters only if there is one (`Stage.continues`).
    """
    reads_texts = config.train.scorer != "evidence"
    return TrainParams(
        aggregation=config.aggregation,
        label_kind=config.input.label_kind,
        grades=config.input.grades,
        hybrid=config.priors.hybrid,
        seed=config.seed,
        train=TrainSettings(**{name: getattr(config.train, name) for name in TrainSettings.model_fields}),
        chunk_tokens=config.encoder.chunk_tokens if reads_texts else 0,
        max_tokens=config.encoder.max_tokens if reads_texts else 0,
    )


def evaluate_params(config: RunConfig) -> EvaluateParams:
    """Return what `evaluate` depends on."""
    source = config.input
    return EvaluateParams(
        aggregation=config.aggregation,
        label_kind=source.label_kind,
        id=source.columns.id,
        sentence_labels=source.columns.sentence_labels,
        grades=source.grades,
    )


def pseudolabel_params(config: RunConfig) -> PseudolabelParams:
    """Return what `pseudolabel` depends on."""
    return PseudolabelParams(**dict(train_params(config)), pseudolabel=config.pseudolabel)
