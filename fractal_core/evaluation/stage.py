"""Stage `evaluate`: the run's figures, per split, against gold sentence labels and against response labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fractal_core.evaluation.columns import aggregation_used, check_same_sentences, floats, numbers, response_rows
from fractal_core.evaluation.figures import (
    aggregate,
    is_binary,
    preference_figures,
    response_figures,
    sentence_figures,
)
from fractal_core.label_kinds import settled_kind

if TYPE_CHECKING:
    from typing import Protocol

    from fractal_core.config import Aggregation
    from fractal_core.label_kinds import LabelKind
    from fractal_core.store.stage import Inputs, Outputs, Runtime

    class EvaluateParams(Protocol):
        """The part of the configuration this stage depends on."""

        @property
        def aggregation(self) -> Aggregation:
            """How sentence scores become a response's score."""

        @property
        def label_kind(self) -> LabelKind:
            """What a response label is."""


METHODS = ("score", "posterior", "pseudolabel")


def evaluate(inputs: Inputs, params: EvaluateParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write table `metrics`; no rows for figures that are undefined, and none at all without any label.

    Sentence level: over sentences with gold labels, the score before the response's label is looked at, the label-free
    priors, and posterior and pseudo-label. The last two use the label of the sentence's own response, so they are taken
    over labelled responses only and say nothing about responses without a label. Response level: the hard minimum,
    maximum or mean of the scores against the label (a count as a share of the sentences); of pairs, whether the better
    one scores higher. Column `rows` is the number of rows, or pairs, a figure is taken over.

    If the aggregation is "auto", it is the one that student.safetensors says was used, and the mean if it says none.

    Raises:
        StoreError: the tables do not hold the same sentences.
    """
    responses, sentences = inputs.table("responses"), inputs.table("sentences")
    priors, pseudolabels = inputs.table("priors"), inputs.table("pseudolabels")
    check_same_sentences(sentences, priors, pseudolabels)
    response = response_rows(sentences, responses)
    kind = settled_kind(params.label_kind, params.aggregation)
    aggregation: str = params.aggregation
    if aggregation == "auto":
        aggregation = aggregation_used(inputs.file("student.safetensors"))
    gold, label = floats(sentences, "gold"), floats(responses, "label")
    preferred, pair = floats(responses, "preferred"), numbers(responses, "pair")
    labelled = ~np.isnan(preferred if kind == "preference" else label)
    if kind == "count":
        label = np.minimum(label / np.maximum(np.bincount(response, minlength=len(label)), 1), 1.0)
    split = responses.column("split").to_numpy()
    methods = {name: floats(pseudolabels, name) for name in METHODS}
    methods |= {name: floats(priors, name) for name in priors.column_names}
    aggregated = aggregate(methods["score"], response, len(label), aggregation)

    rows = []
    for name in sorted(set(split.tolist())):
        chosen = split == name
        mine = chosen[response]
        figures = [
            *response_figures(label[chosen], aggregated[chosen], aggregation, binary=is_binary(label), kind=kind),
            *preference_figures(pair[chosen], preferred[chosen], aggregated[chosen]),
            *sentence_figures(
                gold[mine],
                {method: values[mine] for method, values in methods.items()},
                labelled[response[mine]],
                binary=is_binary(gold),
                kind=kind,
            ),
        ]
        rows += [{"split": name, **figure._asdict()} for figure in sorted(figures)]
    if rows:
        outputs.write("metrics", pa.Table.from_pylist(rows))
