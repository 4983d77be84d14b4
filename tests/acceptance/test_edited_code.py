"""An edit that can change a result computes the stages that reach it and what depends on them; any other, nothing."""

from __future__ import annotations

import ast
import os

import pytest
from edited_package import EditedRuns

from fractal_core.pipeline import STAGES

WRAPPED = """

_before_the_edit = {name}


def {name}(*arguments, **options):
    result = _before_the_edit(*arguments, **options)
    return {value}
"""
REST = ["train", "pseudolabel", "evaluate", "export"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, and runs by it."""
    copy = EditedRuns(tmp_path_factory.mktemp("package"))
    yield copy
    copy.close()


@pytest.fixture
def rewrite(package):
    """Change a module of the copy by a function of its text; put back after the test, or by calling what it returns."""
    before = {}

    def _rewrite(path, change):
        text = path.read_text(encoding="utf-8")
        before[path] = (text, path.stat())
        changed = change(text)
        assert changed != text
        path.write_text(changed, encoding="utf-8")

    def put_back():
        for path, (text, stat) in before.items():
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    _rewrite.revert = put_back
    yield _rewrite
    put_back()


def other_layout(text):
    """Give a module other comments, docstrings and formatting: its own are lost when it is parsed and written."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Expr(ast.Constant("Something else."))
    return f"# A comment.\n{ast.unparse(tree)}\n# Another.\n"


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_layout_of_a_stage_is_no_code(again, package, rewrite, stage):
    """Other comments, docstrings and formatting in the stage's own module: nothing runs."""
    rewrite(package.path(stage.module), other_layout)
    assert package.run(again.folder) == {}


def test_layout_of_the_whole_package_is_no_code(again, package, rewrite):
    """The same in every module at once."""
    for path in package.paths():
        rewrite(path, other_layout)
    assert package.run(again.folder) == {}


# Module, function, what it returns after the edit, and what is computed.
EDITS = [
    ("text.splits", "group_name", "'edited ' + result", ["read", *REST]),
    ("text.boundaries", "sentence_spans", "[(result[0][0], result[-1][1])]", ["segment", "embed", "priors", *REST]),
    ("evidence.numbers", "numbers_in", "result[1:]", ["embed", "priors", *REST]),
    ("priors.similarity", "similarity_prior", "result / 2", ["priors", *REST]),
    ("priors.correlation", "response_correlation", "result / 2", ["priors"]),
    ("mil.calibration", "calibrate", "{**result, 'bias': result['bias'] + 0.25}", REST),
    ("mil.answers", "answer", "type(result)(**{**vars(result), 'posterior': result.posterior / 2})", REST[1:]),
    ("mil.explaining", "contribution_rows", "(rows.slice(1) for rows in result)", ["pseudolabel"]),
    ("evaluation.metrics", "auc_roc", "result / 2", ["evaluate"]),
]


@pytest.mark.parametrize(("module", "function", "value", "ran"), EDITS, ids=[edit[0] for edit in EDITS])
def test_edit_of_a_helper_computes_what_depends_on_it(again, package, rewrite, module, function, value, ran):
    """The stages that reach the helper run, naming it, then those that read what came out otherwise."""
    code = WRAPPED.format(name=function, value=value)
    rewrite(package.path(f"fractal_core.{module}"), lambda text: text + code)
    reasons = package.run(again.folder)
    assert list(reasons) == ran
    assert reasons[ran[0]] == f"module fractal_core.{module} changed"


def test_reverted_edit_computes_nothing(again, package, rewrite):
    """What the code made before it was edited is found again; and so is what the edited code made."""
    path = package.path("fractal_core.evidence.numbers")
    code = WRAPPED.format(name="numbers_in", value="result[1:]")
    rewrite(path, lambda text: text + code)
    assert list(package.run(again.folder)) == ["embed", "priors", *REST]
    rewrite.revert()
    assert package.run(again.folder) == {}
    rewrite(path, lambda text: text + code)
    assert package.run(again.folder) == {}


@pytest.mark.parametrize(
    ("module", "ran"),
    [
        ("text.boundaries", ["segment", "embed", "train", "pseudolabel"]),
        ("mil.finetune.heads", ["train"]),
        ("publish.labels", ["export"]),
        ("errors", ["read", "embed", "priors", "train", "pseudolabel", "evaluate"]),
    ],
)
def test_edit_without_effect_stops_there(again, package, rewrite, module, ran):
    """Every stage that reaches the module runs, makes the same bytes, and nothing after it runs for that."""
    rewrite(package.path(f"fractal_core.{module}"), lambda text: text + "\n_NOBODY_READS_THIS = 1\n")
    assert package.run(again.folder) == dict.fromkeys(ran, f"module fractal_core.{module} changed")


def test_edit_outside_of_the_stages_computes_nothing(again, package, rewrite):
    """What no stage imports is the code of none: configuration, store, pipeline, command line, baselines."""
    for module in ("config", "tables", "pipeline", "store.materialize", "cli", "evaluation.baselines.paper"):
        rewrite(package.path(f"fractal_core.{module}"), lambda text: text + "\n_NOBODY_READS_THIS = 1\n")
    assert package.run(again.folder) == {}
