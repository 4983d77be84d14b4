"""The pipeline: every stage, what it reads and writes, and nothing of how it computes."""

from __future__ import annotations

from pathlib import Path

from fractal_core.config import RunConfig
from fractal_core.encode.models import model_files
from fractal_core.errors import UsageError
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.publish import placing
from fractal_core.stage_params import (
    NoParams,
    embed_params,
    evaluate_params,
    priors_params,
    pseudolabel_params,
    read_params,
    segment_params,
    train_params,
)
from fractal_core.store.stage import Continues, Stage
from fractal_core.text.files import input_files, input_sources


def _input_sources(config: RunConfig) -> dict[str, list[Path]]:
    paths = [config.input.path] if isinstance(config.input.path, str) else config.input.path
    exported = Path(config.export.directory) / placing.NAME if config.export.directory else None
    return input_sources(input_files([Path(path) for path in paths], exported))


def _encoder_sources(config: RunConfig) -> dict[str, list[Path]]:
    return {"encoder": model_files(config.encoder.model, Path())}


def _gold_sources(config: RunConfig) -> dict[str, list[Path]]:
    """Return the file of gold labels; an InputError says which path of it does not exist."""
    return {"gold": input_files([Path(config.evaluate.gold)])} if config.evaluate.gold else {}


def _own_numbers(config: RunConfig) -> dict[str, list[Path]]:
    """Return no files, for tables have the numbers; that they can be there is found out before the run."""
    if config.priors.column:
        from fractal_core.text.checks import check_prior_column  # pyarrow is slow to import.

        files = [file for group in _input_sources(config).values() for file in group]
        check_prior_column(files, config.input.columns, config.input.label_kind)
    if _sql(config):
        from fractal_core.priors.early_check import check_before_run

        check_before_run(config.priors.sql, stage_named("priors").reads_with(config))
    return {}


_KEYS = ("response_id", "sentence_index")
_FEATURES = tuple(feature.name for feature in FEATURES)
PRIOR_COLUMNS = (
    "document_similarity", "query_similarity", "context_evidence", "query_evidence", "column_prior", "sql_prior",
)  # fmt: skip
_TRAINING_READS = {
    "read.responses": ("response_id", "label", "pair", "preferred", "split", "group", "query", "context"),
    "segment.sentences": (*_KEYS, "text", "gold"),
    "embed.embeddings": ("text_hash", "vector"),
    "embed.evidence": (*_KEYS, *_FEATURES),
    "priors.priors": (
        *_KEYS, *PRIOR_COLUMNS, "neighbour_ids", "neighbour_similarities",
    ),
}  # fmt: skip


def _hybrid(config: RunConfig) -> bool:
    return config.priors.hybrid


def _sql(config: RunConfig) -> bool:
    return bool(config.priors.sql.strip())


def _given_prior(config: RunConfig) -> bool:
    return config.priors.column or _sql(config)


def _reads_texts(config: RunConfig) -> bool:
    return config.train.scorer != "evidence"


def _neighbours_pull(config: RunConfig) -> bool:
    return config.train.prior_weights.neighbours > 0


def _trains_encoder(config: RunConfig) -> dict[str, list[Path]]:
    return _encoder_sources(config) if config.train.scorer == "finetune" else {}


# Without the hybrid prior no score can depend on a gold label.
_TRAINING_READS_IF = {
    "segment.sentences.gold": _hybrid,
    "read.responses.query": _reads_texts,
    "read.responses.context": _reads_texts,
    "priors.priors.neighbour_ids": _neighbours_pull,
    "priors.priors.neighbour_similarities": _neighbours_pull,
}

_TRAINED = (
    "scorer.safetensors", "heads.safetensors", "folds.parquet", "finetuned.safetensors", "history.parquet",
)  # fmt: skip
# Evidence and priors mean the same to a scorer only if they are made alike.
_READ_ALIKE = ("segment", "embed", "priors")


def _scorer_goes_on(config: RunConfig) -> str | None:
    mode = config.train.on_new_data
    return None if mode == "retrain" else mode


def _student_goes_on(config: RunConfig) -> str | None:
    """Students of a scorer that was trained further are new ones."""
    return "freeze" if config.train.on_new_data == "freeze" else None


# `fractal_core.reuse.KEYS_FILE` and `fractal_core.text.known.INDEX_FILE`; those modules are slow to import.
_KEYS_FILE = "keys.parquet"
# `fractal_core.priors.known_neighbours.COMPARED_FILE` and `fractal_core.encode.opening.STATIC_FILE`, as slow.
_COMPARED_FILE = "compared.parquet"
_STATIC_FILE = "static.safetensors"

STAGES: tuple[Stage, ...] = (
    Stage(
        name="read",
        function="fractal_core.text.reading:read",
        summary="Read and validate responses; bad rows go to rejects.",
        params=read_params,
        sources=_input_sources,
        writes=("responses", "rejects"),
        files=(_KEYS_FILE, "repeated.parquet"),
        may_be_empty=("rejects",),
        libraries=("pyarrow", "duckdb"),
    ),
    Stage(
        name="segment",
        function="fractal_core.text.segmentation:segment",
        summary="Cut responses into sentences with exact offsets.",
        params=segment_params,
        reads={"read.responses": ("response_id", "response", "spans", "sentence_labels")},
        writes=("sentences",),
        files=(_KEYS_FILE,),
        libraries=("sentencex", "numpy", "pyarrow"),
    ),
    Stage(
        name="embed",
        function="fractal_core.encode.embedding:embed",
        summary="Encode each distinct text once and compare sentences with query and context.",
        params=embed_params,
        sources=_encoder_sources,
        reads={
            "read.responses": ("response_id", "query", "context"),
            "segment.sentences": (*_KEYS, "text"),
        },
        writes=("embeddings", "evidence"),
        files=(_KEYS_FILE, _STATIC_FILE),
        libraries=("torch", "transformers", "tokenizers", "numpy", "pyarrow", "safetensors", "sentencex"),
    ),
    Stage(
        name="priors",
        function="fractal_core.priors.stage:priors",
        summary="Similarity to document and query, evidence prior, correlation, your own priors, nearest neighbours.",
        params=priors_params,
        sources=_own_numbers,
        # A query sees these columns: no label, preference or gold may be among them.
        reads={
            "read.responses": ("response_id", "split", "query", "context", "response", "group", "prior"),
            "segment.sentences": (*_KEYS, "text", "start", "end"),
            "embed.embeddings": ("text_hash", "vector"),
            "embed.evidence": (*_KEYS, "best_chunk", *_FEATURES),
        },
        reads_if={
            **dict.fromkeys((f"read.responses.{name}" for name in ("query", "context", "response", "group")), _sql),
            **dict.fromkeys((f"segment.sentences.{name}" for name in ("start", "end")), _sql),
            "read.responses.prior": _given_prior,
        },
        writes=("priors",),
        files=(_COMPARED_FILE,),
        libraries=("faiss-cpu", "faiss-gpu", "torch", "numpy", "pyarrow", "duckdb"),
    ),
    Stage(
        name="train",
        function="fractal_core.mil.train_stage:train",
        summary="Train the scorer on response labels, cross-fitted over folds.",
        params=train_params,
        reads=_TRAINING_READS,
        reads_if=_TRAINING_READS_IF,
        sources=_trains_encoder,
        writes=("scores",),
        files=(*_TRAINED, "given.safetensors"),
        libraries=("torch", "transformers", "tokenizers", "numpy", "pyarrow", "safetensors", "sentencex"),
        continues=Continues(what="scorer", files=_TRAINED, mode=_scorer_goes_on, alike=_READ_ALIKE),
    ),
    Stage(
        name="pseudolabel",
        function="fractal_core.mil.pseudolabel_stage:pseudolabel",
        summary="Most likely sentence labels and posteriors, with rounds of retraining.",
        params=pseudolabel_params,
        reads=_TRAINING_READS,
        reads_if=_TRAINING_READS_IF,
        reads_files=("train.scorer.safetensors", "train.folds.parquet", "train.given.safetensors"),
        writes=("pseudolabels", "scores", "contributions"),
        files=("student.safetensors",),
        may_be_empty=("scores", "contributions"),
        libraries=("torch", "numpy", "pyarrow", "safetensors", "sentencex"),
        continues=Continues(
            what="student",
            files=("student.safetensors",),
            mode=_student_goes_on,
            alike=_READ_ALIKE,
            same=("scorer.safetensors",),
        ),
    ),
    Stage(
        name="evaluate",
        function="fractal_core.evaluation.stage:evaluate",
        summary="Compare scores and priors with gold labels, where there are any, and with response labels.",
        params=evaluate_params,
        sources=_gold_sources,
        reads={
            "read.responses": ("response_id", "label", "split", "pair", "preferred"),
            "segment.sentences": (*_KEYS, "gold"),
            "priors.priors": PRIOR_COLUMNS,
            "pseudolabel.pseudolabels": (*_KEYS, "score", "posterior", "pseudolabel"),
        },
        reads_files=("pseudolabel.student.safetensors",),
        writes=("metrics", "reliability"),
        may_be_empty=("metrics", "reliability"),
        libraries=("numpy", "pyarrow", "safetensors"),
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
