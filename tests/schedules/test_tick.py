"""What a tick of a schedule says became of it."""

from __future__ import annotations

import pytest
from small_data import write_jsonl

from flows.launch import lock_of
from flows.tick import label_on_schedule, what_was_done
from fractal_core.config_loading import load_config
from fractal_core.store.locks import lock
from fractal_core.store.runs import RunRecord, StageRecord, list_runs
from fractal_core.store.workspace import open_workspace


@pytest.fixture
def tick(project):
    """The flow of a tick over the small project, called as a function."""

    def run(**options):
        return label_on_schedule.fn(str(project / "fractal.toml"), str(project / "ws"), **options)

    return run


def test_a_tick_beside_a_run_of_the_same_configuration_is_skipped(project, tick):
    """The state says so and by whom; nothing is recorded."""
    config, workspace = load_config(project / "fractal.toml"), open_workspace(project / "ws")
    with lock(lock_of(workspace, config), print):
        state = tick(overlap="skip")
    assert (state.name, state.is_cancelled()) == ("Skipped", True)
    assert "is running this configuration now." in state.message
    assert list_runs(workspace) == []


def test_a_tick_that_cannot_run_has_failed_and_says_why(project, tick):
    """A missing input is a sentence in the state, and no exception that could end the schedule."""
    (project / "responses.jsonl").unlink()
    state = tick()
    assert state.is_failed()
    assert state.message.startswith(f"There is no file or folder {project / 'responses.jsonl'}")


def test_settings_are_those_of_the_schedule(project, tick):
    """A tick runs the configuration with the overrides it was served with."""
    write_jsonl(project / "other.jsonl", [])
    state = tick(settings=["input.path=elsewhere.jsonl"])
    assert "elsewhere.jsonl" in state.message


def _record(*stages):
    return RunRecord(
        "r", "completed", "", {}, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:12.34+00:00", stages=stages
    )


def test_words_of_a_run():
    """What was new, what ran, rows computed of rows there are, seconds; then how many responses there are."""
    read = StageRecord(
        "read", "f", False, "input files: 1 new or changed", 1.0, 0, {"responses": 1200, "rejects": 3}, []
    )
    segment = StageRecord("segment", "g", False, "x", 1.0, 1200, {"sentences": 5000}, [], rows_computed=1040)
    assert what_was_done(_record(read, segment)) == (
        "input files: 1 new or changed; ran read, segment; 1,040 rows computed in 12.3 s; 1,200 responses, 3 rejects"
    )


def test_words_of_a_tick_that_waited():
    """Who waited for another process says that it did the work."""
    reason = "computed meanwhile by process 7 on host (since 2026-01-01T00:00:00+00:00)"
    read = StageRecord("read", "f", True, reason, 0.0, 0, {"responses": 5, "rejects": 0}, [])
    assert what_was_done(_record(read)) == f"{reason}; 5 responses, 0 rejects"
