"""Threads that stay for a while when their work is done: the next call finds them, and the memory that
`kept_room` has for them, whose pages take longer to get than many a tile to code."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread

_PATIENCE = 2.0  # seconds that one waits for more; then it ends, and its memory is free
Retire = Callable[[], None]
Task = Callable[[Retire], None]


class _Worker:
    """A thread: how many tasks it was given, and how many of those are as good as done."""

    def __init__(self) -> None:
        self.given, self.done = 0, 0
        self.tasks: SimpleQueue[tuple[Task, Retire]] = SimpleQueue()


class Workers:
    """As many threads as were ever busy at once, less those whose patience is at an end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[_Worker] = []

    def start(self, task: Task) -> Retire:
        """Begin ``task``, which must not raise, in a thread that has nothing else to do.

        It is given what it, or whoever started it, says when it is about to be done: the thread may be found
        again from then on. To be said before others know of its results, or their next call would find it
        busy, and begin one more. To say it twice does nothing.
        """
        with self._lock:
            worker = self._idle.pop() if self._idle else _Worker()
            worker.given += 1
        retire = partial(self._retire, worker, worker.given)
        worker.tasks.put((task, retire))
        if worker.given == 1:
            Thread(target=self._work, args=(worker,), name="lossyzip", daemon=True).start()
        return retire

    def _retire(self, worker: _Worker, number: int) -> None:
        with self._lock:
            if worker.done < number:
                worker.done = number
                self._idle.append(worker)

    def _work(self, worker: _Worker) -> None:
        while True:
            try:
                task, retire = worker.tasks.get(timeout=_PATIENCE)
            except Empty:
                with self._lock:
                    if worker in self._idle:
                        self._idle.remove(worker)
                        return
                continue  # a task is on its way
            task(retire)
            retire()
            del task, retire  # and what they hold


_workers = Workers()


def workers() -> Workers:
    """Those of this process."""
    return _workers


def _begin_anew() -> None:
    global _workers
    _workers = Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)  # a child has none of its parent's threads
