"""What stage read costs: a cold run, and one after 1 % of the responses were added.

    python -m benchmarks.reading [--responses 50000] [--output benchmarks/RESULTS.md]

Responses are made up: each has a query, two documents and three to seven sentences with gold labels, about 2,200
characters of JSON. Every run is a process of its own; seconds are those of its CPU time, without imports, because they
depend less on what else the machine does than those of a clock.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import RESULTS, hardware, put

FORMATS = ("jsonl", "csv", "parquet")
REPEATS = 3


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield responses of random words, the same ones each time."""
    chance = random.Random(1)
    words = ["".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9))) for _ in range(5_000)]

    def sentence(length: int) -> str:
        return " ".join(chance.choices(words, k=length)).capitalize() + "."

    for number in range(count):
        sentences = [sentence(chance.randint(6, 20)) for _ in range(chance.randint(3, 7))]
        yield {
            "id": f"r{number:07d}",
            "query": sentence(8),
            "context": [" ".join(sentence(14) for _ in range(6)) for _ in range(2)],
            "response": " ".join(sentences),
            "sentences": sentences,
            "sentence_labels": [chance.randint(0, 1) for _ in sentences],
            "response_label": chance.randint(0, 1),
        }


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows in the format of the suffix."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(rows[0])
            writer.writerows([json.dumps(v) if isinstance(v, list) else v for v in row.values()] for row in rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(data: Path, workspace: Path) -> tuple[float, int]:
    """Run stage read in another process; return its seconds of CPU time and the rows computed."""
    command = [sys.executable, "-m", "benchmarks.reading", "--run", str(data), str(workspace)]
    seconds, rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), int(rows)


def run_here(data: Path, workspace: Path) -> None:
    """Run stage read in this process and print what `run` returns."""
    from rich.console import Console

    import fractal_core.text.reading  # noqa: F401
    from fractal_core.config import InputConfig, RunConfig
    from fractal_core.labelling import LabellingRun
    from fractal_core.progress import Reporter
    from fractal_core.runtime import make_runtime
    from fractal_core.store.workspace import open_workspace

    config = RunConfig(input=InputConfig(path=str(data)))
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    started = time.process_time()
    with LabellingRun(open_workspace(workspace), config, runtime) as labelling:
        record = labelling.execute("read")
    print(time.process_time() - started, record.rows_computed)  # noqa: T201


def measure(kind: str, rows: list[dict[str, Any]], folder: Path) -> str:
    """Return the line of a format: seconds cold, seconds after an append, and the rows then computed."""
    data = folder / f"responses.{kind}"
    cold, appended, computed = [], [], 0
    for number in range(REPEATS):
        workspace = folder / f"{kind}-{number}"
        write(data, rows[: -len(rows) // 101])
        cold.append(run(data, workspace)[0])
        write(data, rows)
        seconds, computed = run(data, workspace)
        appended.append(seconds)
    share = 100 * median(appended) / median(cold)
    return f"| {kind} | {median(cold):.1f} | {median(appended):.1f} | {share:.0f} % | {computed:,} |"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--responses", type=int, default=50_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--run", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_here(*arguments.run)
        return
    rows = list(make_rows(arguments.responses + arguments.responses // 100))
    with tempfile.TemporaryDirectory() as folder:
        lines = "\n".join(measure(kind, rows, Path(folder)) for kind in FORMATS)
    text = f"""## What reading costs

`python -m benchmarks.reading`, {hardware()}. {arguments.responses:,} made-up responses, then 1 %
more; stage read alone, median of {REPEATS}. Known rows are not judged, but files are read whole, and of CSV and Parquet
also parsed.

| format | cold, CPU seconds | 1 % added | of the cold run | rows computed |
|---|---|---|---|---|
{lines}
"""
    put(text, "reading", arguments.output)


if __name__ == "__main__":
    main()
