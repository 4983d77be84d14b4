"""`fractal report`: from a run to a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fractal_core.appearing import appearing
from fractal_core.errors import UsageError
from fractal_core.report.choosing import choose
from fractal_core.report.content import contents
from fractal_core.report.gaps import measure_gaps
from fractal_core.report.groups import label_groups
from fractal_core.report.listing import listing
from fractal_core.report.numbers import read_numbers
from fractal_core.report.page import render
from fractal_core.report.texts import LONGEST, text_sizes
from fractal_core.results import find_results
from fractal_core.store.outside import check_free, check_outside
from fractal_core.store.workspace import open_workspace

if TYPE_CHECKING:
    from fractal_core.results import Results

# The last stage without which there is nothing to say of sentences.
_NEEDED = "pseudolabel"
# The head of a report, up to its style, is shorter.
_HEAD_BYTES = 16_384
_STRIKING = ("score and response label are furthest apart", "pseudo-labels and scores are furthest apart")


@dataclass(frozen=True)
class Written:
    """A report: where it is, of which run, how many responses and sentences that run has, and how many are listed."""

    report: str
    run_id: str
    responses: int
    sentences: int
    listed: int
    bytes: int


def write_report(
    workspace: Path,
    config: Path,
    settings: Sequence[str],
    run_id: str | None,
    output: Path | None,
    limit: int,
    *,
    force: bool = False,
) -> Written:
    """Write the report of a run as one HTML file; the file appears only when it is complete.

    Args:
        workspace: folder of the artefacts.
        config: the configuration.
        settings: "section.key=value" overrides of it.
        run_id: None for the newest run of the configuration as it is now.
        output: None for fractal-report-RUN.html in the current folder.
        limit: most responses to list, at least 1.
        force: whether to replace a file that is no earlier report.

    Raises:
        UsageError: if there is no such run, or the file cannot be written, or is not to be.
        StoreError: if there is no workspace, the results are not there or stale, or an artefact is damaged.
    """
    store = open_workspace(workspace, create=False)
    results = find_results(store, config, settings, run_id, until=_NEEDED)
    path = output or Path(f"fractal-report-{results.record.run_id}.html")
    check_outside(store, path)
    check_free(path, force=force, read=[config], ours=_is_report)
    page, listed = make_report(results, limit)
    content = page.encode()
    _put(path, content)
    counts = {name: results.rows(name) for name in ("responses", "sentences")}
    return Written(str(path), results.record.run_id, **counts, listed=listed, bytes=len(content))


def make_report(results: Results, limit: int) -> tuple[str, int]:
    """Return the page of a run, and how many responses it lists."""
    numbers = read_numbers(results)
    gaps, groups = measure_gaps(numbers), label_groups(numbers)
    choice = choose(numbers, gaps, text_sizes(results), limit)
    data, texts = listing(results, numbers, gaps, groups, choice)
    values = {
        **contents(results, numbers, groups),
        "choice": choice,
        "striking_words": _STRIKING[bool(np.isnan(gaps.label).all())],
        "cut": texts.cut,
        "longest": LONGEST,
    }
    return render(values, data), len(choice.rows)


def _is_report(path: Path) -> bool:
    """Tell whether a file begins as template report.html does."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(b"<!doctype html>") and b", fractal report</title>" in head


def _put(path: Path, content: bytes) -> None:
    try:
        with appearing(path) as stream:
            stream.write(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another with --output.") from error
