"""Segments against loops over bags."""

from __future__ import annotations

import math
import re

import pytest
import torch
from brute_force import Bags, operations, permuted, ragged, random_segments, split, tensors
from hypothesis import given, settings

from fractal_core.mil.segments import Segments, concatenated_ranges

REDUCTIONS = ("sum", "mean", "minimum", "maximum", "logsumexp", "argmin", "argmax")


@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        (torch.tensor([0, 2, 2, 5]), "first bag 1 (offsets 2 to 2)"),
        (torch.tensor([0, 3, 1]), "first bag 1 (offsets 3 to 1)"),
        (torch.tensor([1, 3]), "start at 1"),
        (torch.tensor([0, 3], dtype=torch.int32), "torch.int32"),
        (torch.tensor([[0, 3]]), "(1, 2)"),
        (torch.tensor([], dtype=torch.int64), "(0,)"),
    ],
)
def test_bad_offsets_are_refused(offsets: torch.Tensor, words: str) -> None:
    """Offsets that are no bags raise an error that names the bag at fault."""
    with pytest.raises(ValueError, match=re.escape(words)):
        Segments(offsets)


def test_an_empty_size_is_refused() -> None:
    """A size of 0 is an empty bag."""
    with pytest.raises(ValueError, match="first bag 2"):
        Segments.from_sizes(torch.tensor([3, 1, 0]))


def test_properties() -> None:
    """Ids, sizes, count and total follow from the offsets."""
    segments = Segments(torch.tensor([0, 2, 3, 6]))
    assert segments.ids.tolist() == [0, 0, 1, 2, 2, 2]
    assert segments.sizes.tolist() == [2, 1, 3]
    assert (segments.count, segments.total) == (3, 6)


def test_no_bags_at_all() -> None:
    """Zero bags reduce to nothing instead of failing."""
    segments = Segments(torch.tensor([0]))
    for name in REDUCTIONS:
        assert getattr(segments, name)(torch.zeros(2, 0)).shape == (2, 0)
    assert segments.rank_descending(torch.zeros(0)).shape == (0,)


@settings(deadline=None, max_examples=50)
@given(ragged())
def test_reductions_are_those_of_each_bag(bags: Bags) -> None:
    """Every reduction equals torch's own on each bag, with a leading dimension or without."""
    flat, segments = tensors(bags)
    values = torch.stack([flat, -2 * flat])
    of_torch = {
        "sum": torch.sum,
        "mean": torch.mean,
        "minimum": torch.amin,
        "maximum": torch.amax,
        "logsumexp": torch.logsumexp,
    }
    for name, function in of_torch.items():
        expected = torch.stack([function(bag, dim=-1) for bag in split(values, segments)], dim=-1)
        torch.testing.assert_close(getattr(segments, name)(values), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(getattr(segments, name)(flat), expected[0], rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=50)
@given(ragged(-2, 2))
def test_arg_extremes_and_ranks_break_ties_by_position(bags: Bags) -> None:
    """Argmin, argmax and ranks equal Python's stable sort, on values with many ties."""
    bags = [[float(round(v)) + 0.0 for v in bag] for bag in bags]
    flat, segments = tensors(bags)
    starts = segments.offsets.tolist()
    values = torch.stack([flat, flat])
    assert segments.argmin(values)[1].tolist() == [s + b.index(min(b)) for s, b in zip(starts, bags, strict=False)]
    assert segments.argmax(values)[1].tolist() == [s + b.index(max(b)) for s, b in zip(starts, bags, strict=False)]
    ranks = [sorted(range(len(b)), key=lambda i: (-b[i], i)).index(i) for b in bags for i in range(len(b))]  # noqa: B023
    assert segments.rank_descending(values)[1].tolist() == ranks
    assert segments.rank_descending(flat).tolist() == ranks


def test_a_nan_reaches_only_its_own_bag() -> None:
    """A NaN makes its bag's extremes NaN, never an index out of range or another bag's result."""
    flat, segments = tensors([[1.0, math.nan, 0.0], [2.0, 3.0]])
    assert segments.minimum(flat).isnan().tolist() == [True, False]
    assert segments.maximum(flat).isnan().tolist() == [True, False]
    assert segments.argmax(flat).tolist() == [1, 4]


def test_expand_gives_each_sentence_its_bags_value() -> None:
    """Expand repeats a bag's value once a sentence."""
    segments = Segments(torch.tensor([0, 2, 3]))
    assert segments.expand(torch.tensor([[5, 7], [1, 2]])).tolist() == [[5, 5, 7], [1, 1, 2]]


def test_select_takes_bags_in_any_order() -> None:
    """A mini-batch holds the bags asked for, in that order, repeated if asked twice."""
    flat, segments = tensors([[1, 2], [3], [4, 5, 6]])
    sentences, part = segments.select(torch.tensor([2, 0, 2]))
    assert flat[sentences].tolist() == [4, 5, 6, 1, 2, 4, 5, 6]
    assert part.offsets.tolist() == [0, 3, 5, 8]
    nothing, none = segments.select(torch.tensor([], dtype=torch.int64))
    assert (nothing.shape[0], none.count) == (0, 0)


def test_concatenated_ranges() -> None:
    """Ranges follow one another; empty ones vanish."""
    assert concatenated_ranges(torch.tensor([5, 9, 1]), torch.tensor([2, 0, 3])).tolist() == [5, 6, 1, 2, 3]


def test_logsumexp_at_the_extremes() -> None:
    """No overflow at 1e3 and beyond; a bag of -inf gives -inf and a zero gradient."""
    flat, segments = tensors([[1000.0, 1000.0], [-1e30], [-math.inf, -math.inf], [-math.inf, 1.0]], torch.float32)
    values = flat.requires_grad_()
    result = segments.logsumexp(values)
    torch.testing.assert_close(result.detach(), torch.tensor([1000.0 + math.log(2), -1e30, -math.inf, 1.0]))
    result[torch.isfinite(result)].sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("name", ["sum", "mean", "minimum", "maximum", "logsumexp"])
def test_gradients(name: str) -> None:
    """Analytic gradients equal finite differences."""
    flat, segments = tensors([[0.3, -1.0, 2.0], [0.5], [1.5, -0.5]])
    values = torch.stack([flat, flat.flip(0)]).requires_grad_()
    assert torch.autograd.gradcheck(getattr(segments, name), (values,))


def test_extremes_send_their_gradient_to_one_sentence() -> None:
    """Among equals the first sentence has the whole gradient."""
    flat, segments = tensors([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0]])
    values = flat.requires_grad_()
    segments.minimum(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize("name", [*REDUCTIONS, "rank_descending"])
def test_a_wrong_number_of_sentences_is_refused(name: str) -> None:
    """Values that do not fit the segments raise an error with both numbers."""
    with pytest.raises(ValueError, match=r"6 sentences.*\(5,\)"):
        getattr(Segments(torch.tensor([0, 2, 6])), name)(torch.zeros(5))


def test_a_bag_does_not_depend_on_its_company() -> None:
    """Every result is the same to the last bit in whatever order and company bags are computed."""
    logits, segments = random_segments(200)
    order = permuted(segments)
    sentences, part = segments.select(order[:50])
    for name in ("sum", "mean", "minimum", "maximum", "logsumexp"):
        assert torch.equal(getattr(segments, name)(logits)[order[:50]], getattr(part, name)(logits[sentences]))


@pytest.mark.parametrize("name", [*REDUCTIONS, "rank_descending", "select"])
def test_work_is_vectorised(name: str) -> None:
    """100,000 bags take as many tensor operations as 30."""

    def count(bags: int) -> int:
        logits, segments = random_segments(bags)
        argument = torch.arange(bags) if name == "select" else logits
        return operations(lambda: getattr(segments, name)(argument))

    assert count(100_000) == count(30) < 60


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_strides_do_not_matter(dtype: torch.dtype) -> None:
    """Rows of one value, transposed from one row, are read as they are."""
    segments = Segments.from_sizes(torch.tensor([1]))
    column = torch.tensor([[0.0, -1.0, 2.0]], dtype=dtype).T
    assert column.stride() != (1, 1)
    assert segments.argmin(column).tolist() == [[0], [0], [0]]
    assert segments.minimum(column).tolist() == segments.maximum(column).tolist() == [[0.0], [-1.0], [2.0]]
    assert segments.logsumexp(column).tolist() == [[0.0], [-1.0], [2.0]]
    pairs = Segments.from_sizes(torch.tensor([2]))
    turned = torch.tensor([[0.0, 5.0], [3.0, -1.0]], dtype=dtype).T
    assert pairs.maximum(turned).tolist() == [[3.0], [5.0]]
