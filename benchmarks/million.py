"""A million sentences: seconds by stage, memory, growth; a run that changes nothing or little; queries; scoring.

    python -m benchmarks.million [--sentences 10000 100000 1000000] [--score 1000 100000] [--rows 10000000]
                                 [--folder FOLDER] [--output benchmarks/RESULTS.md]

Responses are made up (`benchmarks.made_responses`), ten sentences each on the mean, under aggregation min, with the
static encoder and all else as by default. Every command is a process of its own, with as many threads as it takes by
itself (OMP_NUM_THREADS limits them).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.children import Measured
from benchmarks.made_responses import make_rows
from benchmarks.main_job import fractal
from benchmarks.results import RESULTS, hardware, put
from fractal_core.results import find_results
from fractal_core.store.manifest import manifest_path
from fractal_core.store.workspace import open_workspace
from fractal_core.store.writing import TableWriter
from fractal_core.tables import TABLES

SENTENCES_A_RESPONSE = 10
QUERIES = {
    "counts and means by label": "SELECT pseudolabel, agrees, count(*) AS sentences, avg(score) AS score, "
    "avg(posterior) AS posterior, avg(confidence) AS confidence FROM latest.pseudolabels GROUP BY ALL",
    "histogram of scores": "SELECT floor(score * 20) / 20 AS score, count(*) AS sentences, avg(pseudolabel) AS "
    "positive FROM latest.pseudolabels GROUP BY 1 ORDER BY 1",
}
TIMES = 3


class Project:
    """A folder with responses, a configuration and a workspace."""

    def __init__(self, folder: Path, sentences: int) -> None:
        """Make the folder, with about so many sentences."""
        folder.mkdir(parents=True, exist_ok=True)
        self.responses = sentences // SENTENCES_A_RESPONSE
        self.config, self.workspace, self.data = folder / "fractal.toml", folder / "ws", folder / "responses.jsonl"
        self.config.write_text('aggregation = "min"\n[input]\npath = "responses.jsonl"\n[encoder]\nkind = "static"\n')

    def run(self, responses: int) -> Measured:
        """Run over so many responses."""
        write(self.data, responses)
        return self.command("run")

    def command(self, name: str, *arguments: str) -> Measured:
        """Run a command of fractal on the project."""
        return fractal(name, str(self.config), *arguments, "--workspace", str(self.workspace))


def write(path: Path, count: int, first: int = 0) -> None:
    """Write made-up responses as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for row in make_rows(count, first):
            file.write(json.dumps(row) + "\n")


def summary(measured: Measured) -> dict[str, Any]:
    """Return what a run cost, and what its stages say."""
    stages = measured.said["stages"]
    return {
        "responses": measured.said["responses"],
        "sentences": measured.said["sentences"],
        "stages": {stage["stage"]: stage["seconds"] for stage in stages},
        "notes": [note for stage in stages for note in stage["notes"] if "HNSW" in note],
        "seconds": measured.seconds,
        "cpu": measured.cpu,
        "peak": measured.peak,
        "together": measured.together,
    }


def repeat(project: Project, rows: int) -> None:
    """Make table pseudolabels of the newest run as long as asked for: its rows over and over, under new ids."""
    import pyarrow.compute as pc

    store = open_workspace(project.workspace, create=False)
    artefact = find_results(store, project.config, (), until="pseudolabel").artefacts["pseudolabel"]
    path = artefact.path("pseudolabels")
    table = artefact.table("pseudolabels", tuple(column.name for column in TABLES["pseudolabels"].columns))
    longer = path.with_suffix(".longer")
    writer = TableWriter(TABLES["pseudolabels"], longer)
    for number in range(-(-rows // table.num_rows)):
        ids = pc.binary_join_element_wise(table.column("response_id"), f"~{number}", "")
        renamed = table.set_column(0, table.schema.field(0), ids)
        writer.write(renamed.slice(0, rows - number * table.num_rows))
    entry = replace(writer.close(), name=path.name)
    os.replace(longer, path)
    tables = {**artefact.manifest.tables, "pseudolabels": entry}
    manifest = replace(artefact.manifest, tables=tables)
    manifest_path(store, "pseudolabel", artefact.fingerprint).write_bytes(manifest.to_json())


def ask(project: Project) -> dict[str, dict[str, float]]:
    """Return the wall and CPU seconds of each query, the first time and the median of the others."""
    found = {}
    for name, sql in QUERIES.items():
        times = [fractal("query", sql, "--workspace", str(project.workspace)) for _ in range(TIMES + 1)]
        again = sorted(times[1:], key=lambda each: each.seconds)[TIMES // 2]
        found[name] = {"first": times[0].seconds, "again": again.seconds, "cpu": again.cpu, "peak": again.peak}
    return found


def score(project: Project, sentences: int) -> dict[str, float]:
    """Return what it costs to score that many sentences that the scorer has not seen."""
    data = project.data.with_name("new.jsonl")
    write(data, sentences // SENTENCES_A_RESPONSE, first=project.responses * 2)
    output = str(data.with_suffix(".parquet"))
    measured = project.command("score", str(data), "--output", output, "--force")
    said = measured.said["sentences"]
    return {"sentences": said, "seconds": measured.seconds, "cpu": measured.cpu, "peak": measured.peak}


def exponent(fewer: dict[str, Any], more: dict[str, Any], cost: str) -> float:
    """Return e where a cost grows with the e-th power of the number of sentences."""
    return math.log(more[cost] / fewer[cost]) / math.log(more["sentences"] / fewer["sentences"])


def report(command: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    runs = found["runs"]
    stages = list(runs[0]["stages"])
    lines = [
        "## A million sentences",
        "",
        f"`{command}`, {hardware()}, threads: {found['threads']}. Made-up responses of 5 to 15 sentences, each query "
        "and context shared by several; static encoder. Seconds are of a clock, by stage as in table `stages`; CPU "
        "seconds are of the whole process, and tell more where the machine is busy (load "
        f"{found['load']:.1f} on {os.cpu_count()} cores at the end of these runs). Peak: of `fractal run`; in "
        "brackets, with the Prefect server that it starts.",
        "",
        f"| responses | sentences | {' | '.join(stages)} | all | CPU, all | peak GB |",
        "|---" * (len(stages) + 5) + "|",
    ]
    for run in [*runs, *(found[name] for name in ("appended", "unchanged") if name in found)]:
        kind = {"appended": " (1 % new)", "unchanged": " (nothing new)"}.get(run.get("kind", ""), "")
        seconds = " | ".join(f"{run['stages'][stage]:.1f}" for stage in stages)
        lines.append(
            f"| {run['responses']:,}{kind} | {run['sentences']:,} | {seconds} | {run['seconds']:.1f} "
            f"| {run['cpu']:.1f} | {run['peak']:.2f} ({run['together']:.2f}) |"
        )
    if len(runs) > 1:
        lines += ["", "Growth, as the power of the number of sentences:", ""]
        pairs = [*zip(runs, runs[1:], strict=False), *([(runs[0], runs[-1])] if len(runs) > 2 else [])]
        for fewer, more in pairs:
            lines.append(
                f"- {fewer['sentences']:,} to {more['sentences']:,}: CPU {exponent(fewer, more, 'cpu'):.2f}, "
                f"clock {exponent(fewer, more, 'seconds'):.2f}"
            )
    lines += ["", *(f"- {run['sentences']:,}: {note}" for run in runs for note in run["notes"])]
    if "queries" in found:
        lines += [
            "",
            f"`fractal query` over {found['rows']:,} rows of pseudo-labels (those of the last run, over and over), "
            f"seconds of the whole command; the first reads the file once to compare its SHA-256, the others are the "
            f"median of {TIMES}:",
            "",
            "| query | first | again | CPU | peak GB |",
            "|---|---|---|---|---|",
            *(
                f"| {name} | {q['first']:.2f} | {q['again']:.2f} | {q['cpu']:.2f} | {q['peak']:.2f} |"
                for name, q in found["queries"].items()
            ),
        ]
    if found["scored"]:
        lines += [
            "",
            "`fractal score` with the scorer of the last run:",
            "",
            "| sentences | seconds | CPU | peak GB |",
            "|---|---|---|---|",
            *(
                f"| {s['sentences']:,} | {s['seconds']:.1f} | {s['cpu']:.1f} | {s['peak']:.2f} |"
                for s in found["scored"]
            ),
        ]
    return "\n".join(lines) + "\n"


def measure(folder: Path, sentences: Sequence[int], scored: Sequence[int], rows: int) -> dict[str, Any]:
    """Run everything, the largest size last, and say each figure as it comes."""

    def told(figures: dict[str, Any]) -> dict[str, Any]:
        print(json.dumps(figures), flush=True)  # noqa: T201
        return figures

    found: dict[str, Any] = {"runs": [], "rows": rows, "threads": torch.get_num_threads()}
    for size in sentences:
        project = Project(folder / str(size), size)
        found["runs"].append(told(summary(project.run(project.responses))))
    found["load"] = os.getloadavg()[2]
    found["scored"] = [told(score(project, size)) for size in scored]
    found["unchanged"] = told({"kind": "unchanged", **summary(project.command("run"))})
    found["appended"] = told({"kind": "appended", **summary(project.run(project.responses * 101 // 100))})
    repeat(project, rows)
    found["queries"] = told(ask(project))
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--score", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="Keep the projects here.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    sizes = " ".join(map(str, arguments.sentences)) + " --score " + " ".join(map(str, arguments.score))
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        found = measure(folder, arguments.sentences, arguments.score, arguments.rows)
    put(report(f"python -m benchmarks.million --sentences {sizes}", found), "million", arguments.output)


if __name__ == "__main__":
    main()
