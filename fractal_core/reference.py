"""The README's reference, from commands, tables and configuration: `python -m fractal_core.reference` writes it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import typer.main

from fractal_core.cli import app
from fractal_core.config import RunConfig
from fractal_core.config_keys import type_words, walk
from fractal_core.config_template import default_of, toml_value
from fractal_core.tables import RUNS, STAGES, TABLES

_PART = re.compile(r"(<!-- reference: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def commands() -> str:
    """Return the commands with their options as a table."""
    lines = ["| command | what it does | options |", "|---|---|---|"]
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        arguments = " ".join(p.name.upper() for p in command.params if p.param_type_name == "argument")
        options = [p.opts[0] for p in command.params if p.param_type_name == "option" and p.name != "help"]
        lines.append(f"| `fractal {name} {arguments}`".rstrip() + f" | {command.help} | `{' '.join(options)}` |")
    return "\n".join(lines)


def tables() -> str:
    """Return every table with its columns."""
    lines = []
    for table in (*TABLES.values(), STAGES, RUNS):
        lines += [f"**{table.name}**: a row is {table.row}.", "", "| column | type | meaning |", "|---|---|---|"]
        for column in table.columns:
            kind = "fixed-size list of float" if column.type is None else str(column.type)
            lines.append(f"| `{column.name}` | {kind.replace('|', ' ')} | {column.doc} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def configuration() -> str:
    """Return every key with type, default and meaning."""
    lines = ["| key | default | takes | meaning |", "|---|---|---|---|"]
    for key in walk(RunConfig):
        if key.section is None:
            default = "(needed)" if key.field.is_required() else f"`{toml_value(default_of(key.field))}`"
            lines.append(f"| `{key.name}` | {default} | {type_words(key.field)} | {key.field.description} |")
    return "\n".join(lines)


PARTS = {"commands": commands, "tables": tables, "configuration": configuration}


def with_reference(text: str) -> str:
    """Return a document with its reference parts, between `<!-- reference: NAME -->` and `<!-- end -->`, made anew."""
    return _PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


if __name__ == "__main__":
    for name in sys.argv[1:] or ["README.md"]:
        document = Path(name)
        document.write_text(with_reference(document.read_text(encoding="utf-8")), encoding="utf-8")
