"""The tables: every artefact, query, report and export reads and writes exactly these. Each column has one sentence."""

from __future__ import annotations

import pyarrow as pa

from fractal_core.evidence.catalogue import FEATURES
from fractal_core.table import Column, Table

__all__ = ["TABLES", "Column", "Table"]


_RESPONSE_ID = Column("response_id", pa.string(), "The response this row belongs to.")
_SENTENCE_INDEX = Column("sentence_index", pa.int32(), "Position of the sentence in its response, from 0.")


def _of_sentences(name: str, row: str, *columns: Column, then: tuple[str, ...] = ()) -> Table:
    """Return a table whose rows are those of a sentence, or several of each, told apart by the columns `then`."""
    return Table(name, row, (_RESPONSE_ID, _SENTENCE_INDEX, *columns), (_RESPONSE_ID.name, _SENTENCE_INDEX.name, *then))


RESPONSES = Table(
    "responses",
    "a response",
    (
        Column("response_id", pa.string(), "The response's own id."),
        Column("query", pa.string(), "The question or instruction it answers.", nullable=True),
        Column("context", pa.list_(pa.string()), "Documents it is judged against.", nullable=True),
        Column("response", pa.string(), "The text as it was given."),
        Column("label", pa.float64(), "The response label; null if it has none, or is one of a pair.", nullable=True),
        Column("split", pa.string(), "train, dev or test."),
        Column("group", pa.string(), "Responses of one group are never on both sides of a split or fold."),
        Column(
            "spans",
            pa.list_(pa.list_(pa.int32())),
            "Sentence offsets [start, end) if given with the input.",
            nullable=True,
        ),
        Column(
            "sentence_labels",
            pa.list_(pa.float64()),
            "Gold sentence labels if given; null entries are unlabelled.",
            nullable=True,
        ),
        Column("pair", pa.string(), "Id of the pair it is one of, where pairs are compared.", nullable=True),
        Column(
            "preferred",
            pa.float64(),
            "1 if it is the better one of its pair, 0 if the other is, 0.5 for a tie; null if not known.",
            nullable=True,
        ),
        Column(
            "prior",
            pa.list_(pa.float64()),
            "Your own belief in its sentences: one number each, or one for all of them; null entries are unknown.",
            nullable=True,
        ),
        Column("source", pa.string(), "Input file it was read from, by the name it had then."),
        Column("line", pa.int64(), "Line (or row) of that file, from 1."),
    ),
    ("response_id",),
)
REJECTS = Table(
    "rejects",
    "a bad input row",
    (
        Column("source", pa.string(), "Input file, by the name it had when it was read."),
        Column("line", pa.int64(), "Line (or row) of that file, from 1."),
        Column("reason", pa.string(), "Why the row was rejected; the same fault always has the same words."),
        Column("detail", pa.string(), "The values in question."),
        Column("raw", pa.string(), "The row as it was, cut at 10,000 characters."),
    ),
    ("source", "line"),
)
SENTENCES = _of_sentences(
    "sentences",
    "a sentence",
    Column("start", pa.int32(), "First character in the response (Unicode code points)."),
    Column("end", pa.int32(), "One past its last character: response[start:end] is the text."),
    Column("text", pa.string(), "The sentence."),
    Column(
        "gold",
        pa.float64(),
        "Gold sentence label if the input has one; used to evaluate, and by priors.hybrid.",
        nullable=True,
    ),
)
EMBEDDINGS = Table(
    "embeddings",
    "a distinct text",
    (
        Column("text_hash", pa.string(), "BLAKE2b-128 of the text in UTF-8, in hexadecimal."),
        Column("encoder", pa.string(), "Encoder that made the vector."),
        Column("vector", None, "Mean-pooled, L2-normalised embedding."),
    ),
    ("text_hash",),
)
EVIDENCE = _of_sentences(
    "evidence",
    "a sentence",
    Column("best_chunk", pa.int32(), "Number of the context chunk with the largest cosine, from 0.", nullable=True),
    *(Column(f.name, pa.float32(), f.doc, nullable=True) for f in FEATURES),
)
PRIORS = _of_sentences(
    "priors",
    "a sentence",
    Column("document_similarity", pa.float32(), "(1 + cosine) / 2 to the best context chunk.", nullable=True),
    Column("query_similarity", pa.float32(), "(1 + cosine) / 2 to the query.", nullable=True),
    Column(
        "context_evidence",
        pa.float32(),
        "How much the comparison with the context speaks for it: mean of signed z-scores, no labels used.",
        nullable=True,
    ),
    Column(
        "query_evidence",
        pa.float32(),
        "How much the comparison with the query speaks for it: mean of signed z-scores, no labels used.",
        nullable=True,
    ),
    Column(
        "response_correlation",
        pa.float32(),
        "Mean (1 + Pearson) / 2 of its embedding with the other sentences of the response.",
        nullable=True,
    ),
    Column("column_prior", pa.float32(), "Your own number from the input's column prior.", nullable=True),
    Column("sql_prior", pa.float32(), "Your own number from the query priors.sql.", nullable=True),
    Column("best_chunk", pa.int32(), "Number of the context chunk nearest to it, from 0.", nullable=True),
    Column(
        "neighbour_ids",
        pa.list_(pa.string()),
        "Nearest sentences of other responses, as response_id#sentence_index.",
    ),
    Column("neighbour_similarities", pa.list_(pa.float32()), "Cosines to these neighbours."),
)
SCORES = _of_sentences(
    "scores",
    "a sentence, a round",
    Column("round", pa.int32(), "0: bag-loss training; n: n-th retraining on pseudo-labels."),
    Column(
        "probability",
        pa.float64(),
        "The scorer's probability that the sentence is positive (above grade 0; of real labels, the share of their "
        "range).",
    ),
    Column("spread", pa.float64(), "Standard deviation of that probability over the members of the ensemble."),
    Column(
        "grade_probabilities",
        pa.list_(pa.float64()),
        "Probability of each grade from 0; null unless labels are grades.",
        nullable=True,
    ),
    then=("round",),
)
PSEUDOLABELS = _of_sentences(
    "pseudolabels",
    "a sentence",
    Column(
        "score",
        pa.float64(),
        "Before the response's label is looked at: probability of being positive, expected grade, or real value.",
    ),
    Column("posterior", pa.float64(), "The same given the response's label."),
    Column(
        "pseudolabel",
        pa.float64(),
        "1 or 0, grade or value: part of the most likely labelling that agrees with the response's label.",
    ),
    Column(
        "confidence",
        pa.float64(),
        "Posterior probability of the pseudo-label; null for real values.",
        nullable=True,
    ),
    Column("spread", pa.float64(), "Standard deviation of the probability over the members of the ensemble."),
    Column("round", pa.int32(), "Round the score comes from."),
    Column(
        "agrees",
        pa.bool_(),
        "The response's pseudo-labels aggregate to its label; null without a label.",
        nullable=True,
    ),
    Column(
        "grade_posteriors",
        pa.list_(pa.float64()),
        "Probability of each grade from 0 given the response's label; null unless labels are grades.",
        nullable=True,
    ),
)
CONTRIBUTIONS = _of_sentences(
    "contributions",
    "one of the strongest reasons for a sentence's score",
    Column("rank", pa.int32(), "1 is what moved the score most."),
    Column("feature", pa.string(), "Column of table evidence, or the prior that training started from."),
    Column("z", pa.float32(), "Its value, in standard deviations from the mean of train sentences."),
    Column(
        "contribution",
        pa.float32(),
        "What it adds to the log-odds of the sentence, compared with an average sentence.",
    ),
    then=("rank",),
)
METRICS = Table(
    "metrics",
    "a figure",
    (
        Column("split", pa.string(), "train, dev or test."),
        Column(
            "level",
            pa.string(),
            "sentence (against gold) or response (against the response labels, or of pairs against the preferences).",
        ),
        Column(
            "method",
            pa.string(),
            "What was measured: score, posterior, pseudolabel, the name of a prior, or inherited_label (every sentence "
            "has its response's label).",
        ),
        Column(
            "metric", pa.string(), "auc_roc, auc_pr, accuracy, f1, mae, log_loss or ece (expected calibration error)."
        ),
        Column("value", pa.float64(), "The figure."),
        Column("rows", pa.int64(), "Number of sentences or responses it is taken over."),
        Column("low", pa.float64(), "Lower bound of its 95 % bootstrap interval over responses.", nullable=True),
        Column("high", pa.float64(), "Upper bound.", nullable=True),
        Column(
            "threshold",
            pa.float64(),
            "accuracy, f1: the value from which on a row counts as positive, that of the best one on dev (else 0.5).",
            nullable=True,
        ),
    ),
    ("split", "level", "method", "metric"),
)
RELIABILITY = Table(
    "reliability",
    "a tenth of the sentences with gold labels",
    (
        Column("split", pa.string(), "train, dev or test."),
        Column("method", pa.string(), "score or posterior (the latter over labelled responses)."),
        Column("bin", pa.int32(), "From 0, the sentences with the lowest scores."),
        Column("score", pa.float64(), "Mean score, or posterior, of its sentences."),
        Column("gold", pa.float64(), "Mean gold label: equal to the score where scores are calibrated."),
        Column("error", pa.float64(), "Standard error of the mean gold label, taking sentences for independent."),
        Column("rows", pa.int64(), "Number of sentences."),
    ),
    ("split", "method", "bin"),
)
_RUN_ID = Column("run_id", pa.string(), "Names a run; ids sort by time.")
_TIME = pa.timestamp("ms", tz="UTC")
STAGES = Table(
    "stages",
    "a stage of a run",
    (
        _RUN_ID,
        Column("position", pa.int32(), "Place in the run, from 0."),
        Column("stage", pa.string(), "Name of the stage."),
        Column("reused", pa.bool_(), "True if the artefact was there already."),
        Column("reason", pa.string(), "Why it was reused or ran."),
        Column("seconds", pa.float64(), "Wall time in this run."),
        Column("rows_in", pa.int64(), "Rows of all tables it read."),
        Column("rows_out", pa.int64(), "Rows of all tables it wrote."),
        Column("rows_computed", pa.int64(), "Those not taken from earlier results; 0 if the artefact was reused."),
        Column("tables", pa.string(), "Rows of each table it wrote, in JSON."),
        Column("notes", pa.list_(pa.string()), "What it had to say of its result."),
        Column("figures", pa.string(), "What it measured of its result, in JSON: recall@10 of approximate neighbours."),
        Column("fingerprint", pa.string(), "Digest of everything that can change its result."),
    ),
    ("run_id", "position"),
)
RUNS = Table(
    "runs",
    "a run",
    (
        _RUN_ID,
        Column("state", pa.string(), "running, completed, failed, interrupted or unreadable (a damaged record)."),
        Column("started", _TIME, "When it began."),
        Column("ended", _TIME, "When it ended.", nullable=True),
        Column("seconds", pa.float64(), "Wall time.", nullable=True),
        Column("error", pa.string(), "Why it failed.", nullable=True),
        Column("config_path", pa.string(), "Its configuration file."),
        Column("config", pa.string(), "The whole configuration, in JSON."),
        Column("pid", pa.int64(), "Its process."),
        Column("host", pa.string(), "The machine it ran on."),
    ),
    ("run_id",),
)
# The tables that stages write. `stages` and `runs` come from the run records.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        RESPONSES, REJECTS, SENTENCES, EMBEDDINGS, EVIDENCE, PRIORS, SCORES, PSEUDOLABELS, CONTRIBUTIONS, METRICS,
        RELIABILITY,
    )
}  # fmt: skip
