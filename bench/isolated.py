"""One compressor in a process of its own, which may crash, hang or end: both ends of the pipe.

Messages are pickles with their length in front.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

import numpy as np

from bench.callers import CONTESTANTS, Caller, NotOffered
from bench.peers import ONE_THREAD, ROOT
from bench.situations import SITUATIONS, Ask, Case

MEMORY = 64 << 30
"""Bytes that a process may map. Not fewer: SZ3 2022 maps 9.6 GB for a single NaN, and reads them."""
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""That takes SZ3 2022 4 s with these, half a minute without."""


@dataclass(frozen=True)
class Request:
    """Encode and decode ``array``, or case ``index`` of ``situation``; with ``encoded`` only decode that."""

    route: str
    ask: Ask
    situation: str = ""
    index: int = 0
    array: np.ndarray | None = None
    shape: tuple[int, ...] | None = None
    encoded: bytes | None = None


@dataclass(frozen=True)
class Answer:
    """``state``: returned, refused (nothing was encoded), lost (encoded, but not decoded), not offered,
    crash, hang. ``told`` is the error's text."""

    state: str
    told: str = ""
    encoded: bytes = b""
    decoded: np.ndarray | None = None


class Isolated:
    """The process, started when first needed and again after it died."""

    def __init__(self, name: str, first_timeout: float = 300.0, timeout: float = 120.0) -> None:
        self._command = [sys.executable, "-c", "from bench.isolated import serve; serve()", name]
        self._first_timeout, self._timeout = first_timeout, timeout
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: Request) -> Answer:
        timeout = self._timeout
        if self._process is None:
            timeout = self._first_timeout  # imports, and lossyzip compiles
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, **ONE_THREAD, **HUGE_PAGES},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, request)
            return _receive(process.stdout, time.monotonic() + timeout)
        except TimeoutError:
            self.close()
            return Answer("hang", f"no answer in {timeout:g} s")
        except (BrokenPipeError, EOFError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2.0)
            code = process.returncode
            self.close()
            return Answer("crash", f"exit code {code}")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _send(pipe: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes], deadline: float) -> Any:
    (length,) = struct.unpack("<Q", _read(pipe, 8, deadline))
    return pickle.loads(_read(pipe, length, deadline))


def _read(pipe: IO[bytes], length: int, deadline: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        left = max(deadline - time.monotonic(), 0.0) if deadline < float("inf") else None
        if not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        got = os.read(pipe.fileno(), length - len(parts))
        if not got:
            raise EOFError
        parts += got
    return bytes(parts)


def serve() -> None:
    """The process. A module that is run by its name would pickle `Answer` as a class of ``__main__``."""
    import resource

    name = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb") as answers, os.fdopen(os.dup(0), "rb", buffering=0) as requests:
        os.dup2(2, 1)  # what a library prints is no answer
        with contextlib.suppress(EOFError):
            while True:
                _send(answers, _answer(name, _receive(requests, float("inf"))))


def _answer(name: str, request: Request) -> Answer:
    try:
        caller = _caller(name, request.route)
    except NotOffered:
        return Answer("not offered")
    array = _array(request)
    encoded = request.encoded
    if encoded is None:
        outcome = _tried(lambda: caller.encode(array, request.ask), "refused")
        if isinstance(outcome, Answer):
            return outcome
        encoded = outcome
    outcome = _tried(lambda: caller.decode(encoded, array, request.ask), "lost")
    return outcome if isinstance(outcome, Answer) else Answer("returned", "", encoded, np.asanyarray(outcome))


def _tried(work: Callable[[], Any], failed: str) -> Any:
    try:
        return work()
    except NotOffered:
        return Answer("not offered")
    except Exception as error:
        return Answer(failed, f"{type(error).__name__}: {error}"[:200])


@cache
def _caller(name: str, route: str) -> Caller:
    contestant = CONTESTANTS[name]
    return contestant.hdf5() if route == "hdf5" else contestant.array()


@cache
def _cases(situation: str) -> list[Case]:
    return list(next(one for one in SITUATIONS if one.name == situation).cases())


def _array(request: Request) -> np.ndarray:
    array = request.array if request.array is not None else _cases(request.situation)[request.index].array
    return array if request.shape is None else np.ascontiguousarray(array.reshape(request.shape))
