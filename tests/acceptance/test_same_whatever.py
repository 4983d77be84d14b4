"""What cannot change a result never makes a stage stale, and whatever it is, the bytes are the same."""

from __future__ import annotations

import gzip
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killing import contents
from plain_run import spawn
from real_runs import fractal
from small_data import make_rows, write_jsonl, write_project

from fractal_core.catalog.connection import connect
from fractal_core.catalog.query import execute
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store.workspace import open_workspace

ALL = list(STAGE_NAMES)
# They say from which file and line each response comes, and what stood there.
SAY_WHERE = {"read/responses.parquet", "read/keys.parquet"}


def but_for_places(files):
    """Leave out the tables that say where and how a row stood."""
    return {name: content for name, content in files.items() if name not in SAY_WHERE}


def test_how_to_compute_and_where_to_put_it(again, tmp_path):
    """Batch size, device, and the folder of the export, which gets its file."""
    settings = ("runtime.batch_tokens=64", "runtime.device=cpu", f"export.directory={tmp_path / 'out'}")
    assert again.run(*settings) == []
    assert (tmp_path / "out" / "labels.parquet").is_file()


def test_moved_workspace(again, tmp_path):
    """A workspace is found again wherever it lies, by runs and by queries."""
    (again.folder / "ws").rename(tmp_path / "moved")
    again.workspace = open_workspace(tmp_path / "moved")
    assert again.run() == []
    assert execute(connect(again.workspace), "SELECT count(*) FROM latest.responses").fetchall() == [(24,)]


def test_moved_input_and_configuration(again, tmp_path):
    """Names and folders of both are no content."""
    place = tmp_path / "elsewhere" / "deeper"
    place.mkdir(parents=True)
    (again.folder / "responses.jsonl").rename(place / "renamed.jsonl")
    again.folder = (again.folder / "fractal.toml").rename(place / "fractal.toml").parent
    assert again.run("input.path=renamed.jsonl") == []


def test_touched_input(again):
    """A new modification time on the same content is looked at, and nothing else."""
    path = again.folder / "responses.jsonl"
    path.write_bytes(path.read_bytes())
    assert again.run() == []


def test_order_of_files(again):
    """The list of files, and what a folder has, count in no order."""
    lines = (again.folder / "responses.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    parts = again.folder / "parts"
    parts.mkdir()
    (parts / "b.jsonl").write_text("".join(lines[:10]), encoding="utf-8")
    (parts / "a.jsonl").write_text("".join(lines[10:]), encoding="utf-8")
    assert again.run('input.path=["parts/b.jsonl", "parts/a.jsonl"]') == ["read"]
    assert again.run('input.path=["parts/a.jsonl", "parts/b.jsonl"]') == []
    assert again.run("input.path=parts") == []
    (parts / "a.jsonl").rename(parts / "c.jsonl")
    assert again.run("input.path=parts") == []


def as_gzip(folder, rows):
    """Write rows compressed."""
    with gzip.open(folder / "rows.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def as_parquet(folder, rows):
    """Write rows as a table."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


def in_parts(folder, rows):
    """Write rows in three files, in another order."""
    for part in range(3):
        write_jsonl(folder / f"part-{part}.jsonl", rows[part::3][::-1])


@pytest.mark.parametrize("write", [as_gzip, as_parquet, in_parts])
def test_form_of_the_input(again, write):
    """The same rows in another format, order, number of files: read again, and found to be the same."""
    folder = again.folder / "rows"
    folder.mkdir()
    columns = {name for row in again.rows() for name in row}
    write(folder, [{name: row.get(name) for name in columns} for row in again.rows()])
    before = again.run() or again.bytes()
    assert again.run("input.path=rows") == ["read"]
    assert but_for_places(again.bytes()) == but_for_places(before)


def test_clean_runs(again, runner_in, tmp_path):
    """Two workspaces, the input in another order and in parts: every file but two has the same bytes."""
    again.run()
    other = tmp_path / "other"
    (other / "rows").mkdir(parents=True)
    shutil.copy(again.folder / "fractal.toml", other)
    in_parts(other / "rows", again.rows())
    clean = runner_in(other)
    assert clean.run("input.path=rows") == ALL
    assert but_for_places(clean.bytes()) == but_for_places(again.bytes())
    without = [name for name in clean.table("read", "responses").column_names if name not in ("source", "line")]
    assert clean.table("read", "responses").select(without) == again.table("read", "responses").select(without)


@pytest.fixture(scope="module")
def wide(tmp_path_factory, wide_encoder):
    """A project with short queries, and a long response with a long context.

    Of such shapes several threads round some products of matrices otherwise than one.
    """
    folder = tmp_path_factory.mktemp("wide")
    rows = make_rows(24)
    for row in rows:
        row["query"] = f"where {row['id'][-2:]}"
    longest = rows[0]
    longest["context"] = longest["context"] * 8
    for name in ("sentences", "sentence_labels"):
        longest[name] = [value for row in rows[:16] for value in row[name]]
    longest["response"] = " ".join(longest["sentences"])
    longest["response_label"] = min(longest["sentence_labels"])
    write_project(folder, wide_encoder, rows, epochs=4, training="")
    return folder


@pytest.fixture(scope="module")
def one_thread(wide):
    """The workspace after a plain run on one thread."""
    return run_with_threads(wide, 1)


def run_with_threads(folder, threads):
    """Run without an orchestrator in a process of its own with so many threads; return its workspace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", str(threads))
        process = spawn(folder, prefix=(), workspace=folder / f"threads-{threads}")
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return open_workspace(folder / f"threads-{threads}")


def test_number_of_threads(wide, one_thread):
    """Two threads make the same files as one: vectors, evidence, scores, pseudo-labels and all else."""
    expected, found = contents(one_thread), contents(run_with_threads(wide, 2))
    assert [name for name in expected if found[name] != expected[name]] == []
    assert found.keys() == expected.keys()


@pytest.mark.slow
def test_runner(wide, one_thread, tmp_path, monkeypatch):
    """Prefect on two threads computes what it is forced to, up to where it is told: the same files as a plain run.

    `--force` and `--until` on the command line do what they say.
    """
    shutil.copytree(wide, tmp_path / "project")
    expected = contents(one_thread)
    forced = ALL[:6]
    options = [word for stage in forced for word in ("--force", stage)]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    result = fractal(
        tmp_path / "project",
        "run",
        "fractal.toml",
        "--workspace",
        "threads-1",
        "--until",
        "evaluate",
        "--json",
        *options,
    )
    assert result.returncode == 0, result.stderr
    stages = json.loads(result.stdout)["stages"]
    assert [(stage["stage"], stage["reused"], stage["reason"]) for stage in stages] == [
        *((stage, False, "forced") for stage in forced),
        ("evaluate", True, "unchanged"),
    ]
    found = contents(open_workspace(tmp_path / "project" / "threads-1"))
    assert found == {name: content for name, content in expected.items() if not name.startswith("export/")}
