"""Files in the formats of known data sets, made by hand: small, with what is odd in the real ones."""

from __future__ import annotations

import json


def write_json(path, value, indent=2):
    """Write a JSON file and return its path."""
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


def write_lines(path, values):
    """Write a file with a JSON value a line and return its path."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def write_table(path, header, rows):
    """Write a table with tabs, quoted where needed, and return its path."""
    cells = [header, *rows]
    quoted = [[f'"{c}"' if "\n" in c or "\t" in c else c for c in row] for row in cells]
    path.write_text("".join("\t".join(row) + "\n" for row in quoted), encoding="utf-8")
    return path


def step(*completions, chosen=0, written=None):
    """Return a step of PRM800K: (text, rating) of each completion."""
    return {
        "completions": [{"text": text, "rating": rating, "flagged": None} for text, rating in completions],
        "human_completion": written,
        "chosen_completion": chosen,
    }


def solution(problem, *steps, reason="solution", phase=2):
    """Return a record of PRM800K."""
    question = {"problem": problem, "ground_truth_answer": "1"}
    if phase == 2:
        question["pre_generated_steps"] = [each["completions"][0]["text"] for each in steps]
    return {
        "labeler": "x", "generation": 9 if phase == 2 else None, "question": question,
        "label": {"steps": list(steps), "total_time": 1, "finish_reason": reason},
    }  # fmt: skip


def question(text, prediction, errors=(), preference=(0, 1, 2, 1, 0, 2), **other):
    """Return a record of QA-Feedback; errors are (type, piece of the prediction)."""
    marks = [
        {"error type": kind, "explanation": "", "start": prediction.index(piece),
         "end": prediction.index(piece) + len(piece)}
        for kind, piece in errors
    ]  # fmt: skip
    return {
        "question": text,
        "passages": [["A title", "One sentence.", "Another \u00e9."], ["A second title", "More."]],
        "gold": "Gold.",
        **{f"prediction {n}": prediction if n == 1 else f"Prediction {n} of {text}." for n in (1, 2, 3, 4)},
        "feedback": {"errors": marks, "missing-info": [], "corrected-prediction": "Right."},
        "preference": list(preference),
        **other,
    }


def passage(name, *sentences, question="who was it"):
    """Return a record of MultiSpanQA: sentences as text in tokens, *answers* between stars."""
    tokens, tags = [], []
    for sentence in sentences:
        inside = False
        for token in sentence.split():
            opens, closes = token.startswith("*"), token.endswith("*")
            word = token.strip("*") or token
            tags.append("B" if opens else "I" if inside else "O")
            inside = (inside or opens) and not closes
            tokens.append(word)
    return {
        "id": name, "type": "HUM", "question": question.split(), "context": tokens, "num_span": 2, "label": tags,
        "structure": "Conjunction",
    }  # fmt: skip


JUDGEMENTS = (
    "id", "relevanceLevel", "relevanceCharacterRanges", "durationUsedToJudgeMs", "judgedAtUnixTS", "documentId",
    "queryId", "userId",
)  # fmt: skip


def judged(folder, documents, queries, judgements):
    """Write the three tables of FiRA; judgements are (query, document, level, ranges)."""
    rows = [
        [str(n), level, ranges, "1000", "1577000000", document, query, "7"]
        for n, (query, document, level, ranges) in enumerate(judgements)
    ]
    return [
        write_table(folder / "fira-trec19-raw-judgements.tsv", JUDGEMENTS, rows),
        write_table(folder / "documents.tsv", ("doc_id", "doc_text"), [list(item) for item in documents.items()]),
        write_table(folder / "queries.tsv", ("query_id", "query_text"), [list(item) for item in queries.items()]),
    ]


def rows_and_bad(read, files):
    """Return the values of the rows that a reader makes, and (line, reason) of the bad records."""
    from fractal_core.convert.records import Bad

    found = list(read(files, lambda count: None))
    return [each.values for each in found if not isinstance(each, Bad)], [
        (each.line, each.reason) for each in found if isinstance(each, Bad)
    ]
