"""The leading sentences, among which neighbours are looked up in a graph where there are too many to compare all.

What an approximate index finds depends on all that is in it. So that it stays as it is while sentences are added after
the others (responses are in the order of their ids), it is made of the leading ones alone, as many as their number
rounded down. The few after them are compared exactly, with everything and everything with them. The result is the same
whether the neighbours among the leading sentences were looked up now or earlier.
"""

from __future__ import annotations

import numpy as np

from fractal_core.priors.sentences import Sentences

SIGNIFICANT_BITS = 5
"""Of the number of leading sentences: a 16th of all at most comes after them, besides the rest of one response."""
MOST_AFTER = 32_768
"""And no more sentences than that (and that rest), so that comparing them with all costs in proportion to all."""


def leading(sentences: Sentences) -> Sentences:
    """Return the leading whole responses that have at most a rounded number of sentences.

    Args:
        sentences: N of them, with texts numbered in the order of their first appearance.

    Returns:
        No sentence if the first response alone has more than that.
    """
    vectors, text, response = sentences
    size = len(text)
    step = min(MOST_AFTER, 1 << max(0, size.bit_length() - SIGNIFICANT_BITS))
    rows = size // step * step
    if rows < size:
        rows = int(np.searchsorted(response, response[rows]))
    texts = int(text[:rows].max()) + 1 if rows else 0
    return Sentences(vectors[:texts], text[:rows], response[:rows])
