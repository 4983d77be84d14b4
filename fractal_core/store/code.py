"""What a stage's code is: the modules of fractal_core that it reaches by import, without comments and docstrings.

Static: nothing is imported or executed, so deciding that a stage is current costs a few milliseconds and no torch.
Imports under `if TYPE_CHECKING:` cannot change what a stage computes and are not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from fractal_core.store.canonical import digest

PACKAGE = "fractal_core"
_ROOT = Path(__file__).resolve().parent.parent
_TRIES = 10
# Where a node has statements, or what has some: handlers of exceptions, cases of a match.
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")


def code_digests(module: str, root: Path = _ROOT) -> dict[str, str]:
    """Return module name -> digest of its code, for `module` and all it reaches by import within the package.

    Args:
        module: dotted name of a module of the package.
        root: the package's folder.

    Raises:
        ModuleNotFoundError: if `module` is not a module of the package.
    """
    if _source(module, root) is None:
        raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE} in {root}")
    found: dict[str, str] = {}
    waiting = [module, *_packages(module)]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        source = _source(name, root)
        if source is not None:
            found[name], reached = _analyse(source, name, source.stat().st_mtime_ns)
            waiting.extend(each for each in reached if each not in seen)
            seen.update(reached)
    return dict(sorted(found.items()))


def _source(module: str, root: Path) -> Path | None:
    parts = module.split(".")
    if parts[0] != PACKAGE:
        return None
    base = root.joinpath(*parts[1:])
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@lru_cache(maxsize=4096)
def _analyse(source: Path, module: str, _modified: int) -> tuple[str, tuple[str, ...]]:
    tree = _parse(source)
    _strip(tree)
    reached = tuple(_imports(tree, module, is_package=source.name == "__init__.py"))
    return digest(ast.dump(tree).encode()), reached


def _parse(source: Path) -> ast.Module:
    """Parse a module; again, if another thread parsed one meanwhile.

    CPython 3.11 counts the depth of all trees that are being made together. If the collector of garbage lets another
    thread on in the middle of one, both may end with "AST constructor recursion depth mismatch".
    """
    text = source.read_text(encoding="utf-8")
    for _ in range(_TRIES - 1):
        with suppress(SystemError):
            return ast.parse(text, filename=str(source))
    return ast.parse(text, filename=str(source))


def _imports(tree: ast.Module, module: str, *, is_package: bool) -> list[str]:
    """List every package module named by an import statement, with the packages on the way to it."""
    names: list[str] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".") if is_package else module.split(".")[:-1]
                parent = parent[: len(parent) - node.level + 1]
                base = ".".join([*parent, base] if base else parent)
            names.append(base)
            names += [f"{base}.{alias.name}" for alias in node.names]
    reached = [name for name in names if name.split(".")[0] == PACKAGE]
    return sorted({*reached, *(package for name in reached for package in _packages(name))})


def _packages(module: str) -> list[str]:
    """Return the packages that are imported on the way to a module."""
    return [module[:end] for end, character in enumerate(module) if character == "."]


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the module and every statement in it, each before what is in it; what a caller takes out is left out.

    Expressions, which are most of a tree, hold none.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in _BLOCKS:
            waiting.extend(getattr(node, name, ()))


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _strip(tree: ast.Module) -> None:
    """Remove what cannot change a result: docstrings and type-checking imports."""
    for node in _statements(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            node.body = [ast.Pass()]
