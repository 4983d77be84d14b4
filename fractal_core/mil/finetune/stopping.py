"""The best model of a fold so far, by the loss of responses that no step was taken on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fractal_core.mil.finetune.member import Member

if TYPE_CHECKING:
    from fractal_core.mil.finetune.encoder import TrainableEncoder
    from fractal_core.mil.finetune.heads import HeadParameters

# A smaller gain, in nats a response, is none.
_GAIN = 1e-4


class Watch:
    """Keeps the best model of a fold and counts the checks since."""

    def __init__(self, start: Member) -> None:
        """Begin with the model that training starts from, whose loss is all of its history."""
        self._history = list(start.history)
        self._least = self._history[0][1]
        self.best = replace(start, head=_on_cpu(start.head), history=self._history)
        self.waited = 0

    def check(self, epochs: float, loss: float, parameters: HeadParameters, encoder: TrainableEncoder) -> None:
        """Compare the model as it is now."""
        self._history.append((epochs, loss))
        self.waited += 1
        if loss < self._least - _GAIN:
            self._least, self.waited = loss, 0
            self.best = Member(self.best.family, _on_cpu(parameters), encoder.state(), epochs, self._history)


def _on_cpu(parameters: HeadParameters) -> HeadParameters:
    return {name: value.detach().to("cpu", copy=True) for name, value in parameters.items()}
