"""Prefect tasks: one module a stage, no logic."""
