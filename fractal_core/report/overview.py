"""What a run was: its configuration, its stages and what they had to say, and the rows that it rejected."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fractal_core.config import RunConfig
from fractal_core.config_keys import find_field
from fractal_core.config_template import default_of

if TYPE_CHECKING:
    from fractal_core.results import Results
    from fractal_core.store.runs import RunRecord, StageRecord

_WARNING = "WARNING: "
_BATCH = 65_536
_EXAMPLES = 3
_DETAIL = 200


@dataclass(frozen=True)
class Setting:
    """A key of the configuration that is not at its default, in TOML; `default` is None if it has none."""

    key: str
    value: str
    default: str | None


@dataclass(frozen=True)
class Rejected:
    """Rows rejected for one reason: how many, and the first of them as (place, values in question)."""

    reason: str
    rows: int
    examples: list[tuple[str, str]]


@dataclass(frozen=True)
class Overview:
    """A run at a glance.

    Attributes:
        run_id: its id.
        name: of its configuration file.
        started: time in UTC.
        seconds: wall time.
        settings: what is not at its default.
        stages: in order.
        notes: stage -> what it had to say, but for warnings.
        warnings: likewise.
        rejected: reasons of rejects, the most frequent first.
    """

    run_id: str
    name: str
    started: str
    seconds: float
    settings: list[Setting]
    stages: tuple[StageRecord, ...]
    notes: dict[str, list[str]]
    warnings: dict[str, list[str]]
    rejected: list[Rejected]


def describe(results: Results) -> Overview:
    """Return the overview of a run; of paths only their last part is told."""
    record = results.record
    started = datetime.fromisoformat(record.started)
    ended = datetime.fromisoformat(record.ended or record.started)
    return Overview(
        run_id=record.run_id,
        name=Path(record.config_path).stem or record.run_id,
        started=f"{started.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        seconds=(ended - started).total_seconds(),
        settings=changed_settings(record),
        stages=record.stages,
        notes=_said(record, warnings=False),
        warnings=_said(record, warnings=True),
        rejected=_rejected(results),
    )


def _said(record: RunRecord, *, warnings: bool) -> dict[str, list[str]]:
    found = {
        stage.stage: [text.removeprefix(_WARNING) for text in stage.notes if text.startswith(_WARNING) is warnings]
        for stage in record.stages
    }
    return {stage: texts for stage, texts in found.items() if texts}


def changed_settings(record: RunRecord) -> list[Setting]:
    """Return the keys of a run's configuration that are not at today's defaults, in their order."""
    settings = []
    for key, value in _flat(record.config):
        field = find_field(RunConfig, key)
        default = None if field is None or field.is_required() else default_of(field)
        if value != default:
            settings.append(Setting(key, _shown(value), None if default is None else _shown(default)))
    return settings


def _flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys with their values, plain keys before sections."""
    plain = [(prefix + key, value) for key, value in section.items() if not isinstance(value, dict)]
    return plain + [
        pair for key, value in section.items() if isinstance(value, dict) for pair in _flat(value, f"{prefix}{key}.")
    ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    if isinstance(value, str) and Path(value).is_absolute():
        value = Path(value).name
    return json.dumps(value, ensure_ascii=False)


def _rejected(results: Results) -> list[Rejected]:
    """Return the reasons of rejects, the most frequent first."""
    counts: Counter[str] = Counter()
    examples: dict[str, list[tuple[str, str]]] = {}
    if results.rows("rejects"):
        for batch in results.batches("rejects", ("source", "line", "reason", "detail"), _BATCH):
            for row in batch.to_pylist():
                counts[row["reason"]] += 1
                known = examples.setdefault(row["reason"], [])
                if len(known) < _EXAMPLES:
                    known.append((f"{row['source']}:{row['line']}", row["detail"][:_DETAIL]))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Rejected(reason, rows, examples[reason]) for reason, rows in ordered]
