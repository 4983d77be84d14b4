"""Groups of responses, and which split a group belongs to."""

from __future__ import annotations

from hashlib import blake2b

SPLIT_NAMES = {
    "train": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}

SPLITS = ("train", "dev", "test")

LONGEST_GROUP = 64


def group_name(group: str | None, query: str | None, context: list[str] | None, response_id: str) -> str:
    """Return what a response has in common with others: its group, else its query, context or id.

    What is longer than 64 characters is replaced by its BLAKE2b-64 in hexadecimal.
    """
    name = group or query or "\n".join(context or ()) or response_id
    if len(name) <= LONGEST_GROUP:
        return name
    return blake2b(name.encode(), digest_size=8).hexdigest()


def split_of(group: str, seed: int, dev_fraction: float, test_fraction: float) -> str:
    """Return "train", "dev" or "test" for a group, by a hash: the same whatever else the input has.

    Args:
        group: a name from `group_name`.
        seed: another seed deals the groups anew.
        dev_fraction: expected share of groups in dev, 0..1.
        test_fraction: expected share of groups in test, 0..1.
    """
    digest = blake2b(f"{seed}\n{group}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < test_fraction:
        return "test"
    return "dev" if position < test_fraction + dev_fraction else "train"
