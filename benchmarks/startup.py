"""What commands cost before and after their work: light ones, a run with nothing stale, and Prefect's share of a run.

    python -m benchmarks.startup [--sentences 20000] [--times 5] [--output benchmarks/RESULTS.md]

Responses are made up (`benchmarks.made_responses`). The large project is run once, with the static encoder; the small
one up to the first stage, over and over, in new workspaces and in one that is there. Every command is a process of its
own with one thread, and its CPU seconds are those of all processes that it started and waited for.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.children import Measured, measure
from benchmarks.made_responses import make_rows
from benchmarks.results import RESULTS, hardware, put

SENTENCES_A_RESPONSE = 10
SMALL = 20
FIRST = "read"
ROWS = {
    "first": "new workspace, nothing kept of Prefect's database",
    "new": "new workspace",
    "existing": "existing workspace",
}


class Cost(NamedTuple):
    """Medians over several calls of a command: seconds of a clock, those of its stages, and CPU seconds of all."""

    seconds: float
    stages: float
    cpu: float


class Project:
    """A folder with made-up responses, the configuration of their labelling, and a workspace."""

    def __init__(self, folder: Path, responses: int) -> None:
        """Make the folder and write into it."""
        folder.mkdir()
        self.config, self.workspace = folder / "fractal.toml", folder / ".fractal"
        rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(responses))
        (folder / "responses.jsonl").write_text("".join(rows), encoding="utf-8")
        self.config.write_text('aggregation = "min"\n[input]\npath = "responses.jsonl"\n[encoder]\nkind = "static"\n')

    def command(self, name: str, *arguments: str) -> Measured:
        """Run a command over the project."""
        return fractal(name, *arguments, "--workspace", str(self.workspace), "--json")

    def run(self, *options: str) -> Measured:
        """Run the project."""
        return self.command("run", str(self.config), *options)

    def run_anew(self) -> Measured:
        """Run the first stage in a new workspace."""
        shutil.rmtree(self.workspace, ignore_errors=True)
        return self.run("--until", FIRST)


def fractal(*arguments: str, read: Callable[[bytes], Any] = json.loads) -> Measured:
    """Run `fractal` in a process of its own."""
    return measure([sys.executable, "-c", "from fractal_core.start import main; main()", *arguments], read)


def several(times: int, call: Callable[[], Measured]) -> Cost:
    """Return what a command costs."""
    found = [call() for _ in range(times)]
    stages = [sum(stage["seconds"] for stage in _stages(each)) for each in found]
    return Cost(median(each.seconds for each in found), median(stages), median(each.cpu for each in found))


def _stages(found: Measured) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = found.said.get("stages", []) if isinstance(found.said, dict) else []
    return [stage for stage in stages if not stage["reused"]]


def measure_all(folder: Path, sentences: int, times: int) -> dict[str, Any]:
    """Return the costs of light commands over a project of about so many sentences, and those of small runs."""
    cache = folder / "cache"
    os.environ |= {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}
    small, large = Project(folder / "small", SMALL), Project(folder / "large", sentences // SENTENCES_A_RESPONSE)

    def first() -> Measured:
        shutil.rmtree(cache, ignore_errors=True)
        return small.run_anew()

    runs = {"first": several(times, first), "new": several(times, small.run_anew)}
    runs["existing"] = several(times, lambda: small.run("--until", FIRST, "--force", FIRST))
    counts = large.run().said
    query = "SELECT count(*) FROM latest.sentences"
    commands = {
        "--help": several(times, lambda: fractal("--help", read=len)),
        "plan": several(times, lambda: large.command("plan", str(large.config))),
        "status": several(times, lambda: large.command("status")),
        "query": several(
            times, lambda: fractal("query", query, "--workspace", str(large.workspace), "--format", "json")
        ),
        "run, nothing stale": several(times, large.run),
    }
    return {"sentences": counts["sentences"], "times": times, "runs": runs, "commands": commands}


def report(command: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    commands = "\n".join(
        f"| `fractal {name}` | {cost.seconds:.2f} | {cost.cpu:.2f} |" for name, cost in found["commands"].items()
    )
    runs = "\n".join(
        f"| {ROWS[name]} | {cost.seconds:.1f} | {cost.stages:.1f} | {cost.seconds - cost.stages:.1f} | {cost.cpu:.1f} |"
        for name, cost in found["runs"].items()
    )
    return f"""## What a command costs before and after its work

`{command}`, {hardware()}, one thread, medians of {found["times"]}. Light commands over a finished run of
{found["sentences"]:,} sentences:

| command | seconds | CPU seconds |
|---|---|---|
{commands}

`fractal run --until {FIRST}` of {SMALL} responses: seconds of the whole command, of its stage, of all else (plan,
imports, Prefect, its server), and CPU seconds of all its processes:

| run | seconds | stage | all else | CPU seconds |
|---|---|---|---|---|
{runs}
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure_all(Path(folder), arguments.sentences, arguments.times)
    put(report("python -m benchmarks.startup", found), "startup", arguments.output)


if __name__ == "__main__":
    main()
