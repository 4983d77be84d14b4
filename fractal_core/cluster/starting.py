"""Joining a Ray cluster, or starting one of this machine alone: quiet, on loopback, and gone with this process."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fractal_core.errors import StoreError, UsageError

_SECONDS_TO_ANSWER = 5.0
_DEFAULT_PORT = 6379
_TOKEN = Path("~/.ray/auth_token")
# Data go through the workspace; Ray has paths and numbers to carry. It asks for 75 MB at least.
_OBJECT_STORE_BYTES = 100_000_000


def check_ray(address: str) -> None:
    """Make sure that there is Ray, and something that answers at an address.

    Raises:
        UsageError: if Ray is not installed, or nothing answers within five seconds.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            'runtime.runner = "ray", but Ray is not installed: pip install \'fractal[ray]\', or set runner = "local".'
        )
    if not address:
        return
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        raise UsageError(
            f'runtime.ray.address = "{address}" is no host:port, such as 192.0.2.7:{_DEFAULT_PORT}; leave it empty for '
            "a cluster of this machine alone."
        )
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f'No Ray cluster answers at runtime.ray.address = "{address}" ({error}); start one there with `ray start '
            "--head`, or leave the address empty for a cluster of this machine alone."
        ) from error


def connect(address: str, workers: int, *, gpus: bool = False) -> int:
    """Join the cluster, if this process has not, and return how many processors it has, or GPUs.

    Args:
        address: host:port of its head; nothing to start one of this machine alone.
        workers: processors of that; 0 for as many as there are.
        gpus: whether shards take a GPU each.

    Raises:
        StoreError: if Ray cannot be started or joined.
    """
    # Ray reads its settings when it is imported, which a notebook may have done.
    if "ray" not in sys.modules:
        _be_quiet()
        if address:
            _bring_token()
        else:
            _be_private()
    import ray
    import ray._private.worker as driver

    # Ray prints what befalls workers on standard output, where JSON may be expected; shards say what matters.
    driver.listen_error_messages = lambda worker, threads_stopped: None
    if not ray.is_initialized():
        # Without an address Ray would look for one in the environment.
        local = {"num_cpus": workers or None, "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
        how = {"address": address} if address else {"address": "local", **local}
        try:
            with _own_sigterm():
                ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            what = " ".join(str(error).split()).split(". ")[0].rstrip(".")
            where = f"The Ray cluster at {address} could not be joined" if address else "Ray could not be started"
            hint = "see that RAY_AUTH_TOKEN or ~/.ray/auth_token has its token" if address else "mend that"
            raise StoreError(f'{where} ({what}); {hint}, or set runtime.runner = "local".') from error
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("GPU" if gpus else "CPU", 1)))


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what SIGTERM does to this process: Ray would have it raise, also where it is ignored or heeded otherwise."""
    import ray._private.utils as utilities

    setting = utilities.set_sigterm_handler
    utilities.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utilities.set_sigterm_handler = setting


def _be_quiet() -> None:
    """Send no usage statistics, and do not warn of what will change in Ray some day."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")


def _bring_token() -> None:
    """Show the token of the cluster, if there is one where Ray keeps it; and do not wait long for one that is wrong."""
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or _TOKEN.expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _be_private() -> None:
    """Listen on loopback alone, and to nobody who does not know this process's token.

    Whatever the name of the first variable says, on Linux too Ray then takes 127.0.0.1 as the address of its machine.
    """
    os.environ.update(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
