"""Imports all that a run does, early or late, and takes its code apart: `forked` has it done once, before it forks."""

from __future__ import annotations

import atexit
import gc
import importlib

from fractal_core.pipeline import STAGES
from fractal_core.store.code import code_digests

# What is imported late.
LIBRARIES = ("duckdb", "faiss", "pandas", "pyarrow.dataset", "rich._emoji_codes", "rich.console", "safetensors.torch",
             "sentencex", "torch._dynamo", "transformers.models.auto.tokenization_auto",
             "transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert")  # fmt: skip

for _name in (*LIBRARIES, "fractal_core.labelling", "fractal_core.runtime", "fractal_core.summary"):
    importlib.import_module(_name)
for _stage in STAGES:
    _stage.load()
    code_digests(_stage.module)
# Forked processes share this memory as long as nobody writes to it: their collections of garbage leave it alone.
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)
