"""A schedule runs what is new and nothing else, survives a failing run, and says what it did."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import pytest
from real_runs import fractal
from served import Served
from small_data import make_rows, write_jsonl

from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace

pytestmark = pytest.mark.slow

ROWS = make_rows(68)


def _count(folder, table):
    result = fractal(folder, "query", f"SELECT count(*) AS n FROM latest.{table}", "--json")
    return json.loads(result.stdout)[0]["n"]


@pytest.fixture(scope="module")
def inbox(tmp_path_factory, tiny_encoder, runner_in):
    """A project whose input is a folder with one file; it has been run."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "inbox").mkdir()
    write_jsonl(folder / "inbox" / "first.jsonl", ROWS[:60])
    (folder / "fractal.toml").write_text(
        f'aggregation = "min"\n[input]\npath = "inbox"\n[encoder]\nmodel = {json.dumps(str(tiny_encoder))}\n'
        "[train]\nepochs = 5\nrepeats = 1\n"
    )
    runner_in(folder).run()
    (folder / "ws").rename(folder / ".fractal")
    return folder


def test_a_schedule_from_start_to_end(inbox, monkeypatch):
    """A tick without news, a failing one, one with a new file, and Ctrl-C: each is said, shown and recorded."""
    monkeypatch.setenv("TZ", "Europe/Vienna")
    with Served(inbox, "--cron", "0 2 * * *") as served:
        assert served.hello["when"] == "cron 0 2 * * * (Europe/Vienna)"
        (schedule,) = served.deployment()["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 2 * * *", "Europe/Vienna")
        assert schedule["active"]

        unchanged = served.tick()
        assert (unchanged["state"], unchanged["message"]) == ("Nothing is stale", "60 responses, 0 rejects")
        assert (unchanged["run_id"], unchanged["stages"], unchanged["rows_computed"]) == (None, [], 0)
        assert served.ask("/task_runs/count", {"flow_runs": {"id": {"any_": [unchanged["flow_run_id"]]}}}) == 0

        (inbox / "inbox" / "bad.jsonl").write_text('{"id": "bad", "response": "", "response_label": 1}\n' * 9)
        failed = served.tick()
        assert failed["state"] == "Failed"
        assert "max_reject_fraction" in failed["message"]
        (inbox / "inbox" / "bad.jsonl").unlink()

        write_jsonl(inbox / "inbox" / "second.jsonl", ROWS[60:])
        more = served.tick()
        assert (more["state"], more["stages"]) == ("Completed", list(STAGE_NAMES))
        assert more["message"].startswith("input files: 1 new or changed, 0 no longer there; ran read, ")
        runs = list_runs(open_workspace(inbox / ".fractal"))
        assert [run.state for run in runs] == ["completed", "failed", "completed"]
        assert runs[0].run_id == more["run_id"]
        computed = {stage.stage: stage.rows_computed for stage in runs[0].stages}
        assert computed["segment"] == sum(len(row["sentences"]) for row in ROWS[60:])
        assert sum(computed.values()) == more["rows_computed"]
        assert (_count(inbox, "responses"), _count(inbox, "pseudolabels")) == (68, 4 * 68)

        _look_at_artefacts(served, runs[0].run_id)
        _look_from_outside(inbox, served)
        assert served.end(os.killpg, signal.SIGINT) < 5
        assert served.process.returncode == 0
        assert served.next("stopped") == {"event": "stopped"}
        assert json.loads(fractal(inbox, "status", "--json").stdout)["services"] == []


def _look_at_artefacts(served, run_id):
    """Stages, rows, figures and where the labels are show in Prefect's UI."""
    artefacts = {each["key"]: each for each in served.ask("/artifacts/latest/filter", {})}
    assert artefacts.keys() == {*(f"stage-{name}" for name in STAGE_NAMES), "metrics", "run"}
    (row,) = json.loads(artefacts["stage-segment"]["data"])
    assert row["sentences rows"] == 4 * 68
    metrics = json.loads(artefacts["metrics"]["data"])
    assert {"split", "level", "method", "metric", "value", "rows", "low", "high", "threshold"} == set(metrics[0])
    assert f"| run | {run_id} |" in artefacts["run"]["data"]
    assert "labels.parquet" in artefacts["run"]["data"]


def _look_from_outside(folder, served):
    """Other commands know of the schedule; a second one of the same configuration is refused."""
    (service,) = json.loads(fractal(folder, "status", "--json").stdout)["services"]
    assert (service["kind"], service["pid"], service["url"]) == ("schedule", served.process.pid, served.hello["url"])
    assert service["when"] == served.hello["when"]
    ui = fractal(folder, "ui", "--no-browser", "--json")
    assert json.loads(ui.stdout) == {"url": served.hello["url"]}
    with urllib.request.urlopen(served.hello["url"] + "/ui-settings", timeout=30) as answer:
        assert json.load(answer)["api_url"] == served.api
    second = fractal(folder, "serve", "fractal.toml", "--interval", "60")
    assert second.returncode == 1
    assert f"process {served.process.pid} on " in second.stderr
    assert "is serving fractal.toml now; end it first (`fractal status` lists it)." in second.stderr
