"""`fractal status`: what runs there were, what they found, what each holds alone, and what is served."""

from __future__ import annotations

import io
import os
import re

import pytest
from rich.console import Console
from small_data import make_rows, write_project

from fractal_core.config_loading import load_config
from fractal_core.errors import InputError
from fractal_core.labelling import LabellingRun
from fractal_core.pipeline import stages_until
from fractal_core.progress import Reporter
from fractal_core.runtime import make_runtime
from fractal_core.status import print_status, take_status
from fractal_core.store.locks import LockHeldError
from fractal_core.store.services import Service, list_services, serving
from fractal_core.store.workspace import open_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, tiny_encoder):
    """A workspace with a whole run, one with other settings, and one that failed."""
    folder = tmp_path_factory.mktemp("status")
    write_project(folder, tiny_encoder, make_rows(60), epochs=3)
    workspace = open_workspace(folder / "ws")
    for setting, until in (("train.repeats=1", None), ("segment.method=newline", "segment")):
        config = load_config(folder / "fractal.toml", [setting])
        runtime = make_runtime(config.runtime, Reporter("quiet", Console(stderr=True)))
        with LabellingRun(workspace, config, runtime, config_path=str(folder / "a_long_name_of_a.toml")) as run:
            for stage in stages_until(until):
                run.execute(stage.name)
    with pytest.raises(InputError), LabellingRun(workspace, config, runtime, config_path="b.toml") as run:
        raise InputError("It cannot be read.")
    return workspace


def test_runs_are_described_newest_first(workspace):
    """State, rows, rejects, figures, stages and rows computed of each."""
    failed, second, first = take_status(workspace, 20)["runs"]
    assert [run["state"] for run in (failed, second, first)] == ["failed", "completed", "completed"]
    assert failed["error"] == "It cannot be read."
    assert (first["responses"], first["sentences"], first["rejects"]) == (60, 240, 0)
    assert [figure["split"] for figure in first["sentence_auc"]] == ["test", "dev", "train"]
    assert first["computed"] == [stage.name for stage in stages_until(None)]
    assert (second["computed"], second["sentence_auc"]) == (["segment"], [])
    assert second["rows_computed"] == second["sentences"] > 0
    assert first["seconds"] > 0


def test_what_a_run_alone_holds_is_what_goes_with_it(workspace):
    """The shared input counts for nobody; all together is less than the workspace, and the failed run is its record."""
    status = take_status(workspace, 20)
    failed, second, first = status["runs"]
    folders = {path.name.split("-")[0]: path for path in workspace.artefacts.iterdir() if path.name[:7] != "segment"}
    alone = sum(_bytes(folders[name]) for name in folders if name != "read")
    shared = _bytes(folders["read"])
    assert first["bytes_alone"] > alone
    assert failed["bytes_alone"] == (workspace.runs / f"{failed['run_id']}.json").stat().st_size
    held = sum(run["bytes_alone"] for run in (failed, second, first))
    assert status["bytes"] >= held + shared
    assert status["bytes"] == _bytes(workspace.root)


def _bytes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_only_the_last_runs_are_listed(workspace):
    """The number of all is said."""
    status = take_status(workspace, 1)
    assert ([run["state"] for run in status["runs"]], status["runs_in_all"]) == (["failed"], 3)
    assert "3 runs, 2 more than listed" in _printed(status, width=80)


def _printed(status, width, **options):
    file = io.StringIO()
    print_status(status, Console(file=file, width=width, **options))
    return file.getvalue()


def test_table_fits_80_columns_and_has_run_ids_where_there_is_room(workspace):
    """Nothing but the name of the configuration is cut at 80 columns; 120 have room for all of it."""
    status = take_status(workspace, 20)
    table = _printed(status, width=80).splitlines()[:4]
    assert max(len(line.rstrip()) for line in table) <= 80
    auc = f"AUC {status['runs'][2]['sentence_auc'][0]['score']:.3f}"
    assert re.search(rf"^\d\d-\d\d \d\d:\d\d a_long_na… completed +\d+ +240 +0 {auc} +[\d.]+ kB *$", table[3])
    assert "failed" in table[1]
    wide = _printed(status, width=120)
    assert all(run["run_id"] in wide for run in status["runs"])
    assert "a_long_name_of_a" in wide
    assert "failed: It cannot be read." in wide


def test_colours_follow_no_color(workspace, monkeypatch):
    """States are coloured on a terminal, and not if NO_COLOR is set."""
    status = take_status(workspace, 20)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mfailed" in _printed(status, 80, force_terminal=True, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", _printed(status, 80, force_terminal=True, color_system="standard"))


def test_what_is_served_is_listed_while_it_is(workspace):
    """A schedule and where its pages are; nobody else can serve it meanwhile; gone when it ends."""
    service = Service(
        "schedule", "http://127.0.0.1:4200", os.getpid(), "here", "2026-01-01T00:00:00+00:00", "/a.toml", "w"
    )
    with serving(workspace, "key", doing="serving a.toml") as announce:
        assert list_services(workspace) == []
        announce(service)
        assert list_services(workspace) == [service]
        assert "schedule: /a.toml, w, overlap ; Prefect UI http://127.0.0.1:4200" in _printed(
            take_status(workspace, 1), 80
        )
        with (
            pytest.raises(LockHeldError, match=r"is serving a.toml now; end it first"),
            serving(workspace, "key", doing="serving a.toml"),
        ):
            pass
        assert list_services(workspace) == [service]
    assert list_services(workspace) == []


def test_what_a_killed_process_said_of_itself_is_not_listed(workspace):
    """Its file may stay; nobody holds its lock."""
    path = workspace.prefect / "services" / "killed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"kind":"ui","url":"http://x","pid":1,"host":"h","since":"2026-01-01T00:00:00+00:00"}')
    assert list_services(workspace) == []
    path.unlink()
