"""The layout of DESIGN.md holds: imports run one way, no cycles, stages do not depend on configuration code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fractal_core.pipeline import STAGES
from fractal_core.store.code import code_digests

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {"fractal_core": 0, "tasks": 1, "flows": 2}
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, *, top_level_only: bool) -> set[str]:
    """Modules of the project that a module imports, leaving out imports for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes: list[ast.AST] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        nodes.append(node)
        if not (top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            waiting.extend(ast.iter_child_nodes(node))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    known = {_name(module) for module in MODULES}
    return {name for name in found if name in known}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_run_one_way(path):
    """Cli -> flows -> tasks -> fractal_core: no module imports from a layer above its own, but for the command line."""
    if _name(path).startswith(("fractal_core.cli", "fractal_core.commands")):
        return
    own = LAYERS[_name(path).split(".")[0]]
    above = {name for name in _imports(path, top_level_only=False) if LAYERS[name.split(".")[0]] > own}
    assert above == set()


def test_no_import_cycles():
    """The modules can be put in an order in which each imports only earlier ones."""
    graph = {_name(path): _imports(path, top_level_only=True) - {_name(path)} for path in MODULES}
    while graph:
        free = {name for name, needs in graph.items() if not needs & graph.keys()}
        assert free, f"cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_stage_code_leaves_out_configuration_and_store(stage):
    """A stage's code does not reach config, tables or store: editing those must not make its results stale."""
    reached = code_digests(stage.module)
    forbidden = [n for n in reached if n in ("fractal_core.config", "fractal_core.tables") or ".store." in n]
    assert forbidden == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_are_short(path):
    """One concept a module: none is over 300 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_stage_reads_are_written_upstream():
    """Every input a stage declares is written by an earlier stage."""
    made: set[str] = set()
    for stage in STAGES:
        assert {*stage.reads, *stage.reads_files} <= made
        made |= {f"{stage.name}.{name}" for name in (*stage.writes, *stage.files)}


def test_no_unsafe_loading():
    """Nothing is unpickled and no remote code is trusted."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "trust_remote_code=True", "joblib", "allow_pickle=True"):
            assert word not in text, f"{path}: {word}"
