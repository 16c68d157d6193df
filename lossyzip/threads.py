"""Work on tiles in a pool of threads, results in order. Kernels release the interpreter lock."""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TypeVar

import numpy as np

from lossyzip.errors import InvalidArgumentError

_T = TypeVar("_T")
_Job = Callable[[], _T]


def thread_count(threads: int | None) -> int:
    """``threads``, or as many as this process may use. Raises InvalidArgumentError below one."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise InvalidArgumentError(f"threads must be an integer >= 1, not {threads!r}")
    return int(threads)


def in_order(jobs: Iterable[_Job[_T]], threads: int) -> Iterator[_T]:
    """Results of ``jobs`` in their order, with few of them in flight; the calling thread takes them up."""
    return _in_order(((0.0, job) for job in jobs), threads, 1, threads)


def heaviest_first(jobs: Iterable[tuple[float, _Job[_T]]], threads: int) -> Iterator[_T]:
    """As `in_order`, of (weight, job): the few in flight are begun by weight, so that threads end as one."""
    return _in_order(jobs, threads, threads + 1, 2 * threads)


def _in_order(jobs: Iterable[tuple[float, _Job[_T]]], threads: int, drawn: int, most: int) -> Iterator[_T]:
    """``drawn``: so many jobs are there before the first is begun; ``most``: so many may wait, done or not,
    while another is drawn for a thread that would be idle."""
    if threads == 1:
        for _, job in jobs:
            yield job()
        return
    heap: list[tuple[float, int, _Job[_T], Future[_T]]] = []
    lock, waiting = Lock(), deque[Future[_T]]()

    def do_next() -> None:
        with lock:
            _, _, job, future = heapq.heappop(heap)
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(job())
            except BaseException as error:  # whoever takes up the result gets it
                future.set_exception(error)

    with ThreadPoolExecutor(threads) as pool:
        held = 0
        try:
            for number, (weight, job) in enumerate(jobs):
                waiting.append(Future())
                with lock:
                    heapq.heappush(heap, (-weight, number, job, waiting[-1]))
                held += 1
                if number + 1 >= drawn:
                    held = _submit(pool, do_next, held)
                while len(waiting) > threads:
                    if waiting[0].done() or len(waiting) > most:
                        yield waiting.popleft().result()
                        continue
                    running = [future for future in waiting if not future.done()]
                    if len(running) <= threads:
                        break
                    wait(running, return_when=FIRST_COMPLETED)
            _submit(pool, do_next, held)
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _submit(pool: ThreadPoolExecutor, job: Callable[[], None], times: int) -> int:
    for _ in range(times):
        pool.submit(job)
    return 0
