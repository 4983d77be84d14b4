"""Tests of sentence boundaries: exact offsets and full coverage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fractal_core.text import boundaries
from fractal_core.text.boundaries import sentence_spans

METHODS = ("sentencex", "newline")
LANGUAGES = ("en", "de", "ja", "ar", "hi", "fr", "zz")
PIECES = (
    "a", "B", " ", "  ", ".", "!", "?", "\n", "\n\n", "\r\n", '"', "“", "”", "(", ")", "Dr.", "U.S.", "et al.", "😀",
    "é", "e\u0301", "א", "ا", "。", "\u2028", "\x85", "\x00", "\t", "1", "[1]", "...", "\u200d", "\ufeff", "\u3000",
    "\xa0", "e.g.", "$$", "\\[", "\\]", "\ud800",
)  # fmt: skip
awkward = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


def cut(text: str, method: str = "sentencex", language: str = "en") -> list[str]:
    """Return the sentences' texts."""
    return [text[start:end] for start, end in sentence_spans(text, method, language)]


@settings(max_examples=400)
@given(st.one_of(st.text(), awkward), st.sampled_from(METHODS), st.sampled_from(LANGUAGES))
def test_every_visible_character_is_in_exactly_one_sentence(text: str, method: str, language: str) -> None:
    """Spans are in order, stripped, not empty, and cover all that is not white space, for arbitrary text."""
    owners = [0] * len(text)
    previous = 0
    for start, end in sentence_spans(text, method, language):
        assert previous <= start < end
        assert text[start:end] == text[start:end].strip()
        owners[start:end] = [count + 1 for count in owners[start:end]]
        previous = end
    assert all(count <= 1 for count in owners)
    assert all(count == 1 for count, character in zip(owners, text, strict=True) if not character.isspace())


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["One is here. ", "Zwei 😀! ", "中文。", "no end ", "\n\n"]), max_size=40).map("".join))
def test_windows_do_not_change_the_cut(text: str) -> None:
    """A text cut window by window has the sentences of the text cut at once."""
    whole = sentence_spans(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundaries, "WINDOW", 64)
        assert sentence_spans(text) == whole


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith agrees.",
        "It is U.S. law.",
        "See No. 5 there.",
        "Look at Fig. 3 below.",
        "As Smith et al. found.",
        "Costs, e.g. of oil, rose by 3.5 percent.",
    ],
)
def test_abbreviations_do_not_cut(text: str) -> None:
    """The point of an abbreviation or a number ends no sentence."""
    assert cut(f"First one. {text} Last one.") == ["First one.", text, "Last one."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t ", []),
        ("One sentence only", ["One sentence only"]),
        ("  Hello there. \r\n  Bye now. ", ["Hello there.", "Bye now."]),
        ("He ran 😀. She ran 🏃🏽‍♀️. Done.", ["He ran 😀.", "She ran 🏃🏽‍♀️.", "Done."]),
        ("שלום עולם. מה שלומך? טוב.", ["שלום עולם.", "מה שלומך?", "טוב."]),
        ("مرحبا بكم. كيف حالك؟ جيد.", ["مرحبا بكم.", "كيف حالك؟", "جيد."]),
        ("Cafe\u0301 closed. E\u0301tude two.", ["Cafe\u0301 closed.", "E\u0301tude two."]),
        ("中文句子。第二句！", ["中文句子。", "第二句！"]),
        ("Para one.\n\nPara two.", ["Para one.", "Para two."]),
    ],
)
def test_sentences_of_prose(text: str, expected: list[str]) -> None:
    """Astral characters, right-to-left text, combining marks and line ends leave the offsets exact."""
    assert cut(text) == expected


@pytest.mark.parametrize("text", ["😀", "😀😀. 🎉!", "...", "?! — ... 🎉"])
@pytest.mark.parametrize("method", METHODS)
def test_no_word_is_one_sentence(text: str, method: str) -> None:
    """A text without letters or digits is one sentence."""
    assert cut(f" {text}\n", method) == [text]


def test_pieces_without_a_word_join_a_neighbour() -> None:
    """Dots and emoji belong to the sentence before them, or to the first one."""
    assert cut("🎉\n\nGood news!\n\n***\n\nThe end. 😀") == ["🎉\n\nGood news!\n\n***", "The end. 😀"]


def test_initial_before_wide_white_space() -> None:
    """White space of several bytes after an initial, on which sentencex panics, is read as a space."""
    assert cut("Plan\u00a0B\u00a0. It works. Yes.")[-1] == "Yes."
    assert cut("B\u3000.\u200d") == ["B\u3000.\u200d"]


def test_lost_characters_are_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the library drops or changes still belong to a sentence."""
    monkeypatch.setattr(boundaries.sentencex, "segment", lambda language, text: ["One.", "CHANGED", "Three."])
    assert cut("One. <lost> Two. Three. tail") == ["One. <lost> Two.", "Three. tail"]


def test_ten_thousand_sentences() -> None:
    """A long response is cut completely, with and without spaces between its sentences."""
    assert len(sentence_spans("This is Dr. No. " * 10_000)) > 1
    assert len(sentence_spans("This is sentence four. " * 10_000)) == 10_000
    assert len(sentence_spans("这是一句。" * 10_000, "sentencex", "zh")) == 10_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n\n  \ny = 2. Then\r\nz", ["x = 1", "y = 2. Then", "z"]),
        ("so $$\na = b\n$$ holds\nnext", ["so $$\na = b\n$$ holds", "next"]),
        ("so \\[\na\n= b\n\\]\nnext", ["so \\[\na\n= b\n\\]", "next"]),
        ("pay $$ now\nnext", ["pay $$ now", "next"]),
        ("\\[ never closed\nnext", ["\\[ never closed", "next"]),
        ("row \\\\[2pt]\nnext \\] x", ["row \\\\[2pt]", "next \\] x"]),
    ],
)
def test_newline_method(text: str, expected: list[str]) -> None:
    """Lines are sentences; line ends inside closed display maths do not cut."""
    assert cut(text, "newline") == expected


def test_unknown_method() -> None:
    """Another method is an error that names the two there are."""
    with pytest.raises(ValueError, match="sentencex or newline"):
        sentence_spans("a", "spacy")
