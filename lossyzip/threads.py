"""Work on tiles in threads, results in order. Kernels release the interpreter lock."""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from itertools import count
from threading import Lock
from time import perf_counter
from typing import Generic, TypeVar

import numpy as np

from lossyzip.errors import InvalidArgumentError
from lossyzip.workers import Retire, workers

_AT_HAND = 8  # jobs a thread
_LITTLE, _SHORT = 0.2, 1e-3  # of what a job takes; seconds
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
    """Results of ``jobs`` in their order, with few of them in flight.

    The calling thread is one of the ``threads``: it does jobs itself where it would wait for results, unless
    to draw jobs and to take up results, that is to read and to write, leaves it little time.
    """
    return _in_order(((0.0, job) for job in jobs), threads, 1, threads + 1)


def heaviest_first(
    jobs: Iterable[tuple[float, _Job[_T]]], threads: int, at_hand: bool = False
) -> Iterator[_T]:
    """As `in_order`, of (weight, job): the few in flight are begun by weight, so that threads end as one; the
    calling thread takes the lightest as long as there may be more to draw. ``at_hand``: jobs that are in
    flight hold no memory of their own, so that there may be more of them."""
    return _in_order(jobs, threads, 1, _AT_HAND * threads if at_hand else threads + 1)


def results_of(jobs: Sequence[tuple[float, _Job[_T]]], threads: int) -> list[_T]:
    """Those of all ``jobs`` (weight, job), in their order: the heaviest is begun first of all."""
    return list(_in_order(jobs, threads, len(jobs), len(jobs)))


def _in_order(jobs: Iterable[tuple[float, _Job[_T]]], threads: int, drawn: int, ahead: int) -> Iterator[_T]:
    """``drawn``: so many jobs are there before the first is begun. ``ahead``: so many are in flight, of which
    one is for a worker who is done before the caller is."""
    if threads == 1:
        for _, job in jobs:
            yield job()
        return
    lanes = _Lanes[_T](threads)
    waiting, wanted = deque[Future[_T]](), True
    try:
        for number, (weight, job) in enumerate(jobs):
            future = Future[_T]()
            waiting.append(future)  # first, so that whatever happens it is cancelled
            lanes.add(weight, job, future)
            if number + 1 >= drawn:
                lanes.begin()
            while len(waiting) > ahead:
                if waiting[0].done():
                    yield waiting.popleft().result()
                elif len(waiting) <= 2 * threads and len(_running(waiting)) <= ahead:
                    break  # and draw another, though the first is not done
                elif not lanes.help(number + 1, more=True):
                    lanes.wait_for(_running(waiting))
        lanes.begin()
        while waiting:
            if waiting[0].done():
                yield waiting.popleft().result()
            elif not lanes.help(number + 1, more=False):
                lanes.wait_for([waiting[0]])
    except GeneratorExit:  # maybe from the collector, in any thread, in a fork, or as the interpreter ends
        wanted = False
        raise
    finally:
        left = [future for future in waiting if not future.cancel()]
        if wanted:
            wait(left)
            lanes.close()


def _running(futures: Iterable[Future[_T]]) -> list[Future[_T]]:
    return [future for future in futures if not future.done()]


class _Lanes(Generic[_T]):
    """Jobs that are done by weight, in so many ``threads`` at once. Workers go on as long as there are some;
    the caller's is one of the threads as long as it has time."""

    def __init__(self, threads: int) -> None:
        self._workers, self._threads, self._busy = workers(), threads, 0
        self._most = threads - 1  # workers
        self._began, self._waited = perf_counter(), 0.0
        self._helped, self._helping = 0, 0.0  # jobs that the caller did, and their seconds
        self._coming: list[Retire] = []  # of workers who have not looked for a job yet
        self._lock, self._number = Lock(), count()
        self._heap: list[tuple[float, int, _Job[_T], Future[_T]]] = []

    def add(self, weight: float, job: _Job[_T], future: Future[_T]) -> None:
        with self._lock:
            heapq.heappush(self._heap, (-weight, next(self._number), job, future))

    def begin(self) -> None:
        """See to it that what was added is done."""
        with self._lock:
            for _ in range(min(len(self._heap), self._most - self._busy) - len(self._coming)):
                self._coming.append(self._workers.start(self._work))

    def help(self, drawn: int, more: bool) -> bool:
        """Do a job in the calling thread; False: none is left that nobody has begun, or it has little time
        beside what it did for the ``drawn`` jobs so far. If there are ``more`` to be drawn, it is the
        lightest, so that nobody waits for these long."""
        if not self._has_time(drawn):
            return False
        with self._lock:
            if not self._heap:
                return False
            taken = max(self._heap, key=lambda item: (item[0], -item[1])) if more else self._heap[0]
            self._heap.remove(taken)
            heapq.heapify(self._heap)
        _, _, job, future = taken
        began = perf_counter()
        # Not said to be running: where an interrupt ends this, the future is still cancelled.
        try:
            future.set_result(job())
        except Exception as error:  # anything else ends the caller, too, at once
            future.set_exception(error)
        self._helped += 1
        self._helping += perf_counter() - began
        return True

    def wait_for(self, futures: list[Future[_T]]) -> None:
        """Until one of them is done."""
        began = perf_counter()
        wait(futures, return_when=FIRST_COMPLETED)
        self._waited += perf_counter() - began

    def _has_time(self, drawn: int) -> bool:
        """Whether jobs take the caller much longer than all else it does for one. If not, a worker comes in
        its place."""
        if self._helped and self._most < self._threads:
            other = perf_counter() - self._began - self._waited - self._helping
            if other / drawn > max(_LITTLE * self._helping / self._helped, _SHORT):
                self._most = self._threads
                self.begin()
        return self._most < self._threads

    def close(self) -> None:
        """All that was added is done, or cancelled: who has not come yet need not."""
        with self._lock:
            while self._coming:
                self._coming.pop()()

    def _work(self, retire: Retire) -> None:
        with self._lock:
            if retire not in self._coming:
                return
            self._coming.remove(retire)
            self._busy += 1
            job = self._next(retire)
        while job is not None:
            publish = _done(*job)
            with self._lock:
                job = self._next(retire)
            publish()
            del publish  # and the result, before the next one

    def _next(self, retire: Retire) -> tuple[_Job[_T], Future[_T]] | None:
        if self._heap:
            _, _, job, future = heapq.heappop(self._heap)
            return job, future
        self._busy -= 1
        retire()
        return None


def _done(job: _Job[_T], future: Future[_T]) -> Callable[[], None]:
    """What tells ``future`` the result of ``job``, or its error: whoever takes it up gets it."""
    if not future.set_running_or_notify_cancel():
        return lambda: None
    try:
        return partial(future.set_result, job())
    except BaseException as error:
        return partial(future.set_exception, error)
