"""A file that is complete or absent: written beside its name, synced, then renamed. Knows no formats."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from lossyzip.errors import InvalidArgumentError


@contextlib.contextmanager
def replacing(target: Path, *, force: bool) -> Iterator[Path]:
    """The path of a temporary file that becomes ``target`` when the block ends well, and vanishes otherwise.

    An existing ``target`` stays untouched until then. Raises InvalidArgumentError when it exists and
    ``force`` is not given, or when its folder does not. SIGTERM counts as an interrupt within the block.
    """
    if not target.parent.is_dir():
        raise InvalidArgumentError(f"{target}: there is no folder {target.parent}")
    if target.is_dir():
        raise InvalidArgumentError(f"{target} is a folder")
    if target.exists() and not force:
        raise InvalidArgumentError(f"{target} exists; use --force (force=True) to replace it")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _terminate_as_interrupt():
            yield temporary
            _sync(temporary)
            temporary.chmod(_mode_for(target))
            if target.exists() and not force:  # it came while we were writing
                raise InvalidArgumentError(f"{target} exists; use --force (force=True) to replace it")
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(target.parent)


def _mode_for(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # folders cannot be opened everywhere
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, so that `finally` blocks run; in the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
