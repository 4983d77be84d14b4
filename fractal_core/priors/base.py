"""The leading sentences, among which neighbours are looked up in a graph where there are too many to compare all.

What an approximate index finds depends on all that is in it. So that it stays as it is while data are added at the end,
it is made of the leading texts alone, as many as the number of texts rounded down; the few after them are compared
exactly, with everything and everything with them. The result is the same whether the neighbours among the leading
sentences were looked up now or earlier.
"""

from __future__ import annotations

import numpy as np

from fractal_core.priors.sentences import Sentences

SIGNIFICANT_BITS = 5
"""Of the number of leading texts: at most a 16th of all come after them, and 3 to 6 % can be added before more lead."""
MOST_AFTER = 32_768
"""Texts after the leading ones, so that the cost of comparing them with all does not grow with the square."""


def leading(sentences: Sentences) -> Sentences:
    """Return the sentences of the leading whole responses, which have at most a rounded number of distinct texts.

    Args:
        sentences: N of them, with texts numbered in the order of their first appearance.

    Returns:
        No sentence if the first response alone has more texts than that.
    """
    vectors, text, response = sentences
    step = min(MOST_AFTER, 1 << max(0, len(vectors).bit_length() - SIGNIFICANT_BITS))
    later = np.flatnonzero(text >= len(vectors) // step * step)
    rows = int(np.searchsorted(response, response[later[0]])) if len(later) else len(text)
    texts = int(text[:rows].max()) + 1 if rows else 0
    return Sentences(vectors[:texts], text[:rows], response[:rows])
