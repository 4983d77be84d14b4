"""The methods: the product under a configuration, and each baseline as a stage of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fractal_core.evaluation.baselines.paper_stages import PSEUDOLABEL_FILE
from fractal_core.evaluation.baselines.running import FILE
from fractal_core.evidence.catalogue import FEATURES
from fractal_core.pipeline import stage_named
from fractal_core.store.stage import Stage

if TYPE_CHECKING:
    from benchmarks.accuracy.sets import DataSet
    from fractal_core.config import RunConfig

_PACKAGE = "fractal_core.evaluation.baselines"
_KEYS = ("response_id", "sentence_index")


class BaselineParams(BaseModel):
    """What can change a baseline's scores."""

    aggregation: str
    label_kind: str
    grades: int
    folds: int
    seed: int
    epochs: int
    gold: bool
    chunk_tokens: int


class PriorParams(BaseModel):
    """Which prior."""

    column: str


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: on the command line.
        title: in the tables.
        function: "module:function" in the baselines package; empty for the product.
        column: the prior it is, for a bare prior.
        settings: "section.key=value" overrides of the configuration, for the product.
        gold: it looks at gold labels of train sentences.
        paper: it is the paper's scorer on embeddings: one model chosen by dev, so train responses are not cross-fitted.
        file: the file of its stage that has its scores.
        pairs: it can learn from preferences.
        asked: it is run only if it is named.
        gold_share: share of the train responses whose gold labels it may look at.
    """

    name: str
    title: str
    function: str = ""
    column: str = ""
    settings: tuple[str, ...] = ()
    gold: bool = False
    paper: bool = False
    file: str = FILE
    pairs: bool = True
    asked: bool = False
    gold_share: float = 1.0

    @property
    def heading(self) -> str:
        """What a row of it is called, with a mark if it looks at gold."""
        return f"{self.title} *gold*" if self.gold else self.title

    @property
    def product(self) -> bool:
        """Whether it is the product itself."""
        return not self.function

    @property
    def prior(self) -> bool:
        """Whether it is a bare prior: no label, no seed, no scale."""
        return bool(self.column)

    def fits(self, dataset: DataSet) -> bool:
        """Return whether the method can be run on a set."""
        return self.pairs or not dataset.preference


def _prior(column: str) -> Method:
    return Method(column, f"prior: {column.replace('_', ' ')}", "prior_alone:stage", column=column)


def _ablation(name: str, title: str, *settings: str) -> Method:
    return Method(name, title, settings=settings, asked=True)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("fractal", "**fractal**"),
        Method(
            "fractal_gold", "fractal and 10 % gold", settings=("priors.hybrid=true",), gold=True, pairs=False,
            gold_share=0.1,
        ),
        Method("fractal_position", "fractal, with position features", settings=("train.position=true",)),
        Method("fractal_static", "fractal, static encoder", settings=("encoder.kind=static",)),
        *(_prior(c) for c in ("document_similarity", "query_similarity", "context_evidence", "query_evidence")),
        Method("single_instance", "SIL", "single_instance:stage"),
        Method("proportions", "DLLP (mean matching)", "proportions:stage"),
        Method("easy_proportions", "EasyLLP", "easy_proportions:stage"),
        Method("top_k", "top-k pseudo-labels", "top_k:stage"),
        Method("transport", "optimal-transport pseudo-labels", "transport:stage"),
        Method("attention", "attention redistribution (ABC)", "attention:stage"),
        Method("bag_loss", "bag loss, plain linear head", "bag_loss:stage"),
        Method("paper_bag_loss", "paper's scorer: BagLoss", "paper_stages:bag_loss_stage", paper=True),
        Method("paper_priors", "paper's scorer: with priors", "paper_stages:priors_stage", paper=True),
        Method(
            "paper_pseudolabels", "paper's scorer: FRACTAL (priors, then PsLab)", "paper_stages:priors_stage",
            paper=True, file=PSEUDOLABEL_FILE, pairs=False,
        ),
        Method(
            "paper_supervised", "paper's scorer: supervised", "paper_stages:supervised_stage",
            gold=True, paper=True, pairs=False,
        ),
        Method("supervised", "supervised, linear head", "supervised:stage", gold=True, pairs=False),
        _ablation("fractal_no_prior", "fractal, no prior to start from", "train.prior_offset=false"),
        _ablation("fractal_noisy", "fractal, noisy pooling", "train.pooling=noisy"),
        _ablation("fractal_hard", "fractal, hard pooling", "train.pooling=hard"),
        _ablation("fractal_mlp", "fractal, MLP scorer", "train.scorer=mlp"),
        _ablation("fractal_concat", "fractal, concatenation scorer", "train.scorer=concat"),
        _ablation("fractal_finetune", "fractal, fine-tuned encoder", "train.scorer=finetune"),
    )
}  # fmt: skip


def baseline_stage(method: Method, dataset: DataSet, seed: int) -> Stage:
    """Return a baseline as a stage that reads what the product's training reads."""
    function = f"{_PACKAGE}.{method.function}"
    # A fingerprint knows the module, not the function: the name tells stages of one module apart.
    name = f"baseline-{method.function.removesuffix(':stage').replace(':', '-').replace('_', '-')}"
    if method.prior:
        return Stage(
            name=name,
            function=function,
            summary="A prior by itself.",
            params=lambda config: PriorParams(column=method.column),
            reads={"priors.priors": (*_KEYS, method.column)},
            writes=(),
            files=(FILE,),
            libraries=("torch", "numpy"),
        )
    label = ("pair", "preferred") if dataset.preference else ("label",)
    reads: dict[str, tuple[str, ...]] = {"read.responses": ("response_id", *label, "split", "group")}
    sentences = (*_KEYS, *(("text",) if method.paper else ()), *(("gold",) if method.gold else ()))
    if len(sentences) > len(_KEYS):
        reads["segment.sentences"] = sentences
    files: tuple[str, ...] = (FILE,)
    if method.paper:
        reads["read.responses"] += ("query", "context")
        reads["embed.embeddings"] = ("text_hash", "vector")
        reads["priors.priors"] = (*_KEYS, "document_similarity", "query_similarity")
        files = (FILE, PSEUDOLABEL_FILE) if method.function.endswith("priors_stage") else files
    evidence = set(stage_named("train").reads["embed.evidence"])
    reads["embed.evidence"] = (*_KEYS, *(feature.name for feature in FEATURES if feature.name in evidence))
    return Stage(
        name=name,
        function=function,
        summary="A baseline of the benchmark.",
        params=lambda config: _params(config, method, dataset, seed),
        reads=reads,
        writes=(),
        files=files,
        libraries=("torch", "numpy"),
    )


def _params(config: RunConfig, method: Method, dataset: DataSet, seed: int) -> BaselineParams:
    return BaselineParams(
        aggregation=dataset.pooling,
        label_kind=dataset.label_kind,
        grades=dataset.grades,
        folds=config.train.folds,
        seed=seed,
        epochs=config.train.epochs,
        gold=method.gold,
        chunk_tokens=config.encoder.chunk_tokens,
    )
