"""`fractal report` over a real run: the file, what it prints, and what it says where there is nothing to report."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from relabelled import QUICK
from small_data import make_rows, write_project
from typer.testing import CliRunner

from fractal_core.catalog.connection import connect
from fractal_core.cli import app
from fractal_core.errors import StoreError, UsageError
from fractal_core.report.writing import write_report
from fractal_core.store.runs import finished, new_run, save_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_encoder, runner_in):
    """A small project that was run whole, with one bad row, and then until train only; the whole run's record."""
    folder = tmp_path_factory.mktemp("report")
    rows = make_rows(24)
    rows[3]["response"] = "<b>Bold</b> & <script>window.pwned = 1</script>."
    rows[3].pop("sentences")
    rows[3].pop("sentence_labels")
    rows[4]["response_label"] = 7
    write_project(folder, tiny_encoder, rows, epochs=3, training="")
    runner = runner_in(folder)
    runner.run(*QUICK)
    whole = runner.last.record
    runner.run(*QUICK, "train.learning_rate=0.01", until="train")
    return runner, whole


def write_quick(runner, *arguments):
    """Write a report on the project as it was run."""
    return write_report(runner.workspace.root, runner.folder / "fractal.toml", QUICK, *arguments)


def data_of(page):
    """Return the data that a page carries."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_run_by_its_id(run, tmp_path, monkeypatch):
    """The default name has the run's id; the same run gives the same bytes; --json says what was written."""
    runner, whole = run
    monkeypatch.chdir(tmp_path)
    arguments = ["report", str(runner.folder / "fractal.toml"), "--run", whole.run_id, "--workspace"]
    arguments += [str(runner.workspace.root), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    path = tmp_path / f"fractal-report-{whole.run_id}.html"
    said = json.loads(result.output)
    assert said == {
        "report": path.name, "run_id": whole.run_id, "responses": 23, "sentences": said["sentences"], "listed": 23,
        "bytes": path.stat().st_size,
    }  # fmt: skip
    first = path.read_bytes()
    assert CliRunner().invoke(app, [*arguments, "--output", "again.html"]).exit_code == 0
    assert (tmp_path / "again.html").read_bytes() == first
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "again.html"}


def test_what_is_in_it_is_in_the_tables(run, tmp_path):
    """Scores, labels, figures, rejects and the changed key are those of the run's tables and record."""
    runner, whole = run
    written = write_report(
        runner.workspace.root, runner.folder / "fractal.toml", QUICK, whole.run_id, tmp_path / "report.html", 1_000
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = data_of(page)
    tables = connect(runner.workspace)
    for name in ("score", "posterior", "pseudolabel"):
        rows = tables.execute(f"SELECT {name} FROM pseudolabels WHERE run_id = '{whole.run_id}'").fetchall()
        assert data["sentences"][name] == pytest.approx([value for (value,) in rows], rel=1e-3)
    assert written.listed == len(data["responses"]["id"]) == 23
    assert data["reasons"]["names"]
    assert "label outside its range" in page
    assert "<code>train.folds</code>" in page
    assert "<b>Bold</b>" not in page
    assert data["responses"]["text"][3] == "<b>Bold</b> & <script>window.pwned = 1</script>."
    assert str(runner.folder) not in page


def test_the_newest_of_a_configuration(run, tmp_path):
    """Without an id it is the run of the configuration as it is now; one without pseudo-labels yet is named."""
    runner, whole = run
    config, ws = runner.folder / "fractal.toml", runner.workspace.root
    assert write_report(ws, config, QUICK, None, tmp_path / "report.html", 10).run_id == whole.run_id
    with pytest.raises(StoreError, match=r"stage pseudolabel would run .*fractal run"):
        write_report(ws, config, (*QUICK, "train.learning_rate=0.01"), None, None, 10)


def test_figures_are_those_of_the_configuration(run, tmp_path):
    """Not those of a later run, which was evaluated against gold labels that the configuration does not name."""
    runner, whole = run
    config, ws, page = runner.folder / "fractal.toml", runner.workspace.root, tmp_path / "report.html"
    (tmp_path / "gold.jsonl").write_text(json.dumps({"id": runner.rows()[0]["id"], "sentence_labels": [1, 1, 1, 0]}))
    gold = f"evaluate.gold={json.dumps(str(tmp_path / 'gold.jsonl'))}"
    runner.run(*QUICK, gold)
    assert write_report(ws, config, QUICK, None, page, 10).run_id == whole.run_id
    assert write_report(ws, config, (*QUICK, gold), None, page, 10).run_id == runner.last.record.run_id
    shutil.copytree(ws, tmp_path / "ws")
    (tmp_path / "ws" / "runs" / f"{whole.run_id}.json").unlink()
    assert write_report(tmp_path / "ws", config, QUICK, None, page, 10).run_id == runner.last.record.run_id
    assert "Against gold sentence labels" not in page.read_text(encoding="utf-8")


def test_runs_that_cannot_be_reported(run, tmp_path):
    """No such run, one that failed, a workspace without a completed one: each said in one sentence."""
    runner, whole = run
    with pytest.raises(UsageError, match=f"no run 2020 in .*the newest are .*{whole.run_id}"):
        write_quick(runner, "2020", None, 10)
    failed = finished(new_run("a.toml", {}), "failed", "out of luck")
    save_run(runner.workspace, failed)
    with pytest.raises(StoreError, match=r"is failed and ended before its first stage \(out of luck\)"):
        write_quick(runner, failed.run_id, None, 10)
    (runner.workspace.runs / f"{failed.run_id}.json").unlink()
    with pytest.raises(StoreError, match="no workspace"):
        write_report(tmp_path / "nowhere", runner.folder / "fractal.toml", QUICK, None, None, 10)


@pytest.mark.parametrize(
    ("place", "words"), [("ws/report.html", "lies in the workspace"), ("no/such/x.html", "--output")]
)
def test_files_that_cannot_be_written(run, monkeypatch, place, words):
    """Into the workspace or a folder that is not there nothing is written, and that is said."""
    runner, whole = run
    monkeypatch.chdir(runner.folder)
    result = CliRunner().invoke(
        app, ["report", "fractal.toml", "--run", whole.run_id, "--workspace", "ws", "--output", place]
    )
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
    assert not (runner.folder / place).exists()


def test_only_reports_are_replaced(run, tmp_path):
    """A file that is no earlier report stays, unless it is to be replaced by force; the configuration stays anyway."""
    runner, whole = run
    page, other = tmp_path / "report.html", tmp_path / "page.html"
    write_quick(runner, whole.run_id, page, 10)
    first = page.read_bytes()
    write_quick(runner, whole.run_id, page, 1)
    assert page.read_bytes() != first
    other.write_text("<!doctype html>\n<title>My own</title>\n")
    with pytest.raises(UsageError, match="exists already"):
        write_quick(runner, whole.run_id, other, 10)
    assert "My own" in other.read_text()
    arguments = (runner.workspace.root, runner.folder / "fractal.toml", QUICK, whole.run_id)
    write_report(*arguments, other, 10, force=True)
    assert other.read_bytes() == first
    with pytest.raises(UsageError, match="one of the files that are read"):
        write_report(*arguments, runner.folder / "fractal.toml", 10, force=True)


@pytest.mark.parametrize(("stage", "name"), [("train", "history.parquet"), ("pseudolabel", "pseudolabels")])
def test_damage_is_said(run, tmp_path, stage, name):
    """A flipped byte in a file or a table of the run ends in a sentence that names it, not in wrong figures."""
    runner, whole = run
    artefact = next(a for a in (runner.workspace.root / "artefacts").iterdir() if whole.fingerprints()[stage] in a.name)
    path = artefact / (name if "." in name else f"{name}.parquet")
    content = path.read_bytes()
    manifest = runner.workspace.manifests / f"{stage}-{whole.fingerprints()[stage]}.json"
    before = manifest.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 255]) + content[41:])
    with pytest.raises(StoreError, match=path.name):
        write_report(
            runner.workspace.root, runner.folder / "fractal.toml", QUICK, whole.run_id, tmp_path / "report.html", 10
        )
    assert not (tmp_path / "report.html").exists()
    path.write_bytes(content)
    manifest.write_bytes(before)
