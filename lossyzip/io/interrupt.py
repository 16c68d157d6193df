"""Ctrl-C at safe points only. Knows nothing of files.

An exception that a signal raises in the middle of a call from HDF5 back into Python leaves HDF5 with a
file that it can neither use nor close, and it crashes at exit. So the work runs in a thread of its own,
which signals never reach, and asks now and then whether it should stop.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class Stop:
    """The wish that the work may end early; `check` raises where it can."""

    def __init__(self) -> None:
        self._wished = threading.Event()

    def wish(self) -> None:
        self._wished.set()

    def check(self) -> None:
        if self._wished.is_set():
            raise _Stopped


class _Stopped(Exception):
    """Never leaves this module: the caller sees what interrupted it."""


def interruptible(work: Callable[[Stop], _T]) -> _T:
    """``work(stop)``, and its result. KeyboardInterrupt and the like leave only after it has cleaned up."""
    stop, finished = Stop(), threading.Event()
    results: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            stop.check()
            results.append(work(stop))
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=body, name="lossyzip")
    try:
        thread.start()
        finished.wait()
    except BaseException:
        stop.wish()
        if thread.ident is not None:  # None: it has not begun, and will stop at once
            finished.wait()
        raise
    if errors:
        raise errors[0]
    return results[0]
