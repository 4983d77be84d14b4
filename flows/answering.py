"""Prefect's API for one run, in a process of its own: what Prefect itself would start, and quicker to be there.

Run as a file, with the descriptor of a socket that is bound: python -P answering.py 5
"""

from __future__ import annotations

import gc
import socket
import sys


def answer(descriptor: int) -> None:
    """Answer on a socket until SIGTERM; exit code 3 if the server cannot start."""
    gc.disable()  # of what is imported nothing is ever freed
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True)
    gc.freeze()
    gc.enable()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))
    server.run([socket.socket(fileno=descriptor)])
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    answer(int(sys.argv[1]))
