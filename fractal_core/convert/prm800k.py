"""PRM800K: solutions of maths problems, every step rated -1, 0 or 1 by people (Lightman et al., arXiv 2305.20050).

A record is a solution: `question.problem`, and `label.steps`, each with `completions` (text and rating). In phase 2 the
first completion of each step is that of the solution that was rated, up to its first error, and the others are
alternatives. In phase 1 `chosen_completion` says how the solution went on, and where it is null `human_completion` is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fractal_core.convert.offsets import joined, sentences
from fractal_core.convert.reading import converted
from fractal_core.convert.records import Bad, OnBytes, Record, Row, field
from fractal_core.text.records import Fault, shown

_UNFINISHED = {"give_up": "the labeller gave up", "bad_problem": "the problem was reported as broken"}
_BINARY = {-1: 0, 0: 1, 1: 1}
_GRADES = {-1: 0, 0: 1, 1: 2}


def read_binary(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """A step rated -1 is wrong, any other right; a solution is right if every step is."""
    return converted(files, on_bytes, partial(_solution, grades=_BINARY, seen=set()))


def read_grades(files: Sequence[Path], on_bytes: OnBytes) -> Iterator[Row | Bad]:
    """Ratings -1, 0 and 1 are the grades 0, 1 and 2; a solution's grade is its lowest step's."""
    return converted(files, on_bytes, partial(_solution, grades=_GRADES, seen=set()))


def _solution(record: Record, grades: dict[int, int], seen: set[bytes]) -> list[dict[str, Any]]:
    reason = field(record.values, "label", dict).get("finish_reason")
    if reason in _UNFINISHED:
        raise Fault(_UNFINISHED[reason], f"label.finish_reason = {shown(reason)}")
    problem = field(record.values, "question.problem", str)
    phase_2 = isinstance(record.values["question"].get("pre_generated_steps"), list)
    rated = [_step(step, number, phase_2) for number, step in enumerate(field(record.values, "label.steps", list))]
    response, spans = joined([text for text, _ in rated], "\n")
    _check_new(problem, [text for text, _ in rated], seen)
    labels = [None if rating is None else grades[rating] for _, rating in rated]
    known = [label for label in labels if label is not None]
    # An unrated step can only make the lowest grade lower.
    lowest = min(known, default=None)
    settled = lowest == 0 or len(known) == len(labels)
    return [
        {
            "id": record.name, "query": problem, "response": response, **sentences(response, spans),
            "sentence_labels": labels, "response_label": lowest if settled else None,
        }
    ]  # fmt: skip


def _step(step: Any, number: int, phase_2: bool) -> tuple[str, int | None]:
    """Return the text of a step and its rating, None if it has none."""
    completions = field(step, "completions", list)
    chosen, written = step.get("chosen_completion"), step.get("human_completion")
    if not phase_2 and chosen is None and isinstance(written, dict):
        return field(written, "text", str), 1  # Labellers wrote a right step where no completion was one.
    choice = chosen if not phase_2 and type(chosen) is int else 0
    if not 0 <= choice < len(completions):
        raise Fault("step has no such completion", f"step {number}: completion {choice} of {len(completions)}")
    text = field(completions[choice], "text", str)
    rating = completions[choice].get("rating")
    if rating is not None and (type(rating) is not int or rating not in _BINARY):
        raise Fault("rating is not -1, 0 or 1", f"step {number}: rating = {shown(rating)}")
    return text, rating


def _check_new(problem: str, steps: list[str], seen: set[bytes]) -> None:
    """Raise a Fault for a solution that was there before: some were given to every labeller."""
    state = blake2b(digest_size=16)
    for text in (problem, *steps):
        content = text.encode("utf-8", "surrogatepass")
        state.update(len(content).to_bytes(8, "big") + content)
    if state.digest() in seen:
        raise Fault("the same problem and solution again", shown(problem))
    seen.add(state.digest())
