"""Up to how many sentences exact search for neighbours is the quicker one, and what an approximate index misses.

    python -m benchmarks.neighbours [--sentences 25000 50000 100000 200000] [--output benchmarks/RESULTS.md]

Made-up responses (`benchmarks.made_responses`) with vectors of the static encoder; ten neighbours a sentence, as stage
`priors` finds them by default, with either index, each once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.million import SENTENCES_A_RESPONSE, Project, write
from benchmarks.results import RESULTS, hardware, put
from fractal_core.config_loading import load_config
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.priors.index import FLAT_LIMIT, build_index
from fractal_core.priors.neighbours import nearest_sentences
from fractal_core.priors.sentences import Sentences
from fractal_core.priors.vectors import distinct, text_vectors
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.workspace import open_workspace

SIZES = (25_000, 50_000, 100_000, 200_000)
COUNT = 10
BATCH = 16_384
KINDS = ("flat", "hnsw")


def first(sentences: Sentences, count: int) -> Sentences:
    """Return the first sentences; texts are numbered in order of appearance."""
    text = sentences.text[:count]
    return Sentences(sentences.vectors[: int(text.max()) + 1], text, sentences.response[:count])


def make_sentences(count: int, folder: Path) -> Sentences:
    """Make responses of at least so many sentences, and embed them."""
    project = Project(folder, count)
    write(project.data, count // SENTENCES_A_RESPONSE * 11 // 10)
    config = load_config(project.config, [])
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(project.workspace), config, runtime) as run:
        for stage in stages_until("embed"):
            run.execute(stage.name)
    table = run.artefacts["segment"].table("sentences", ("response_id", "text"))
    texts, text = distinct(table.column("text"))
    batches = run.artefacts["embed"].batches("embeddings", ("text_hash", "vector"), BATCH)
    return Sentences(text_vectors(texts, batches), text, distinct(table.column("response_id"))[1])


def measure(sentences: Sentences, kind: str) -> dict[str, Any]:
    """Return what finding the neighbours of all sentences costs with an index, which counts, and which they are."""
    cpu, wall = time.process_time(), time.perf_counter()
    index = build_index(sentences.vectors, kind, device="cpu")
    built = time.process_time() - cpu
    rows, _ = nearest_sentences(sentences, COUNT, index)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"built": built, "cpu": cpu, "wall": wall, "rows": rows}


def compare(sentences: Sentences) -> dict[str, Any]:
    """Return the cost of both indices, and the share of the true neighbours that the approximate one finds."""
    found = {kind: measure(sentences, kind) for kind in KINDS}
    true, approximate = (found[kind].pop("rows") for kind in KINDS)
    # A row has no number twice, so those it has in common with another are the repetitions in both together.
    both = np.sort(np.concatenate([true, approximate], axis=1), axis=1)
    recall = float((both[:, 1:] == both[:, :-1]).sum(axis=1).mean() / COUNT)
    said = {"sentences": len(sentences.text), "texts": len(sentences.vectors), "recall": recall, **found}
    print(json.dumps(said), flush=True)
    return said


def report(command: str, found: Sequence[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "## Neighbours",
        "",
        f"`{command}`, {hardware()}. {COUNT} neighbours of every sentence among the other responses; made-up "
        "responses, static encoder. *Flat* compares with all texts, *HNSW* goes along a graph of near ones: of all "
        "texts here, where stage priors compares the last few sentences exactly. Recall: the share of the true "
        "neighbours that come with HNSW, over all sentences, where equals count only as "
        f'themselves. `priors.index = "auto"` is flat up to {FLAT_LIMIT:,} distinct texts.',
        "",
        "| sentences | distinct texts | flat, CPU seconds | clock | HNSW, CPU seconds | building it | clock | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        flat, hnsw = each["flat"], each["hnsw"]
        lines.append(
            f"| {each['sentences']:,} | {each['texts']:,} | {flat['cpu']:.1f} | {flat['wall']:.1f} "
            f"| {hnsw['cpu']:.1f} | {hnsw['built']:.1f} | {hnsw['wall']:.1f} | {each['recall']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sentences", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = make_sentences(max(arguments.sentences), Path(folder))
        found = [compare(first(made, size)) for size in arguments.sentences]
    usual = arguments.sentences == list(SIZES)
    sizes = "" if usual else " --sentences " + " ".join(map(str, arguments.sentences))
    put(report(f"python -m benchmarks.neighbours{sizes}", found), "neighbours", arguments.output)


if __name__ == "__main__":
    main()
