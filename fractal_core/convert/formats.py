"""The known formats by name. A new one is a module with a reader and a line here."""

from __future__ import annotations

from typing import NamedTuple

from fractal_core.convert import fira, multispanqa, prm800k, qa_feedback
from fractal_core.convert.records import Reader
from fractal_core.label_kinds import SettledKind


class Format(NamedTuple):
    """A format: what it is of, how it is read, and what the configuration for the rows has to say.

    `grades` is the highest grade of ordinal labels.
    """

    summary: str
    read: Reader
    aggregation: str
    label_kind: SettledKind
    grades: int | None = None


FORMATS: dict[str, Format] = {
    "prm800k": Format("PRM800K: are the steps of a solution right?", prm800k.read_binary, "min", "binary"),
    "prm800k-ordinal": Format(
        "PRM800K: ratings -1, 0, 1 as grades 0, 1, 2", prm800k.read_grades, "min", "ordinal", grades=2
    ),
    "qa-feedback-relevance": Format(
        "QA-Feedback: what share of an answer is relevant?", qa_feedback.read_relevance, "avg", "share"
    ),
    "qa-feedback-factuality": Format(
        "QA-Feedback: is an answer borne out by its passages?", qa_feedback.read_factuality, "min", "binary"
    ),
    "qa-feedback-preference": Format(
        "QA-Feedback: which of two answers is better?", qa_feedback.read_preferences, "auto", "preference"
    ),
    "multispanqa": Format(
        "MultiSpanQA: is the answer in the passage? Half of them cropped", multispanqa.read_cropped, "max", "binary"
    ),
    "multispanqa-whole": Format("MultiSpanQA: passages as they are", multispanqa.read_whole, "max", "binary"),
    "fira": Format("FiRA: grade of a passage's best sentence", fira.read_best, "max", "ordinal", fira.GRADES),
    "fira-mean": Format("FiRA: mean grade of a passage", fira.read_mean, "avg", "ordinal", fira.GRADES),
}
