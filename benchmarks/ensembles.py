"""What an ensemble costs trained as one batched computation, against its members one after another.

    python -m benchmarks.ensembles [--responses 300 2118] [--times 5] [--output benchmarks/RESULTS.md]

Random features and labels, responses in the sizes of wikiqa's, batches of 256, one thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.made_up import BATCH, RESPONSES, make_examples, make_fit, sizes_like_wikiqa, with_dev
from benchmarks.results import RESULTS, hardware, put
from benchmarks.turns import TIMES, Rounds, middle, ratio, take_turns
from fractal_core.mil.examples import PriorTerms
from fractal_core.mil.training import PENALTIES, Schedule
from fractal_core.threads import one_thread

SEEDS, EPOCHS = 5, 2
SIZES = (300, RESPONSES)
ONCE, ALONE = "at once", "one after another"


class Ensemble(NamedTuple):
    """Some members, and how they are trained one part after another.

    Attributes:
        title: what it is.
        scorer: a key of `SCORERS`.
        width: of the features; those of MiniLM for the scorers that read vectors.
        dealings, folds, penalties: of the whole; as many members as their product.
        parts: how many trainings of equal size it is cut into.
    """

    title: str
    scorer: str
    width: int
    dealings: int
    folds: int
    penalties: tuple[float, ...]
    parts: int

    @property
    def members(self) -> int:
        """Number of members."""
        return self.dealings * self.folds * len(self.penalties)

    def part(self) -> Ensemble:
        """Return one of its equal parts: a dealing, or a single member."""
        if self.parts == self.dealings:
            return self._replace(dealings=1)
        return self._replace(dealings=1, folds=1, penalties=self.penalties[:1])


ENSEMBLES = (
    Ensemble("5 seeds, a member each", "evidence", 60, SEEDS, 1, (0.01,), SEEDS),
    Ensemble("5 seeds, a member each", "mlp", 316, SEEDS, 1, (0.01,), SEEDS),
    Ensemble("5 seeds, a member each", "concat", 1_152, SEEDS, 1, (0.01,), SEEDS),
    Ensemble("5 seeds, 5 folds and 7 penalties each", "evidence", 60, SEEDS, 5, PENALTIES, SEEDS),
    Ensemble("the default, 2 dealings, 5 folds, 7 penalties", "evidence", 60, 2, 5, PENALTIES, 70),
)


def training(ensemble: Ensemble, responses: int) -> Callable[[], None]:
    """Return the training of all members at once."""
    sizes = sizes_like_wikiqa(with_dev(responses))
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(int(sizes.sum()), ensemble.width, generator=generator)
    examples = make_examples(features, sizes, responses, ensemble.dealings, ensemble.folds, PriorTerms(), 0)
    return make_fit(examples, ensemble.scorer, "noisy", {}, Schedule(EPOCHS, BATCH, 1e-3, 0, ensemble.penalties))


def measure(ensemble: Ensemble, responses: int, times: int) -> Rounds:
    """Time an ensemble at once, and its parts one after another, in turns."""
    together, part = training(ensemble, responses), training(ensemble.part(), responses)

    def alone() -> None:
        for _ in range(ensemble.parts):
            part()

    found = take_turns({ONCE: together, ALONE: alone}, times)
    print(json.dumps([ensemble.title, ensemble.scorer, responses, found]), flush=True)
    return found


def report(command: str, found: list[tuple[Ensemble, int, Rounds]], times: int) -> str:
    """Return the figures as Markdown."""
    lines = [
        "## What an ensemble costs",
        "",
        f"`{command}`, {hardware()}. {EPOCHS} epochs with their held-out losses, responses in the sizes of wikiqa's, "
        f"batches of {BATCH}, one thread; CPU seconds of the process, median of {times} rounds in which both take "
        "turns. Small members cost mostly what every call costs, which they share at once; members of many weights "
        "cost their arithmetic, which is the same either way.",
        "",
        "| scorer | ensemble | members | responses | at once | one after another | ratio |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {e.scorer} | {e.title} | {e.members} | {responses:,} | {middle(rounds[ONCE]).cpu:.3f} "
            f"| {middle(rounds[ALONE]).cpu:.3f}, {e.parts} parts | {ratio(rounds, ALONE, ONCE).cpu:.2f} |"
            for e, responses, rounds in found
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--responses", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with one_thread():
        found = [
            (e, count, measure(e, count, arguments.times))
            for e in ENSEMBLES
            for count in (arguments.responses[:1] if e.scorer == "concat" else arguments.responses)
        ]
    size = "" if arguments.responses == list(SIZES) else f" --responses {' '.join(map(str, arguments.responses))}"
    put(report(f"python -m benchmarks.ensembles{size}", found, arguments.times), "ensembles", arguments.output)


if __name__ == "__main__":
    main()
