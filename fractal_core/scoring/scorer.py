"""The trained scorer of a run from Python: `Scorer.load(run)(response=...)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from fractal_core.errors import InputError, UsageError
from fractal_core.progress import Reporter
from fractal_core.results import find_results, find_run
from fractal_core.runtime import make_runtime
from fractal_core.scoring.incoming import Batch, judge
from fractal_core.scoring.labelling import Labeller
from fractal_core.scoring.trained import NEEDED, load_trained
from fractal_core.store.workspace import open_workspace
from fractal_core.text.records import RawRow, Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from fractal_core.results import Results


@dataclass(frozen=True)
class ScoredSentence:
    """A sentence: text[start:end] of the response.

    Attributes:
        start: offset of its first character.
        end: offset behind its last character.
        text: the sentence.
        score: probability of being positive, expected grade, or value, before any label of the response is looked at.
        posterior: the same given the response's label; equal to the score if there is none.
        pseudolabel: its label in the most likely labelling that agrees with the response's.
        spread: standard deviation of the score over the members of the ensemble, as a probability.
    """

    start: int
    end: int
    text: str
    score: float
    posterior: float
    pseudolabel: float
    spread: float


class Scorer:
    """A trained scorer, with its encoder open."""

    def __init__(self, results: Results, device: str = "") -> None:
        """Open the scorer of a run; errors as in `load`."""
        # Single responses are not dealt, and the cluster of the run may be gone.
        changes = {"runner": "local", **({"device": device} if device else {})}
        runtime = results.config.runtime.model_copy(update=changes)
        self._config = results.config
        self._trained = load_trained(results)
        self._labeller = Labeller(self._trained, make_runtime(runtime, Reporter("silent", Console(stderr=True))))

    @classmethod
    def load(
        cls, run: str | Path, workspace: str | Path = ".fractal", settings: Sequence[str] = (), device: str = ""
    ) -> Scorer:
        """Load the scorer that a run has trained.

        Args:
            run: the run's id; or a configuration, of whose completed runs the newest is taken.
            workspace: folder of the artefacts.
            settings: "section.key=value" overrides of the configuration.
            device: "cpu" or "cuda"; as configured if empty.

        Raises:
            UsageError: if there is no such run, it was given settings, or its scorer leans on `priors.sql`.
            StoreError: if there is no workspace, the results are not there or damaged, or they were made by other code
                or with another encoder than there is now.
        """
        store = open_workspace(Path(workspace), create=False)
        if Path(run).suffix == ".toml":
            return cls(find_results(store, Path(run), settings, until=NEEDED), device)
        if settings:
            raise UsageError(
                f"Run {run} has the configuration it had; settings go with a configuration, not with a run."
            )
        return cls(find_run(store, str(run), NEEDED), device)

    @property
    def run_id(self) -> str:
        """The run whose scorer it is."""
        return self._trained.run_id

    def __call__(
        self,
        response: str,
        query: str | None = None,
        context: str | Sequence[str] | None = None,
        label: float | None = None,
        response_id: str | None = None,
    ) -> list[ScoredSentence]:
        """Return the sentences of a response with their scores.

        Args:
            response: the text.
            query: what it answers.
            context: the document, or documents, that it is to be supported by.
            label: of the whole response, if it has one.
            response_id: of a response that the scorer was trained on, so that only members score it that have not
                seen its label.

        Raises:
            InputError: if there is no text, or the label is none that the run's configuration allows.
        """
        columns = self._config.input.columns
        row: dict[str, object] = {
            columns.response: response,
            columns.query: query,
            columns.context: context if context is None or isinstance(context, str) else list(context),
            columns.response_label: label,
            columns.id: response_id,
        }
        raw = RawRow(1, b"", row, response if isinstance(response, str) else repr(response))
        judged = judge(raw, type(self).__name__, columns, self._trained.label_rule)
        if isinstance(judged, Reject):
            raise InputError(f"The response cannot be scored: {judged.reason} ({judged.detail}).")
        batch = Batch()
        batch.add(judged)
        return _sentences(self._labeller.label(batch.table()))

    def label(self, responses: pa.Table) -> pa.Table:
        """Return the sentences of many responses as a table, see `Labeller.label`."""
        return self._labeller.label(responses)


def _sentences(table: pa.Table) -> list[ScoredSentence]:
    names = list(ScoredSentence.__dataclass_fields__)
    return [ScoredSentence(**row) for row in table.select(names).to_pylist()]
