"""What an epoch of training costs: against loops over responses and sentences, and against bare matrix products.

    python -m benchmarks.training [--responses 2118] [--times 5] [--output benchmarks/RESULTS.md]

Random vectors in the shape of wikiqa's train split, the published widths (1536-768-384-1), batches of 256, one thread.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.looped import CORRELATION, READINGS, SIMILARITY, Bag, LoopedScorer, Reading, train_epoch
from benchmarks.made_up import (
    BATCH,
    RESPONSES,
    make_examples,
    make_fit,
    make_vectors,
    similarity_terms,
    sizes_like_wikiqa,
    with_dev,
)
from benchmarks.results import RESULTS, hardware, put
from benchmarks.turns import TIMES, Rounds, middle, ratio, take_turns
from fractal_core.encode.linear import PackedLinear
from fractal_core.mil.examples import Examples, PriorTerms
from fractal_core.mil.scorers.features import Joined
from fractal_core.mil.scorers.perceptron import Perceptron
from fractal_core.mil.scorers.registry import SCORERS
from fractal_core.mil.segments import Segments
from fractal_core.mil.training import PENALTIES, Schedule
from fractal_core.threads import one_thread

WIDTH = 768
FEATURES, DEALINGS, FOLDS = 60, 2, 5
RATE, PENALTY = 3e-4, 1e-4
WEIGHTS = {"query": SIMILARITY, "correlation": CORRELATION}
WIDE, JUDGED, EVIDENCE = "concat", "held-out loss of concat", "evidence"
# What PyTorch multiplies through, in a square product and in that of the first layer with a batch of wikiqa's; and
# what training takes instead where the machine has it. Rows of the result, what is summed over, columns.
PRODUCTS = {"MKL, square": (1_024, 1_024, 1_024), "MKL, first layer": (2_460, 1_536, 768)}
ONEDNN = {"oneDNN, first layer": (2_460, 1_536, 768)}


class Made(NamedTuple):
    """One problem in both forms."""

    examples: Examples
    bags: list[Bag]


def make_problem(responses: int, width: int = WIDTH) -> Made:
    """Return responses of random sentences and queries, read as [query; sentence]; those of train as bags too."""
    sizes = sizes_like_wikiqa(with_dev(responses))
    segments = Segments.from_sizes(sizes)
    sentences, queries = make_vectors(segments.total, width, 1), make_vectors(len(sizes), width, 2)
    texts = torch.stack([segments.ids, len(queries) + torch.arange(len(sentences))], dim=1)
    terms = similarity_terms(sentences, queries, segments)
    examples = make_examples(Joined(torch.cat([queries, sentences]), texts), sizes, responses, 1, 1, terms, 0)
    labels = examples.labels.float()
    bags = [Bag(*each) for each in zip(sentences.split(sizes.tolist()), queries, labels, strict=True)]
    return Made(examples, bags[:responses])


def looped(made: Made, reading: Reading) -> Callable[[], None]:
    """Return an epoch in loops, of a network with the widths of ours."""
    width = made.examples.features.shape[1]
    scorer = LoopedScorer(SCORERS[WIDE].start(1, width, torch.Generator().manual_seed(0)))
    optimiser = torch.optim.Adam(scorer.tensors, lr=RATE)
    return lambda: train_epoch(scorer, optimiser, made.bags, reading, BATCH)


def products(shape: tuple[int, int, int], repeats: int, onednn: bool) -> Callable[[], None]:
    """Return matrix products of a shape, through oneDNN or as PyTorch makes them."""
    rows, inner, columns = shape
    left, right = make_vectors(rows, inner, 0), torch.nn.Linear(inner, columns, bias=False)
    multiply: Callable[[Tensor], Tensor] = PackedLinear(right, rows) if onednn else right

    @torch.no_grad()
    def run() -> None:
        for _ in range(repeats):
            multiply(left)

    return run


class Arithmetic(NamedTuple):
    """Operations of the matrix products of an epoch.

    Attributes:
        updates: of training, a query being multiplied once for all sentences of its response.
        judging: of the held-out loss after it, likewise.
        by_sentence: of training, if every sentence's query is multiplied anew, as loops do.
    """

    updates: float
    judging: float
    by_sentence: float


def arithmetic(examples: Examples) -> Arithmetic:
    """Count operations.

    A weight takes a multiplication and an addition forward, as many for its gradient, and as many for that of its
    inputs, which the features need not have.
    """
    scorer = SCORERS[WIDE]
    assert isinstance(scorer, Perceptron)
    widths = [examples.features.shape[1], *scorer.widths(examples.features.shape[1]), 1]
    first, *others = (inputs * outputs for inputs, outputs in zip(widths, widths[1:], strict=False))
    half, rest = first // 2, sum(others)
    (of_train, of_dev), sizes = (examples.train, examples.dev), examples.segments.sizes
    queries, sentences = int(of_train.sum()), int(sizes[of_train].sum())
    judged_queries, judged = int(of_dev.sum()), int(sizes[of_dev].sum())
    return Arithmetic(
        updates=(queries + sentences) * 4 * half + sentences * 6 * rest,
        judging=(judged_queries + judged) * 2 * half + judged * 2 * rest,
        by_sentence=sentences * (4 * first + 6 * rest),
    )


def measure(responses: int, times: int, width: int = WIDTH, repeats: int = 10) -> dict[str, Any]:
    """Time an epoch of everything, in turns; ours ends with the loss on responses of dev."""
    made = make_problem(responses, width)
    sizes = made.examples.segments.sizes
    evidence = torch.randn(int(sizes.sum()), FEATURES, generator=torch.Generator().manual_seed(3))
    ours = make_examples(evidence, sizes, responses, DEALINGS, FOLDS, PriorTerms(), 0)
    wide = Schedule(1, BATCH, RATE, 0, (PENALTY,))
    runs = {name: looped(made, reading) for name, reading in READINGS.items()}
    runs |= {
        WIDE: make_fit(made.examples, "concat", "hard", WEIGHTS, wide),
        JUDGED: make_fit(made.examples, "concat", "hard", WEIGHTS, Schedule(0, BATCH, RATE, 0, (PENALTY,))),
        EVIDENCE: make_fit(ours, "evidence", "noisy", {}, Schedule(1, BATCH, 0.02, 0, PENALTIES)),
    }
    bare = PRODUCTS | (ONEDNN if torch.backends.mkldnn.is_available() else {})
    runs |= {name: products(shape, repeats, name in ONEDNN) for name, shape in bare.items()}
    found = take_turns(runs, times, warm=False)
    print(json.dumps(found), flush=True)
    return {"rounds": found, "repeats": repeats, "examples": made.examples, "sizes": sizes, "times": times}


def report(command: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rounds: Rounds = found["rounds"]
    examples, sizes = found["examples"], found["sizes"]
    bare = {name: shape for name, shape in (PRODUCTS | ONEDNN).items() if name in rounds}
    rates = {name: 2e-9 * found["repeats"] * math.prod(bare[name]) / middle(rounds[name]).cpu for name in bare}
    work = arithmetic(examples)
    sizes = sizes[examples.train]
    padded = len(sizes) * int(sizes.max()) / int(sizes.sum())
    epoch, judged = middle(rounds[WIDE]).cpu, middle(rounds[JUDGED]).cpu
    best, usual = max(rates.values()), max(rates[name] for name in PRODUCTS)
    rate = 1e-9 * (work.updates + work.judging) / epoch
    titles = {name: f"in loops: {name}" for name in READINGS}
    titles[WIDE] = "ours, `concat`, the same network"
    titles[EVIDENCE] = f"ours, `evidence` as by default: {len(PENALTIES) * DEALINGS * FOLDS} members at once"
    lines = [
        "## What training costs",
        "",
        f"`{command}`, {hardware()}. {len(sizes):,} responses with {int(sizes.sum()):,} sentences of up to "
        f"{int(sizes.max())}, in the sizes of wikiqa's train split (2,118 responses), random [query; sentence] of "
        f"{examples.features.shape[1]:,} numbers, batches of {BATCH}, Adam, one thread; the loss is that of the "
        "FRACTAL paper with both similarity priors (`evidence`: noisy-or alone). The loops are its structure as we "
        "know it from its description (`benchmarks/looped.py`), in PyTorch. Median of "
        f"{found['times']} rounds in which all take turns. CPU seconds of the process, because the machine was shared; "
        "seconds on the clock beside them.",
        "",
        "| an epoch | CPU seconds | on the clock | times `concat` | times `evidence` |",
        "|---|---|---|---|---|",
        *(_row(title, name, rounds) for name, title in titles.items()),
        "",
        f"Ours ends an epoch with the held-out loss of as many more responses as wikiqa has in dev, which the loops do "
        f"not compute: {judged:.2f} s of {epoch:.2f} s for `concat`. A call a sentence is a call for every real "
        "sentence; padded to the longest of their batch, as that code pads them, responses have up to "
        f"{padded:.1f} times as many.",
        "",
        "Matrix products alone, GFLOP/s: " + ", ".join(f"{name} {value:.0f}" for name, value in rates.items()) + ". "
        f"An epoch of `concat` has {(work.updates + work.judging) / 1e9:.0f} GFLOP of useful arithmetic, "
        f"{work.updates / 1e9:.0f} of them for updates, and does {rate:.0f} GFLOP/s: **{100 * rate / best:.0f} % of "
        f"the fastest of these** (the updates alone {100e-9 * work.updates / (epoch - judged) / best:.0f} %), and "
        f"{100 * rate / usual:.0f} % of MKL, through which PyTorch multiplies by itself. A query is multiplied once "
        f"for all sentences of its response; with a product for every sentence, as in the loops, the updates would be "
        f"{work.by_sentence / 1e9:.0f} GFLOP, at the same time {1e-9 * work.by_sentence / (epoch - judged):.0f} "
        f"GFLOP/s: {100e-9 * work.by_sentence / (epoch - judged) / best:.0f} % of the fastest.",
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, name: str, rounds: Rounds) -> str:
    cpu, wall = middle(rounds[name])
    against = (f"{ratio(rounds, name, ours).cpu:.3g} x" for ours in (WIDE, EVIDENCE))
    return f"| {title} | {cpu:.2f} | {wall:.2f} | {' | '.join(against)} |"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--responses", type=int, default=RESPONSES)
    parser.add_argument("--width", type=int, default=WIDTH, help="of a vector")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with one_thread():
        found = measure(arguments.responses, arguments.times, arguments.width)
    size = "" if arguments.responses == RESPONSES else f" --responses {arguments.responses}"
    size += "" if arguments.width == WIDTH else f" --width {arguments.width}"
    put(report(f"python -m benchmarks.training{size}", found), "training", arguments.output)


if __name__ == "__main__":
    main()
