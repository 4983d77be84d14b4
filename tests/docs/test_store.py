"""docs/store.md names what is there: files, modules, fault points, tests, commands and tables; its counts are right."""

from __future__ import annotations

import ast
import re
from itertools import chain

import pytest
import typer.main
from doc_blocks import ROOT, fenced, read_document

from fractal_core.catalog import finding
from fractal_core.cli import app
from fractal_core.config import RunConfig
from fractal_core.config_keys import known_keys
from fractal_core.pipeline import STAGE_NAMES
from fractal_core.store import shelf, sources, using
from fractal_core.store.workspace import Workspace
from fractal_core.tables import STAGES, TABLES

STORE = read_document("docs/store.md")
OURS = STORE.split("\n## Other tools")[0]
CODE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", OURS, flags=re.DOTALL))


def _tree(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def _constant(path, name):
    """Return the value of a constant of a module, which is not imported."""
    values = [
        node.value
        for node in _tree(path).body
        if isinstance(node, ast.Assign) and [target.id for target in node.targets] == [name]
    ]
    return ast.literal_eval(values[0])


def _points():
    """Return (where, point) of every call of `reach`, with a * for what is not written out there."""
    found = set()
    for path in sorted((ROOT / "fractal_core").rglob("*.py")):
        for node in ast.walk(_tree(path.relative_to(ROOT))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reach":
                found.add(tuple(part.value if isinstance(part, ast.Constant) else "*" for part in node.args))
    return found


@pytest.mark.parametrize("name", sorted({name for name in CODE if re.fullmatch(r"[\w/]+(\.py|/\w+)", name)}))
def test_files_and_modules_are_there(name):
    """From the root of the repository; a module without a folder is one of the store."""
    assert (ROOT / ("" if "/" in name else "fractal_core/store") / name).exists()


def test_tests_are_named_where_they_prove_a_statement():
    """Every test file of the store's promises is named, and none that is named is empty."""
    named = {name for name in CODE if name.startswith("tests/")}
    assert len(named) > 12
    for name in named:
        path, _, test = name.partition("::")
        functions = [node.name for node in _tree(path).body if isinstance(node, ast.FunctionDef)]
        assert [function for function in functions if function.startswith(test or "test_")]
    promises = ("damage", "damaged_query", "disk", "failed_runs", "faults", "gc", "incremental", "increments", "killed",
                "orphans", "placing", "repair", "two_processes")  # fmt: skip
    assert {f"tests/acceptance/test_{name}.py" for name in promises} <= named


def test_fault_points_are_those_of_the_code():
    """Every point that is named is reached somewhere, and every one of a stage is named and killed at."""
    points = _points()
    of_stages = {point for where, point in points if where == "*" and point not in ("temporary", "*")}
    sentence = next(line for line in OURS.splitlines() if "`FRACTAL_FAULT`" in line)
    named = re.findall(r"`([^`]+)`", sentence.split("as in")[0])
    assert {*named} - {"FRACTAL_FAULT", "faults.py", "temporary"} == of_stages - {"probe"}
    for name in re.findall(r"`([^`]+)`", sentence):
        where, _, point = name.rpartition(":")
        assert not where or {(where, point), ("*", point), (where, "*")} & points, name
    killed_at = {text.split(":")[1] for text in _constant("tests/acceptance/test_faults.py", "POINTS").values()}
    assert killed_at == of_stages - {"probe"} | {"temporary"}


def test_commands_and_options_are_there():
    """Every `fractal COMMAND --option` is one."""
    commands = typer.main.get_command(app).commands
    named = [words.split() for words in CODE if re.match(r"fractal \w", words)]
    assert len(named) > 15
    for _, command, *rest in named:
        assert command in commands
        options = set(chain.from_iterable(option.opts for option in commands[command].params))
        assert {word for word in rest if word.startswith("--")} <= options
    everywhere = set(chain.from_iterable(option.opts for each in commands.values() for option in each.params))
    assert {word.split()[0] for word in CODE if word.startswith("--")} <= everywhere


def test_workspace_is_as_shown():
    """The names in the picture of a workspace are those the code uses."""
    (picture,) = [block for language, block in fenced(OURS) if block.startswith(".fractal/")]
    names = {word.split("/")[0] for line in picture.splitlines()[1:] for word in line[2:32].split() if line[2] != " "}
    workspace = Workspace(ROOT)
    folders = (workspace.artefacts, workspace.manifests, workspace.runs, workspace.locks, workspace.tmp)
    expected = {path.name for path in (*folders, workspace.prefect)}
    assert names == expected | {using.NAME, sources.MEMORY, finding.MEMORY, shelf.NAME, "workspace.json"}


def test_stages_tables_columns_and_keys_are_there():
    """Stages in their order, tables and columns that are named, keys and sections of the configuration."""
    assert f"eight stages in order: {', '.join(STAGE_NAMES)}." in OURS
    assert len(STAGE_NAMES) == 8
    for name in re.findall(r"\btable `(\w+)`", OURS):
        assert name in {**TABLES, STAGES.name: STAGES, "runs": None}
    columns = {column.name for table in (*TABLES.values(), STAGES) for column in table.columns}
    assert {*re.findall(r"[Cc]olumns? `(\w+)`", OURS), *re.findall(r"in the columns `(\w+)`", OURS)} <= columns
    assert {name for name in re.findall(r"`\[(\w+)\]", OURS)} <= {*RunConfig.model_fields}
    sections = "|".join(RunConfig.model_fields)
    keys = {key for key in re.findall(rf"`((?:{sections})\.\w+)`", OURS) if f"`{key}` does not exist yet" not in OURS}
    assert {key for key in keys if not key.endswith((".py", ".json", ".jsonl", ".parquet"))} <= {*known_keys(RunConfig)}


def test_counts_are_those_of_the_tests():
    """Seven points, four other files, a hundred kills, sixteen runs, and the bounds of a query."""
    faults = "tests/acceptance/test_faults.py"
    assert ("seven points of each of eight stages" in OURS) == (len(_constant(faults, "POINTS")) == 7)
    assert ("four other files" in OURS) == (len(_constant(faults, "OTHER_FILES")) == 4)
    assert ("a hundred kills" in OURS) == (_constant(faults, "KILLS") == 100)
    assert "for turn in range(16)" in (ROOT / "tests/acceptance/test_gc.py").read_text(encoding="utf-8")
    assert "beside sixteen runs" in OURS
    assert f"Up to {finding.ALWAYS_BYTES // 1_000_000} MB" in OURS
    assert "after three repairs" in OURS
    assert _constant("fractal_core/labelling.py", "_MOST_REPAIRS") == 3


def test_links_lead_somewhere():
    """Within the document."""
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in STORE.splitlines()
                if line.startswith("#")}  # fmt: skip
    links = re.findall(r"\]\(#([\w-]+)\)", STORE)
    assert links
    assert {*links} <= headings
