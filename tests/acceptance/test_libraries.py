"""The libraries that a stage declares are those that its modules import, and no other counts."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fractal_core
from fractal_core.pipeline import STAGES
from fractal_core.store.code import code_digests

# How many threads compute, not what.
HARMLESS = {"threadpoolctl"}
# What another library of the stage computes with.
UNSEEN = {"tokenizers": "transformers"}
# Distributions of the same package, one of which is installed.
EITHER = {"faiss-cpu", "faiss-gpu"}


def runtime_imports(path):
    """Top-level names of everything a module imports, but for type checking."""
    waiting = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        waiting.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def imported_distributions(stage):
    """Distributions of the packages that the modules of a stage import."""
    names = {name for module in code_digests(stage.module) for name in runtime_imports(Path(find_spec(module).origin))}
    known = packages_distributions()
    outside = names - {"fractal_core", *sys.stdlib_module_names}
    return {distribution.lower() for name in outside for distribution in known[name]}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_declared_libraries_are_those_imported(stage):
    """Nothing that can change a result is left out, and nothing else would make the stage stale."""
    expected = imported_distributions(stage) - HARMLESS
    expected |= {name for name, through in UNSEEN.items() if through in expected}
    assert sorted(stage.libraries) == sorted(expected | (EITHER if expected & EITHER else set()))


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_no_stage_imports_by_name(stage):
    """An import that no import statement names would be seen neither as code nor as a library."""
    for module in code_digests(stage.module):
        if module == "fractal_core":  # the way in for others, which imports when it is asked for a name
            assert fractal_core.__all__ == ["Scorer"]
            continue
        text = Path(find_spec(module).origin).read_text(encoding="utf-8")
        for way in ("import_module(", "__import__(", "spec_from_file_location(", "exec(", "find_spec("):
            assert way not in text, module


def test_declared_libraries_are_requirements_of_the_project():
    """Each is installed with fractal, by itself or by an extra, or through one that is."""
    names = {Requirement(text).name.lower() for text in requires("fractal") or []}
    declared = {name for stage in STAGES for name in stage.libraries}
    assert declared - names <= UNSEEN.keys()
