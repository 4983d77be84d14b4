"""What stages do on a GPU, and how far each is from what the device can do: encoding, training, neighbours.

    python -m benchmarks.gpu [--device cuda] [--texts 20000] [--neighbours 1000000] [--responses 2118] [--times 5]
                             [--output benchmarks/RESULTS.md]

Made-up sentences and random vectors; the device's own rates are those of bare matrix products and of copying.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.encoding_worker import MOST_TOKENS, pooled
from benchmarks.made_responses import SEED, Words
from benchmarks.made_up import BATCH, RESPONSES, make_examples, make_fit, make_vectors
from benchmarks.results import RESULTS, hardware, put
from benchmarks.training import (
    DEALINGS,
    EVIDENCE,
    FEATURES,
    FOLDS,
    PENALTY,
    RATE,
    WEIGHTS,
    WIDE,
    WIDTH,
    arithmetic,
    make_problem,
)
from benchmarks.turns import TIMES, take_turns
from fractal_core.encode.embedding import SHARD_CHARACTERS
from fractal_core.encode.encoder import Encoder
from fractal_core.encode.models import default_model_folder
from fractal_core.encode.uncollected import uncollected
from fractal_core.mil.examples import PriorTerms
from fractal_core.mil.training import PENALTIES, Schedule
from fractal_core.priors.torch_search import QUERIES_AT_ONCE, tiled_search

TEXTS, NEIGHBOURS = 20_000, 1_000_000
FEWEST_WORDS, MOST_WORDS = 20, 30
BATCH_TOKENS = 8_192
COMPARED = 200
COUNT, DIMENSIONS = 10, 384
# Of a round of bare products and copies: rows and columns of a matrix, bytes of a tensor, and how often.
SIDES, PRODUCTS = {"cuda": 4_096, "cpu": 256}, 50
COPIED, COPIES = 256_000_000, 20
# How texts are given to the encoder.
AT_ONCE, IN_SHARDS = "all at once", "in shards, as in stage embed"
# Epochs of the two calls whose difference is timed. With more responses, training ends by itself before the last one.
EPOCHS, MOST_RESPONSES = (5, 25), 16_000


def rounds(
    runs: Mapping[str, Callable[[], object]], device: str, times: int, warm: bool = True
) -> dict[str, list[float]]:
    """Return the seconds of every round of each, until the device has ended what it was told."""

    def ended(run: Callable[[], object]) -> Callable[[], None]:
        def call() -> None:
            run()
            if device == "cuda":
                torch.cuda.synchronize()

        return call

    found = take_turns({name: ended(run) for name, run in runs.items()}, times, warm)
    return {name: [each.wall for each in seconds] for name, seconds in found.items()}


def rates(device: str, times: int) -> dict[str, float]:
    """Return what the device does: GFLOP/s of square products by type of number, GB/s read and written by a copy."""
    side = SIDES[device]
    kinds = {"float32": torch.float32} | ({"float16": torch.float16} if device == "cuda" else {})

    def product(kind: torch.dtype) -> Callable[[], None]:
        matrix = torch.randn(side, side, device=device, dtype=kind)
        result = torch.empty_like(matrix)

        def run() -> None:
            for _ in range(PRODUCTS):
                torch.mm(matrix, matrix, out=result)

        return run

    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        for _ in range(COPIES):
            target.copy_(source)

    found = rounds({"copy": copy} | {name: product(kind) for name, kind in kinds.items()}, device, times)
    work = {name: PRODUCTS * 2 * side**3 for name in kinds} | {"copy": COPIES * 2 * COPIED}
    return {name: 1e-9 * amount / median(found[name]) for name, amount in work.items()}


def make_texts(count: int) -> list[str]:
    """Return distinct sentences of 20 to 30 words, the same ones each time."""
    chance = random.Random(SEED)
    words, texts = Words(chance), dict[str, None]()
    while len(texts) < count:
        said = words.some(chance.randint(FEWEST_WORDS, MOST_WORDS) - 1)
        texts[" ".join([words.name(), *said]) + "."] = None
    return list(texts)


def encode(device: str, count: int, times: int) -> dict[str, Any]:
    """Return what encoding costs, its arithmetic, and how near its vectors are to the CPU's."""
    texts, folder = make_texts(count), default_model_folder()
    encoder = Encoder(folder, MOST_TOKENS, device, BATCH_TOKENS)
    tokens = sum(len(text.read) for text in encoder.tokeniser.code(texts))
    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    width, inner = model["hidden_size"], model["intermediate_size"]

    def at_once() -> None:
        with uncollected():
            encoder.read(texts)

    in_shards = pooled(encoder)
    found = rounds({AT_ONCE: at_once, IN_SHARDS: lambda: in_shards(texts)}, device, times)
    some = texts[:COMPARED]
    theirs, ours = (pooled(each)(some).astype(np.float64) for each in (encoder, Encoder(folder, MOST_TOKENS)))
    lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(ours, axis=1)
    return {
        "texts": count,
        "tokens": tokens,
        "gflop": 1e-9 * tokens * model["num_hidden_layers"] * 2 * (4 * width**2 + 2 * width * inner),
        "seconds": {name: median(seconds) for name, seconds in found.items()},
        "cosine": float(((theirs * ours).sum(axis=1) / lengths).min()),
        "compared": len(some),
    }


def train(device: str, responses: int, times: int) -> dict[str, Any]:
    """Return what an epoch of each scorer costs, with its held-out loss, and the arithmetic of the wide one."""
    wide = make_problem(responses, WIDTH).examples
    sizes = wide.segments.sizes
    evidence = torch.randn(int(sizes.sum()), FEATURES, generator=torch.Generator().manual_seed(3))
    small = make_examples(evidence, sizes, responses, DEALINGS, FOLDS, PriorTerms(), 0)
    runs = {}
    for epochs in EPOCHS:
        of_small = Schedule(epochs, BATCH, 0.02, 0, PENALTIES, device)
        of_wide = Schedule(epochs, BATCH, RATE, 0, (PENALTY,), device)
        runs[f"{EVIDENCE} {epochs}"] = make_fit(small, EVIDENCE, "noisy", {}, of_small)
        runs[f"{WIDE} {epochs}"] = make_fit(wide, WIDE, "hard", WEIGHTS, of_wide)
    found = rounds(runs, device, times)
    fewer, more = EPOCHS
    seconds = {
        name: median(m - f for f, m in zip(found[f"{name} {fewer}"], found[f"{name} {more}"], strict=True))
        / (more - fewer)
        for name in (EVIDENCE, WIDE)
    }
    work = arithmetic(wide)
    return {
        "responses": responses,
        "sentences": int(sizes[wide.train].sum()),
        "width": wide.features.shape[1],
        "seconds": seconds,
        "gflops": 1e-9 * (work.updates + work.judging) / seconds[WIDE],
    }


def search(device: str, count: int, times: int) -> dict[str, float]:
    """Return what the exact nearest of all vectors cost, taking them to the device included."""
    vectors = make_vectors(count, DIMENSIONS, 0).numpy()
    before = 0
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    tiled_search(vectors, device)(vectors[:QUERIES_AT_ONCE], COUNT)
    found = rounds({"search": lambda: tiled_search(vectors, device)(vectors, COUNT)}, device, times, warm=False)
    seconds = median(found["search"])
    return {
        "vectors": count,
        "seconds": seconds,
        "gflops": 2e-9 * count**2 * DIMENSIONS / seconds,
        "peak": torch.cuda.max_memory_allocated() - before if device == "cuda" else 0,
    }


def measure(device: str, texts: int, vectors: int, responses: int, times: int) -> dict[str, Any]:
    """Measure all, one after another."""
    found = {
        "device": device,
        "times": times,
        "rates": rates(device, times),
        "encoding": encode(device, texts, times),
        "training": train(device, responses, times),
        "neighbours": search(device, vectors, times),
    }
    print(json.dumps(found), flush=True)
    return found


def report(command: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    device, able = found["device"], found["rates"]
    encoded, trained, near = found["encoding"], found["training"], found["neighbours"]
    machine = hardware()
    if device == "cuda":
        machine = machine.replace("no GPU", torch.cuda.get_device_name())
    half = "float16" if "float16" in able else "float32"
    size = f"{trained['responses']:,} responses, {trained['sentences']:,} sentences"
    lines = [
        "## How much of a device stages use",
        "",
        f"`{command}`, {machine}, PyTorch {torch.__version__}. Device: {device}. Seconds on the clock, median of "
        f"{found['times']} rounds. The device's own rates: bare products of square matrices, and copying, bytes read "
        "and written; products in float32 have PyTorch's precision "
        f'"{torch.get_float32_matmul_precision()}". Arithmetic is what is useful: of encoding the layers\' products '
        "with weights for real tokens, attention and padding left out; of training and neighbours all matrix products.",
        "",
        "| what | size | rate | GFLOP/s or GB/s | of the device's rate |",
        "|---|---|---|---|---|",
        *(
            f"| matrix product, {kind} | {SIDES[device]:,} x {SIDES[device]:,} | - | {rate:,.0f} GFLOP/s | - |"
            for kind, rate in able.items()
            if kind != "copy"
        ),
        f"| copying | {COPIED / 1e6:,.0f} MB | - | {able['copy']:,.0f} GB/s | - |",
        *(
            f"| encoding, MiniLM, {how} | {encoded['texts']:,} sentences, {encoded['tokens']:,} tokens | "
            f"{encoded['texts'] / seconds:,.0f} sentences/s | {encoded['gflop'] / seconds:,.0f} GFLOP/s | "
            f"{_share(encoded['gflop'] / seconds, able, half)} |"
            for how, seconds in encoded["seconds"].items()
        ),
        f"| training, `{EVIDENCE}`, {len(PENALTIES) * DEALINGS * FOLDS} members | {size}, {FEATURES} features | "
        f"{1 / trained['seconds'][EVIDENCE]:,.1f} epochs/s | - | - |",
        f"| training, `{WIDE}` | {size}, {trained['width']:,} features | "
        f"{1 / trained['seconds'][WIDE]:,.1f} epochs/s | {trained['gflops']:,.0f} GFLOP/s | "
        f"{_share(trained['gflops'], able, 'float32')} |",
        f"| {COUNT} nearest of every vector, exact | {near['vectors']:,} x {DIMENSIONS} | "
        f"{near['seconds']:,.3g} s | {near['gflops']:,.0f} GFLOP/s | {_share(near['gflops'], able, 'float32')} |",
        "",
        f"Encoding goes from text to token vectors in the memory of the CPU, on a GPU in batches of {BATCH_TOKENS:,} "
        f"tokens; a shard has about {SHARD_CHARACTERS:,} characters. Least cosine of a sentence's vector and the "
        f"CPU's, over {encoded['compared']} sentences: {encoded['cosine']:.7f}. An epoch ends with the held-out loss; "
        f"its time is from what {EPOCHS[1]} take longer than {EPOCHS[0]}. Neighbours take up to "
        f"{near['peak'] / 1e9:.2f} GB of GPU memory; bringing the vectors there is counted.",
    ]
    return "\n".join(lines) + "\n"


def _share(gflops: float, able: dict[str, float], kind: str) -> str:
    return f"{100 * gflops / able[kind]:.1f} % of {kind}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cuda", choices=list(SIDES))
    sizes = {"texts": TEXTS, "neighbours": NEIGHBOURS, "responses": RESPONSES}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.responses > MOST_RESPONSES:
        parser.error(f"--responses: at most {MOST_RESPONSES}, or training ends before the epochs that are timed.")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU here; --device cpu measures the same on the CPU.")
    command = "python -m benchmarks.gpu" + ("" if arguments.device == "cuda" else f" --device {arguments.device}")
    for name, size in sizes.items():
        given = getattr(arguments, name)
        command += "" if given == size else f" --{name} {given}"
    found = measure(arguments.device, arguments.texts, arguments.neighbours, arguments.responses, times=arguments.times)
    put(report(command, found), "gpu", arguments.output)


if __name__ == "__main__":
    main()
