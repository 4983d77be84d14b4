"""`fractal --version`."""

from __future__ import annotations

from importlib.metadata import version

from typer.testing import CliRunner

from fractal_core.cli import app


def test_version():
    """It prints name and version, and nothing is asked for besides."""
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"fractal {version('fractal')}\n")
