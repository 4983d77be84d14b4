"""SQL over the committed artefacts."""
