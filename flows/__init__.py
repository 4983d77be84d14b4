"""Prefect flows: they chain tasks."""
