"""What goes wrong on a Ray cluster is said in one sentence, and nothing of a cluster outlives its run."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from fractal_core.cluster import gathering, ray_engine
from fractal_core.config import RuntimeConfig
from fractal_core.engine import Here
from fractal_core.errors import InputError, StoreError, UsageError
from fractal_core.mil.finetune.encoder import TrainableEncoder
from fractal_core.mil.finetune.gradients import accumulate
from fractal_core.mil.finetune.team import Ranks
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime


def runtime(notes=None, address=""):
    """Return how to compute on a cluster of two processes."""
    config = RuntimeConfig.model_validate({"runner": "ray", "ray": {"workers": 2, "address": address}})
    made = make_runtime(config, Reporter("quiet", Console(stderr=True)))
    return made if notes is None else replace(made, note=notes.append)


def failing(common, runtime):
    """Return work that fails as it is told."""

    def do(shard, advance):
        if shard["how"] == "sentence":
            raise InputError(f"Shard {shard['number']} of {common['what']} is wrong; mend it.")
        if shard["how"] == "defect":
            raise ZeroDivisionError("a defect")
        if shard["how"] == "death":
            os._exit(1)
        runtime.note(f"did {shard['number']}")
        return {"number": shard["number"]}

    return do


def gradients(common, runtime):
    """Return work that takes the gradients of a loss over few texts and over more, in batches of few tokens."""
    encoder = TrainableEncoder(Path(common["encoder"]), "cpu", 32, batch_tokens=256)

    def gradient(count):
        units = encoder.texts([f"text number {number} of many" for number in range(count)])
        for each in encoder.trained():
            each.grad = None
        loss = accumulate(encoder, units, torch.arange(len(units)), lambda vectors: vectors[:, 0].square().sum())
        found = [each.grad for each in encoder.trained()]
        flat = torch.cat([each.flatten() for each in found if each is not None])
        return [loss, flat.numpy().tobytes().hex(), sum(each is None for each in found)]

    def do(shard, advance):
        if shard["world"] > 1:
            encoder.team = Ranks(encoder.device)
        found = [gradient(count) for count in common["texts"]]
        advance(1)
        return {"found": found}

    return do


def test_gradients_are_summed_in_one_order(cluster, tmp_path, tiny_encoder):
    """Two processes come to the bits of one, however the batches fall; what is not used has no gradient."""
    common = {"encoder": str(tiny_encoder), "texts": [23, 12]}
    alone = Here().together(runtime(), gradients, common, tmp_path, 2)
    heard = []
    made = runtime()
    both = made.engine.together(made, gradients, common, tmp_path / "both", 2, heard.append)
    assert both == alone
    assert all(without > 0 for _, _, without in alone["found"])
    assert heard == [1]


def own_process(common, runtime):
    """Return work that says which process does it."""
    return lambda shard, advance: {"process": os.getpid()}


def test_no_process_joins_twice(cluster, tmp_path):
    """One that lost another while joining remembers that, and would wait for the next one in vain."""
    made = runtime()
    said = [made.engine.together(made, own_process, {}, tmp_path / str(turn), 2)["process"] for turn in range(2)]
    assert len(set(said)) == 2


def lasting(common, runtime):
    """Return work that does the same after a second."""
    return lambda shard, advance: time.sleep(1) or {"process": os.getpid()}


def test_one_dies_while_they_find_each_other(cluster, tmp_path, monkeypatch):
    """The other one would wait for it for half an hour; it is ended, and both begin anew."""
    monkeypatch.setattr(gathering, "_SECONDS_TO_NOTICE", 2.0)
    notes, killed = [], []

    def kill():
        while not killed:
            with suppress(OSError):  # of a process that has just ended
                ours = [pid for pid in descendants(os.getpid()) if title(pid).startswith("ray::together")]
                if len(ours) == 2:
                    os.kill(ours[1], signal.SIGKILL)
                    killed.append(ours[1])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    made = runtime(notes)
    said = made.engine.together(made, lasting, {}, tmp_path / "these", 2)
    killer.join()
    assert said["process"] not in killed
    assert notes == ["lasting began anew in 2 processes, because one of them died"]


def title(pid):
    """Return what a process calls itself."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")


def deal(folder, hows, notes=None):
    """Deal shards that end in these ways; return the numbers of those that came back."""
    shards = ((None, {"number": number, "how": how}) for number, how in enumerate(hows))
    made = runtime([] if notes is None else notes)
    return [done["number"] for _, done in made.engine.deal(made, failing, {"what": "these"}, shards, folder)]


def test_what_a_shard_says_reaches_the_user(cluster, tmp_path):
    """Results in order, with notes; the sentence of the first shard that fails; a defect as what it is."""
    notes = []
    assert deal(tmp_path / "well", ["well"] * 20, notes) == list(range(20))
    assert notes == [f"did {number}" for number in range(20)]
    with pytest.raises(InputError, match="^Shard 3 of these is wrong; mend it.$"):
        deal(tmp_path / "wrong", ["well", "well", "well", "sentence", "sentence"])
    with pytest.raises(ZeroDivisionError, match="^a defect$"):
        deal(tmp_path / "defect", ["well", "defect"])


def test_a_shard_that_always_kills_its_process(cluster, tmp_path, monkeypatch):
    """It is begun so often and no more, and then ends the run with one sentence."""
    monkeypatch.setattr(ray_engine, "RETRIES", 1)
    with pytest.raises(StoreError, match="Shard 1 of failing could not be computed .* 2 times over"):
        deal(tmp_path / "death", ["well", "death"])
    begun = (tmp_path / "death" / "begun-00000001").read_text().splitlines()
    assert len(set(begun)) == 2


def test_other_code_elsewhere(cluster, tmp_path, monkeypatch):
    """A process that has another version of the package computes nothing."""
    monkeypatch.setattr("fractal_core.cluster.ray_engine.code_of", lambda module: "another")
    with pytest.raises(StoreError, match="is not that of the machine that runs the stage; install the same version"):
        deal(tmp_path / "code", ["well"])


def test_ray_listens_to_this_machine_alone(cluster):
    """Every socket on which a process of the cluster waits is one of the loopback device."""
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    mine = {str(pid) for pid in descendants(os.getpid())}
    addresses = [line.split()[3] for line in listening if any(f"pid={pid}," in line for pid in mine)]
    assert len(addresses) > 3
    assert [each for each in addresses if "127.0.0.1" not in each and "[::1]" not in each] == []


def descendants(pid):
    """Yield a process and all that it has started, as far as they have not been left alone."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from descendants(int(child))


def test_no_ray(monkeypatch):
    """Without the package the extra is named."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"Ray is not installed: pip install 'fractal\[ray\]'"):
        runtime()


@pytest.mark.parametrize("address", ["localhost", "head:port", "127.0.0.1:{free}"])
def test_no_cluster(address):
    """An address at which nothing answers is one sentence, at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        started = time.monotonic()
        with pytest.raises(UsageError, match="runtime.ray.address"):
            runtime(address=address.format(free=taken.getsockname()[1]))
    assert time.monotonic() - started < 8


JOINING = """
import os
import signal
import sys
import threading
from pathlib import Path
import pyarrow as pa
from fractal_core.cluster.ray_engine import RayEngine
from fractal_core.store.stage import Runtime
from fractal_core.text.segmentation import cutting
units = pa.table({"response": ["One. Two."], "spans": pa.nulls(1), "sentence_labels": pa.nulls(1)})
shards = ((number, {"units": units}) for number in range(9))
how = {"method": "sentencex", "language": "en"}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
stop = threading.Event()
def send():
    while not stop.wait(0.05):
        os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=send, daemon=True).start()
made = RayEngine(sys.argv[1], 0).deal(Runtime("cpu", 1, None, None), cutting, how, shards, Path(sys.argv[2]))
done = [(number, cut["sizes"].tolist()) for number, cut in made]
stop.set()
assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
print(done)
"""


def test_joining_a_cluster(cluster, tmp_path):
    """By its address another process has the same workers, if it brings the token; without, it is one sentence.

    Its handlers of signals stay its own.
    """
    address = cluster.get_runtime_context().gcs_address
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    joined, refused = (
        subprocess.Popen(
            [sys.executable, "-c", JOINING, address, str(tmp_path / name)], env=environment | {"HOME": str(tmp_path)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name, environment in (("joined", os.environ), ("refused", bare))
    )  # fmt: skip
    said, errors = joined.communicate()
    assert said == f"{[(number, [2]) for number in range(9)]}\n", errors
    said, errors = refused.communicate()
    assert f"The Ray cluster at {address} could not be joined" in errors.splitlines()[-1]
    assert said == ""


CHILD = """
import os, sys, time
from flows.orphans import start_guard
from fractal_core.cluster.starting import connect
start_guard()
connect("", 1)
import ray
print(ray.get(ray.remote(lambda: os.getpid()).remote()), flush=True)
time.sleep(60)
"""


def test_nothing_outlives_a_killed_run(tmp_path):
    """After SIGKILL of the process that started a cluster every process of it is gone within seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    worker = int(process.stdout.readline())
    left = set(descendants(process.pid))
    assert worker in left
    assert len(left) > 5
    process.kill()
    process.wait()
    started = time.monotonic()
    while any(alive(pid) for pid in left) and time.monotonic() - started < 10:
        time.sleep(0.1)
    assert [pid for pid in left if alive(pid)] == []
    process.stdout.close()


def alive(pid):
    """Say whether a process runs; one that is dead but not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
