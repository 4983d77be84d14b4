"""The run configuration: one definition, from which help, `fractal init`, validation and the reference are generated.

Descriptions are written for `fractal init`: one line each, what it does and when to change it.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from fractal_core.config_section import Fraction, Section
from fractal_core.config_training import PriorWeights, PseudolabelConfig, TrainConfig, TrainSettings
from fractal_core.label_kinds import LabelKind, misfit
from fractal_core.languages import Language

__all__ = ["PriorWeights", "PseudolabelConfig", "RunConfig", "Section", "TrainConfig", "TrainSettings"]

Aggregation = Literal["min", "max", "avg", "auto"]
EncoderKind = Literal["transformer", "static"]


_LIKELIHOOD_ONLY = ("ordinal", "preference")


class Columns(Section):
    """Names of the columns in your data, where they differ from fractal's."""

    id: str = Field("id", description="Unique id of a response.")
    response: str = Field("response", description="The text to be scored.")
    response_label: str = Field(
        "response_label", description="The one label of a response, of the kind label_kind; empty if unlabelled."
    )
    query: str = Field("query", description="Question or instruction (optional column).")
    context: str = Field(
        "context", description="Document or list of documents the response is judged against (optional column)."
    )
    sentences: str = Field("sentences", description="List of sentences, if already segmented (optional column).")
    spans: str = Field("spans", description="List of [start, end) offsets, if already segmented (optional column).")
    sentence_labels: str = Field(
        "sentence_labels",
        description="Gold sentence labels, only for evaluation; null is unlabelled, and so is -1 unless they are real.",
    )
    prior: str = Field(
        "prior",
        description="Your own belief in each sentence: one number each, or one a response (optional; not for pairs).",
    )
    split: str = Field("split", description="train, dev or test (optional column).")
    group: str = Field(
        "group",
        description="Responses of one group stay on one side of every split; else the query, context or id is it.",
    )
    response_a: str = Field("response_a", description="First text of a pair (with label_kind preference).")
    response_b: str = Field("response_b", description="Second text of a pair (with label_kind preference).")
    preference: str = Field(
        "preference", description="Which of a pair is better: 1 is a, 2 is b, 0 a tie; empty if unlabelled."
    )
    sentences_a: str = Field("sentences_a", description="As sentences, of the first text of a pair (optional column).")
    sentences_b: str = Field("sentences_b", description="As sentences, of the second text of a pair (optional column).")
    spans_a: str = Field("spans_a", description="As spans, of the first text of a pair (optional column).")
    spans_b: str = Field("spans_b", description="As spans, of the second text of a pair (optional column).")
    sentence_labels_a: str = Field(
        "sentence_labels_a", description="As sentence_labels, of the first text of a pair (optional column)."
    )
    sentence_labels_b: str = Field(
        "sentence_labels_b", description="As sentence_labels, of the second text of a pair (optional column)."
    )


class InputConfig(Section):
    """Where the responses are and how they are read."""

    path: str | list[str] = Field(
        description="File, folder or list of them: .jsonl, .csv, .parquet, plain or .gz; relative to this file."
    )
    label_kind: LabelKind = Field(
        "auto",
        description="What a response label is: binary 0 or 1, share 0..1, count of good sentences, ordinal grade, real "
        "number, or preference between two responses; auto is share for avg and auto, else binary.",
    )
    grades: int = Field(2, ge=1, le=20, description="Highest grade of ordinal labels; the lowest is 0.")
    max_reject_fraction: Fraction = Field(
        0.05, description="Fail before any computation if more than this share of rows is bad."
    )
    dev_fraction: Fraction = Field(0.1, description="Share of groups held out for validation, where no split is given.")
    test_fraction: Fraction = Field(0.1, description="Share of groups held out for testing, where no split is given.")
    columns: Columns = Field(default_factory=Columns, description="Names of the columns in your data.")

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.dev_fraction + self.test_fraction >= 1.0:
            total = self.dev_fraction + self.test_fraction
            raise ValueError(
                f"dev_fraction and test_fraction sum to {total:g}; they must leave something to train on: lower one of "
                "them"
            )
        return self

    @model_validator(mode="after")
    def _have_grades_for_ordinal_labels_only(self) -> Self:
        if self.label_kind != "ordinal" and self.grades != type(self).model_fields["grades"].default:
            raise ValueError(f'grades = {self.grades} needs label_kind = "ordinal", not "{self.label_kind}"')
        return self


class SegmentConfig(Section):
    """How responses are cut into sentences; rows with `sentences` or `spans` are taken as they are."""

    method: Literal["sentencex", "newline"] = Field(
        "sentencex", description="sentencex for prose, newline for maths steps and lists."
    )
    language: Language = Field("en", description="ISO 639-1 code of the language, for sentencex.")


class EncoderConfig(Section):
    """The frozen sentence encoder."""

    model: str = Field(
        "minilm",
        description="minilm (packaged, no download) or a local transformers folder; relative to this file.",
    )
    kind: EncoderKind = Field(
        "transformer",
        description="transformer reads every text with the model; static makes a fixed vector of each token from it, "
        "once, and adds them up: many times faster, for millions of sentences.",
    )
    max_tokens: int = Field(256, ge=8, le=8192, description="Longer texts are cut here.")
    chunk_tokens: int = Field(
        128,
        ge=16,
        le=8192,
        description="Context documents are cut into chunks of whole sentences of about this many tokens.",
    )


class PriorsConfig(Section):
    """What is known about a sentence before any label is seen."""

    neighbours: int = Field(
        10, ge=0, le=1000, description="Nearest sentences of other responses kept for each sentence; 0 for none."
    )
    index: Literal["auto", "flat", "hnsw"] = Field(
        "auto",
        description="FAISS index: flat is exact, hnsw misses a few neighbours and is faster. auto: flat up to 100,000 "
        "distinct sentences, and for any number on a GPU.",
    )
    column: bool = Field(
        False, description="Take the input's column prior: your own number for each sentence, or one for all of them."
    )
    sql: str = Field(
        "",
        description="Your own prior: a SELECT of response_id, sentence_index and a number called prior, from "
        "responses, sentences, embeddings, evidence, priors; labels, preferences and gold are not in there, by design.",
    )
    hybrid: bool = Field(
        False,
        description="Learn a prior from the gold sentence labels of train responses, if there are some (about 10 % is "
        "plenty); scores then depend on gold labels.",
    )

    @field_validator("index", mode="before")
    @classmethod
    def _is_no_longer_ivf(cls, index: object) -> object:
        if index == "ivf":
            raise ValueError('there is no index "ivf" any more; take "hnsw", which finds more and sooner')
        return index


class EvaluateConfig(Section):
    """What scores are compared with beside the gold labels of the input."""

    gold: str = Field(
        "",
        description="File of gold sentence labels kept apart from the input, relative to this file: a row has id and "
        "sentence_labels, or response_id, sentence_index and gold. Only figures depend on it.",
    )


class ExportConfig(Section):
    """Where the finished sentence labels are put."""

    directory: str = Field(
        "", description="Folder for labels.parquet, relative to this file; empty keeps it in the workspace."
    )


class RayConfig(Section):
    """The Ray cluster of `runtime.runner = "ray"`."""

    address: str = Field(
        "", description="host:port of its head; empty starts one of this machine alone, which ends with the run."
    )
    workers: int = Field(0, ge=0, description="Processes of one that is started; 0 for one a core.")


class RuntimeConfig(Section):
    """How to compute, never what: nothing in here makes a stage stale."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU if there is one.")
    batch_tokens: int = Field(
        2048, ge=64, description="Tokens the encoder reads at once on a GPU; a CPU reads few at a time, always alike."
    )
    remember_mb: int = Field(
        1000,
        ge=0,
        description="MB of token vectors kept in the workspace, so that a text is not read again beside another query "
        "or document; 0 for none.",
    )
    runner: Literal["local", "ray"] = Field(
        "local", description="local computes in one process; ray deals shards to the processes of a Ray cluster."
    )
    ray: RayConfig = Field(default_factory=RayConfig, description="The Ray cluster.")


class RunConfig(Section):
    """Everything a labelling run needs."""

    aggregation: Aggregation = Field(
        "min",
        description="min: right iff every sentence is. max: one good sentence is enough. avg: share of good sentences. "
        "auto: what explains the labels best.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    input: InputConfig
    segment: SegmentConfig = Field(default_factory=SegmentConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    priors: PriorsConfig = Field(default_factory=PriorsConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    pseudolabel: PseudolabelConfig = Field(default_factory=PseudolabelConfig)
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)

    @model_validator(mode="after")
    def _have_the_priors_that_have_a_weight(self) -> Self:
        for name in ("column", "sql", "hybrid"):
            weight = getattr(self.train.prior_weights, name)
            if weight > 0 and not getattr(self.priors, name):
                raise ValueError(f"train.prior_weights.{name} = {weight:g} needs priors.{name}, which is not set")
        return self

    @model_validator(mode="after")
    def _have_an_encoder_that_can_be_trained(self) -> Self:
        if self.train.scorer == "finetune" and self.encoder.kind == "static":
            raise ValueError(
                'train.scorer = "finetune" trains the encoder itself, which encoder.kind = "static" does without; set '
                'encoder.kind = "transformer", or another scorer'
            )
        return self

    @model_validator(mode="after")
    def _have_a_loss_for_the_labels(self) -> Self:
        loss, kind = self.train.bag_loss, self.input.label_kind
        if loss == "count" and self.aggregation != "avg":
            raise ValueError(f'train.bag_loss = "count" needs aggregation = "avg", not "{self.aggregation}"')
        if (loss == "count" and kind == "real") or (loss in ("mae", "mse", "count") and kind in _LIKELIHOOD_ONLY):
            raise ValueError(f'train.bag_loss = "{loss}" does not go with label_kind = "{kind}"; use "likelihood"')
        return self

    @model_validator(mode="after")
    def _have_an_aggregation_for_the_labels(self) -> Self:
        fault = misfit(self.input.label_kind, self.aggregation)
        if fault is not None:
            raise ValueError(fault)
        return self
