"""What a second run costs: nothing changed, and 1 % of the responses added.

    python -m benchmarks.increments [--data FOLDER] [--name wikiqa] [--output benchmarks/RESULTS.md]

The stages up to the priors, run one after the other in this process, without the orchestrator; and the rows that each
row-local stage computed. The last result is compared with that of a clean run, file by file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.results import DATA, RESULTS, hardware, put
from benchmarks.turns import Seconds
from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace

APPENDS = 5
UNCHANGED = 5
LAST = "priors"


class Project:
    """A folder with an input and a configuration, and the runs of it."""

    def __init__(self, folder: Path, aggregation: str) -> None:
        """Make the folder."""
        folder.mkdir()
        self.folder = folder
        (folder / "fractal.toml").write_text(f'aggregation = "{aggregation}"\n[input]\npath = "responses.jsonl"\n')

    def run(self, rows: list[str]) -> tuple[Seconds, LabellingRun]:
        """Run with these lines as input; return what it took and the run."""
        (self.folder / "responses.jsonl").write_text("".join(rows), encoding="utf-8")
        cpu, wall = time.process_time(), time.perf_counter()
        config = load_config(self.folder / "fractal.toml", [])
        runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
        with LabellingRun(open_workspace(self.folder / "ws"), config, runtime) as run:
            for stage in stages_until(LAST):
                run.execute(stage.name)
        return Seconds(time.process_time() - cpu, time.perf_counter() - wall), run


def read_lines(source: Path) -> list[str]:
    """Return the rows of a data set as JSON lines, the split in each."""
    lines = []
    for file in sorted(source.glob("*.jsonl.gz")):
        for line in gzip.decompress(file.read_bytes()).decode().splitlines():
            lines.append(json.dumps({**json.loads(line), "split": file.name.split(".")[0]}, ensure_ascii=False) + "\n")
    return lines


def measure(lines: list[str], aggregation: str, folder: Path) -> dict[str, Any]:
    """Return the seconds of a cold run, of runs with nothing changed and of appends, and what was computed."""
    step = max(1, len(lines) // 100)
    first = lines[: len(lines) - APPENDS * step]
    project = Project(folder / "grown", aggregation)
    cold, run = project.run(first)
    sentences = run.artefacts["segment"].rows_out["sentences"]
    unchanged = [project.run(first)[0] for _ in range(UNCHANGED)]
    appends, computed = [], []
    for number in range(1, APPENDS + 1):
        seconds, run = project.run(lines[: len(first) + number * step])
        appends.append(seconds)
        rows = {record.stage: (record.rows_computed, sum(record.rows_out.values())) for record in run.record.stages}
        computed.append({stage: rows[stage] for stage in ("read", "segment", "embed")})
    clean_seconds, clean = Project(folder / "clean", aggregation).run(lines)
    same = all(_digests(run, stage.name) == _digests(clean, stage.name) for stage in stages_until(LAST))
    return {
        "responses": len(first), "sentences": sentences, "step": step, "cold": cold, "clean": clean_seconds,
        "unchanged": _middle(unchanged), "append": _middle(appends), "computed": computed[-1], "same": same,
    }  # fmt: skip


def _digests(run: LabellingRun, stage: str) -> dict[str, str]:
    manifest = run.artefacts[stage].manifest
    return {entry.name: entry.sha256 for entry in (*manifest.tables.values(), *manifest.files.values())}


def report(name: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    computed = "; ".join(f"{stage} {new:,} of {all_:,}" for stage, (new, all_) in found["computed"].items())
    return f"""## What a second run costs

`python -m benchmarks.increments --name {name}`, {hardware()}. {name}, {found["responses"]:,} responses with
{found["sentences"]:,} sentences, stages read to {LAST} without the orchestrator.

| run | seconds | of the cold run | CPU seconds | of the cold run |
|---|---|---|---|---|
| cold | {_row(found, "cold")} |
| {found["step"]} responses (1 %) added, median of {APPENDS} | {_row(found, "append")} |
| nothing changed, median of {UNCHANGED} | {_row(found, "unchanged")} |

Rows computed by the last append: {computed}. Every table and file equals that of a clean run of the whole input,
byte for byte: {"yes" if found["same"] else "NO"}.
"""


def _middle(times: list[Seconds]) -> Seconds:
    return Seconds(median(each.cpu for each in times), median(each.wall for each in times))


def _row(found: dict[str, Any], name: str) -> str:
    mine, cold = found[name], found["cold"]
    shares = (f"{one:.2f} | {100 * one / all_:.1f} %" for one, all_ in ((mine.wall, cold.wall), (mine.cpu, cold.cpu)))
    return " | ".join(shares)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--name", default="wikiqa")
    parser.add_argument("--aggregation", default="max")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(read_lines(arguments.data / arguments.name), arguments.aggregation, Path(folder))
    put(report(arguments.name, found), "increments", arguments.output)


if __name__ == "__main__":
    main()
