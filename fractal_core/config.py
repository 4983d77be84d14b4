"""The run configuration: one definition, from which help, `fractal init`, validation and the reference are generated.

Descriptions are written for `fractal init`: one line each, what it does and when to change it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Aggregation = Literal["min", "max", "avg"]


class Section(BaseModel):
    """A strict, immutable part of the configuration: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Columns(Section):
    """Names of the columns in your data, where they differ from fractal's."""

    id: str = Field("id", description="Unique id of a response.")
    response: str = Field("response", description="The text to be scored.")
    response_label: str = Field(
        "response_label", description="The one label of a response: 0 or 1, or a share for avg; empty if unlabelled."
    )
    query: str = Field("query", description="Question or instruction (optional column).")
    context: str = Field(
        "context", description="Document or list of documents the response is judged against (optional column)."
    )
    sentences: str = Field("sentences", description="List of sentences, if already segmented (optional column).")
    spans: str = Field("spans", description="List of [start, end) offsets, if already segmented (optional column).")
    sentence_labels: str = Field(
        "sentence_labels",
        description="Gold sentence labels, only for evaluation; null or -1 is unlabelled (optional column).",
    )
    split: str = Field("split", description="train, dev or test (optional column).")
    group: str = Field(
        "group",
        description="Responses of one group stay on one side of every split; else the query, context or id is it.",
    )


class InputConfig(Section):
    """Where the responses are and how they are read."""

    path: str | list[str] = Field(
        description="File, folder or list of them: .jsonl, .csv, .parquet, plain or .gz; relative to this file."
    )
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
            raise ValueError(f"dev_fraction and test_fraction sum to {total:g}; they must leave something to train on")
        return self


class SegmentConfig(Section):
    """How responses are cut into sentences; rows with `sentences` or `spans` are taken as they are."""

    method: Literal["sentencex", "newline"] = Field(
        "sentencex", description="sentencex for prose, newline for maths steps and lists."
    )
    language: str = Field("en", description="ISO 639-1 code of the language, for sentencex.")


class EncoderConfig(Section):
    """The frozen sentence encoder."""

    model: str = Field(
        "minilm",
        description="minilm (packaged, no download) or a local transformers folder; relative to this file.",
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
    index: Literal["auto", "flat", "ivf"] = Field(
        "auto", description="FAISS index: flat is exact, ivf is faster above about 100,000 sentences."
    )


class PriorWeights(Section):
    """Weights of the prior terms in the loss; the bag loss has what is left of 1."""

    document: Fraction = Field(0.0, description="Pull towards similarity with the context.")
    query: Fraction = Field(0.0, description="Pull towards similarity with the query.")
    context_evidence: Fraction = Field(0.0, description="Pull towards the evidence against the context.")
    query_evidence: Fraction = Field(0.0, description="Pull towards the evidence against the query.")
    correlation: Fraction = Field(0.0, description="Correlated sentences of a response score alike.")
    neighbours: Fraction = Field(0.0, description="Similar sentences of different responses score alike.")

    @model_validator(mode="after")
    def _leave_room_for_the_bag_loss(self) -> Self:
        total = sum(self.model_dump().values())
        if total > 1.0:
            raise ValueError(f"the prior weights sum to {total:g}; they must sum to at most 1")
        return self


class TrainConfig(Section):
    """How the scorer is trained from response labels."""

    bag_loss: Literal["hard", "noisy"] = Field(
        "noisy", description="How sentences aggregate in training: noisy-AND / noisy-OR, or hard min / max."
    )
    folds: int = Field(
        5, ge=2, le=20, description="Cross-fitting folds: no response is scored by a model that saw its label."
    )
    epochs: int = Field(200, ge=1, le=10_000, description="Most epochs; the best one by validation bag loss is kept.")
    batch_responses: int = Field(256, ge=1, description="Responses a step.")
    learning_rate: float = Field(0.02, gt=0.0, le=10.0, description="Adam's learning rate.")
    prior_offset: bool = Field(
        True, description="Start from the evidence prior that explains the labels best and learn a correction to it."
    )
    prior_weights: PriorWeights = Field(
        default_factory=PriorWeights, description="Weights of the prior terms in the loss."
    )


class PseudolabelConfig(Section):
    """How sentence labels that agree with the response labels are made."""

    rounds: int = Field(
        1,
        ge=0,
        le=20,
        description="Retrainings on the posteriors; a round that fits held-out responses worse is discarded.",
    )


class ExportConfig(Section):
    """Where the finished sentence labels are put."""

    directory: str = Field(
        "", description="Folder for labels.parquet, relative to this file; empty keeps it in the workspace."
    )


class RuntimeConfig(Section):
    """How to compute, never what: nothing in here makes a stage stale."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes a GPU if there is one.")
    batch_tokens: int = Field(
        2048, ge=64, description="Tokens the encoder reads at once; about 2,000 is fastest on a CPU, more on a GPU."
    )


class RunConfig(Section):
    """Everything a labelling run needs."""

    aggregation: Aggregation = Field(
        "min",
        description="min: right iff every sentence is. max: one good sentence is enough. avg: share of good sentences.",
    )
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    input: InputConfig
    segment: SegmentConfig = Field(default_factory=SegmentConfig)
    encoder: EncoderConfig = Field(default_factory=EncoderConfig)
    priors: PriorsConfig = Field(default_factory=PriorsConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    pseudolabel: PseudolabelConfig = Field(default_factory=PseudolabelConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)
