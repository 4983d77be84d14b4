"""Late interaction: how near each token of a sentence comes to any token of its query or context (MaxSim).

MaxSim(x, d) = mean over tokens i of x of max over tokens j of d of cos(x_i, d_j): Khattab and Zaharia 2020 (ColBERT),
section 3.2, with the mean instead of the sum so that long sentences do not score higher for their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

# Cosines held at once.
_MOST_COSINES = 4_000_000


@dataclass(frozen=True)
class TokenPair:
    """The tokens of a response's sentences, and the tokens they are compared with.

    Attributes:
        tokens: float16 [layers, tokens, dimensions], the sentences one after the other.
        lengths: int [sentences], tokens of each sentence.
        against: float16 [layers, others, dimensions].
        parts: int [others], the part (context sentence) of each other token, counted from 0 without gaps.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    against: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class TokenMatch:
    """How the tokens of one `TokenPair` meet.

    Attributes:
        nearest: float32 [layers, tokens], largest cosine to any other token.
        best_part: float32 [layers, sentences], the sentence's MaxSim with the part where it is largest.
        reverse: float32 [layers, others, sentences], largest cosine of each other token to the sentence's tokens;
            -1 for a sentence without tokens. None unless asked for.
        average: float32 [layers, others, sentences], mean cosine of each other token to the sentence's tokens. None
            unless asked for.
    """

    nearest: np.ndarray
    best_part: np.ndarray
    reverse: np.ndarray | None
    average: np.ndarray | None


def match_tokens(pairs: Sequence[TokenPair], device: str = "cpu", reverse: bool = False) -> list[TokenMatch]:
    """Compare each pair by one matrix product a layer, so that nothing of it depends on the other pairs.

    Pairs are mostly small: several threads with a pair each would take longer.

    Args:
        pairs: at least one token on either side of each.
        device: where to multiply.
        reverse: also look from the other tokens to the sentences.
    """
    return [_joined([_match(piece, device, reverse) for piece in _pieces(pair)]) for pair in pairs]


def _match(pair: TokenPair, device: str, reverse: bool) -> TokenMatch:
    layers = [_match_layer(pair, layer, device, reverse) for layer in range(len(pair.tokens))]
    nearest, best_part, *back = (np.stack(values) for values in zip(*layers, strict=True))
    return TokenMatch(nearest, best_part, *(back or (None, None)))


def _pieces(pair: TokenPair) -> Iterator[TokenPair]:
    """Cut a pair whose similarity matrix is over the budget by sentences; one that fits comes back as it is."""
    most = max(1, _MOST_COSINES // max(1, pair.against.shape[1]))
    if pair.tokens.shape[1] <= most:
        yield pair
        return
    ends = np.cumsum(pair.lengths)
    first = 0
    while first < len(ends):
        start = int(ends[first] - pair.lengths[first])
        last = max(first + 1, int(np.searchsorted(ends, start + most, side="right")))
        yield TokenPair(pair.tokens[:, start : ends[last - 1]], pair.lengths[first:last], pair.against, pair.parts)
        first = last


def _joined(pieces: list[TokenMatch]) -> TokenMatch:
    """Put the matches of a pair's pieces together again, sentence after sentence."""
    if len(pieces) == 1:
        return pieces[0]
    reverse = [piece.reverse for piece in pieces if piece.reverse is not None]
    average = [piece.average for piece in pieces if piece.average is not None]
    return TokenMatch(
        nearest=np.concatenate([piece.nearest for piece in pieces], axis=1),
        best_part=np.concatenate([piece.best_part for piece in pieces], axis=1),
        reverse=np.concatenate(reverse, axis=2) if reverse else None,
        average=np.concatenate(average, axis=2) if average else None,
    )


@torch.inference_mode()
def _match_layer(pair: TokenPair, layer: int, device: str, reverse: bool) -> list[np.ndarray]:
    """Return `nearest`, `best_part` and, if asked for, `reverse` and `average` of one layer."""
    left, right = (torch.from_numpy(tokens[layer]).to(device).float() for tokens in (pair.tokens, pair.against))
    parts = torch.from_numpy(pair.parts.astype(np.int64)).to(device)
    lengths = torch.from_numpy(pair.lengths.astype(np.int64)).to(device)
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
    cosines = right @ left.T
    others, tokens = cosines.shape
    by_part = cosines.new_full((int(pair.parts[-1]) + 1, tokens), -1.0)
    by_part.scatter_reduce_(0, parts[:, None].expand(-1, tokens), cosines, "amax")
    best_part = _sentence_means(by_part, owner, lengths).amax(dim=0)
    found = [by_part.amax(dim=0), best_part]
    if reverse:
        back = cosines.new_full((others, len(lengths)), -1.0)
        back.scatter_reduce_(1, owner.expand(others, -1), cosines, "amax")
        found += [back, _sentence_means(cosines, owner, lengths)]
    return [each.cpu().numpy() for each in found]


def _sentence_means(values: torch.Tensor, owner: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return means over each sentence's tokens: [rows, tokens] to [rows, sentences]; 0 without tokens."""
    sums = values.new_zeros(len(values), len(lengths))
    sums.scatter_add_(1, owner.expand(len(values), -1), values)
    return sums / lengths.clamp(min=1)
