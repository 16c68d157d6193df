"""A file that appears whole or not at all: written beside its name, synced, renamed. Knows no HDF5."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from lossyzip.errors import InvalidArgumentError


class Output:
    """The file under way, as the file object that HDF5 writes through.

    HDF5 must never see a write fail: on a full disk it can neither go on nor close its file, and crashes
    at exit. So a failure is kept, everything after it is dropped, and `check` raises it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "x+b", buffering=0)  # noqa: SIM115 (`close` is called by `written_whole`)
        self._position = 0
        self._size = 0
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset if whence == os.SEEK_SET else self._size + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        self._file.seek(self._position)
        count = self._file.readinto(buffer) or 0
        memoryview(buffer).cast("B")[count:] = bytes(len(buffer) - count)
        return len(buffer)

    def write(self, data: memoryview) -> int:
        position, length = self._position, len(data)
        if self._failure is None:
            try:
                self._file.seek(position)
                done = self._file.write(data)
                while done < length:  # a short write: the next one says why
                    done += self._file.write(data[done:])
            except OSError as error:
                self._fail(error)
        self._size = max(self._size, position + length)
        return length

    def truncate(self, size: int) -> None:
        self._size = size
        if self._failure is None:
            try:
                self._file.truncate(size)
            except OSError as error:
                self._fail(error)

    def flush(self) -> None:
        """Nothing is held back."""

    def sync(self) -> None:
        """Raise what went wrong, or return when the disk has everything."""
        self.check()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def _fail(self, error: OSError) -> None:
        self._failure = OSError(error.errno, f"writing failed: {os.strerror(error.errno or errno.EIO)}")


@contextlib.contextmanager
def written_whole(target: str | os.PathLike[str], *, force: bool) -> Iterator[Output]:
    """An `Output` that becomes ``target`` when the block ends well; otherwise nothing of it remains.

    A link to a file stays a link; a file that is replaced hands on its permissions. Raises
    InvalidArgumentError when ``target`` exists and ``force`` does not allow to replace it, or has no folder.
    """
    path = Path(os.path.realpath(target))
    _check_free(path, force)
    output = Output(path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.part"))
    try:
        try:
            yield output
            output.sync()
        finally:
            output.close()
        _check_free(path, force)
        if path.exists():
            shutil.copymode(path, output.path)
        os.replace(output.path, path)
    except BaseException:
        with contextlib.suppress(OSError):
            output.path.unlink()
        raise
    _sync_folder(path.parent)


def _check_free(path: Path, force: bool) -> None:
    if not path.parent.is_dir():
        raise InvalidArgumentError(f"{path}: there is no folder {path.parent}")
    if path.exists():
        if not path.is_file():
            raise InvalidArgumentError(f"{path} is not a regular file, and cannot be replaced")
        if not force:
            raise InvalidArgumentError(f"{path} exists; --force (force=True) replaces it")


def _sync_folder(folder: Path) -> None:
    """So that the new name survives a crash; not every file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
