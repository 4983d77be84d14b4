"""docs/schedules.md is true: its commands are commands, its blocks run, and its deployment is one."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import typer.main
from doc_blocks import ROOT, blocks, read_document, shell

from fractal_core.cli import app

SCHEDULES = read_document("docs/schedules.md")


def test_every_command_is_one():
    """Each line that calls fractal has a command and options that there are."""
    lines = [line for block in blocks(SCHEDULES, "sh") for line in block.splitlines() if line.startswith("fractal ")]
    found = set()
    for line in lines:
        name, *arguments = shlex.split(line)[1:]
        command = typer.main.get_command(app).commands[name]
        command.make_context(name, arguments)
        found.add(name)
    assert found == {"init", "run", "plan", "serve", "status", "ui"}


def test_files_and_states_that_are_named_exist():
    """Tests that are named are there; states in the table are those of the code."""
    for name in re.findall(r"`(tests/[\w/.]+)`", SCHEDULES):
        assert (ROOT / name).exists(), name
    code = "".join((ROOT / "flows" / name).read_text() for name in ("tick.py", "overdue.py"))
    table = SCHEDULES.split("| state |")[1].split("\n\n")[0]
    states = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert states == ["Completed", "Nothing is stale", "Skipped", "Covered", "Failed", "Crashed"]
    assert all(f'"{state}"' in code for state in states[1:4])


def test_deployment_is_one(monkeypatch):
    """The Python block deploys a flow that can be imported, with parameters that it has."""
    from prefect.deployments.runner import RunnerDeployment

    applied = []
    monkeypatch.setattr(RunnerDeployment, "apply", lambda deployment: applied.append(deployment))
    (block,) = blocks(SCHEDULES, "python")
    exec(compile(block, "docs/schedules.md", "exec"), {})
    (deployment,) = applied
    from flows.tick import label_on_schedule

    assert (deployment.entrypoint, deployment.work_pool_name) == ("flows.tick.label_on_schedule", "fractal")
    assert deployment.parameters.keys() <= label_on_schedule.parameters.properties.keys()
    assert deployment.schedules[0].schedule.cron == "0 2 * * *"


@pytest.mark.slow
def test_a_folder_that_fills(sample):
    """The commands up to the first schedule run as written, and the plan says what is shown; status lists the run."""
    folder, _ = sample
    first, second, *_ = blocks(SCHEDULES, "sh")
    assert "Nothing is stale" in shell(first, folder)
    shown = blocks(SCHEDULES, "text")[0].strip()
    assert re.sub(r" +", " ", shown) in re.sub(r" +", " ", shell(second, folder))
    states = json.loads(shell("fractal status --json", folder))
    assert {run["state"] for run in states["runs"]} == {"completed"}
