"""Stage `evaluate`: the run's figures, per split, against gold sentence labels and against response labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fractal_core.evaluation.columns import aggregation_used, check_same_sentences, floats, numbers, response_rows
from fractal_core.evaluation.figures import NEEDS_RESPONSE_LABEL, Figure, is_binary, sentence_figures
from fractal_core.evaluation.gold import read_gold
from fractal_core.evaluation.metrics import best_thresholds
from fractal_core.evaluation.of_responses import aggregate, preference_figures, response_figures
from fractal_core.evaluation.reliability import tenths
from fractal_core.label_kinds import INHERITED, settled_kind
from fractal_core.text.labels import label_rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    from numpy.typing import NDArray

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

        @property
        def id(self) -> str:
            """Of a file of gold labels the column of ids."""

        @property
        def sentence_labels(self) -> str:
            """Of such a file the column of lists of sentence labels."""

        @property
        def grades(self) -> int:
            """The highest grade."""


METHODS = ("score", "posterior", "pseudolabel")
# Where thresholds are chosen; figures that need one are taken of the other splits.
_CHOSEN_ON = "dev"


def evaluate(inputs: Inputs, params: EvaluateParams, outputs: Outputs, runtime: Runtime) -> None:
    """Write tables `metrics` and `reliability`; no rows for what is undefined, and none at all without any label.

    Sentence level: over sentences with gold labels, the score before the response's label is looked at, the label-free
    priors, and posterior, pseudo-label, and the response's own label for each of its sentences. The last three use the
    label of the sentence's own response, so they are taken over labelled responses only and say nothing about responses
    without a label. Response level: the hard minimum, maximum or mean of the scores and priors against the label (a
    count as a share of the sentences); of pairs, whether the better one scores higher. Accuracy and F1 are at the
    thresholds that are best for them on dev, and not taken there, but for the accuracy of scores, which is then at 0.5,
    and pseudo-labels, which need none. Intervals are 95 % bootstrap intervals over responses (or pairs). Column `rows`
    is the number of rows, or pairs, a figure is taken over.

    Gold labels of a file (source "gold") take the place of those of the input, all of them.

    If the aggregation is "auto", it is the one that student.safetensors says was used, and the mean if it says none.

    Raises:
        InputError: the gold labels do not fit the sentences.
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
    if files := inputs.sources("gold"):
        names, rule = (params.id, params.sentence_labels), label_rule(params.label_kind, aggregation, params.grades)
        gold = read_gold(files, sentences, names, rule)
        runtime.note(f"{int((~np.isnan(gold)).sum()):,} gold labels are those of {', '.join(f.name for f in files)}")
    preferred, pair = floats(responses, "preferred"), numbers(responses, "pair")
    if kind == "count":
        label = np.minimum(label / np.maximum(np.bincount(response, minlength=len(label)), 1), 1.0)
    own = preferred if kind == "preference" else label
    labelled = ~np.isnan(own)
    split = responses.column("split").to_numpy()
    methods = {name: floats(pseudolabels, name) for name in METHODS}
    methods |= {name: floats(priors, name) for name in priors.column_names}
    methods[INHERITED] = own[response]
    pooled = {
        name: aggregate(values, response, len(label), aggregation)
        for name, values in methods.items()
        if name not in NEEDS_RESPONSE_LABEL and not np.isnan(values).any()
    }
    dev = split == _CHOSEN_ON
    thresholds = _thresholds(gold, methods, dev[response])
    of_responses = _thresholds(label, pooled, dev)

    rows = []
    for name in sorted(set(split.tolist())):
        chosen = split == name
        mine = chosen[response]
        mine_pooled = {method: values[chosen] for method, values in pooled.items()}
        figures = [
            *response_figures(
                label[chosen],
                mine_pooled,
                aggregation,
                binary=is_binary(label),
                kind=kind,
                intervals=True,
                thresholds={} if name == _CHOSEN_ON else of_responses,
            ),
            *preference_figures(pair[chosen], preferred[chosen], mine_pooled, intervals=True),
            *sentence_figures(
                gold[mine],
                {method: values[mine] for method, values in methods.items()},
                labelled[response[mine]],
                binary=is_binary(gold),
                kind=kind,
                owner=response[mine],
                thresholds={} if name == _CHOSEN_ON else thresholds,
            ),
        ]
        rows += [{"split": name, **figure._asdict()} for figure in sorted(figures, key=lambda figure: figure[:3])]
    if rows:
        outputs.write("metrics", pa.Table.from_pylist(rows, schema=_SCHEMA))
    curves = list(_curves(gold, methods, split[response], labelled[response]))
    if curves:
        outputs.write("reliability", pa.Table.from_pylist(curves, schema=_CURVE))


def _curves(
    gold: NDArray[np.float64],
    methods: dict[str, NDArray[np.float64]],
    split: NDArray[np.object_],
    labelled: NDArray[np.bool_],
) -> Iterator[dict[str, Any]]:
    """Yield rows of table reliability, sorted."""
    for name in sorted(set(split.tolist())):
        for method in ("posterior", "score"):
            values = methods[method]
            rows = (split == name) & ~np.isnan(gold) & ~np.isnan(values)
            if method in NEEDS_RESPONSE_LABEL:
                rows &= labelled
            if rows.any():
                for number, tenth in enumerate(tenths(values[rows], gold[rows])):
                    yield {"split": name, "method": method, "bin": number, **asdict(tenth)}


def _thresholds(
    gold: NDArray[np.float64], methods: dict[str, NDArray[np.float64]], rows: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """Return by method and metric the best threshold on some rows; none for a method that these do not tell of."""
    found = {}
    for name, values in methods.items():
        known = rows & ~np.isnan(gold) & ~np.isnan(values)
        found[name] = best_thresholds((gold[known] > 0).astype(np.float64), values[known])
    return found


_TYPES: dict[str, pa.DataType] = {"rows": pa.int64()}
_TYPES |= dict.fromkeys(("value", "low", "high", "threshold"), pa.float64())
_OF_CURVE: dict[str, pa.DataType] = {"split": pa.string(), "method": pa.string(), "bin": pa.int32()}
_OF_CURVE |= dict.fromkeys(("score", "gold", "error"), pa.float64())
_CURVE = pa.schema({**_OF_CURVE, "rows": pa.int64()})
_SCHEMA = pa.schema({name: _TYPES.get(name, pa.string()) for name in ("split", *Figure._fields)})
