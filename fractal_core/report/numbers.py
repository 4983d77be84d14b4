"""The numbers of a run: of every sentence and every response, without their texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.evaluation.columns import (
    KEYS,
    aggregation_used,
    check_same_sentences,
    floats,
    numbers,
    response_rows,
)
from fractal_core.evaluation.of_responses import aggregate
from fractal_core.report.scale import Scale, make_scale

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from fractal_core.results import Results

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, eq=False)
class Numbers:
    """Columns in the order of tables responses (B rows) and sentences (N rows); NaN for null.

    Attributes:
        scale: what scores mean.
        ids: the ids of the responses.
        split: [B] str.
        label: [B], a count as the share of the sentences that evaluation compares with; NaN for one of a pair.
        preferred: [B].
        pair: [B] int64, equal for the two responses of a pair; -1 where there is none.
        aggregated: [B], the minimum, maximum or mean of the scores of its sentences; NaN without sentences.
        response: [N] int64, the row of its response.
        score: [N].
        posterior: [N].
        pseudolabel: [N].
        gold: [N].
    """

    scale: Scale
    ids: pa.ChunkedArray[pa.StringScalar]
    split: NDArray[np.object_]
    label: NDArray[np.float64]
    preferred: NDArray[np.float64]
    pair: NDArray[np.int64]
    aggregated: NDArray[np.float64]
    response: NDArray[np.int64]
    score: NDArray[np.float64]
    posterior: NDArray[np.float64]
    pseudolabel: NDArray[np.float64]
    gold: NDArray[np.float64]

    def splits(self) -> list[str]:
        """Return the splits there are, in their usual order."""
        found = set(self.split.tolist())
        return [name for name in SPLITS if name in found]

    def of_responses(self, values: NDArray[np.float64], how: str) -> NDArray[np.float64]:
        """Return the "min", "max" or "avg" over the sentences of each response where a value is not NaN: [N] -> [B]."""
        known = ~np.isnan(values)
        return aggregate(values[known], self.response[known], len(self.label), how)


def read_numbers(results: Results) -> Numbers:
    """Read the numbers of a run: about 100 bytes a sentence, however long its text is.

    Raises:
        StoreError: if the tables do not hold the same sentences.
    """
    responses = results.table("responses", ("response_id", "label", "preferred", "pair", "split"))
    sentences = results.table("sentences", (*KEYS, "gold"))
    pseudolabels = results.table("pseudolabels", (*KEYS, "score", "posterior", "pseudolabel"))
    check_same_sentences(sentences, results.table("priors", KEYS), pseudolabels)
    response, score = response_rows(sentences, responses), floats(pseudolabels, "score")
    config = results.record.config
    aggregation = str(config.get("aggregation", "min"))
    if aggregation == "auto":
        aggregation = aggregation_used(results.file("pseudolabel", "student.safetensors"))
    scale = make_scale(config, aggregation, score)
    label, pair = floats(responses, "label"), numbers(responses, "pair")
    if scale.kind == "count":
        label = np.minimum(label / np.maximum(np.bincount(response, minlength=len(label)), 1), 1.0)
    return Numbers(
        scale=scale,
        ids=responses.column("response_id"),
        split=responses.column("split").to_numpy(),
        label=label,
        preferred=floats(responses, "preferred"),
        pair=np.where(responses.column("pair").is_null().to_numpy(), -1, pair),
        aggregated=aggregate(score, response, len(label), aggregation),
        response=response,
        score=score,
        posterior=floats(pseudolabels, "posterior"),
        pseudolabel=floats(pseudolabels, "pseudolabel"),
        gold=floats(sentences, "gold"),
    )
