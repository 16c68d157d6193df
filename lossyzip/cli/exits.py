"""Exit codes, and errors as one line on standard error. LOSSYZIP_DEBUG=1 shows where they came from."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import NoReturn

import click

from lossyzip.errors import DecodeError, InvalidArgumentError, SelfCheckError, UnsupportedDataError

ERROR, USAGE, FAILED, CORRUPT, UNSUPPORTED, INTERRUPTED = 1, 2, 3, 4, 5, 130
_CODES: tuple[tuple[type[BaseException], int], ...] = (  # the first that fits
    (KeyboardInterrupt, INTERRUPTED),
    (click.Abort, INTERRUPTED),
    (UnsupportedDataError, UNSUPPORTED),
    (InvalidArgumentError, USAGE),
    (SelfCheckError, FAILED),
    (DecodeError, CORRUPT),
)


def code_of(error: BaseException) -> int:
    """The exit code for ``error``."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ERROR)


def run(command: click.Command) -> NoReturn:
    """Run ``command`` on the arguments of this process, and exit. SIGTERM and SIGHUP are like Ctrl-C."""
    for name in ("SIGTERM", "SIGHUP"):  # from batch systems, and from terminals that are closed
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores it
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(command.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ERROR)
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get("LOSSYZIP_DEBUG"):
            traceback.print_exc()
        code = code_of(error)
        message = (
            "interrupted; nothing was kept" if code == INTERRUPTED else str(error) or type(error).__name__
        )
        click.echo(f"lossyzip: {message}", err=True)
        sys.exit(code)
