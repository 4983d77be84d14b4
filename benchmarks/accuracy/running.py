"""Running a set: shared stages once, then every method and seed through the store, so that a second run resumes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.accuracy.masking import masked
from benchmarks.accuracy.methods import Method, baseline_stage
from benchmarks.accuracy.sets import SETS, DataSet, make_config, source_of
from fractal_core.errors import StoreError
from fractal_core.pipeline import STAGES
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.materialize import materialize
from fractal_core.store.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fractal_core.config import RunConfig
    from fractal_core.store.artefact import Artefact
    from fractal_core.store.stage import Runtime, Stage

# Up to here everything is label-free and the same for every method and seed.
LAST_SHARED = "priors"
LAST = "pseudolabel"


@dataclass(frozen=True, eq=False)
class Scores:
    """What a method says of every sentence, in the order of table sentences.

    Attributes:
        score: float64 [N], before the response's label is looked at.
        posterior: float64 [N], given it; None if the method has none of its own.
        seconds: time of its own stages when they were computed.
    """

    score: NDArray[np.float64]
    posterior: NDArray[np.float64] | None
    seconds: float


def floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return a column of numbers, NaN for null."""
    values: NDArray[np.float64] = table.column(name).cast(pa.float64()).to_numpy().astype(np.float64)
    return values


@dataclass(frozen=True, eq=False)
class Results:
    """A set's tables, and what every method said of it, seed by seed.

    Attributes:
        dataset: the set.
        responses: table responses.
        sentences: table sentences, its gold joined where the set has none.
        scores: method -> one `Scores` a seed.
        failures: method -> why it has no figures.
        seconds: shared stage -> seconds.
    """

    dataset: DataSet
    responses: pa.Table
    sentences: pa.Table
    scores: dict[str, list[Scores]]
    failures: dict[str, str]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Bench:
    """Where data and artefacts are, and what is overridden."""

    data: Path
    workspace: Workspace
    settings: tuple[str, ...] = ()
    say: Callable[[str], None] = lambda text: None

    @classmethod
    def at(cls, data: Path, folder: Path, settings: Sequence[str], say: Callable[[str], None]) -> Bench:
        """Return a bench with its workspace at `folder`, made if need be."""
        return cls(data, open_workspace(folder), tuple(settings), say)

    def config(self, dataset: DataSet, *settings: str) -> RunConfig:
        """Return the configuration of a set with further overrides."""
        return make_config(dataset, self.data, self.workspace.root, [*self.settings, *settings])

    def shared(self, dataset: DataSet, *settings: str) -> dict[str, Artefact]:
        """Return the artefacts of the shared stages by stage."""
        config = self.config(dataset, *settings)
        artefacts: dict[str, Artefact] = {}
        for stage in STAGES:
            self._add(stage, config, artefacts, f"{dataset.name} {stage.name}")
            if stage.name == LAST_SHARED:
                break
        return artefacts

    def product(self, dataset: DataSet, method: Method, seed: int) -> Scores:
        """Run the product's own stages from the shared ones on."""
        settings = list(method.settings)
        if method.gold_share < 1:
            copies = self.workspace.root / "masked" / f"{dataset.name}-{method.gold_share:g}-{seed}"
            settings.append(f"input.path={masked(source_of(dataset, self.data), copies, method.gold_share, seed)}")
        artefacts = dict(self.shared(dataset, *settings))
        shared = set(artefacts)
        config = self.config(dataset, *settings, f"seed={seed}")
        for stage in STAGES:
            if stage.name not in artefacts:
                self._add(stage, config, artefacts, f"{dataset.name} {method.name} seed {seed} {stage.name}")
            if stage.name == LAST:
                break
        table = artefacts[LAST].table("pseudolabels")
        own = [artefact for name, artefact in artefacts.items() if name not in shared]
        return Scores(
            score=floats(table, "score"),
            posterior=floats(table, "posterior"),
            seconds=sum(artefact.manifest.seconds for artefact in own),
        )

    def baseline(self, dataset: DataSet, method: Method, seed: int) -> Scores:
        """Run a baseline's stage."""
        artefacts = dict(self.shared(dataset))
        stage = baseline_stage(method, dataset, seed)
        self._add(stage, self.config(dataset), artefacts, f"{dataset.name} {method.name} seed {seed}")
        artefact = artefacts[stage.name]
        table = pq.read_table(artefact.path(method.file))
        return Scores(floats(table, "probability"), None, artefact.manifest.seconds)

    def _add(self, stage: Stage, config: RunConfig, artefacts: dict[str, Artefact], what: str) -> None:
        upstream = {name: artefacts[name] for name in stage.upstream}
        outcome = materialize(self.workspace, stage, config, upstream, self._runtime(config))
        artefacts[stage.name] = outcome.artefact
        if not outcome.reused:
            self.say(f"{what}: {outcome.seconds:.1f} s")

    def _runtime(self, config: RunConfig) -> Runtime:
        return make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))


def run_set(bench: Bench, dataset: DataSet, methods: Sequence[Method], seeds: Sequence[int]) -> Results:
    """Run methods on a set. One that fails is recorded with its reason, and the others go on.

    Args:
        bench: where and how.
        dataset: the set.
        methods: those that do not fit the set are left out.
        seeds: a bare prior is taken once.

    Raises:
        FractalError: the shared stages fail.
    """
    shared = bench.shared(dataset)
    responses, sentences = shared["read"].table("responses"), shared["segment"].table("sentences")
    if dataset.gold_from:
        from benchmarks.accuracy.preferences import join_gold

        other = bench.shared(SETS[dataset.gold_from])
        sentences = join_gold(
            responses, sentences, other["read"].table("responses"), other["segment"].table("sentences")
        )
    scores: dict[str, list[Scores]] = {}
    failures: dict[str, str] = {}
    for method in methods:
        if not method.fits(dataset):
            continue
        run = bench.product if method.product else bench.baseline
        try:
            found = [run(dataset, method, seed) for seed in (seeds[:1] if method.prior else seeds)]
        except Exception as error:  # a long benchmark is not lost to one method
            failures[method.name] = f"{type(error).__name__}: {error}"
            bench.say(f"{dataset.name} {method.name} failed\n{traceback.format_exc()}")
            continue
        wrong = [len(s.score) for s in found if len(s.score) != sentences.num_rows]
        if wrong:
            raise StoreError(f"{method.name} scored {wrong[0]} sentences of {sentences.num_rows} on {dataset.name}.")
        scores[method.name] = found
    seconds = {name: artefact.manifest.seconds for name, artefact in shared.items()}
    return Results(dataset, responses, sentences, scores, failures, seconds)
