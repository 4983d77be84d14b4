"""Hashing Arrow data by content: not by how it is chunked, sliced or padded, nor by what lies under a null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    # The stubs type arrays by their elements; this code is for any.
    Array = Any


class Hash(Protocol):
    """A running hash."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes."""


def update_with_array(state: Hash, values: Array) -> None:
    """Add an array to a running hash: its type, length, nulls and values, nested ones too.

    Raises:
        TypeError: for a type that no table has.
    """
    kind = values.type
    state.update(f"{kind}:{len(values)}:{values.null_count};".encode())
    if values.null_count:
        state.update(np.packbits(values.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_fixed_size_list(kind):
        update_with_array(state, values.flatten())
    elif pa.types.is_list(kind):
        state.update(pc.list_value_length(values).fill_null(0).to_numpy().tobytes())
        update_with_array(state, values.flatten())
    elif pa.types.is_string(kind):
        present = values.drop_null()
        state.update(pc.binary_length(present).to_numpy().tobytes())
        state.update(_text_bytes(present))
    elif pa.types.is_boolean(kind):
        state.update(np.packbits(values.fill_null(False).to_numpy(zero_copy_only=False)).tobytes())
    elif pa.types.is_timestamp(kind):
        update_with_array(state, values.cast(pa.int64()))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        state.update(values.drop_null().to_numpy().tobytes())
    else:
        raise TypeError(f"no content digest for Arrow type {kind}")


def _text_bytes(present: Array) -> memoryview:
    """The UTF-8 bytes of a string array without nulls, one after the other."""
    _, offsets, data = present.buffers()
    if data is None or offsets is None or not len(present):
        return memoryview(b"")
    bounds = np.frombuffer(memoryview(offsets), dtype=np.int32)
    return memoryview(data)[bounds[present.offset] : bounds[present.offset + len(present)]]
