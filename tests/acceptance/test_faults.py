"""SIGKILL at every point of every stage, and at random times: nothing half-made is seen, the next run goes on.

The runs are real stages without the orchestrator (`test_killed.py` kills whole runs with it).
"""

from __future__ import annotations

import random
import shutil
import threading
import time

import pytest
from killing import attempt, contents, copy_until
from real_runs import wait_until
from small_data import make_rows, read_jsonl, write_jsonl, write_project

from fractal_core.catalog.connection import connect
from fractal_core.doctor import examine
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.artefact import read_manifest
from fractal_core.store.collecting import collect
from fractal_core.store.runs import list_runs
from fractal_core.store.workspace import open_workspace
from fractal_core.tables import TABLES

POINTS = {
    "start": "{}:start",
    "temporary folder written": "{}:written",
    "before the folder's rename": "{}:before-rename",
    "after the folder's rename": "{}:after-rename",
    "before the manifest": "{}:before-manifest",
    "temporary manifest written": "{}-*.json:temporary",
    "after the manifest": "{}:after-manifest",
}
# On a machine with other work a run takes many times as long, and so does the time until it is killed.
pytestmark = pytest.mark.timeout(1800)
OTHER_FILES = [".gitignore", "workspace.json", "source-digests.json", "20*-*.json"]
KILLS = 100


@pytest.fixture(scope="module")
def clean(tmp_path_factory, tiny_encoder):
    """A small project run once without a fault, and the content of every file."""
    folder = tmp_path_factory.mktemp("clean") / "project"
    folder.mkdir()
    write_project(folder, tiny_encoder, make_rows(24), epochs=3)
    assert attempt(folder) == list(STAGE_NAMES)
    workspace = open_workspace(folder / "ws")
    return folder, contents(workspace), _tables(workspace)


def _tables(workspace):
    """Return what a reader sees: table -> run -> rows."""
    connection = connect(workspace)
    seen = {}
    for name in TABLES:
        # Round 0 of scores is of stage train, the others of stage pseudolabel: each is there as a whole, or not.
        part = "round = 0" if name == "scores" else "0"
        # The view of responses counts the sentences of the run, which has none before stage segment.
        columns = "* EXCLUDE (run_id, sentence_count)" if name == "responses" else "* EXCLUDE (run_id)"
        rows = connection.execute(f"SELECT run_id, {part}, {columns} FROM {name} ORDER BY ALL").fetchall()
        seen[name] = {}
        for run, part_of, *row in rows:
            seen[name].setdefault((run, part_of), []).append(row)
    return seen


def _assert_whole(seen, clean):
    """Assert that every table of every run is as in the clean run, or not there at all."""
    for name, runs in clean.items():
        expected = {part: rows for (_, part), rows in runs.items()}
        for (_, part), rows in seen[name].items():
            assert repr(rows) == repr(expected[part]), name


def _remains(workspace):
    """Return the names of all that no reader sees."""
    manifests = [read_manifest(path)[0] for path in workspace.manifests.iterdir()]
    listed = {manifest.folder for manifest in manifests}
    found = [*workspace.tmp.iterdir(), *workspace.locks.iterdir(), *workspace.artefacts.iterdir()]
    return [path.name for path in found if path.name not in listed]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_killed_at_every_point_of_every_stage(clean, tmp_path, stage, point):
    """Readers see whole artefacts only, doctor lists what is left, the next run makes the same bytes, gc clears up."""
    project, files, tables = clean
    folder = copy_until(project, tmp_path / "project", stage)
    workspace = open_workspace(folder / "ws")
    assert attempt(folder, fault=POINTS[point].format(stage)) is None
    assert [run.state for run in list_runs(workspace)] == ["interrupted"]
    _assert_whole(_tables(workspace), tables)
    remains = _remains(workspace)
    assert remains
    said = " ".join(finding.text for finding in examine(workspace.root) if finding.level == "note")
    assert [name for name in remains if name not in said and not name.startswith("run-")] == []
    after = list(STAGE_NAMES[STAGE_NAMES.index(stage) :])
    assert attempt(folder) == (after[1:] if point == "after the manifest" else after)
    assert contents(workspace) == files
    _assert_whole(_tables(workspace), tables)
    collect(workspace, 1)
    assert _remains(workspace) == []
    assert contents(workspace) == files


@pytest.mark.parametrize("point", POINTS)
def test_killed_while_computing_again(clean, tmp_path, point):
    """By force, a result that is there already: readers see the old one or the new one, and the next run has either."""
    project, files, tables = clean
    folder = copy_until(project, tmp_path / "project", "pseudolabel")
    workspace = open_workspace(folder / "ws")
    assert attempt(folder, until="train") == []
    assert attempt(folder, until="train", force=("train",), fault=POINTS[point].format("train")) is None
    _assert_whole(_tables(workspace), tables)
    (manifest,) = [read_manifest(path)[0] for path in workspace.manifests.glob("train-*")]
    assert manifest.generation == (point == "after the manifest")
    assert attempt(folder) == list(STAGE_NAMES[5:])
    assert contents(workspace) == files
    collect(workspace, 1)
    assert _remains(workspace) == []


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("stage", ["segment", "embed"])
def test_killed_while_taking_rows(clean, tmp_path, stage, point):
    """With a response more, where all other rows are taken from the run before: the bytes of a run from nothing."""
    project, files, _ = clean
    folder = copy_until(project, tmp_path / "project", "priors")
    rows = read_jsonl(folder / "responses.jsonl")
    write_jsonl(folder / "responses.jsonl", rows[1:])
    for path in (folder / "ws").glob("artefacts/*"):
        shutil.rmtree(path)
    assert attempt(folder, until="embed") == list(STAGE_NAMES[:3])
    write_jsonl(folder / "responses.jsonl", rows)
    assert attempt(folder, fault=POINTS[point].format(stage)) is None
    assert attempt(folder) is not None
    workspace = open_workspace(folder / "ws")
    assert contents(workspace) == files
    (record,) = [record for record in list_runs(workspace)[0].stages if record.stage == stage]
    assert record.reused == (point == "after the manifest")
    assert record.rows_computed < sum(record.rows_out.values()) / 5
    collect(workspace, 1)
    assert _remains(workspace) == []


@pytest.mark.parametrize("name", OTHER_FILES)
def test_killed_while_writing_another_file(clean, tmp_path, name):
    """Killed in the first moments of a workspace, or writing a run's record: the next run completes, gc clears up."""
    project, files, _ = clean
    folder = tmp_path / "project"
    folder.mkdir()
    for each in ("responses.jsonl", "fractal.toml"):
        (folder / each).write_bytes((project / each).read_bytes())
    assert attempt(folder, fault=f"{name}:temporary") is None
    assert attempt(folder) == list(STAGE_NAMES)
    workspace = open_workspace(folder / "ws")
    assert contents(workspace) == files
    collect(workspace, 1)
    assert _remains(workspace) == []


def test_killed_before_the_workspace_has_all_its_folders(clean, tmp_path):
    """A workspace of which only the first folder was made is one still."""
    project, files, _ = clean
    folder = copy_until(project, tmp_path / "project", "read")
    for path in sorted((folder / "ws").rglob("*"), reverse=True):
        if path.name != "tmp":
            path.rmdir() if path.is_dir() else path.unlink()
    assert [path.name for path in (folder / "ws").iterdir()] == ["tmp"]
    assert attempt(folder) == list(STAGE_NAMES)
    assert contents(open_workspace(folder / "ws")) == files


def test_killed_while_collecting(clean, tmp_path):
    """Killed between taking garbage out of sight and removing it: the next collection removes it, nothing is lost."""
    project, files, _ = clean
    folder = copy_until(project, tmp_path / "project", "export")
    assert attempt(folder, fault="export:written") is None
    assert attempt(folder) == ["export"]
    workspace = open_workspace(folder / "ws")
    assert attempt(folder, gc=1, fault="gc:moved") is None
    assert contents(workspace) == files
    assert [name.split("-")[0] for name in _remains(workspace)] == ["collected"]
    assert [item.kind for item in collect(workspace, 1)] == ["temporary"]
    assert _remains(workspace) == []


@pytest.mark.slow
def test_a_hundred_kills_at_random_times(clean, tmp_path):
    """Runs killed at random times under one seed, with queries all the while: every answer is that of the clean run.

    They compute read, segment and embed by force. After every tenth kill one completes and garbage is collected.
    """
    project, files, tables = clean
    early = {"until": "embed", "force": STAGE_NAMES[:3]}
    folder = copy_until(project, tmp_path / "project", "read")
    workspace = open_workspace(folder / "ws")
    chance, ended, answering, wrong, answers = random.Random(20), threading.Event(), threading.Lock(), [], []

    def ask():
        while not ended.is_set():
            with answering:
                try:
                    seen = _tables(workspace)
                    _assert_whole(seen, tables)
                    answers.append(sum(len(runs) for runs in seen.values()))
                except Exception as error:
                    wrong.append(error)
            time.sleep(0.01)

    started = time.perf_counter()
    assert attempt(folder, **early) == list(STAGE_NAMES[:3])
    seconds = time.perf_counter() - started
    asking = threading.Thread(target=ask)
    asking.start()
    killed = 0
    try:
        while killed < KILLS:
            killed += attempt(folder, after=chance.uniform(0, seconds), **early) is None
            # However slow this machine answers, there is a question for every other kill.
            wait_until(lambda least=killed / 2: wrong or len(answers) > least, 600)
            if killed % 10 == 0:
                assert attempt(folder, until="embed") is not None
                # A query that is being answered may find a folder gone that was superseded.
                with answering:
                    collect(workspace, 1)
    finally:
        ended.set()
        asking.join()
    assert wrong == []
    assert max(answers) > 0
    assert attempt(folder) == list(STAGE_NAMES[3:])
    assert contents(workspace) == files
    collect(workspace, 1)
    assert _remains(workspace) == []
    assert contents(workspace) == files
