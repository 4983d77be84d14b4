"""What counts as a stage's code."""

from __future__ import annotations

import ast

import pytest

from fractal_core.store import code
from fractal_core.store.code import code_digests

HELPER = '"""Doc."""\n\n\ndef double(x: int) -> int:\n    """Twice."""\n    return 2 * x  # twice\n'
STAGE = "from fractal_core.helper import double\n\n\ndef stage() -> int:\n    return double(1)\n"


@pytest.fixture
def package(tmp_path):
    """A package with a stage that imports a helper, and a module nobody imports."""
    root = tmp_path / "fractal_core"
    root.mkdir()
    (root / "__init__.py").write_text("")
    (root / "helper.py").write_text(HELPER)
    (root / "stage.py").write_text(STAGE)
    (root / "other.py").write_text("X = 1\n")
    return root


def _digests(root):
    return code_digests("fractal_core.stage", root)


def test_reaches_imports_only(package):
    """The stage's module and its imports count; others do not."""
    assert list(_digests(package)) == ["fractal_core", "fractal_core.helper", "fractal_core.stage"]


@pytest.mark.parametrize(
    "edited",
    [
        HELPER.replace("# twice", "# two times"),
        HELPER.replace('"""Twice."""', '"""Two times x."""'),
        HELPER.replace('"""Doc."""', ""),
        HELPER.replace("return 2 * x", "return (\n        2 * x\n    )"),
        HELPER.replace(
            "\n\n\ndef",
            "\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import fractal_core.other\n\n\ndef",
            1,
        ).replace("from typing import TYPE_CHECKING\n", ""),
    ],
    ids=["comment", "docstring", "no module docstring", "formatting", "type-checking import"],
)
def test_irrelevant_edit_changes_nothing(package, edited):
    """Comments, docstrings and formatting are no code; what only a type checker imports is not followed."""
    before = _digests(package)
    (package / "helper.py").write_text(edited)
    after = _digests(package)
    assert "fractal_core.other" not in after
    if "TYPE_CHECKING" not in edited:
        assert after == before


def test_helper_edit_is_seen(package):
    """An edit in a helper changes the helper's digest and no other."""
    before = _digests(package)
    (package / "helper.py").write_text(HELPER.replace("2 * x", "3 * x"))
    after = _digests(package)
    assert {name for name in after if after[name] != before[name]} == {"fractal_core.helper"}


def test_packages_of_the_stage_are_its_code(package):
    """Importing the stage's module executes the packages that it is in."""
    (package / "inner").mkdir()
    (package / "inner" / "__init__.py").write_text("X = 1\n")
    (package / "inner" / "stage.py").write_text("def stage():\n    return 1\n")
    found = code_digests("fractal_core.inner.stage", package)
    assert list(found) == ["fractal_core", "fractal_core.inner", "fractal_core.inner.stage"]


def test_import_inside_function_is_followed(package):
    """An import in a function body counts like one at the top."""
    (package / "stage.py").write_text("def stage():\n    from fractal_core import other\n    return other.X\n")
    assert "fractal_core.other" in _digests(package)


@pytest.mark.parametrize(
    "block",
    [
        "if X:\n    pass\nelif Y:\n    {}", "for x in y:\n    {}", "while x:\n    pass\nelse:\n    {}",
        "with x:\n    {}", "try:\n    pass\nexcept X:\n    {}", "try:\n    pass\nfinally:\n    {}",
        "try:\n    pass\nexcept* X:\n    {}", "match x:\n    case 1:\n        {}", "class X:\n    {}",
        "async def x():\n    async with y:\n        {}",
        "if TYPE_CHECKING:\n    pass\nelse:\n    {}",
    ],
)  # fmt: skip
def test_import_inside_any_block_is_followed(package, block):
    """Wherever a statement can stand, an import does."""
    (package / "helper.py").write_text(block.format("import fractal_core.other"))
    assert "fractal_core.other" in _digests(package)


def test_relative_import_is_followed(package):
    """`from . import x` reaches x."""
    (package / "stage.py").write_text("from . import other\n")
    assert "fractal_core.other" in _digests(package)


def test_unknown_module():
    """A stage that is not in the package is an error, not an empty digest."""
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        code_digests("fractal_core.nowhere")


def test_parsed_again_if_another_thread_came_between(package, monkeypatch):
    """What CPython 3.11 says of two trees that are made at the same time is no reason to fail."""
    expected = code_digests("fractal_core.stage", package)
    monkeypatch.setattr(code, "_analyse", code._analyse.__wrapped__)
    parse, faults = ast.parse, iter([True, True, False, True])

    def interrupted(*arguments, **options):
        if next(faults, False):
            raise SystemError("AST constructor recursion depth mismatch (before=57, after=74)")
        return parse(*arguments, **options)

    monkeypatch.setattr(ast, "parse", interrupted)
    assert code_digests("fractal_core.stage", package) == expected
    assert next(faults, None) is None
