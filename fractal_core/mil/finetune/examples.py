"""What is fine-tuned on: bags of sentences, each with texts it may be read against, folds, and who stops whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fractal_core.errors import InputError
from fractal_core.mil.examples import NO_FOLD

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.segments import Segments

# With fewer labelled dev responses, a fold is kept from training to stop by.
ENOUGH_TO_STOP = 100


@dataclass(frozen=True, eq=False)
class TextBags:
    """B responses with N sentences and T distinct texts.

    Attributes:
        texts: T strings.
        sentence: int64 [N], row of the sentence's own text.
        partners: "query" and "context" -> int64 [N, C], rows of the texts a sentence is read against, the best of
            which counts; -1 for none.
        segments: the responses.
        fold: int64 [B]; the fold of a labelled train response, NO_FOLD for all others.
        dev: bool [B], labelled responses of the dev split.
        members: number of folds, if it is not one more than the largest that a response has here.
    """

    texts: Sequence[str]
    sentence: Tensor
    partners: Mapping[str, Tensor]
    segments: Segments
    fold: Tensor
    dev: Tensor
    members: int = 0

    @property
    def folds(self) -> int:
        """Number of folds, K."""
        return self.members or (int(self.fold.max()) + 1 if self.fold.numel() else 0)

    def families(self, against: str) -> tuple[str, ...]:
        """Return the families to choose from: the one named, or all ("auto") that any sentence has.

        Raises:
            InputError: if no sentence has a text of the family.
        """
        named = tuple(self.partners) if against == "auto" else (against,)
        found = tuple(name for name in named if name in self.partners and bool((self.partners[name] >= 0).any()))
        if not found:
            wanted = "a query or a context" if against == "auto" else f"a {against}"
            raise InputError(
                f"The encoder is to be trained to compare sentences with {wanted}, but none of {len(self.sentence):,} "
                'sentences has one: give the column, or set another scorer than "finetune".'
            )
        return found

    def parts(self, fold: int) -> tuple[Tensor, Tensor]:
        """Return the responses that a fold's model trains on, and those that say when to stop, each int64.

        None of them is of the fold itself. Dev responses stop it; if there are fewer than ENOUGH_TO_STOP of them,
        those of the next fold do so too, and are not trained on.

        Raises:
            InputError: if nothing is left to train on or to stop by.
        """
        train = (self.fold != NO_FOLD) & (self.fold != fold)
        stop = self.dev.clone()
        if int(stop.sum()) < ENOUGH_TO_STOP and self.folds > 2:
            following = self.fold == (fold + 1) % self.folds
            train, stop = train & ~following, stop | following
        if not bool(train.any()) or not bool(stop.any()):
            raise InputError(
                f"Training the encoder needs labelled responses to train on and others to stop by, but for fold {fold} "
                f"of {self.folds} there are {int(train.sum())} and {int(stop.sum())}: use 3 folds or more, or give "
                "more labelled responses."
            )
        return torch.nonzero(train).flatten(), torch.nonzero(stop).flatten()
