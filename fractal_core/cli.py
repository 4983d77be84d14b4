"""The command line: the commands of `fractal_core.commands`, and what becomes of their errors."""

from __future__ import annotations

import errno
import sys
from typing import Annotated, NoReturn

import typer

from fractal_core.commands import asking, handing_on, keeping, labelling, schedules
from fractal_core.console import Output, fail
from fractal_core.errors import FractalError, StoreError
from fractal_core.start import EXIT_CODE, INTERRUPTED

# What a command prints may go to a file. Files of the workspace have words of their own.
NO_ROOM = "What this command prints cannot be written where it goes; make room there, or send it elsewhere"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

app = typer.Typer(
    name="fractal",
    help="Sentence scores from response labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# In the order of the help.
for group in (labelling, asking, handing_on, schedules, keeping):
    app.registered_commands.extend(group.commands.registered_commands)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        Output(False).say(None, f"fractal {version('fractal')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Sentence scores from response labels."""


def main() -> None:
    """Run the command line; errors are one sentence, with a traceback only if --debug is given."""
    debug = "--debug" in sys.argv
    as_json = "--json" in sys.argv
    try:
        app()
    except FractalError as error:
        if debug:
            raise
        fail(str(error), as_json=as_json, code=error.exit_code)
    except (KeyboardInterrupt, BrokenPipeError):
        fail(INTERRUPTED, as_json=as_json, code=EXIT_CODE)
    except SystemExit as left:
        if left.code == EXIT_CODE:  # typer has caught a KeyboardInterrupt, without a word
            fail(INTERRUPTED, as_json=as_json, code=EXIT_CODE)
        raise
    except OSError as error:
        if debug or error.errno not in _NO_ROOM:
            _fail_unforeseen(error, debug=debug, as_json=as_json)
        fail(f"{NO_ROOM} ({error.strerror}).", as_json=as_json, code=StoreError.exit_code)
    except Exception as error:  # the last line of defence: a defect of ours is still one sentence
        _fail_unforeseen(error, debug=debug, as_json=as_json)


def _fail_unforeseen(error: Exception, *, debug: bool, as_json: bool) -> NoReturn:
    if debug:
        raise error
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    fail(
        f"This is a defect of fractal ({what}); run again with --debug and report the traceback.",
        as_json=as_json,
        code=1,
    )
