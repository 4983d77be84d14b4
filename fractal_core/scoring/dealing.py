"""Batches of responses to labelled sentences: in this process, or dealt to others that open the same scorer."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fractal_core.results import find_run
from fractal_core.scoring.labelling import Labeller
from fractal_core.scoring.trained import NEEDED, load_trained
from fractal_core.store.workspace import open_workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from fractal_core.engine import Advance, Do, Parcel
    from fractal_core.scoring.incoming import Batch
    from fractal_core.scoring.trained import Trained
    from fractal_core.store.stage import Runtime
    from fractal_core.store.workspace import Workspace


def labelled(
    trained: Trained, workspace: Workspace, batches: Iterable[Batch], runtime: Runtime
) -> Iterator[tuple[Batch, pa.Table | None]]:
    """Yield each batch with its sentences as `Labeller.label` returns them; None if it has no response.

    Args:
        trained: the scorer.
        workspace: with its run.
        batches: what to score; they are asked for as they are needed.
        runtime: how to compute.

    Raises:
        InputError: if the encoder cannot be loaded, or a label is none that the scorer has learned.
        StoreError: if another process cannot use the results of the run.
    """
    if not runtime.engine.apart:
        labeller = Labeller(trained, runtime)
        for batch in batches:
            yield batch, labeller.label(batch.table()) if batch.responses else None
        return
    common = {"workspace": str(workspace.root.resolve()), "run_id": trained.run_id}
    shards = ((batch, {"responses": batch.table()}) for batch in batches)
    folder = workspace.temporary("score")
    try:
        for batch, made in runtime.engine.deal(runtime, labelling, common, shards, folder):
            yield batch, made.get("sentences")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def labelling(common: Parcel, runtime: Runtime) -> Do:
    """Return what scores `responses`, by the run and workspace that are named: table `sentences`, if there are some."""
    results = find_run(open_workspace(Path(common["workspace"]), create=False), common["run_id"], NEEDED)
    labeller = Labeller(load_trained(results), runtime)

    def label(shard: Parcel, advance: Advance) -> Parcel:
        del advance
        responses = shard["responses"]
        return {"sentences": labeller.label(responses)} if responses.num_rows else {}

    return label
