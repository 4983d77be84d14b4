"""How the cost of the bag losses grows, with their gradients: by responses, grades, counts and sizes of responses.

    python -m benchmarks.losses [--responses 1000 3000 10000 30000 100000] [--times 5] [--output benchmarks/RESULTS.md]

Random logits of one member, responses in the sizes of wikiqa's, one thread. The plot goes beside the output.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.growth_plot import draw_growth
from benchmarks.made_up import sizes_like_wikiqa
from benchmarks.results import RESULTS, hardware, put
from benchmarks.turns import TIMES, Growth, grow
from fractal_core.mil.segments import Segments
from fractal_core.mil.task import Task
from fractal_core.threads import one_thread

RESPONSES = (1_000, 3_000, 10_000, 30_000, 100_000)
GRADES = (1, 2, 4, 8, 16, 32)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LONG, LONG_RESPONSES, FEW = 512, 40, 4
SIZES = (16, 32, 64, 128, 256, 512, 1_024)
PLOT = "losses.svg"
LOSSES = {
    "noisy-or": Task("max", "binary", "noisy"),
    "hard maximum": Task("max", "binary", "hard"),
    "mean": Task("avg", "share"),
    "ordinal, 5 grades": Task("max", "ordinal", grades=4),
    "count": Task("avg", "count", loss="count"),
    "preferences": Task("max", "preference"),
}


def loss_of(task: Task, sizes: Tensor, labels: Tensor | None = None, seed: int = 0) -> Callable[[], None]:
    """Return a function that computes a loss of random logits and their gradient.

    Args:
        task: the loss.
        sizes: int64 [B], of responses; preferences are between each and the next.
        labels: as `Task.losses` takes them; None for random ones.
        seed: of logits and labels.
    """
    generator = torch.Generator().manual_seed(seed)
    segments = Segments.from_sizes(sizes)
    logits = torch.randn(1, segments.total, generator=generator).requires_grad_()
    extra = torch.zeros(1, task.extras).requires_grad_()
    if labels is None:
        labels = _labels(task, sizes, generator)

    def run() -> None:
        logits.grad = extra.grad = None
        task.losses(logits, extra, labels, segments).sum().backward()  # type: ignore[no-untyped-call]

    return run


def _labels(task: Task, sizes: Tensor, generator: torch.Generator) -> Tensor:
    share = torch.rand(len(sizes), generator=generator, dtype=torch.float64)
    if task.kind == "ordinal":
        return torch.floor(share * (task.grades + 1))
    if task.kind == "count":
        return torch.floor(share * (sizes + 1)) / sizes
    if task.kind == "preference":
        return torch.round(share[::2])
    return share if task.kind == "share" else torch.round(share)


def by_responses(responses: Sequence[int], times: int) -> dict[str, Growth]:
    """Return how every loss grows with the number of responses."""
    return {
        name: grow({count: loss_of(task, sizes_like_wikiqa(count)) for count in responses}, times)
        for name, task in LOSSES.items()
    }


def by_grades(grades: Sequence[int], responses: int, times: int) -> Growth:
    """Return how the ordinal loss grows with the highest grade."""
    sizes = sizes_like_wikiqa(responses)
    return grow({highest: loss_of(Task("max", "ordinal", grades=highest), sizes) for highest in grades}, times)


def by_count(counts: Sequence[int], size: int, responses: int, times: int) -> Growth:
    """Return how the count likelihood grows with the count, in responses of one size."""
    sizes = torch.full((responses,), size)
    shares = {count: torch.full((responses,), count / size, dtype=torch.float64) for count in counts}
    return grow({count: loss_of(LOSSES["count"], sizes, share) for count, share in shares.items()}, times)


def by_size(sizes: Sequence[int], sentences: int, times: int, count: int | None) -> Growth:
    """Return how the count likelihood of so many sentences grows with the size of their responses.

    Args:
        sizes: of all responses.
        sentences: in all.
        times: rounds.
        count: of every response; None for half of its size.
    """
    runs = {}
    for size in sizes:
        share = torch.full((sentences // size,), (count or size // 2) / size, dtype=torch.float64)
        runs[size] = loss_of(LOSSES["count"], torch.full((len(share),), size), share)
    return grow(runs, times)


def measure(responses: Sequence[int], times: int, long: int = LONG) -> dict[str, Growth]:
    """Measure all; `long` is the size of long responses, and the ordinal loss has 20 responses for each of them."""
    found = by_responses(responses, times)
    sizes = [size for size in SIZES if size <= 2 * long]
    found["grades"] = by_grades(GRADES, 20 * long, times)
    found["counts"] = by_count([count for count in COUNTS if 2 * count <= long], long, LONG_RESPONSES, times)
    found["half"] = by_size(sizes, LONG_RESPONSES * long, times, None)
    found["four"] = by_size(sizes, LONG_RESPONSES * long, times, FEW)
    print(json.dumps(found), flush=True)
    return found


def report(command: str, found: dict[str, Growth], times: int) -> str:
    """Return the figures as Markdown."""
    losses = {name: found[name] for name in LOSSES}
    responses = next(iter(losses.values())).sizes
    sentences = ", ".join(f"{int(sizes_like_wikiqa(count).sum()):,}" for count in (responses[0], responses[-1]))
    lines = [
        "## How the bag losses grow",
        "",
        f"`{command}`, {hardware()}. Loss and gradient of one member for random logits, one thread, CPU milliseconds "
        f"of the process, median of {times} rounds in which all sizes take turns. The exponent is the slope of log "
        "time on log size, over the last three sizes: 1 is linear; what every call costs makes it smaller at first.",
        "",
        f"Responses in the sizes of wikiqa's ({sentences} sentences at the ends):",
        "",
        f"| loss | {' | '.join(f'{count:,}' for count in responses)} | exponent |",
        f"|---|{'---|' * len(responses)}---|",
        *(f"| {name} | {_milliseconds(growth)} | {growth.slope(3):.2f} |" for name, growth in losses.items()),
        "",
        f"![CPU seconds by responses, both logarithmic]({PLOT})",
        "",
        *_table("Ordinal loss by the highest grade, ten sentences a response or so:", "grade", found["grades"]),
        *_table(
            f"Count likelihood by the count, {LONG_RESPONSES} responses of {found['half'].sizes[-1] // 2} sentences:",
            "count",
            found["counts"],
        ),
        "Count likelihood of as many sentences, by the size of their responses:",
        "",
        f"| sentences a response | {' | '.join(f'{size:,}' for size in found['half'].sizes)} | exponent |",
        f"|---|{'---|' * len(found['half'].sizes)}---|",
        f"| half of them positive | {_milliseconds(found['half'])} | {found['half'].slope(3):.2f} |",
        f"| {FEW} of them positive | {_milliseconds(found['four'])} | {found['four'].slope(3):.2f} |",
    ]
    return "\n".join(lines) + "\n"


def _table(title: str, header: str, growth: Growth) -> list[str]:
    return [
        title,
        "",
        f"| {header} | {' | '.join(f'{size:,}' for size in growth.sizes)} | exponent |",
        f"|---|{'---|' * len(growth.sizes)}---|",
        f"| | {_milliseconds(growth)} | {growth.slope(3):.2f} |",
        "",
    ]


def _milliseconds(growth: Growth) -> str:
    return " | ".join(f"{1e3 * seconds:.3g}" for seconds in growth.seconds)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--responses", type=int, nargs="+", default=list(RESPONSES))
    parser.add_argument("--long", type=int, default=LONG, help="sentences of a long response")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with one_thread():
        found = measure(arguments.responses, arguments.times, arguments.long)
    lines = {name: tuple(zip(found[name].sizes, found[name].seconds, strict=True)) for name in LOSSES}
    plot = draw_growth(lines, "responses", "CPU seconds, loss and gradient")
    (arguments.output.parent / PLOT).write_text(plot, encoding="utf-8")
    size = "" if arguments.responses == list(RESPONSES) else f" --responses {' '.join(map(str, arguments.responses))}"
    size += "" if arguments.long == LONG else f" --long {arguments.long}"
    put(report(f"python -m benchmarks.losses{size}", found, arguments.times), "losses", arguments.output)


if __name__ == "__main__":
    main()
