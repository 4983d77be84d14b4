"""The pipeline: every stage, what it reads and writes, and nothing of how it computes."""

from __future__ import annotations

from pathlib import Path

from fractal_core.config import (
    Aggregation,
    Columns,
    PriorsConfig,
    PseudolabelConfig,
    RunConfig,
    Section,
    SegmentConfig,
    TrainConfig,
)
from fractal_core.encode.models import model_files
from fractal_core.errors import UsageError
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.store.stage import Stage
from fractal_core.text.files import files_by_split, input_files


class ReadParams(Section):
    """What of the configuration can change the responses that are read."""

    columns: Columns
    max_reject_fraction: float
    dev_fraction: float
    test_fraction: float
    aggregation: Aggregation
    seed: int


class EmbedParams(Section):
    """What of the configuration can change vectors and evidence."""

    model: str
    max_tokens: int
    chunk_tokens: int


class TrainParams(Section):
    """What of the configuration can change the scorer."""

    aggregation: Aggregation
    seed: int
    train: TrainConfig


class PseudolabelParams(Section):
    """What of the configuration can change the pseudo-labels."""

    aggregation: Aggregation
    seed: int
    train: TrainConfig
    pseudolabel: PseudolabelConfig


class EvaluateParams(Section):
    """What of the configuration can change the figures."""

    aggregation: Aggregation


class NoParams(Section):
    """A stage that depends on its inputs alone."""


def _read_params(config: RunConfig) -> ReadParams:
    source = config.input
    return ReadParams(
        columns=source.columns,
        max_reject_fraction=source.max_reject_fraction,
        dev_fraction=source.dev_fraction,
        test_fraction=source.test_fraction,
        aggregation=config.aggregation,
        seed=config.seed,
    )


def _segment_params(config: RunConfig) -> SegmentConfig:
    return config.segment


def _embed_params(config: RunConfig) -> EmbedParams:
    encoder = config.encoder
    return EmbedParams(model=Path(encoder.model).name, max_tokens=encoder.max_tokens, chunk_tokens=encoder.chunk_tokens)


def _priors_params(config: RunConfig) -> PriorsConfig:
    return config.priors


def _train_params(config: RunConfig) -> TrainParams:
    return TrainParams(aggregation=config.aggregation, seed=config.seed, train=config.train)


def _pseudolabel_params(config: RunConfig) -> PseudolabelParams:
    return PseudolabelParams(
        aggregation=config.aggregation, seed=config.seed, train=config.train, pseudolabel=config.pseudolabel
    )


def _input_sources(config: RunConfig) -> dict[str, list[Path]]:
    paths = [config.input.path] if isinstance(config.input.path, str) else config.input.path
    groups = files_by_split(input_files([Path(path) for path in paths]))
    return {f"input.{split}".rstrip("."): files for split, files in sorted(groups.items())}


def _encoder_sources(config: RunConfig) -> dict[str, list[Path]]:
    return {"encoder": model_files(config.encoder.model, Path())}


_KEYS = ("response_id", "sentence_index")
_FEATURES = tuple(feature.name for feature in FEATURES)
PRIOR_COLUMNS = ("document_similarity", "query_similarity", "context_evidence", "query_evidence")
_TRAINING_READS = {
    "read.responses": ("response_id", "label", "split", "group"),
    "segment.sentences": (*_KEYS, "text"),
    "embed.embeddings": ("text_hash", "vector"),
    "embed.evidence": (*_KEYS, *_FEATURES),
    "priors.priors": (
        *_KEYS, *PRIOR_COLUMNS, "neighbour_ids", "neighbour_similarities",
    ),
}  # fmt: skip

STAGES: tuple[Stage, ...] = (
    Stage(
        name="read",
        function="fractal_core.text.reading:read",
        summary="Read and validate responses; bad rows go to rejects.",
        params=_read_params,
        sources=_input_sources,
        writes=("responses", "rejects"),
        may_be_empty=("rejects",),
        libraries=("pyarrow", "duckdb"),
    ),
    Stage(
        name="segment",
        function="fractal_core.text.segmentation:segment",
        summary="Cut responses into sentences with exact offsets.",
        params=_segment_params,
        reads={"read.responses": ("response_id", "response", "spans", "sentence_labels")},
        writes=("sentences",),
        libraries=("sentencex",),
    ),
    Stage(
        name="embed",
        function="fractal_core.encode.embedding:embed",
        summary="Encode each distinct text once and compare sentences with query and context.",
        params=_embed_params,
        sources=_encoder_sources,
        reads={
            "read.responses": ("response_id", "query", "context"),
            "segment.sentences": (*_KEYS, "text"),
        },
        writes=("embeddings", "evidence"),
        libraries=("torch", "transformers", "tokenizers", "numpy", "sentencex"),
    ),
    Stage(
        name="priors",
        function="fractal_core.priors.stage:priors",
        summary="Similarity to document and query, evidence prior, correlation, nearest neighbours.",
        params=_priors_params,
        reads={
            "read.responses": ("response_id", "split"),
            "segment.sentences": (*_KEYS, "text"),
            "embed.embeddings": ("text_hash", "vector"),
            "embed.evidence": (*_KEYS, "best_chunk", *_FEATURES),
        },
        writes=("priors",),
        libraries=("faiss-cpu", "faiss-gpu", "numpy"),
    ),
    Stage(
        name="train",
        function="fractal_core.mil.train_stage:train",
        summary="Train the scorer on response labels, cross-fitted over folds.",
        params=_train_params,
        reads=_TRAINING_READS,
        writes=("scores",),
        files=("scorer.safetensors", "history.parquet"),
        libraries=("torch", "numpy"),
    ),
    Stage(
        name="pseudolabel",
        function="fractal_core.mil.pseudolabel_stage:pseudolabel",
        summary="Most likely sentence labels and posteriors, with rounds of retraining.",
        params=_pseudolabel_params,
        reads=_TRAINING_READS,
        reads_files=("train.scorer.safetensors",),
        writes=("pseudolabels", "scores"),
        files=("student.safetensors",),
        may_be_empty=("scores",),
        libraries=("torch", "numpy"),
    ),
    Stage(
        name="evaluate",
        function="fractal_core.evaluation.stage:evaluate",
        summary="Compare scores and priors with gold labels, where there are any, and with response labels.",
        params=lambda config: EvaluateParams(aggregation=config.aggregation),
        reads={
            "read.responses": ("response_id", "label", "split"),
            "segment.sentences": (*_KEYS, "gold"),
            "priors.priors": PRIOR_COLUMNS,
            "pseudolabel.pseudolabels": (*_KEYS, "score", "posterior", "pseudolabel"),
        },
        writes=("metrics",),
        may_be_empty=("metrics",),
        libraries=("numpy",),
    ),
    Stage(
        name="export",
        function="fractal_core.publish.labels:export",
        summary="One Parquet file with every sentence, its scores and its label.",
        params=lambda config: NoParams(),
        reads={
            "read.responses": ("response_id", "query", "label", "split"),
            "segment.sentences": (*_KEYS, "start", "end", "text", "gold"),
            "priors.priors": PRIOR_COLUMNS,
            "pseudolabel.pseudolabels": ("score", "posterior", "pseudolabel", "confidence"),
        },
        writes=(),
        files=("labels.parquet",),
        libraries=("pyarrow",),
    ),
)
STAGE_NAMES: tuple[str, ...] = tuple(stage.name for stage in STAGES)


def stage_named(name: str) -> Stage:
    """Return a stage; raises UsageError that lists the stages if there is none of that name."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise UsageError(f"There is no stage {name!r}; the stages are {', '.join(STAGE_NAMES)}.")


def stages_until(until: str | None) -> tuple[Stage, ...]:
    """Return the stages up to and with `until`, or all of them."""
    if until is None:
        return STAGES
    return STAGES[: STAGE_NAMES.index(stage_named(until).name) + 1]
