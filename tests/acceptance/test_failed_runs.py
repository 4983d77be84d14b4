"""Runs that fail, are interrupted or killed: recorded as what they are, keeping what they finished."""

from __future__ import annotations

import json
import os
import signal

import pytest
from plain_run import spawn
from real_runs import fractal, wait_until
from small_data import read_jsonl, write_jsonl

from fractal_core.catalog.connection import connect
from fractal_core.errors import InputError, StoreError
from fractal_core.store.runs import finished, list_runs, new_run, save_run, settle_dead_runs
from fractal_core.store.stage import Stage


def _replace(monkeypatch, name, body):
    """Put another body in the place of a stage's; undone at the end of the context that `monkeypatch` is of."""
    load = Stage.load
    monkeypatch.setattr(Stage, "load", lambda stage: body if stage.name == name else load(stage))


@pytest.mark.parametrize(
    ("kind", "state", "words"),
    [
        (InputError, "failed", "Mend the grades."),
        (ZeroDivisionError, "failed", "ZeroDivisionError: Mend the grades."),
        (KeyboardInterrupt, "interrupted", "stopped by KeyboardInterrupt"),
    ],
)
def test_run_that_ends_early_is_recorded_and_keeps_its_stages(runner, monkeypatch, kind, state, words):
    """State, reason and end are in table `runs`, the finished stages in `stages`; the next run does only the rest."""

    def fail(*arguments):
        raise kind("Mend the grades.")

    with monkeypatch.context() as patch:
        _replace(patch, "priors", fail)
        with pytest.raises(kind):
            runner.run()
    tables = connect(runner.workspace)
    assert tables.execute("SELECT state, error, ended >= started FROM runs").fetchall() == [(state, words, True)]
    stages = tables.execute("SELECT stage, reused FROM stages ORDER BY position").fetchall()
    assert stages == [("read", False), ("segment", False), ("embed", False)]
    assert tables.execute("SELECT count(*) FROM sentences").fetchone() == (240,)
    assert list(runner.workspace.locks.iterdir()) == []
    assert runner.run(until="priors") == ["priors"]


@pytest.mark.parametrize(
    ("stage", "table"), [("segment", "sentences"), ("priors", "priors"), ("pseudolabel", "pseudolabels")]
)
def test_no_rows_of_some_is_an_error(runner, monkeypatch, stage, table):
    """A stage that had input and makes no row fails its run and commits nothing; then it is computed as ever."""
    with monkeypatch.context() as patch:
        _replace(patch, stage, lambda *arguments: None)
        with pytest.raises(StoreError, match=f"Stage {stage} had input but made no row of table {table}"):
            runner.run(until=stage)
    (run,) = list_runs(runner.workspace)
    assert (run.state, f"Stage {stage} had input but made no row" in run.error) == ("failed", True)
    assert list(runner.workspace.manifests.glob(f"{stage}-*")) == []
    assert runner.run(until=stage) == [stage]


def test_input_without_rows_is_an_error(runner):
    """The first stage has files for its input: if they have no rows, that is said, and nothing is committed."""
    runner.give([])
    with pytest.raises(InputError, match="The input has no rows"):
        runner.run()
    assert list(runner.workspace.manifests.iterdir()) == []
    assert [run.state for run in list_runs(runner.workspace)] == ["failed"]


@pytest.mark.parametrize("settled_by", ["doctor", "run"])
def test_killed_run_is_running_while_it_lives_and_then_settled(project, runner, settled_by):
    """`fractal doctor`, or the next run even if it has nothing to compute, records it as interrupted, with an end."""
    runner.run(until="read")
    killed = spawn(project, hold_in="segment")
    wait_until((project / "run.inside").exists, 60, killed)
    assert [run.state for run in list_runs(runner.workspace)] == ["running", "completed"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    path = runner.workspace.runs / f"{list_runs(runner.workspace)[0].run_id}.json"
    assert json.loads(path.read_bytes())["state"] == "running"
    assert [run.state for run in list_runs(runner.workspace)] == ["interrupted", "completed"]
    command = ["doctor"] if settled_by == "doctor" else ["run", "fractal.toml", "--until", "read"]
    result = fractal(project, *command, "--workspace", "ws")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "starting Prefect" not in result.stderr
    if settled_by == "doctor":
        assert f"run {path.stem} had died and is now recorded as interrupted" in result.stdout
    settled = json.loads(path.read_bytes())
    assert (settled["state"], settled["ended"] is not None) == ("interrupted", True)
    assert "killed" in settled["error"]
    assert [stage["stage"] for stage in settled["stages"]] == ["read"]


def test_process_number_given_to_another_process_does_not_keep_a_dead_run_alive(runner):
    """A dead run's pid may be that of a living process by now (here: of this one); its lock tells."""
    run = new_run("", {})
    assert run.pid == os.getpid()
    save_run(runner.workspace, run)
    assert [run.state for run in list_runs(runner.workspace)] == ["interrupted"]


GOOD = {"run_id": "20260101T000000.000-abcd", "state": "completed", "config_path": "", "config": {}, "pid": 1,
        "host": "h", "started": "2026-01-01T00:00:00.000+00:00", "stages": []}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff\xfe", json.dumps(GOOD)[:-40].encode(), b'{"run_id": "x"}',
        json.dumps({**GOOD, "state": "done"}).encode(), json.dumps({**GOOD, "started": "yesterday"}).encode(),
        json.dumps({**GOOD, "stages": [{"stage": "read"}]}).encode(),
        json.dumps({**GOOD, "run_id": "another"}).encode(), json.dumps({**GOOD, "config": "none"}).encode(),
    ],
)  # fmt: skip
def test_damaged_record_is_seen(runner, content):
    """Whatever is in it, it is a row of table `runs` that says so, and stays where it is."""
    path = runner.workspace.runs / f"{GOOD['run_id']}.json"
    path.write_bytes(content)
    heard = []
    assert [run.state for run in list_runs(runner.workspace, warn=heard.append)] == ["unreadable"]
    assert heard == [f"{path} is no run record that can be read, and what its run did is lost; delete it"]
    rows = connect(runner.workspace).execute("SELECT run_id, state, error FROM runs").fetchall()
    assert rows == [(GOOD["run_id"], "unreadable", heard[0])]
    assert path.read_bytes() == content


def test_good_record_is_read(runner):
    """What the damaged records above are made from is none."""
    (runner.workspace.runs / f"{GOOD['run_id']}.json").write_text(json.dumps(GOOD))
    assert [run.state for run in list_runs(runner.workspace)] == ["completed"]


def test_any_flipped_bit_of_a_record_is_found(runner):
    """A record with a flipped bit, in a digit of a fingerprint say, is unreadable, or says the same as before."""
    runner.run(until="segment")
    (run,) = list_runs(runner.workspace)
    path = runner.workspace.runs / f"{run.run_id}.json"
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        (found,) = list_runs(runner.workspace)
        assert found == run or found.state == "unreadable"


def test_record_of_the_first_versions_is_read(runner):
    """It had no checksum; whoever writes it again gives it one."""
    runner.run(until="read")
    (run,) = list_runs(runner.workspace)
    path = runner.workspace.runs / f"{run.run_id}.json"
    old = json.loads(path.read_bytes())
    del old["sha256"]
    path.write_text(json.dumps(old))
    assert list_runs(runner.workspace) == [run]
    path.write_text(json.dumps({**old, "state": "running", "ended": None}))
    settle_dead_runs(runner.workspace)
    assert "sha256" in json.loads(path.read_bytes())
    assert [run.state for run in list_runs(runner.workspace)] == ["interrupted"]


def test_run_and_doctor_name_a_damaged_record(project, runner):
    """A run goes on and notes it; the doctor finds the workspace broken until it is deleted."""
    runner.run(until="read")
    path = runner.workspace.runs / "20260101T000000.000-abcd.json"
    path.write_text("{")
    result = fractal(project, "run", "fractal.toml", "--until", "read", "--workspace", "ws")
    assert result.returncode == 0
    assert (
        result.stderr == f"  note: {path} is no run record that can be read, and what its run did is lost; delete it\n"
    )
    doctor = fractal(project, "doctor", "--workspace", "ws")
    assert doctor.returncode == 1
    assert f"broken   {path} is no run record" in doctor.stdout
    path.unlink()
    assert fractal(project, "doctor", "--workspace", "ws").returncode == 0


def test_run_that_ended_between_two_looks_is_not_settled(runner, monkeypatch):
    """Its record said "running", then it ended and left its lock: the second look finds what it wrote last."""
    from fractal_core.store import runs

    run = new_run("", {})
    save_run(runner.workspace, run)

    def end(path):
        save_run(runner.workspace, finished(run, "completed"))
        return False

    monkeypatch.setattr(runs, "is_locked", end)
    assert runs.settle_dead_runs(runner.workspace) == []
    assert [run.state for run in list_runs(runner.workspace)] == ["completed"]


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [
        ("input.path=missing.jsonl", 1, "missing.jsonl"),
        ("encoder.model=missing", 1, "missing"),
        ("train.epochs=none", 2, "train.epochs"),
        ("train.epoch=3", 2, "did you mean train.epochs"),
        ("runtime.device=cuda", 2, "PyTorch sees no GPU here"),
    ],
)
def test_wrong_input_or_configuration_starts_no_server(project, setting, code, words):
    """What is wrong is said before Prefect is started: in one line, with nothing before it."""
    if "cuda" in setting:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    result = fractal(project, "run", "fractal.toml", "--set", setting)
    assert result.returncode == code
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (project / ".fractal" / "prefect").exists()


@pytest.mark.slow
def test_error_in_a_stage_is_one_sentence(project):
    """Labels all alike are found inside the flow: still one sentence, and nothing else after the plain progress."""
    rows = read_jsonl(project / "responses.jsonl")
    for row in rows:
        row["response_label"] = 1
    write_jsonl(project / "responses.jsonl", rows)
    result = fractal(project, "run", "fractal.toml")
    assert result.returncode == 1
    lines = result.stderr.strip().splitlines()
    assert lines[0] == "starting Prefect ..."
    assert lines[1].startswith("error: ")
    assert len(lines) == 2
