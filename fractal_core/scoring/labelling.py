"""From responses to labelled sentences: the stages' own functions, on one batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fractal_core.encode.comparing import evidence_rows
from fractal_core.encode.embedding import embeddings_table, encoder_name
from fractal_core.encode.opening import open_encoder
from fractal_core.encode.recent import RecentReader
from fractal_core.encode.shards import shards
from fractal_core.encode.spool import text_hash
from fractal_core.encode.uncollected import uncollected
from fractal_core.errors import InputError
from fractal_core.evidence.extract import extract
from fractal_core.mil.answers import answer
from fractal_core.mil.applying import apply_ensemble, odd_label
from fractal_core.mil.assembling import Settled, assemble
from fractal_core.mil.finetuning import score_by_finetuned
from fractal_core.mil.recipe import plan_of
from fractal_core.mil.rows import pseudolabel_rows
from fractal_core.mil.saving import NOISE
from fractal_core.mil.sentences import FAMILIES
from fractal_core.priors.column import column_prior
from fractal_core.scoring.batch import BatchInputs
from fractal_core.stage_params import embed_params, train_params
from fractal_core.text.segmentation import Unit, cut_sentences
from fractal_core.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fractal_core.encode.reading import Reading
    from fractal_core.evidence.material import Material
    from fractal_core.scoring.trained import Trained
    from fractal_core.store.stage import Runtime

KEYS = ("response_id", "sentence_index")
# Of table pseudolabels: which round the scorer comes from is a matter of the run.
_ANSWERS = (
    "score", "posterior", "pseudolabel", "confidence", "spread", "agrees", "grade_posteriors",
)  # fmt: skip
_HELD_BYTES = 16 * 1024**2
_WHOLE: Any = 1 << 62


class Labeller:
    """A trained scorer with its encoder open."""

    def __init__(self, trained: Trained, runtime: Runtime) -> None:
        """Open the encoder; raises InputError if it cannot be loaded."""
        config = trained.config
        self._trained = trained
        self._runtime = runtime
        self._embed, self._train = embed_params(config), train_params(config)
        static = trained.static if self._embed.kind == "static" else None
        encoder, self._rarity, _ = open_encoder(trained.encoder_files[0].parent, self._embed, static, runtime)
        self._reader = RecentReader(encoder, _HELD_BYTES)

    def label(self, responses: pa.Table) -> pa.Table:
        """Return the sentences of some responses with their scores, and with labels that agree with the response's.

        What is said of a response depends on itself alone; of one that the scorer was trained on, by id, on the
        members that have not seen its label.

        Args:
            responses: rows as table `responses` has them, with distinct ids; in what split they are does not matter.
                Both of a pair, or none.

        Returns:
            Columns of `sentences` (without gold) and of `pseudolabels` (without round), in order of the responses.
        """
        everywhere = pa.array(["test"] * responses.num_rows)
        responses = responses.set_column(responses.column_names.index("split"), "split", everywhere)
        sentences = self._sentences(responses)
        inputs = BatchInputs({"responses": responses, "sentences": sentences}, {"encoder": self._trained.encoder_files})
        self._read(inputs)
        inputs.tables["priors"] = self._priors(responses, sentences)
        with one_thread():
            answers = self._answers(inputs)
        said = sentences.select(["response_id", "sentence_index", "start", "end", "text"])
        for name in _ANSWERS:
            said = said.append_column(name, answers.column(name))
        return said

    def _sentences(self, responses: pa.Table) -> pa.Table:
        columns = (responses.column(name).to_pylist() for name in Unit._fields)
        units = [Unit(*unit) for unit in zip(*columns, strict=True)]
        segment = self._trained.config.segment
        cut, sizes = cut_sentences(units, segment.method, segment.language)
        owner = np.repeat(np.arange(len(units)), sizes)
        return cut.add_column(0, "response_id", responses.column("response_id").take(owner))

    def _read(self, inputs: BatchInputs) -> None:
        """Add tables evidence and embeddings."""
        params, rows = self._embed, []
        vectors: dict[str, np.ndarray] = {}
        for materials in shards(inputs, params.chunk_tokens, _WHOLE):
            readings = self._reader.read(text for material in materials for text in material.texts)
            vectors |= {text_hash(text): reading.pooled for text, reading in readings.items()}
            rows.append(self._evidence(materials, readings))
        inputs.tables["evidence"] = pa.concat_tables(rows)
        inputs.tables["embeddings"] = embeddings_table(
            list(vectors), encoder_name(params), np.stack(list(vectors.values()))
        )

    def _evidence(self, materials: list[Material], readings: Mapping[str, Reading]) -> pa.Table:
        with uncollected():
            evidence = extract(materials, readings, self._rarity, self._runtime.device)
        ids = [material.response_id for material in materials for _ in material.sentences]
        return evidence_rows(materials, evidence).add_column(0, "response_id", pa.array(ids)).drop_columns("best_chunk")

    def _priors(self, responses: pa.Table, sentences: pa.Table) -> pa.Table:
        """Return the priors that a scorer may start from; those of evidence it takes from there itself."""
        table = sentences.select(list(KEYS))
        values = np.full((len(FAMILIES), sentences.num_rows), np.nan, dtype=np.float32)
        columns = dict(zip(FAMILIES.values(), values, strict=True))
        if self._trained.config.priors.column:
            ids = responses.column("response_id")
            owner = pc.index_in(sentences.column("response_id"), value_set=ids.combine_chunks()).to_numpy()
            position = sentences.column("sentence_index").to_numpy().astype(np.int64)
            columns["column_prior"] = column_prior(responses.column("prior"), ids, owner.astype(np.int64), position)
        for name, column in columns.items():
            table = table.append_column(name, pa.array(column))
        return table

    def _answers(self, inputs: BatchInputs) -> pa.Table:
        """Return rows of table pseudolabels."""
        saved = self._trained.saved
        settled = Settled(saved.fit, self._trained.folds)
        assembled = assemble(inputs, plan_of(self._train), settled, _silent)
        examples, supervision = assembled.examples, assembled.supervision
        given = None
        if self._trained.finetuned:
            given = score_by_finetuned(inputs, examples.segments, self._trained.members, self._train, self._runtime)
        odd = odd_label(examples, saved.task)
        if odd is not None:
            raise InputError(
                f"The scorer of run {self._trained.run_id} reads labels as 0 or 1 (aggregation = "
                f'"auto" took {saved.task.aggregation}), but response {assembled.responses.column("response_id")[odd]} '
                f"has the label {float(examples.labels[odd]):g}: mend the label, or leave it out."
            )
        said = apply_ensemble(saved, assembled.sentences, examples.fold, given)
        labelled = supervision.as_given(examples)
        answers = answer(saved.task, said.logits, said.extra, labelled, saved.metadata.get(NOISE))
        return pseudolabel_rows(assembled.keys, answers, said.spread, supervision, examples.segments, 0)


def _silent(text: str) -> None:
    """Note nothing."""
