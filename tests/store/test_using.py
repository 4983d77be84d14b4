"""Many use a workspace at once; one clears it up, alone."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from fractal_core.store.using import alone, in_use


def _try(how, root):
    """Return an event that is set once another thread holds the workspace, and the thread."""
    held = threading.Event()

    def hold():
        with how(root):
            held.set()

    thread = threading.Thread(target=hold)
    thread.start()
    return held, thread


@pytest.mark.parametrize(
    ("first", "second", "together"), [(in_use, in_use, True), (in_use, alone, False), (alone, in_use, False),
                                      (alone, alone, False)]
)  # fmt: skip
def test_only_users_go_together(tmp_path, first, second, together):
    """Users do not wait for each other; the one that is alone waits for users and they for it."""
    with ExitStack() as stack:
        stack.enter_context(first(tmp_path))
        held, thread = _try(second, tmp_path)
        assert held.wait(5 if together else 0.2) == together
    thread.join(5)
    assert held.is_set()
    assert [path.name for path in tmp_path.iterdir()] == ["use.lock"]


def test_user_may_use_again(tmp_path):
    """Who uses the workspace can do so within, even while somebody waits to be alone."""
    with in_use(tmp_path):
        held, thread = _try(alone, tmp_path)
        assert not held.wait(0.2)
        with in_use(tmp_path):
            pass
        assert not held.is_set()
    thread.join(5)
    assert held.is_set()
