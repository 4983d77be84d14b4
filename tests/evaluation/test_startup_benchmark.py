"""The benchmark of what commands cost besides their work still runs, small."""

from __future__ import annotations

from benchmarks.children import Measured
from benchmarks.startup import Cost, Project, fractal, report, several


def test_commands_are_measured(tmp_path):
    """A command that says JSON, over made-up responses, and one that prints text."""
    project = Project(tmp_path / "project", 20)
    planned = project.command("plan", str(project.config), "--until", "read")
    assert [step["decision"] for step in planned.said] == ["run"]
    assert fractal("--help", read=len).said > 1_000


def test_medians_of_what_was_computed():
    """Stages that were reused are no part of a run's stages."""
    calls = iter((10.0, 12.0, 30.0))

    def call():
        seconds = next(calls)
        stages = [{"seconds": seconds / 2, "reused": False}, {"seconds": 5.0, "reused": True}]
        return Measured({"stages": stages}, seconds, 0.1, seconds / 10, 0.1)

    assert several(3, call) == Cost(12.0, 6.0, 1.2)


def test_the_report_has_every_figure():
    """A row a command and a row a run."""
    runs = {"first": Cost(9.0, 1.5, 8.0), "new": Cost(6.0, 1.0, 5.0), "existing": Cost(5.0, 0.5, 4.0)}
    text = report("command", {"sentences": 20_000, "times": 3, "runs": runs, "commands": {"plan": Cost(0.61, 0, 0.59)}})
    for figure in (
        "20,000 sentences",
        "| `fractal plan` | 0.61 | 0.59 |",
        "| new workspace, nothing kept of Prefect's database | 9.0 | 1.5 | 7.5 | 8.0 |",
        "| existing workspace | 5.0 | 0.5 | 4.5 | 4.0 |",
    ):
        assert figure in text
