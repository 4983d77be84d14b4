"""Progress: bars with rate and time left on a terminal, a line a stage elsewhere, nothing for programs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from fractal_core.progress import Reporter, bar_columns, in_short, unit_of
from fractal_core.store.runs import StageRecord

ROOT = Path(__file__).resolve().parent.parent


def _bar(description, total, seconds, done):
    """Return what a bar shows after so many seconds, in each of which the same was done."""
    clock = [0.0]
    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    progress = Progress(*bar_columns(), console=screen, get_time=lambda: clock[0])
    task = progress.add_task(description, total=total, unit=unit_of(description))
    for _ in range(seconds):
        clock[0] += 1.0
        progress.advance(task, done / seconds)
    screen.print(progress.get_renderable())
    return screen.file.getvalue()


def test_bar_shows_share_rate_and_time_left():
    """A third done in 10 seconds: 33 %, characters a second, 20 seconds to go; on one line of 80 columns."""
    shown = _bar("embed", 3_000_000, 10, 1_000_000)
    assert re.search(r"embed .* 33% 100\.0k characters/s 0:00:2[0-2] left\s*$", shown)
    assert len(shown.splitlines()) == 1


def test_longest_bar_fits_80_columns():
    """Nothing of the longest description with the longest unit is cut."""
    shown = _bar("pseudolabel (auto)", 999_999_999, 2, 7)
    assert "…" not in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0.00"), (0.254, "0.25"), (12.34, "12.3"), (1234, "1.2k"), (3.4e7, "34.0M"), (2e9, "2.0G")],
)
def test_numbers_in_short(number, words):
    """About three digits and a unit."""
    assert in_short(number) == words


def test_every_piece_of_work_has_a_unit():
    """Whatever a stage reports progress of is counted in something that the bar names."""
    pattern = re.compile(r'\.progress\(\s*f?"(\w+)')
    found = {name for path in (ROOT / "fractal_core").rglob("*.py") for name in pattern.findall(path.read_text())}
    assert found >= {"read", "segment", "embed", "neighbours", "train", "pseudolabel", "export"}
    assert [name for name in found if not unit_of(name)] == []
    assert unit_of("train (max)") == unit_of("train")


RECORD = StageRecord("read", "f", False, "new", 1.25, 0, {"responses": 1200, "rejects": 0}, [])


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ("bars", "read             1.2 s  1,200 responses, 0 rejects\n"),
        ("lines", "read             1.2 s  1,200 responses, 0 rejects\n"),
        ("quiet", ""),
        ("silent", ""),
    ],
)
def test_a_stage_is_a_line_for_people_and_nothing_for_programs(style, said):
    """No bar and no escape sequence where nobody watches."""
    file = io.StringIO()
    reporter = Reporter(style, Console(file=file, width=80))
    if style != "bars":
        with reporter.progress("read", 10) as progress:
            progress.advance(10)
    reporter.stage(RECORD)
    assert file.getvalue() == said
