"""Damaged files are found when they are used, named in one sentence, computed again, and never half read."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import pyarrow as pa
import pytest
from damaging import FILES, delete, empty, file_of, flip, footer_of, truncate
from typer.testing import CliRunner

from fractal_core.catalog.connection import connect
from fractal_core.cli import app
from fractal_core.doctor import examine
from fractal_core.errors import StoreError
from fractal_core.planning import make_plan
from fractal_core.store import artefact as artefact_module
from fractal_core.store import verifying
from fractal_core.store.artefact import DamagedArtefactError, find_artefact
from fractal_core.store.manifest import Manifest, manifest_path
from fractal_core.store.workspace import open_workspace

SIZES = [truncate, empty, delete]


def _is_one_sentence(error):
    return len(str(error).splitlines()) == 1 and str(error).endswith(".") and "Traceback" not in str(error)


@pytest.mark.parametrize("damage", SIZES)
@pytest.mark.parametrize("file", FILES)
def test_wrong_size_is_found_on_use(finished, file, damage):
    """A file that is too short, empty or gone: queries leave it out, a run names it and computes its stage alone."""
    runner, files = finished
    stage, name = FILES[file]
    path = file_of(runner, stage, name)
    damage(path)
    warnings = []
    connect(runner.workspace, warnings.append)
    assert [str(path) in text for text in warnings] == [True]
    assert runner.run() == [stage]
    (reason,) = [record.reason for record in runner.last.record.stages if not record.reused]
    assert re.fullmatch(rf"{re.escape(str(path))} (is missing|has \d+ bytes, its manifest says \d+)", reason)
    assert runner.bytes() == files
    assert runner.run() == []


@pytest.mark.parametrize("damage", [*SIZES, flip])
@pytest.mark.parametrize("stage", ["read", "train"])
def test_damaged_manifest_is_found_on_use(finished, stage, damage):
    """A manifest that is too short, empty, gone or not as it was written: the same, and doctor names it."""
    runner, files = finished
    path = manifest_path(runner.workspace, stage, runner.fingerprints[stage])
    damage(path)
    warnings = []
    connect(runner.workspace, warnings.append)
    said = "its manifest is missing" if damage is delete else f"{path} is damaged"
    assert [f"stage {stage}" in text and said in text for text in warnings] == [True]
    broken = [finding.text for finding in examine(runner.workspace.root) if finding.level == "broken"]
    assert [str(path) in text for text in broken] == ([] if damage is delete else [True])
    (reasons,) = [step.reasons for step in make_plan(runner.workspace, runner.config()) if step.decision == "run"]
    assert runner.run() == [stage]
    (reason,) = [record.reason for record in runner.last.record.stages if not record.reused]
    assert reasons == (reason,)
    assert reason == "its artefact is gone" if damage is delete else reason.startswith(f"{path} is damaged")
    assert runner.bytes() == files


def test_any_flipped_bit_of_a_manifest_is_found(finished):
    """A manifest with a flipped bit is none, or says the same as before."""
    runner, _ = finished
    path = manifest_path(runner.workspace, "segment", runner.fingerprints["segment"])
    content = path.read_bytes()
    manifest = Manifest.from_json(content)
    for bit in range(0, 8 * len(content), 31):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        found = find_artefact(runner.workspace, "segment", runner.fingerprints["segment"])
        assert found is None or found.manifest == manifest


@pytest.mark.parametrize("checked_before", [False, True])
def test_any_flipped_bit_of_a_table_is_found_by_reading_it(finished, monkeypatch, checked_before):
    """A table with a flipped bit, of a page or of the footer, is not read: what is damaged is named and withdrawn.

    If the bit flips after the file was checked, pages have checksums of their own, and of a footer that cannot be read
    the same is said.
    """
    runner, _ = finished
    artefact = find_artefact(runner.workspace, "segment", runner.fingerprints["segment"])
    path, manifest = artefact.path("sentences"), manifest_path(runner.workspace, "segment", artefact.fingerprint)
    content, rows, committed = path.read_bytes(), artefact.table("sentences"), manifest.read_bytes()
    columns, footer = ("response_id", "text"), footer_of(path)
    readers = [
        lambda: artefact.table("sentences"),
        lambda: pa.Table.from_batches(artefact.batches("sentences", columns, 7)),
        lambda: artefact.group("sentences", columns, 0) if artefact.group_rows("sentences") == [96] else None,
    ]
    if checked_before:
        monkeypatch.setattr(artefact_module, "has_content", lambda path, sha256: True)
    said = f"{path} has other content than its manifest says; run again, and stage segment computes it anew."
    failed = []
    for turn, bit in enumerate(range(0, 8 * len(content), 101)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        reader = turn % len(readers)
        with suppress(DamagedArtefactError):
            found = readers[reader]()
            assert checked_before
            assert bit // 8 >= footer or found.equals(rows if reader == 0 else rows.select(columns))
            continue
        assert find_artefact(runner.workspace, "segment", artefact.fingerprint).damage() in said
        with pytest.raises(DamagedArtefactError) as caught:
            readers[reader]()
        assert (str(caught.value), caught.value.origin) == (said, "segment")
        manifest.write_bytes(committed)
        failed.append(bit // 8)
    if not checked_before:
        assert len(failed) == turn + 1
    assert sum(place < footer for place in failed) > 100
    assert sum(place >= footer for place in failed) > 20


@pytest.mark.parametrize("file", FILES)
def test_flipped_bit_is_found_by_doctor(finished, file):
    """Sizes do not tell; `doctor --deep` does, names the file, and the next run computes its stage alone."""
    runner, files = finished
    stage, name = FILES[file]
    path = file_of(runner, stage, name)
    flip(path)
    assert [finding for finding in examine(runner.workspace.root) if finding.level == "broken"] == []
    result = CliRunner().invoke(app, ["doctor", "--deep", "--workspace", str(runner.workspace.root), "--json"])
    broken = [finding["text"] for finding in json.loads(result.stdout) if finding["level"] == "broken"]
    assert broken == [f"{path} has other content than its manifest says; the next run that needs it computes it again"]
    assert result.exit_code == 1
    assert runner.run() == [stage]
    assert runner.bytes() == files
    assert [finding for finding in examine(runner.workspace.root, deep=True) if finding.level == "broken"] == []


def test_content_is_digested_once_in_a_process(finished, monkeypatch):
    """What a run has just written is not read again to be digested; what it finds is, once."""
    runner, _ = finished
    digested = []
    monkeypatch.setattr(
        verifying, "file_digest", lambda path, digest=verifying.file_digest: digested.append(path.name) or digest(path)
    )
    runner.run("train.epochs=4")
    assert sorted(digested) == sorted({*digested})
    assert {"responses.parquet", "sentences.parquet", "embeddings.parquet", "evidence.parquet"} <= {*digested}
    assert not {"scorer.safetensors", "student.safetensors", "scores.parquet"} & {*digested}
    digested.clear()
    runner.run("train.epochs=5")
    assert digested == []


@pytest.mark.parametrize("content", ["", "{", '{"version"', "[]", '{"version": 0}', '{"version": "1"}', "\xff\xfe"])
def test_damaged_workspace_file_says_how_to_repair_it(finished, content):
    """One sentence that says what to delete; doing so gives the workspace back, with all that is in it."""
    runner, _ = finished
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


def test_workspace_of_a_newer_version_is_left_alone(finished):
    """It may be that, or a flipped bit: the sentence says what to do in either case."""
    runner, _ = finished
    (runner.workspace.root / "workspace.json").write_text('{"version": 3}')
    with pytest.raises(
        StoreError, match="has version 3, this fractal knows up to 1; update fractal .* delete"
    ) as caught:
        open_workspace(runner.workspace.root)
    assert _is_one_sentence(caught.value)
