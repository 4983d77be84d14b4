"""Handing results on."""
