"""A baseline as a stage: read the problem, score it grade by grade, write the scores of all sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fractal_core.evaluation.baselines.fitting import Settings
from fractal_core.evaluation.baselines.problem import by_grade, mean_scored
from fractal_core.evaluation.baselines.reading import KEYS, read_problem
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from fractal_core.evaluation.baselines.problem import Problem, Scored
    from fractal_core.evaluation.baselines.reading import ProblemParams
    from fractal_core.store.stage import Inputs, Outputs

    Baseline = Callable[[Problem, Settings], Scored]

    class BaselineParams(ProblemParams):
        """What else can change a baseline's scores."""

        @property
        def epochs(self) -> int:
            """Most epochs."""

        @property
        def gold(self) -> bool:
            """Whether the baseline may look at gold labels of train and dev."""


# A file and not table `scores`: nothing of a baseline is to be seen by who queries a run.
FILE = "baseline.parquet"


def run(baseline: Baseline, inputs: Inputs, params: BaselineParams, outputs: Outputs) -> None:
    """Write response_id, sentence_index, probability and spread of every sentence to `FILE`.

    Args:
        baseline: from a binary or share problem to scores.
        inputs: see `read_problem`.
        params: of the problem and of training.
        outputs: where the file goes.
    """
    problem = read_problem(inputs, params, gold=params.gold)
    settings = Settings(epochs=params.epochs, seed=params.seed)
    with one_thread():
        scored = mean_scored([baseline(part, settings) for part in by_grade(problem)])
    pq.write_table(score_table(inputs.table("evidence").select(list(KEYS)), scored), outputs.file(FILE))


def score_table(keys: pa.Table, scored: Scored) -> pa.Table:
    """Return scores beside the keys of their sentences.

    Raises:
        ValueError: a score is not finite.
    """
    unusable = int((~torch.isfinite(scored.probability)).sum())
    if unusable:
        raise ValueError(f"{unusable} of {len(scored.probability)} scores of the baseline are not finite.")
    for name, values in scored._asdict().items():
        keys = keys.append_column(name, pa.array(values.double().numpy()))
    return keys
