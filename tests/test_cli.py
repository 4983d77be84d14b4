"""The command line: help with an example each, JSON for programs, exit codes, one-sentence errors."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from fractal_core.cli import app, main

COMMANDS = [
    "score", "evaluate",
    "init", "run", "plan", "query", "sql", "report", "export", "convert", "serve", "ui", "status", "gc", "doctor",
]  # fmt: skip


def fractal(*arguments, cwd=None, input_text=None):
    """Run the command line in a process of its own."""
    code = "from fractal_core.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, input=input_text,
        timeout=280, check=False,
    )  # fmt: skip


def test_all_commands_are_there():
    """The commands promised are registered."""
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_common_options(command):
    """Every command explains itself, gives an example, and takes --workspace and --json."""
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    for word in (f"fractal {command}", "Example:", "--workspace", "--json"):
        assert word in result.output
    options = [p for p in typer.main.get_command(app).commands[command].params if p.param_type_name == "option"]
    assert [p.name for p in options if not getattr(p, "help", None)] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nowhere.toml"], 2, "nowhere.toml"),
        (["plan", "fractal.toml", "--until", "tarin"], 2, "tarin"),
        (["run", "fractal.toml", "--force", "everything"], 2, "everything"),
        (["run", "fractal.toml", "--set", "train.epoch=3"], 2, "did you mean train.epochs"),
        (["plan", "fractal.toml", "--set", "input.path=missing.jsonl"], 1, "missing.jsonl"),
        (["plan", "fractal.toml", "--set", "encoder.model=missing"], 1, "missing"),
        (["query", "SELECT 1", "--workspace", "nowhere"], 1, "fractal run"),
        (["query", "SELECT 1", "--format", "xml"], 2, "xml"),
        (["query", "SELECT 1", "--format", "parquet"], 2, "--output"),
        (["export", "fractal.toml", "--to", "hf", "--output", "labels"], 1, "fractal run"),
        (["report", "fractal.toml", "--workspace", "nowhere"], 1, "fractal run"),
        (["init", "nowhere.jsonl"], 1, "nowhere.jsonl"),
        (["init", "responses.jsonl", "--aggregation", "mean"], 2, "mean"),
        (["serve", "fractal.toml"], 2, "--interval"),
        (["serve", "fractal.toml", "--interval", "60", "--cron", "0 2 * * *"], 2, "in one way"),
        (["serve", "nowhere.toml", "--interval", "60"], 2, "nowhere.toml"),
        (["status", "--workspace", "nowhere"], 1, "fractal run"),
        (["ui", "--workspace", "nowhere"], 1, "fractal run"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_errors_are_one_sentence(project, monkeypatch, capsys, arguments, code, words):
    """Wrong usage ends with code 2, everything else that fails with 1; no traceback, and the fault is named."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["fractal", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert words in error
    assert "Traceback" not in error
    if arguments != ["nonsense"]:
        assert len(error.strip().splitlines()) == 1


def test_errors_in_json(project, monkeypatch, capsys):
    """With --json an error is JSON too."""
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["fractal", "run", "nowhere.toml", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert "nowhere.toml" in json.loads(capsys.readouterr().err)["error"]


def test_init_writes_beside_the_data_and_never_over(project, monkeypatch):
    """`init` writes fractal.toml beside the data with the path filled in, and refuses to overwrite."""
    monkeypatch.chdir(project)
    (project / "fractal.toml").unlink()
    first = CliRunner().invoke(app, ["init", "responses.jsonl", "--aggregation", "max"])
    assert first.exit_code == 0
    text = (project / "fractal.toml").read_text()
    assert 'path = "responses.jsonl"' in text
    assert 'aggregation = "max"' in text
    second = CliRunner().invoke(app, ["init", "responses.jsonl"])
    assert second.exit_code != 0
    assert (project / "fractal.toml").read_text() == text


def test_plan_in_json_before_any_run(project):
    """A plan on a fresh workspace: everything runs."""
    result = fractal("plan", "fractal.toml", "--json", cwd=project)
    steps = json.loads(result.stdout)
    assert {s["decision"] for s in steps} == {"run"}
    assert {tuple(s["reasons"]) for s in steps} == {("not computed before",)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_encoder):
    """A project that has been run once through the real command line, Prefect and all; and what it printed."""
    from small_data import make_rows, write_jsonl

    folder = tmp_path_factory.mktemp("finished")
    rows = make_rows(60)
    write_jsonl(folder / "responses.jsonl", rows)
    with (folder / "responses.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "bad"}\nnot json\n')
    (folder / "fractal.toml").write_text(
        f'[input]\npath = "responses.jsonl"\n[encoder]\nmodel = {json.dumps(str(tiny_encoder))}\n[train]\nepochs = 10\n'
    )
    result = fractal("run", "fractal.toml", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.mark.slow
def test_run_prints_a_summary(finished):
    """Stages with seconds, responses, sentences, rejects by reason, AUC against gold, where the tables are, a query."""
    _, result = finished
    for words in ("60 responses", "240 sentences", "2 rejects", "rejected: 1 x", "sentence AUC-ROC on test: score",
                  "tables: .fractal (run ", "labels.parquet", "try: "):  # fmt: skip
        assert words in result.stdout
    for stage in ("read", "segment", "embed", "priors", "train", "pseudolabel", "evaluate", "export"):
        assert stage in result.stdout


@pytest.mark.slow
def test_unchanged_run_starts_no_orchestrator_and_is_quick(finished):
    """Nothing stale: no Prefect, no torch, a few seconds even on a busy machine, and it says so."""
    folder, _ = finished
    started = time.perf_counter()
    result = fractal("run", "fractal.toml", cwd=folder)
    seconds = time.perf_counter() - started
    assert "Nothing is stale" in result.stdout
    assert "Prefect" not in result.stderr
    assert seconds < 15
    code = (
        "import sys; sys.argv=['fractal','run','fractal.toml','--json']\n"
        "from fractal_core.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy=[m for m in ('prefect','torch','transformers','faiss','polars') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    check = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert check.returncode == 0, check.stderr
    assert {stage["reused"] for stage in json.loads(check.stdout)["stages"]} == {True}


@pytest.mark.slow
def test_query_and_sql(finished):
    """Formats, files, standard input and the prompt on a pipe."""
    folder, _ = finished
    count = fractal("query", "SELECT count(*) AS n FROM latest.sentences", "--json", cwd=folder)
    assert json.loads(count.stdout) == [{"n": 240}]
    piped = fractal("query", "-", "--format", "csv", cwd=folder, input_text="SELECT 1 AS a")
    assert piped.stdout == "a\n1\n"
    fractal("query", "SELECT * FROM latest.scores", "-f", "parquet", "-o", "out.parquet", cwd=folder)
    assert (folder / "out.parquet").is_file()
    inside = fractal("query", "SELECT 1 AS a", "-f", "csv", "-o", ".fractal/manifests/x.json", cwd=folder)
    assert inside.returncode == 2
    assert not (folder / ".fractal/manifests/x.json").exists()
    prompt = fractal("sql", cwd=folder, input_text="SELECT 1 AS a;\nSELECT\n2 AS b;\nSELECT nonsense;\nSELECT 3 AS c;")
    assert prompt.returncode == 1
    assert all(name in prompt.stdout for name in "abc")
    assert "nonsense" in prompt.stderr


@pytest.mark.slow
def test_doctor_finds_what_is_wrong(finished):
    """A sound workspace is ok; a flipped byte is found by --deep, with the file's name and exit code 1."""
    folder, _ = finished
    assert fractal("doctor", "--deep", cwd=folder).returncode == 0
    victim = next((folder / ".fractal/artefacts").glob("segment-*/sentences.parquet"))
    content = victim.read_bytes()
    victim.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    result = fractal("doctor", "--deep", cwd=folder)
    victim.write_bytes(content)
    assert result.returncode == 1
    assert str(victim) in result.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file here that is always full")
def test_what_cannot_be_printed_is_no_defect():
    """A full disk behind standard output is one sentence that says what to do, and exit code 1."""
    code = "from fractal_core.cli import main; main()"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code, "--help"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("error: What this command prints cannot be written where it goes; make room")
    assert len(done.stderr.splitlines()) == 1
