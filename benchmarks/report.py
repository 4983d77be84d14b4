"""What a report costs: seconds and memory to write it, its size, and seconds until Chromium has opened it.

    python -m benchmarks.report [--workspace .fractal] [--responses 10000 100000] [--output benchmarks/RESULTS.md]

The responses are those of the newest completed run of a workspace (`make run` makes one of the sample), over and over
under new ids, so nothing is computed. Needs Chromium (Debian: apt-get install chromium).
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.chromium import Chromium
from benchmarks.results import RESULTS, hardware, put
from fractal_core.report.writing import make_report
from fractal_core.results import Results, find_results
from fractal_core.store.workspace import open_workspace

OPENINGS = 5
LISTED = 10_000
READY = "document.documentElement?.dataset.ready === 'true'"
# What the page does when a word has been typed, and when another order has been chosen.
TIMED = "(() => {{ const began = performance.now(); {}; update(); return performance.now() - began; }})()"
SEARCH = TIMED.format("document.getElementById('search').value = 'the'")
SORT = TIMED.format("controls.reset(); document.getElementById('sort').value = 'lowest'")


@dataclass(frozen=True)
class Repeated(Results):
    """A run whose responses are there `times` times, all but the first time under new ids."""

    times: int = 1

    def rows(self, name: str) -> int:
        """Return the rows of a table."""
        return super().rows(name) * (1 if name in ("metrics", "rejects") else self.times)

    def table(self, name: str, columns: tuple[str, ...]) -> pa.Table:
        """Read columns of a table."""
        table = super().table(name, columns)
        if name == "metrics":
            return table
        return pa.concat_tables(_renamed(table, number) for number in range(self.times))

    def batches(self, name: str, columns: tuple[str, ...], rows: int) -> Iterator[pa.RecordBatch]:
        """Stream columns of a table."""
        for number in range(1 if name == "rejects" else self.times):
            for batch in super().batches(name, columns, rows):
                yield _renamed(batch, number)


def _renamed(rows: Any, number: int) -> Any:
    """Return rows with a number behind each id of a response."""
    if number == 0 or "response_id" not in rows.schema.names:
        return rows
    place = rows.schema.get_field_index("response_id")
    ids = pc.binary_join_element_wise(rows.column(place), f"~{number}", "")
    return rows.set_column(place, rows.schema.field(place), ids)


def _write(workspace: Path, config: Path, responses: int, output: Path, answer: Any) -> None:
    """Write a report in a process of its own and send what it cost."""
    results = find_results(open_workspace(workspace, create=False), config)
    times = -(-responses // results.rows("responses"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    page, listed = make_report(
        Repeated(results.record, results.config, results.config_path, results.artefacts, times), LISTED
    )
    output.write_text(page, encoding="utf-8")
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = {name: results.rows(name) * times for name in ("responses", "sentences")}
    answer.send({**counts, "listed": listed, "seconds": seconds, "memory": memory / 1024, "before": before / 1024})


def measure(workspace: Path, config: Path, responses: int, folder: Path) -> dict[str, float]:
    """Return what the report of a run with at least so many responses costs, and how quick it is in the browser."""
    path = folder / f"{responses}.html"
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_write, args=(workspace, config, responses, path, theirs)
    )
    process.start()
    theirs.close()
    found = mine.recv()
    process.join()
    openings, heap = [], 0.0
    for _ in range(OPENINGS):
        with Chromium(1440, 900) as browser:
            openings.append(browser.open(path, READY))
            heap = float(browser.value("performance.memory.usedJSHeapSize")) / 2**20
            search, sort = float(browser.value(SEARCH)), float(browser.value(SORT))
    size = path.stat().st_size / 1e6
    return {**found, "size": size, "open": median(openings), "slowest": max(openings), "heap": heap,
            "search": search, "sort": sort}  # fmt: skip


def report(found: list[dict[str, float]]) -> str:
    """Return the figures as Markdown."""
    rows = "\n".join(
        f"| {f['responses']:,.0f} | {f['sentences']:,.0f} | {f['listed']:,.0f} | {f['seconds']:.1f} "
        f"| {f['memory']:,.0f} | {f['size']:.1f} | {f['open']:.2f} ({f['slowest']:.2f}) "
        f"| {f['search']:.0f}, {f['sort']:.0f} |"
        for f in found
    )
    return f"""## What a report costs

`python -m benchmarks.report`, {hardware()}. The responses of the sample's run, over and over. Opened in headless
Chromium with an empty profile, {OPENINGS} times: median (slowest), from the address to the first responses on the page.

| responses | sentences | listed | seconds to write | peak MB | file, MB | seconds to open | ms to search, to sort |
|---|---|---|---|---|---|---|---|
{rows}
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, default=Path(".fractal"))
    parser.add_argument("--config", type=Path, default=Path("data/factuality.toml"))
    parser.add_argument("--responses", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = [
            measure(arguments.workspace, arguments.config, responses, Path(folder)) for responses in arguments.responses
        ]
    put(report(found), "report", arguments.output)


if __name__ == "__main__":
    main()
