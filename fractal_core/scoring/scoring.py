"""`fractal score`: a trained scorer on the responses of files, streaming."""

from __future__ import annotations

from array import array
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fractal_core.errors import InputError
from fractal_core.runtime import make_runtime
from fractal_core.scoring.dealing import labelled
from fractal_core.scoring.incoming import incoming
from fractal_core.scoring.outgoing import keeping, writing
from fractal_core.scoring.trained import load_trained
from fractal_core.store.outside import check_free

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fractal_core.progress import Reporter
    from fractal_core.results import Results

_SHOWN = 3


def score_files(
    results: Results, files: Sequence[Path] | None, output: Path | None, reporter: Reporter, *, force: bool = False
) -> dict[str, Any]:
    """Score the responses of files; return what there is to say, as JSON values.

    Each row of the output is a sentence, with the run whose scorer it is. Memory does not grow with the input, but
    for 8 bytes a response. Rows that cannot be scored are kept: beside the output in `_OUTPUT.rejects.jsonl`, or on
    standard error. Ids that come more than once are scored as often; `repeated` counts the responses that have them.

    Args:
        results: of the run.
        files: what to score; None for JSON lines from standard input.
        output: a .parquet or .jsonl file to write; None for JSON lines on standard output.
        reporter: where progress and notes go.
        force: whether to replace the file.

    Raises:
        UsageError: if the output is not to be written, or the scorer leans on what new responses do not have.
        InputError: if the input cannot be read, or no row of it can be scored.
        StoreError: if a file of the run is damaged, or the output cannot be written.
    """
    if output is not None:
        check_free(output, force=force, read=files or ())
    trained = load_trained(results)
    runtime = make_runtime(results.config.runtime, reporter)
    counts, reasons = Counter[str](), Counter[str]()
    ids = array("Q")
    total = sum(file.stat().st_size for file in files or ())
    aside = None if output is None else output.with_name(f"_{output.name}.rejects.jsonl")
    with (
        writing(output) as writer,
        keeping(aside) as keep,
        reporter.progress("score", total) as progress,
    ):
        batches = incoming(files, trained.config.input.columns, trained.label_rule, progress.advance)
        for batch, sentences in labelled(trained, results.workspace, batches, runtime):
            for row in batch.rejected:
                keep(row)
                reasons[row.reject.reason] += 1
            if sentences is not None:
                run = pa.array([trained.run_id] * sentences.num_rows, pa.string())
                writer.write(sentences.add_column(0, "run_id", run))
                counts["responses"] += len(batch.responses)
                ids.extend(_digest(each.response_id) for each in batch.responses)
                counts["labelled"] += sum(
                    each.label is not None or each.preferred is not None for each in batch.responses
                )
                counts["sentences"] += sentences.num_rows
        if not counts["responses"]:
            raise InputError(f"There is nothing to score ({_in_words(reasons) or 'no rows'}).")
    rejected = sum(reasons.values())
    return {
        "run_id": trained.run_id,
        "output": None if output is None else str(output),
        **{name: counts[name] for name in ("responses", "labelled", "sentences")},
        "repeated": _repeated(ids),
        "rejected": rejected,
        "reasons": dict(reasons.most_common()),
        "rejects": str(aside) if rejected and aside else None,
    }


def in_words(said: dict[str, Any]) -> str:
    """Say in a line what `score_files` returned."""
    where = f", in {said['output']}" if said["output"] else ""
    words = f"Scored {said['sentences']:,} sentences of {said['responses']:,} responses by run {said['run_id']}{where}."
    if said["rejected"]:
        kept = f"; they are in {said['rejects']}" if said["rejects"] else ""
        rows = f"{said['rejected']:,} of {said['rejected'] + said['responses']:,} rows"
        words += f" {rows} cannot be scored ({_in_words(Counter(said['reasons']))}){kept}."
    if said["repeated"]:
        words += (
            f" Ids that come more than once: {said['repeated']:,} responses have them, of which response_id and "
            "sentence_index do not tell the sentences apart."
        )
    return words


def _in_words(reasons: Counter[str]) -> str:
    common = reasons.most_common(_SHOWN)
    if others := reasons.total() - sum(count for _, count in common):
        common.append(("other reasons", others))
    return "; ".join(f"{count:,} x {reason}" for reason, count in common)


def _digest(response_id: str) -> int:
    return int.from_bytes(blake2b(response_id.encode(errors="surrogatepass"), digest_size=8).digest())


def _repeated(ids: array[int]) -> int:
    """Return how many of the ids, as digests, are there more than once."""
    _, times = np.unique(np.frombuffer(ids, np.uint64), return_counts=True)
    return int(times[times > 1].sum())
