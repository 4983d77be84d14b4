"""What a completed run has trained, with all that is needed to read other responses as it read its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fractal_core.errors import StoreError, UsageError
from fractal_core.mil.ensemble import FINETUNE
from fractal_core.mil.finetune.saving import ENCODERS, load_finetuned
from fractal_core.mil.folds import FOLDS, read_folds
from fractal_core.mil.saving import STUDENT, load_ensemble
from fractal_core.pipeline import stage_named
from fractal_core.store.code import code_digests
from fractal_core.store.describing import external_digests
from fractal_core.text.labels import label_rule

if TYPE_CHECKING:
    from pathlib import Path

    from fractal_core.config import RunConfig
    from fractal_core.mil.finetune.member import Member
    from fractal_core.mil.folds import Folds
    from fractal_core.mil.saving import SavedEnsemble
    from fractal_core.results import Results
    from fractal_core.text.labels import LabelRule

# The last stage whose results are needed.
NEEDED = "pseudolabel"
# The stages whose code reads a response; what they say must mean what it did in training.
_READ_BY = ("segment", "embed", "pseudolabel")
_SQL = "sql"


@dataclass(frozen=True, eq=False)
class Trained:
    """A scorer and its run.

    Attributes:
        run_id: the run.
        config: its configuration.
        saved: the scorer after its last round of pseudo-labels.
        folds: of the responses that it learned from.
        members: its fine-tuned encoders, if it has any.
        encoder_files: the files of the encoder.
        static: the file of the vectors of a static encoder.
    """

    run_id: str
    config: RunConfig
    saved: SavedEnsemble
    folds: Folds
    members: list[Member]
    encoder_files: list[Path]
    static: Path

    @property
    def finetuned(self) -> bool:
        """Whether fine-tuned encoders have a part in the scores."""
        return any(component.scorer == FINETUNE for component in self.saved.components)

    @property
    def label_rule(self) -> LabelRule:
        """What labels of responses may be: 0 or 1 where aggregation "auto" has found that they are."""
        given = self.config.input
        rule = label_rule(given.label_kind, self.config.aggregation, given.grades)
        return rule._replace(kind="binary") if (rule.kind, self.saved.task.kind) == ("share", "binary") else rule


def load_trained(results: Results) -> Trained:
    """Load the scorer of a run.

    Raises:
        StoreError: if a file of it is damaged, or code or encoder are others than those it was trained with.
        UsageError: if it leans on `priors.sql`, a query over all responses of a run.
    """
    run_id = results.record.run_id
    for name in _READ_BY:
        recipe = results.artefacts[name].manifest.recipe
        stage = stage_named(name)
        if recipe.code != code_digests(stage.module):
            raise StoreError(
                f"Run {run_id} was made by another version of the code of stage {name}, which would read new responses "
                f"otherwise than those it was trained on; run `fractal run {results.config_path}` again."
            )
        if name == "embed" and recipe.sources != external_digests(
            results.artefacts[name].workspace, stage, results.config
        ):
            raise StoreError(
                f"The files of the encoder {results.config.encoder.model} are others than in run {run_id}; put those "
                f"back, or run `fractal run {results.config_path}` again."
            )
    saved = load_ensemble(results.file("pseudolabel", STUDENT))
    if any(component.family == _SQL for component in saved.components):
        raise UsageError(
            f"The scorer of run {run_id} starts from priors.sql, a query over all responses of a run, which cannot be "
            'asked of others: add the new ones to the input, and run with train.on_new_data = "freeze".'
        )
    return Trained(
        run_id=run_id,
        config=results.config,
        saved=saved,
        folds=read_folds(results.file("train", FOLDS)),
        members=load_finetuned(results.file("train", ENCODERS))[0],
        encoder_files=stage_named("embed").sources(results.config)["encoder"],
        static=results.file("embed", "static.safetensors"),
    )
