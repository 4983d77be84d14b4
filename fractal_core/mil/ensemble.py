"""Members of an ensemble: one a dealing and fold (and, in training, a penalty), and what they say together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fractal_core.mil.examples import NO_FOLD
from fractal_core.mil.logarithms import probability
from fractal_core.mil.scorers.features import dense
from fractal_core.mil.scorers.registry import SCORERS

if TYPE_CHECKING:
    from torch import Tensor

    from fractal_core.mil.examples import Examples
    from fractal_core.mil.scorers.features import Features
    from fractal_core.mil.scorers.parameters import Parameters

EXTRA, ATTENTION = "extra", "attention"
# The scorer of a component whose sentences a fine-tuned encoder has scored.
FINETUNE = "finetune"


@dataclass(frozen=True, eq=False)
class Component:
    """Calibrated members of one kind, S * K of them in the order of dealings and folds, and their share in the whole.

    Attributes:
        name: what it is called in notes and history.
        scorer: a key of `SCORERS`, or "finetune".
        family: the prior that its offset multiplies, or "none".
        parameters: of the members, with `extra` beside the scorer's own.
        share: weight of its logits; the shares of an ensemble sum to 1.
        given: float32 [S * K, N], what fine-tuned encoders made of every sentence, which takes the place of the prior;
            None for other scorers.
    """

    name: str
    scorer: str
    family: str
    parameters: Parameters
    share: float = 1.0
    given: Tensor | None = None

    @torch.no_grad()
    def logits(self, examples: Examples) -> Tensor:
        """Return the log-odds of every member, float32 [S * K, N]."""
        if self.given is not None:
            return self.parameters["offset"][:, None] * self.given + self.parameters["bias"][:, None]
        prior = examples.priors.get(self.family, torch.zeros(examples.segments.total))
        features = examples.features
        if self.parameters["weights"].shape[-1] == 0:  # A bare prior.
            features = torch.zeros(len(prior), 0)
        return SCORERS[self.scorer].logits(self.parameters, features, prior)


def with_given(components: list[Component], given: Tensor | None) -> list[Component]:
    """Return components, those of fine-tuned encoders with what these made of every sentence, float32 [S * K, N]."""
    return [replace(c, given=given) if c.scorer == FINETUNE else c for c in components]


def ensemble_logits(components: list[Component], examples: Examples) -> Tensor:
    """Return the weighted mean of the components' logits, [S * K, N]."""
    return torch.stack([c.share * c.logits(examples) for c in components]).sum(0)


def ensemble_extra(components: list[Component]) -> Tensor:
    """Return the weighted mean of the components' extra parameters, [S * K, E]."""
    return torch.stack([c.share * c.parameters[EXTRA] for c in components]).sum(0)


def attention_logits(parameters: Parameters, features: Features) -> Tensor | None:
    """Return attention logits [M, N] of members that have them."""
    return parameters[ATTENTION] @ dense(features).T if ATTENTION in parameters else None


def cross_fitted(logits: Tensor, examples: Examples) -> tuple[Tensor, Tensor]:
    """Return each sentence's logit from members that did not see its label, and the spread of the probabilities.

    Args:
        logits: [S * K, N], a member a dealing and fold.
        examples: their bags and folds.

    Returns:
        Logit [N]: mean over dealings of the member of the response's own fold, or the mean over all members for a
        response without fold; standard deviation of all members' probabilities [N].
    """
    members = logits.reshape(examples.dealings, -1, logits.shape[-1])
    fold = examples.fold[:, examples.segments.ids]
    own = members.gather(1, fold.clamp(min=0)[:, None]).squeeze(1).mean(0)
    spread = probability(logits.double()).std(0, correction=0)
    return torch.where(fold[0] == NO_FOLD, logits.mean(0), own), spread


def cross_fitted_extra(extra: Tensor, examples: Examples) -> Tensor:
    """Return the extra parameters that go with each sentence's cross-fitted logit: [S * K, E] -> [N, E].

    They too are those of members that did not see the response's label; a response without fold has the mean of all.
    """
    members = extra.reshape(examples.dealings, len(extra) // examples.dealings, extra.shape[-1])
    own = torch.stack([of[fold.clamp(min=0)] for of, fold in zip(members, examples.fold, strict=True)]).mean(0)
    everywhere = torch.where((examples.fold[0] == NO_FOLD)[:, None], extra.mean(0), own)
    return everywhere[examples.segments.ids]
