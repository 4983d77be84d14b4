"""`fractal export` on a real run: what is written, what it says, and what it leaves alone."""

from __future__ import annotations

import json

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from small_data import read_jsonl
from typer.testing import CliRunner

from fractal_core.cli import app
from fractal_core.errors import FractalError, StoreError, UsageError
from fractal_core.publish import exporting
from fractal_core.publish.folder import MARKER
from fractal_core.results import find_results
from fractal_core.store.workspace import open_workspace

SPLITS = ["train", "dev", "test"]


@pytest.fixture
def export(labelled, monkeypatch):
    """Export from the project's folder by the command line; return what it says in JSON, or raise its error."""
    folder, _ = labelled
    monkeypatch.chdir(folder)

    def command(output, to="parquet", *options):
        arguments = ["export", "fractal.toml", "--workspace", "ws", "--json", "--to", to, "--output", str(output)]
        result = CliRunner().invoke(app, [*arguments, *options])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return command


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _labels(labelled, run_id):
    """The rows of labels.parquet of a run, in order."""
    folder, _ = labelled
    results = find_results(open_workspace(folder / "ws"), folder / "fractal.toml", run_id=run_id)
    return [row for batch in results.labels(1_000) for row in batch.to_pylist()]


def test_parquet(labelled, export, tmp_path):
    """Each split has its rows of labels.parquet, in order; a reader of partitioned folders finds the split."""
    said = export(tmp_path / "out")
    rows = _labels(labelled, labelled[1][1])
    for split in SPLITS:
        own = [{name: value for name, value in row.items() if name != "split"} for row in rows if row["split"] == split]
        assert (
            pq.read_table(tmp_path / "out" / f"split={split}" / "labels.parquet", partitioning=None).to_pylist() == own
        )
        assert said["rows"][split] == len(own)
    source = f"'{tmp_path}/out/*/*.parquet', hive_partitioning = true"
    counts = duckdb.sql(f"SELECT split, count(*) FROM read_parquet({source}) GROUP BY split").fetchall()
    assert dict(counts) == said["rows"]


@pytest.mark.parametrize("to", ["parquet", "hf", "trl-prm", "preference"])
def test_same_bytes(export, tmp_path, to):
    """The same export has the same bytes."""
    export(tmp_path / "one" / "out", to)
    export(tmp_path / "two" / "out", to)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_data_set(labelled, export, tmp_path):
    """`datasets` opens the folder, splits and both configurations, and has the sentences and the responses."""
    from datasets import load_dataset

    export(tmp_path / "out", "hf")
    cache = str(tmp_path / "cache")
    sentences = load_dataset(str(tmp_path / "out"), cache_dir=cache)
    rows = _labels(labelled, labelled[1][1])
    assert list(sentences) == SPLITS
    for split in SPLITS:
        assert sentences[split]["text"] == [row["text"] for row in rows if row["split"] == split]
        assert sentences[split]["posterior"] == [row["posterior"] for row in rows if row["split"] == split]
    responses = load_dataset(str(tmp_path / "out"), "responses", cache_dir=cache)
    given = {row["id"]: row for row in read_jsonl(labelled[0] / "responses.jsonl")}
    found = {row["response_id"]: row for split in SPLITS for row in responses[split]}
    assert found.keys() == given.keys()
    assert {key: row["context"] for key, row in found.items()} == {key: row["context"] for key, row in given.items()}


def test_card(labelled, export, tmp_path):
    """The card has counts, balance, figures, schema and how to make it again, and names no folder of ours."""
    folder, (_, newest) = labelled
    export(tmp_path / "out", "hf", "--license", "cc-by-4.0")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    assert [part["config_name"] for part in front["configs"]] == ["sentences", "responses"]
    rows = _labels(labelled, newest)
    results = find_results(open_workspace(folder / "ws"), folder / "fractal.toml")
    metrics = results.table("metrics", ("method", "metric", "value", "rows")).to_pylist()
    assert "Aggregation: `min`" in text
    assert f"run {newest}" in text
    assert 'encoder.model = "tiny"' in text
    assert "train.epochs = 5" in text
    assert "fractal export fractal.toml --to hf --license cc-by-4.0 --output out" in text
    for split in SPLITS:
        own = [row for row in rows if row["split"] == split]
        labels = {row["response_id"]: row["response_label"] for row in own}
        positive = sum(row["pseudolabel"] for row in own) / len(own)
        share = sum(labels.values()) / len(labels)
        balance = f"| {split} | {len(labels)} | {len(labels)} | {len(own)} | {share:.1%} are 1 | {positive:.1%} are 1 |"
        assert balance in text
    assert metrics
    for figure in metrics:
        assert f" {figure['value']:.3f} |" in text, figure
        assert f" {figure['rows']:,} |" in text
    assert "No gold" not in text
    assert all(f"| `{name}` | " in text for name in rows[0] if name != "split")
    assert str(folder) not in text


def test_named_run(labelled, export, tmp_path):
    """`--run` takes the results of that run, although the configuration says something else now."""
    first, newest = labelled[1]
    assert export(tmp_path / "a")["run_id"] == newest
    said = export(tmp_path / "b", "parquet", "--run", first)
    assert said["run_id"] == first
    scores = [row["score"] for row in _labels(labelled, first) if row["split"] == "test"]
    assert pq.read_table(tmp_path / "b" / "split=test", partitioning=None)["score"].to_pylist() == scores
    assert export(tmp_path / "c", "parquet", "--set", "train.epochs=6")["run_id"] == first
    with pytest.raises(UsageError, match=f"no run nonsense.*{newest}"):
        export(tmp_path / "d", "parquet", "--run", "nonsense")


def test_stale_results(export, tmp_path):
    """Results that are not those of the configuration are not exported: a sentence says what to do."""
    with pytest.raises(
        StoreError, match=r"stage train would run \(train.epochs changed from 5 to 7\); run `fractal run fractal.toml`"
    ):
        export(tmp_path / "out", "parquet", "--set", "train.epochs=7")
    assert not (tmp_path / "out").exists()


def test_earlier_export_is_replaced(export, tmp_path):
    """An export takes the place of an earlier one, in another format too; nothing of that one is left."""
    export(tmp_path / "out")
    export(tmp_path / "out", "hf")
    names = set(_files(tmp_path / "out"))
    assert names == {
        MARKER, "README.md", *(f"{part}/{s}.parquet" for part in ("sentences", "responses") for s in SPLITS)
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_are_kept(export, tmp_path):
    """A folder with any file of somebody else is left alone, unless by force."""
    export(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = _files(tmp_path / "out")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        export(tmp_path / "out", "hf")
    assert _files(tmp_path / "out") == before
    export(tmp_path / "out", "hf", "--force")
    assert "notes.txt" not in _files(tmp_path / "out")


def test_places_that_are_never_replaced(labelled, export, tmp_path):
    """Workspace, configuration, input and the folder we are in are safe, even from --force; a file is no folder."""
    folder, _ = labelled
    (tmp_path / "file").write_text("x")
    for place in (folder, folder.parent, folder / "ws", folder / "ws" / "artefacts" / "new", tmp_path / "file"):
        with pytest.raises(UsageError, match="--output"):
            export(place, "parquet", "--force")
    assert (folder / "responses.jsonl").is_file()
    for marker in ("a/workspace.json", "b/.fractal/workspace.json"):
        path = tmp_path / marker
        path.parent.mkdir(parents=True)
        path.write_text("{}")
        with pytest.raises(UsageError, match=r"would replace the workspace"):
            export(tmp_path / marker[0], "parquet", "--force")
        assert path.is_file()


@pytest.mark.parametrize("earlier", [False, True])
def test_whole_or_not_at_all(export, tmp_path, monkeypatch, earlier):
    """If writing fails, what was there is as it was and nothing is left beside it."""
    if earlier:
        export(tmp_path / "out")
    before = _files(tmp_path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "write_card", full)
    with pytest.raises(StoreError, match="No space left"):
        export(tmp_path / "out", "hf")
    assert _files(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out"] if earlier else [])


def test_summary_is_one_line(labelled, tmp_path, monkeypatch):
    """Without --json a line says the run, the format, the folder and the rows of each split."""
    folder, (_, newest) = labelled
    monkeypatch.chdir(folder)
    arguments = ["export", "fractal.toml", "--workspace", "ws", "--to", "preference", "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    (line,) = result.stdout.splitlines()
    assert line.startswith(
        f"Exported run {newest} as preference to {tmp_path / 'out'}: a row is a pair of responses; train "
    )
    assert "Left out: " in line


def test_errors_are_for_users(export, tmp_path):
    """A threshold that is no probability is one sentence, and nothing is written."""
    with pytest.raises(FractalError, match="1.5 is no probability"):
        export(tmp_path / "out", "trl-prm", "--threshold", "1.5")
    assert list(tmp_path.iterdir()) == []
