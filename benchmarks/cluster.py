"""What a stage costs the process that deals shards, what its workers, and what goes through the shared folder.

    python -m benchmarks.cluster [--static 20000] [--transformer 2000] [--folder FOLDER] [--output FILE]

Responses are made up (`benchmarks.made_responses`). Stages read to priors run in one process, and then on a Ray cluster
of two worker processes on this machine; all files must come out the same. CPU seconds, since machines are shared. The
encoder has one layer of random weights, and the tokenizer and width of MiniLM: what is dealt and carried is as with
that, only the reading is cheaper.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.million import SENTENCES_A_RESPONSE, write
from benchmarks.results import RESULTS, hardware, put
from fractal_core.cluster import parcels, ray_engine
from fractal_core.config_loading import load_config
from fractal_core.encode.models import default_model_folder
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.store.leftovers import size_of
from fractal_core.store.workspace import open_workspace

STAGES = ("read", "segment", "embed", "priors")
RAY = ("runtime.runner=ray", "runtime.ray.workers=2")
_TICKS = 100.0


class Carried:
    """Counts bytes that parcels and token vectors take in the shared folder."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.bytes = 0

    def write(self, parcel: Any, folder: Path) -> None:
        """Write a parcel as ever."""
        parcels.write_parcel(parcel, folder)
        self.bytes += size_of(folder)

    def read(self, folder: Path) -> Any:
        """Read a parcel as ever."""
        self.bytes += size_of(folder)
        parcel = parcels.read_parcel(folder)
        if "bytes" in parcel:
            self.bytes += int(parcel["bytes"].sum())
        return parcel


def workers() -> Counter[str]:
    """Return CPU seconds of the worker processes of Ray on this machine, and their largest resident GB."""
    found: Counter[str] = Counter()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if not (entry / "cmdline").read_bytes().startswith((b"ray::IDLE", b"ray::c", b"ray::r")):
                continue
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            (peak,) = (line for line in (entry / "status").read_text().splitlines() if line.startswith("VmHWM"))
        except (OSError, ValueError):
            continue
        found["cpu"] += (int(fields[11]) + int(fields[12])) / _TICKS  # type: ignore[assignment]
        found["peak"] = max(found["peak"], int(peak.split()[1]) / 1e6)  # type: ignore[assignment, call-overload]
    return found


def make_encoder(folder: Path) -> Path:
    """Make an encoder of one random layer with the tokenizer and the width of MiniLM."""
    import torch
    from transformers import AutoConfig, AutoModel

    shutil.copytree(default_model_folder(), folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    config = AutoConfig.from_pretrained(str(folder))
    config.num_hidden_layers = 1
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(str(folder))
    return folder


def run(folder: Path, workspace: str, responses: int, *settings: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Run over so many responses; return each stage's figures, and the digests of all files."""
    write(folder / "responses.jsonl", responses)
    costs: dict[str, Any] = {}
    config = load_config(folder / "fractal.toml", settings)
    runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
    with (
        pytest.MonkeyPatch.context() as patch,
        LabellingRun(open_workspace(folder / workspace), config, runtime) as labelling,
    ):
        for stage in stages_until(STAGES[-1]):
            carried = Carried()
            patch.setattr(ray_engine, "write_parcel", carried.write)
            patch.setattr(ray_engine, "read_parcel", carried.read)
            started, clock, before = time.process_time(), time.monotonic(), workers()
            labelling.execute(stage.name)
            costs[stage.name] = {
                "clock": time.monotonic() - clock,
                "cpu": time.process_time() - started,
                "workers": workers()["cpu"] - before["cpu"],
                "carried": carried.bytes,
            }
    costs["sentences"] = labelling.artefacts["segment"].rows_out["sentences"]
    costs["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    costs["worker peak"] = workers()["peak"]
    digests = {
        f"{name}/{entry.name}": entry.sha256
        for name, artefact in labelling.artefacts.items()
        for entry in artefact.manifest.entries
    }
    return costs, digests


def report(command: str, found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        "## What a cluster carries",
        "",
        f"`{command}`, {hardware()}, one thread. Stages read to priors over made-up responses, in one process and then "
        "dealt by one (the head) to two worker processes of a Ray cluster on the same machine. Every file has the same "
        "SHA-256. Milliseconds of CPU a sentence; bytes a sentence that are written to the shared folder for other "
        "processes (shards, results, token vectors, vectors of sentences). The encoder has one random layer, and the "
        "tokenizer and width of MiniLM.",
        "",
        "| encoder | sentences | stage | one process | head | workers | bytes carried |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, (alone, dealt) in found.items():
        count = dealt["sentences"]
        for stage in STAGES:
            there = dealt[stage]
            cpu = alone[stage]["cpu"], there["cpu"], there["workers"]
            costs = " | ".join(f"{1000 * seconds / count:.3f}" for seconds in cpu)
            lines.append(f"| {kind} | {count:,} | {stage} | {costs} | {there['carried'] / count:,.0f} |")
    dealt = found["static"][1]
    lines += ["", f"Peak memory: head {dealt['peak']:.2f} GB, a worker {dealt['worker peak']:.2f} GB."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--static", type=int, default=20_000)
    parser.add_argument("--transformer", type=int, default=2_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    encoder = make_encoder(folder / "encoder")
    found = {}
    for kind, sentences in (("transformer", options.transformer), ("static", options.static)):
        place = folder / kind
        place.mkdir(parents=True)
        (place / "fractal.toml").write_text(
            f'[input]\npath = "responses.jsonl"\n[encoder]\nkind = "{kind}"\nmodel = "{encoder}"\n'
        )
        responses = sentences // SENTENCES_A_RESPONSE
        alone, expected = run(place, "alone", responses)
        dealt, digests = run(place, "dealt", responses, *RAY)
        if digests != expected:
            raise SystemExit(f"{kind}: not the same files: {[n for n in digests if digests[n] != expected.get(n)]}")
        found[kind] = alone, dealt
        print(kind, alone, dealt, flush=True)
    command = f"python -m benchmarks.cluster --static {options.static} --transformer {options.transformer}"
    put(report(command, found), "cluster", options.output)


if __name__ == "__main__":
    main()
