"""Which responses a report lists: all that fit, else the striking ones and an even draw."""

from __future__ import annotations

import numpy as np
import pytest
from memory_run import memory_run, response

from fractal_core.report.choosing import choose
from fractal_core.report.gaps import measure_gaps
from fractal_core.report.numbers import read_numbers
from fractal_core.report.texts import text_sizes


def prepared(folder, names, *, labels=True):
    """Return numbers, gaps and sizes of responses whose score is that far from 1 as their place says."""
    responses = [
        response(name, [("A text.", 1 - at / len(names), 1.0)], 1.0 if labels else None)
        for at, name in enumerate(names)
    ]
    run = memory_run(folder, responses)
    numbers = read_numbers(run)
    return numbers, measure_gaps(numbers), text_sizes(run)


def test_all_are_listed_if_they_fit(tmp_path):
    """No choice is made where none is needed."""
    choice = choose(*prepared(tmp_path, [f"r{n}" for n in range(10)]), limit=10)
    assert choice.rows.tolist() == list(range(10))
    assert (choice.total, choice.striking, choice.full) == (10, 0, False)


@pytest.mark.parametrize("labels", [True, False])
def test_a_fifth_are_the_widest_gaps(tmp_path, labels):
    """Of 20 of 100 four are those whose score is furthest from label (or pseudo-label), in the order of the input."""
    choice = choose(*prepared(tmp_path, [f"r{n}" for n in range(100)], labels=labels), limit=20)
    assert (len(choice.rows), choice.total, choice.striking, choice.full) == (20, 100, 4, False)
    assert choice.rows.tolist() == sorted(set(choice.rows.tolist()))
    assert {96, 97, 98, 99} <= set(choice.rows.tolist())


def test_the_draw_does_not_depend_on_the_order_of_the_input(tmp_path):
    """The same ids are chosen if the rows come the other way round."""
    names = [f"r{n}" for n in range(60)]
    numbers, gaps, sizes = prepared(tmp_path, names)
    first = choose(numbers, gaps, sizes, limit=4)
    other, _, _ = prepared(tmp_path, names[::-1])
    second = choose(other, gaps, sizes, limit=4)
    assert first.striking == second.striking == 0
    assert {names[row] for row in first.rows} == {names[::-1][row] for row in second.rows}


def test_the_page_has_a_budget(tmp_path):
    """Not more characters are listed than the budget has, striking and drawn ones mixed as before; at least one."""
    numbers, gaps, sizes = prepared(tmp_path, [f"r{n}" for n in range(100)])
    choice = choose(numbers, gaps, sizes, limit=50, budget=int(sizes[0]) * 10 + 3)
    assert (len(choice.rows), choice.striking, choice.full) == (10, 2, True)
    assert len(choose(numbers, gaps, sizes, limit=50, budget=1).rows) == 1


def test_sizes_are_those_of_what_is_shown(tmp_path):
    """Characters of response, query and documents; a long document counts as far as it is shown."""
    responses = [
        response("a", [("1234567.", 0.5)], query="12345", context=["123", "1" * 9_000, ""]),
        response("b", [("1.", 0.5)]),
        response("c", [("1.", 0.5)], query="ü😀", context=["12"]),
    ]
    assert text_sizes(memory_run(tmp_path, responses)).tolist() == [8 + 5 + 3 + 8_000, 2, 2 + 2 + 2]
    assert text_sizes(memory_run(tmp_path, [])).tolist() == []
    assert np.issubdtype(text_sizes(memory_run(tmp_path, [])).dtype, np.integer)
