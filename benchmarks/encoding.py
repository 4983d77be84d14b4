"""How fast texts are encoded: MiniLM here and in sentence-transformers, reuse of distinct texts, the static encoder.

    pip install '.[benchmarks]'
    python -m benchmarks.encoding [--data FOLDER] [--name wikiqa] [--texts 2000] [--sets NAME ...]
                                  [--output benchmarks/RESULTS.md]

Every measurement is a process of its own; the encoders take turns, and the median of five is reported.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.children import measure
from benchmarks.main_job import MORE, SETS
from benchmarks.results import DATA, RESULTS, hardware, put
from fractal_core.config_loading import load_config
from fractal_core.encode.embedding import SHARD_CHARACTERS
from fractal_core.encode.shards import shards
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stage_named, stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.handles import ArtefactInputs
from fractal_core.store.workspace import open_workspace

TIMES = 5
BATCHES = (8, 16, 32, 64, 128)
ALL_SETS = SETS | MORE


def run(name: str, kind: str, until: str, data: Path, folder: Path) -> LabellingRun:
    """Run a data set up to a stage, in a workspace that all these runs share."""
    path = folder / "fractal.toml"
    path.write_text(
        f'aggregation = "{ALL_SETS[name]}"\n[input]\npath = {json.dumps(str((data / name).resolve()))}\n'
        f'[encoder]\nkind = "{kind}"\n'
    )
    config = load_config(path, [])
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with LabellingRun(open_workspace(folder / "ws"), config, runtime) as labelling:
        for stage in stages_until(until):
            labelling.execute(stage.name)
    return labelling


def texts_of(labelling: LabellingRun) -> list[str]:
    """Return every text that a data set compares, each time it occurs: sentences, queries, chunks of contexts."""
    inputs = ArtefactInputs(stage_named("embed").reads, (), labelling.artefacts, {})
    chunk_tokens = labelling.config.encoder.chunk_tokens
    return [text for shard in shards(inputs, chunk_tokens, SHARD_CHARACTERS) for m in shard for text in m.texts]


def time_encoders(texts: list[str], folder: Path, times: int) -> dict[str, Any]:
    """Time our transformer and theirs in turns, then the static encoder.

    Args:
        texts: distinct; the static encoder reads each ten times.
        folder: for temporary files.
        times: measurements of each.
    """
    file = folder / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    some = folder / "some.json"
    some.write_text(json.dumps(texts[: len(texts) // 4]), encoding="utf-8")
    many = folder / "many.json"
    many.write_text(json.dumps(texts * 10), encoding="utf-8")
    trials = {batch: _time("theirs", some, batch=batch)["seconds"] for batch in BATCHES}
    best = min(trials, key=trials.__getitem__)
    found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": [], "static": []}
    for _ in range(times):
        found["ours"].append(_time("ours", file, vectors=folder / "ours.npy"))
        found["theirs"].append(_time("theirs", file, batch=best, vectors=folder / "theirs.npy"))
    for _ in range(times):
        found["static"].append(_time("static", many))
    cosines = np.einsum("td,td->t", np.load(folder / "ours.npy"), np.load(folder / "theirs.npy"))
    sizes = {"ours": len(texts), "theirs": len(texts), "static": 10 * len(texts)}
    return {
        "batch": best,
        "texts": len(texts),
        "threads": found["ours"][0]["threads"],
        "cosine": float(cosines.min()),
        "made": median(each["made"] for each in found["static"]),
        "speed": {name: sizes[name] / median(each["seconds"] for each in runs) for name, runs in found.items()},
        "peak": {name: median(each["peak"] for each in runs) for name, runs in found.items()},
        "ratio": median(t["seconds"] / o["seconds"] for o, t in zip(found["ours"], found["theirs"], strict=True)),
    }


def _time(encoder: str, texts: Path, batch: int = 32, vectors: Path | None = None) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.encoding_worker", encoder, str(texts), "--batch", str(batch)]
    measured = measure([*command, *(["--vectors", str(vectors)] if vectors else [])])
    print(json.dumps({"encoder": encoder, "batch": batch, **measured.said, "peak": measured.peak}), flush=True)
    return {**measured.said, "peak": measured.peak}


def embed(name: str, data: Path, folder: Path) -> dict[str, Any]:
    """Time stage embed of a data set with both kinds of encoder, and count what its texts repeat."""
    seconds = {}
    for kind in ("transformer", "static"):
        labelling = run(name, kind, "embed", data, folder)
        seconds[kind] = labelling.artefacts["embed"].manifest.seconds
    texts = texts_of(labelling)
    distinct = set(texts)
    result = {
        "name": name,
        "texts": len(texts),
        "distinct": len(distinct),
        "reuse": sum(map(len, texts)) / sum(map(len, distinct)),
        "sentences": labelling.artefacts["segment"].rows_out["sentences"],
        "seconds": seconds,
    }
    print(json.dumps(result), flush=True)
    return result


def report(command: str, name: str, timed: dict[str, Any], stages: list[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    speed, peak = timed["speed"], timed["peak"]
    rows = [
        ("ours, MiniLM", "ours"),
        (f"sentence-transformers, MiniLM, batches of {timed['batch']}", "theirs"),
        ("ours, static", "static"),
    ]
    lines = [
        "## Encoding",
        "",
        f"`{command}`, {hardware()}, {timed['threads']} threads. {timed['texts']:,} distinct sentences of {name}, each "
        "ten times for the static encoder. Each figure is the median of several processes, the first two taking turns. "
        "The batch size is the best of "
        f"{', '.join(map(str, BATCHES))}. Ours gives token vectors of two layers as well.",
        "",
        "| encoder | sentences/s | of sentence-transformers | peak GB |",
        "|---|---|---|---|",
        *(
            f"| {title} | {speed[key]:,.0f} | {speed[key] / speed['theirs']:.2f} | {peak[key]:.2f} |"
            for title, key in rows
        ),
        "",
        f"Ours takes turns with theirs: {timed['ratio']:.2f} times as fast in the median pair. Least cosine of the two "
        f"vectors of a sentence: {timed['cosine']:.7f}. The static encoder is made in {timed['made']:.1f} s.",
    ]
    if stages:
        lines += [
            "",
            "Stage embed, seconds, with what it takes to make the static encoder. A text is encoded once, however "
            "often it occurs: *reuse* is characters of all texts by those of distinct ones.",
            "",
            "| set | sentences | texts | distinct | reuse | transformer | static |",
            "|---|---|---|---|---|---|---|",
            *(
                f"| {s['name']} | {s['sentences']:,} | {s['texts']:,} | {s['distinct']:,} | {s['reuse']:.2f} | "
                f"{s['seconds']['transformer']:.1f} | {s['seconds']['static']:.1f} |"
                for s in stages
            ),
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--name", default="wikiqa", choices=list(ALL_SETS))
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--sets", nargs="*", default=["multispanqa", "lfqa_verification"], choices=list(ALL_SETS))
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        labelling = run(arguments.name, "transformer", "segment", arguments.data, folder)
        sentences = labelling.artefacts["segment"].table("sentences", ("text",)).column("text").unique().to_pylist()
        texts = random.Random(0).sample(sentences, min(arguments.texts, len(sentences)))
        timed = time_encoders(texts, folder, arguments.times)
        stages = [embed(name, arguments.data, folder) for name in arguments.sets]
    command = f"python -m benchmarks.encoding --name {arguments.name} --texts {len(texts)}"
    put(report(command, arguments.name, timed, stages), "encoding", arguments.output)


if __name__ == "__main__":
    main()
