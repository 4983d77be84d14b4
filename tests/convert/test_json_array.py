"""Arrays read element by element: the same values as all at once, lines, and errors with the line."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.convert import json_array
from fractal_core.convert.json_array import elements
from fractal_core.errors import InputError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(autouse=True, params=[1, 7, 1 << 18])
def characters(request):
    """Read so many characters at once, and take a token to be cut only if it must be."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_LEAST_CHARACTERS", request.param)
        yield request.param


@settings(deadline=None, max_examples=40)
@given(st.lists(VALUES), st.sampled_from([None, 1]), st.booleans())
def test_same_as_all_at_once(values, indent, ascii_only):
    """However the text is cut, the elements are those of the whole, each on the line it begins on."""
    text = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    found = list(elements(io.StringIO(text), "file", "data"))
    assert [element.value for element in found] == values
    assert [json.loads(element.raw) for element in found] == values
    if indent and values:
        place, lines = 0, []
        for element in found:
            place = text.index(element.raw, place)
            lines.append(text.count("\n", 0, place) + 1)
            place += len(element.raw)
        assert [element.line for element in found] == lines


@pytest.mark.parametrize("before", [{}, {"version": 1.0}, {"a": [1, {"data": [5]}], "b": "data"}])
def test_array_under_a_key(before):
    """Of an object, the array under the key is read, whatever comes before it and after it."""
    text = json.dumps({**before, "data": [1, 2], "after": [3]}, indent=1)
    assert [element.value for element in elements(io.StringIO(text), "file", "data")] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[\n{"a": 1},\n{"a": }\n]', "file, line 3: not valid JSON"),
        ('[\n{"a": 1}\n{"a": 2}\n]', "file, line 3: not valid JSON"),
        ('[\n{"a": 1},\n{"a": "cut o', "file, line 3: not valid JSON"),
        ("[\n1,\n2\n", "file, line 4: not valid JSON"),
        ("[" + "9" * 5_000 + "]", "file, line 1: not valid JSON"),
        ("", "neither a JSON array nor an object"),
        ("\n\nnot json", "file, line 3: neither"),
        ('{"version": 1}', 'without an array "data"'),
        ('{"data": {"a": 1}}', 'without an array "data"'),
        ("[" * 100_000, "file, line 1: not valid JSON"),
    ],
)
def test_errors_have_the_line(text, words):
    """A file that is no JSON is an error with its name and the line, in one sentence."""
    with pytest.raises(InputError, match=words) as caught:
        list(elements(io.StringIO(text), "file", "data"))
    assert "\n" not in str(caught.value)


def test_memory_is_that_of_an_element(characters):
    """What was taken is forgotten: no more than a few elements are held, however many there are."""
    count, held = 3_000, []
    text = io.StringIO(json.dumps([{"text": "x" * 500}] * count))
    reader = elements(text, "file", "data")
    for _ in range(count):
        next(reader)
        held.append(len(reader.gi_frame.f_locals["text"]._text))
    assert max(held) <= 3 * max(characters, 600)
