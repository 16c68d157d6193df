"""Work on tiles in a pool of threads, results in order. Kernels release the interpreter lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from lossyzip.errors import InvalidArgumentError

_T = TypeVar("_T")


def thread_count(threads: int | None) -> int:
    """``threads``, or as many as this process may use. Raises InvalidArgumentError below one."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise InvalidArgumentError(f"threads must be an integer >= 1, not {threads!r}")
    return int(threads)


def in_order(jobs: Iterable[Callable[[], _T]], threads: int) -> Iterator[_T]:
    """Results of ``jobs`` in their order, with few of them in flight; the calling thread takes them up."""
    if threads == 1:
        for job in jobs:
            yield job()
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_T]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
