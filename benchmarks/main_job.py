"""The main job on real data, as a user runs it: accuracy, seconds a stage cold and warm, peak memory.

    python -m benchmarks.main_job [--data FOLDER] [--output benchmarks/RESULTS.md] [NAME ...]

Every figure is of this run on this machine. Each set gets a fresh workspace and a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.children import Measured, measure
from benchmarks.results import DATA, RESULTS, hardware, put

SETS = {"lfqa_verification": "min", "qa_feedback_relevance": "avg", "multispanqa": "max"}
MORE = {"qa_feedback_factuality": "min", "faithbench": "min", "processbench": "min", "wikiqa": "max"}
PRIORS = ("document_similarity", "query_similarity", "context_evidence", "query_evidence")


def run_set(name: str, aggregation: str, data: Path) -> dict[str, Any]:
    """Run one data set cold and warm and return what the command line says of it, with wall times and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "fractal.toml"
        config.write_text(f'aggregation = "{aggregation}"\n[input]\npath = {json.dumps(str(data / name))}\n')
        first = fractal("run", str(config), "--workspace", f"{folder}/ws")
        again = fractal("run", str(config), "--workspace", f"{folder}/ws")
        cold, warm = first.said, again.said
        assert all(stage["reused"] for stage in warm["stages"])
    test = next(row for row in cold["sentence_auc"] if row["split"] == "test")
    return {
        "name": name,
        "aggregation": aggregation,
        "responses": cold["responses"],
        "sentences": cold["sentences"],
        "score": test["score"],
        "priors": {prior: test[prior] for prior in PRIORS if prior in test},
        "posterior": test.get("posterior"),
        "stages": {stage["stage"]: stage["seconds"] for stage in cold["stages"]},
        "cold": first.seconds,
        "warm": again.seconds,
        "peak": first.peak,
    }


def fractal(*arguments: str) -> Measured:
    """Run a command of fractal in a process of its own."""
    return measure([sys.executable, "-c", "from fractal_core.cli import main; main()", *arguments, "--json"])


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "## The main job on real data",
        "",
        f"`python -m benchmarks.main_job {' '.join(r['name'] for r in results)}`, {hardware()}. "
        "Response labels only, default configuration, MiniLM, position features off.",
        "",
        "Sentence AUC-ROC on test, against gold labels that the method never sees. `posterior` also knows the label of "
        "the test response itself, as it is for labelled responses.",
        "",
        "| set | aggregation | score | best prior alone | document | query | context evidence | query evidence "
        "| posterior |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        best = max(r["priors"], key=r["priors"].__getitem__)
        priors = [f"{r['priors'][p]:.3f}" if p in r["priors"] else "-" for p in PRIORS]
        lines.append(
            f"| {r['name']} | {r['aggregation']} | **{r['score']:.3f}** | {r['priors'][best]:.3f} ({best}) | "
            f"{' | '.join(priors)} | {r['posterior']:.3f} |"
        )
    stages = list(results[0]["stages"])
    lines += [
        "",
        "Seconds. Cold: these stages, and Prefect's start and stop; warm: all is reused. Peak memory of one process.",
        "",
        f"| set | responses | sentences | {' | '.join(stages)} | cold, all | warm, all | peak GB |",
        "|---" * (len(stages) + 6) + "|",
    ]
    for r in results:
        seconds = " | ".join(f"{r['stages'][stage]:.1f}" for stage in stages)
        lines.append(
            f"| {r['name']} | {r['responses']:,} | {r['sentences']:,} | {seconds} | "
            f"{r['cold']:.1f} | {r['warm']:.1f} | {r['peak']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the sets asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    results = []
    for name in arguments.names:
        results.append(run_set(name, (SETS | MORE)[name], arguments.data.resolve()))
        print(json.dumps(results[-1]), flush=True)
    put(table(results), "main_job", arguments.output)


if __name__ == "__main__":
    main()
