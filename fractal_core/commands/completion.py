"""What a shell offers for the options of a command: names of stages, keys of the configuration."""

from __future__ import annotations


def complete_stage(incomplete: str) -> list[tuple[str, str]]:
    """Return the stages that begin like this, each with what it does."""
    from fractal_core.pipeline import STAGES

    return [(stage.name, stage.summary) for stage in STAGES if stage.name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[tuple[str, str]]:
    """Return the keys that begin like this, ready for a value, each with its meaning."""
    from fractal_core.config import RunConfig
    from fractal_core.config_keys import walk

    keys = [key for key in walk(RunConfig) if key.section is None and key.name.startswith(incomplete)]
    return [(f"{key.name}=", key.field.description or "") for key in keys]
