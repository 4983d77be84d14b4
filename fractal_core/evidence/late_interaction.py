"""Late interaction: how near each token of a sentence comes to any token of its query or context (MaxSim).

MaxSim(x, d) = mean over tokens i of x of max over tokens j of d of cos(x_i, d_j): Khattab and Zaharia 2020 (ColBERT),
section 3.2, with the mean instead of the sum so that long sentences do not score higher for their length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

_BATCH_ELEMENTS = 4_000_000


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
    """Compare all pairs in padded batches of like size; one matrix product a batch and layer.

    Args:
        pairs: at least one token on either side of each.
        device: where to multiply.
        reverse: also look from the other tokens to the sentences.
    """
    pieces = [list(_pieces(pair)) for pair in pairs]
    flat = [piece for pair in pieces for piece in pair]
    if len(flat) > len(pairs):
        matched = iter(match_tokens(flat, device, reverse))
        return [_joined([next(matched) for _ in pair]) for pair in pieces]
    matches: list[TokenMatch | None] = [None] * len(pairs)
    for batch in _batches(pairs):
        layers = [
            _match_layer([pairs[i] for i in batch], layer, device, reverse)
            for layer in range(len(pairs[batch[0]].tokens))
        ]
        for row, index in enumerate(batch):
            tokens, sentences, others = (
                pairs[index].tokens.shape[1],
                len(pairs[index].lengths),
                pairs[index].against.shape[1],
            )
            matches[index] = TokenMatch(
                nearest=np.stack([layer[0][row, :tokens] for layer in layers]),
                best_part=np.stack([layer[1][row, :sentences] for layer in layers]),
                reverse=np.stack([layer[2][row, :others, :sentences] for layer in layers]) if reverse else None,
                average=np.stack([layer[3][row, :others, :sentences] for layer in layers]) if reverse else None,
            )
    return [match for match in matches if match is not None]


def _pieces(pair: TokenPair) -> Iterator[TokenPair]:
    """Cut a pair whose similarity matrix is over the budget by sentences; one that fits comes back as it is."""
    most = max(1, _BATCH_ELEMENTS // max(1, pair.against.shape[1]))
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


def _batches(pairs: Sequence[TokenPair]) -> Iterator[list[int]]:
    """Yield indices of pairs whose padded similarity matrices and vectors together stay within the budget."""
    batch: list[int] = []
    most_tokens = most_others = 0
    for index in sorted(range(len(pairs)), key=lambda i: (pairs[i].against.shape[1], pairs[i].tokens.shape[1], i)):
        _, tokens, width = pairs[index].tokens.shape
        others = pairs[index].against.shape[1]
        tokens, others = max(most_tokens, tokens), max(most_others, others)
        if batch and (len(batch) + 1) * (tokens * others + (tokens + others) * width) > _BATCH_ELEMENTS:
            yield batch
            batch, (_, tokens, _), others = [], pairs[index].tokens.shape, pairs[index].against.shape[1]
        batch.append(index)
        most_tokens, most_others = tokens, others
    if batch:
        yield batch


@torch.inference_mode()
def _match_layer(pairs: list[TokenPair], layer: int, device: str, reverse: bool) -> list[np.ndarray]:
    """Return `nearest`, `best_part` and, if asked for, `reverse` and `average` of one layer, padded, pairs first."""
    left = _padded([torch.from_numpy(p.tokens[layer]) for p in pairs], device)
    right = _padded([torch.from_numpy(p.against[layer]) for p in pairs], device)
    # Padding tokens belong to a part and a sentence of their own, the last ones, which are dropped.
    most_parts = max(int(p.parts[-1]) + 1 for p in pairs)
    most_sentences = max(len(p.lengths) for p in pairs)
    parts = _padded([torch.from_numpy(p.parts.astype(np.int64)) for p in pairs], device, most_parts)
    owner = _padded(
        [torch.from_numpy(np.repeat(np.arange(len(p.lengths)), p.lengths)) for p in pairs], device, most_sentences
    )
    cosines = torch.bmm(right, left.transpose(1, 2))
    size, others, tokens = cosines.shape
    by_part = cosines.new_full((size, most_parts + 1, tokens), -1.0)
    by_part.scatter_reduce_(1, parts.unsqueeze(2).expand(-1, -1, tokens), cosines, "amax")
    by_part = by_part[:, :most_parts]
    lengths = _padded([torch.from_numpy(p.lengths.astype(np.float32)) for p in pairs], device)
    best_part = _sentence_means(by_part, owner, lengths).amax(dim=1)
    found = [by_part.amax(dim=1), best_part]
    if reverse:
        back = cosines.new_full((size, others, most_sentences + 1), -1.0)
        back.scatter_reduce_(2, owner.unsqueeze(1).expand(-1, others, -1), cosines, "amax")
        found += [back[:, :, :most_sentences], _sentence_means(cosines, owner, lengths)]
    return [each.cpu().numpy() for each in found]


def _sentence_means(values: torch.Tensor, owner: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return means over each sentence's tokens: [size, rows, tokens] to [size, rows, sentences]; 0 without tokens."""
    size, rows, _ = values.shape
    sentences = lengths.shape[1]
    sums = values.new_zeros(size, rows, sentences + 1)
    sums.scatter_add_(2, owner.unsqueeze(1).expand(-1, rows, -1), values)
    return sums[:, :, :sentences] / lengths.clamp(min=1.0).unsqueeze(1)


def _padded(rows: list[torch.Tensor], device: str, value: int = 0) -> torch.Tensor:
    padded = pad_sequence(rows, batch_first=True, padding_value=value).to(device)
    return padded.float() if padded.is_floating_point() else padded
