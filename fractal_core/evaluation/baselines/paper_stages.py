"""The paper's rows as stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import torch

from fractal_core.evaluation.baselines.fitting import Settings
from fractal_core.evaluation.baselines.paper import Priors, paper_bag_loss, paper_supervised, paper_with_priors
from fractal_core.evaluation.baselines.problem import Scored, by_grade, mean_scored
from fractal_core.evaluation.baselines.reading import KEYS, read_problem
from fractal_core.evaluation.baselines.running import FILE, score_table
from fractal_core.evaluation.baselines.texts import read_texts
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from fractal_core.evaluation.baselines.running import BaselineParams
    from fractal_core.store.stage import Inputs, Outputs, Runtime

    class PaperParams(BaselineParams):
        """What else can change the paper's scores."""

        @property
        def chunk_tokens(self) -> int:
            """Most tokens of a context chunk."""


PSEUDOLABEL_FILE = "pseudolabels.parquet"
SIMILARITIES = ("document_similarity", "query_similarity")


def bag_loss_stage(inputs: Inputs, params: PaperParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write the scores of `paper_bag_loss`."""
    problem, texts = read_problem(inputs, params, gold=False), read_texts(inputs, params.chunk_tokens)
    with one_thread():
        parts = [paper_bag_loss(part, texts, _settings(params)) for part in by_grade(problem)]
    _write(inputs, parts, outputs, FILE)


def supervised_stage(inputs: Inputs, params: PaperParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write the scores of `paper_supervised`."""
    problem, texts = read_problem(inputs, params, gold=True), read_texts(inputs, params.chunk_tokens)
    with one_thread():
        parts = [paper_supervised(part, texts, _settings(params)) for part in by_grade(problem)]
    _write(inputs, parts, outputs, FILE)


def priors_stage(inputs: Inputs, params: PaperParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write the scores of `paper_with_priors` before and after pseudo-labels; twice the same for preferences."""
    problem, texts = read_problem(inputs, params, gold=False), read_texts(inputs, params.chunk_tokens)
    table = inputs.table("priors")
    columns = [table.column(name).to_numpy().astype(np.float32) for name in SIMILARITIES]
    priors = Priors(tuple(torch.from_numpy(column) for column in columns))
    with one_thread():
        rows = [paper_with_priors(part, texts, priors, _settings(params)) for part in by_grade(problem)]
    _write(inputs, [row.priors for row in rows], outputs, FILE)
    after = [row.priors if row.pseudolabels is None else row.pseudolabels for row in rows]
    _write(inputs, after, outputs, PSEUDOLABEL_FILE)


def _settings(params: PaperParams) -> Settings:
    return Settings(epochs=params.epochs, seed=params.seed)


def _write(inputs: Inputs, logits: list[torch.Tensor], outputs: Outputs, file: str) -> None:
    scored = mean_scored([Scored(torch.sigmoid(part.double()), torch.zeros(len(part))) for part in logits])
    keys = inputs.table("evidence").select(list(KEYS))
    pq.write_table(score_table(keys, scored), outputs.file(file))
