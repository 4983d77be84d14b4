"""Damaged files are found when they are used, named in one sentence, computed again, and never half read."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from small_data import make_rows, write_project
from typer.testing import CliRunner

from fractal_core.catalog.connection import connect
from fractal_core.cli import app
from fractal_core.doctor import examine
from fractal_core.errors import StoreError
from fractal_core.store import checking
from fractal_core.store.artefact import Manifest, find_artefact, manifest_path
from fractal_core.store.workspace import open_workspace

FILES = {
    "sentences": ("segment", "sentences.parquet"),
    "embeddings": ("embed", "embeddings.parquet"),
    "weights": ("train", "scorer.safetensors"),
    "export": ("export", "labels.parquet"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny_encoder, runner_in):
    """A small project, run, and the content of its files."""
    folder = tmp_path_factory.mktemp("whole") / "project"
    folder.mkdir()
    write_project(folder, tiny_encoder, make_rows(24), epochs=3)
    runner = runner_in(folder)
    runner.run()
    return runner, runner.bytes()


@pytest.fixture
def copy(whole, runner_in, tmp_path):
    """A runner over a copy of it, and the content that its files should have."""
    runner, files = whole
    folder = tmp_path / "project"
    shutil.copytree(runner.folder, folder)
    again = runner_in(folder)
    again.fingerprints = {name: artefact.fingerprint for name, artefact in runner.last.artefacts.items()}
    return again, files


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def _empty(path):
    path.write_bytes(b"")


def _delete(path):
    path.unlink()


def _flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 4
    path.write_bytes(bytes(content))


SIZES = [_truncate, _empty, _delete]


def _path(runner, stage, name):
    return find_artefact(runner.workspace, stage, runner.fingerprints[stage]).folder / name


def _is_one_sentence(error):
    return len(str(error).splitlines()) == 1 and str(error).endswith(".") and "Traceback" not in str(error)


@pytest.mark.parametrize("damage", SIZES)
@pytest.mark.parametrize("file", FILES)
def test_wrong_size_is_found_on_use(copy, file, damage):
    """A file that is too short, empty or gone: queries leave it out, a run names it and computes its stage alone."""
    runner, files = copy
    stage, name = FILES[file]
    path = _path(runner, stage, name)
    damage(path)
    warnings = []
    connect(runner.workspace, warnings.append)
    assert [str(path) in text for text in warnings] == [True]
    assert runner.run() == [stage]
    (reason,) = [record.reason for record in runner.last.record.stages if not record.reused]
    assert re.fullmatch(rf"{re.escape(str(path))} (is missing|has \d+ bytes, its manifest says \d+)", reason)
    assert runner.bytes() == files
    assert runner.run() == []


@pytest.mark.parametrize("damage", [*SIZES, _flip])
@pytest.mark.parametrize("stage", ["read", "train"])
def test_damaged_manifest_is_found_on_use(copy, stage, damage):
    """A manifest that is too short, empty, gone or not as it was written: the same, and doctor names it."""
    runner, files = copy
    path = manifest_path(runner.workspace, stage, runner.fingerprints[stage])
    damage(path)
    warnings = []
    connect(runner.workspace, warnings.append)
    assert [f"stage {stage}" in text and "manifest" in text for text in warnings] == [True]
    broken = [finding.text for finding in examine(runner.workspace.root) if finding.level == "broken"]
    assert [str(path) in text for text in broken] == ([] if damage is _delete else [True])
    assert runner.run() == [stage]
    (reason,) = [record.reason for record in runner.last.record.stages if not record.reused]
    assert reason == "its artefact is gone" if damage is _delete else reason.startswith(f"{path} is damaged")
    assert runner.bytes() == files


def test_any_flipped_bit_of_a_manifest_is_found(copy):
    """A manifest with a flipped bit is none, or says the same as before."""
    runner, _ = copy
    path = manifest_path(runner.workspace, "segment", runner.fingerprints["segment"])
    content = path.read_bytes()
    manifest = Manifest.from_json(content)
    for bit in range(0, 8 * len(content), 31):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        found = find_artefact(runner.workspace, "segment", runner.fingerprints["segment"])
        assert found is None or found.manifest == manifest


def test_any_flipped_bit_of_a_page_is_found_by_reading_it(copy):
    """A table with a flipped bit cannot be read, or has the rows it had; what is damaged is named and withdrawn."""
    runner, _ = copy
    artefact = find_artefact(runner.workspace, "segment", runner.fingerprints["segment"])
    path, manifest = artefact.path("sentences"), manifest_path(runner.workspace, "segment", artefact.fingerprint)
    content, rows, committed = path.read_bytes(), artefact.table("sentences"), manifest.read_bytes()
    pages = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    failed = []
    for bit in range(0, 8 * pages, 101):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        try:
            assert artefact.table("sentences").equals(rows)
        except StoreError as error:
            failed.append(str(error))
        else:
            continue
        assert find_artefact(runner.workspace, "segment", artefact.fingerprint).damage() in failed[-1]
        manifest.write_bytes(committed)
    assert len(failed) > 100
    said = f"{path} has other content than its manifest says; run again, and stage segment computes it anew."
    assert {*failed} == {said}


@pytest.mark.parametrize("file", FILES)
def test_flipped_bit_is_found_by_doctor(copy, file):
    """Sizes do not tell; `doctor --deep` does, names the file, and the next run computes its stage alone."""
    runner, files = copy
    stage, name = FILES[file]
    path = _path(runner, stage, name)
    _flip(path)
    assert [finding for finding in examine(runner.workspace.root) if finding.level == "broken"] == []
    result = CliRunner().invoke(app, ["doctor", "--deep", "--workspace", str(runner.workspace.root), "--json"])
    broken = [finding["text"] for finding in json.loads(result.stdout) if finding["level"] == "broken"]
    assert broken == [f"{path} has other content than its manifest says; the next run that needs it computes it again"]
    assert result.exit_code == 1
    assert runner.run() == [stage]
    assert runner.bytes() == files
    assert [finding for finding in examine(runner.workspace.root, deep=True) if finding.level == "broken"] == []


@pytest.mark.parametrize(
    ("damaged", "name", "reader"),
    [
        ("read", "responses.parquet", "segment"),
        ("embed", "embeddings.parquet", "train"),
        ("train", "scorer.safetensors", "pseudolabel"),
        ("pseudolabel", "student.safetensors", "evaluate"),
    ],
)
def test_flipped_bit_is_found_before_it_is_used(copy, damaged, name, reader):
    """A stage does not start on what is not as it was written: one sentence; the next run computes that again."""
    runner, files = copy
    path = _path(runner, damaged, name)
    _flip(path)
    with pytest.raises(StoreError, match=f"Stage {reader} cannot use its input") as caught:
        runner.run(force=(reader,))
    assert _is_one_sentence(caught.value)
    assert f"{path} has other content than its manifest says" in str(caught.value)
    assert reader not in runner.last.artefacts
    assert runner.run(force=(reader,)) == [damaged, reader]
    assert runner.bytes() == files


def test_content_is_digested_once_in_a_process(copy, monkeypatch):
    """What a run has just written is not read again to be digested; what it finds is, once."""
    runner, _ = copy
    digested = []
    monkeypatch.setattr(
        checking, "file_digest", lambda path, digest=checking.file_digest: digested.append(path.name) or digest(path)
    )
    runner.run("train.epochs=4")
    assert sorted(digested) == sorted({*digested})
    assert {"responses.parquet", "sentences.parquet", "embeddings.parquet", "evidence.parquet"} <= {*digested}
    assert not {"scorer.safetensors", "student.safetensors", "scores.parquet"} & {*digested}
    digested.clear()
    runner.run("train.epochs=5")
    assert digested == []


@pytest.mark.parametrize("content", ["", "{", '{"version"', "[]", '{"version": 0}', '{"version": "1"}', "\xff\xfe"])
def test_damaged_workspace_file_says_how_to_repair_it(copy, content):
    """One sentence that says what to delete; doing so gives the workspace back, with all that is in it."""
    runner, _ = copy
    marker = runner.workspace.root / "workspace.json"
    marker.write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match="delete") as caught:
        open_workspace(runner.workspace.root)
    assert _is_one_sentence(caught.value)
    assert str(marker) in str(caught.value)
    marker.unlink()
    with pytest.raises(StoreError, match="writes it again and keeps what is there"):
        open_workspace(runner.workspace.root, create=False)
    assert open_workspace(runner.workspace.root) == runner.workspace
    assert runner.run() == []


def test_workspace_of_a_newer_version_is_left_alone(copy):
    """It may be that, or a flipped bit: the sentence says what to do in either case."""
    runner, _ = copy
    (runner.workspace.root / "workspace.json").write_text('{"version": 3}')
    with pytest.raises(
        StoreError, match="has version 3, this fractal knows up to 1; update fractal .* delete"
    ) as caught:
        open_workspace(runner.workspace.root)
    assert _is_one_sentence(caught.value)
