"""Work in threads: results in order, whatever is done first; errors and threads come to an end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from lossyzip import workers
from lossyzip.kept import apart
from lossyzip.threads import heaviest_first, in_order, results_of


def jobs(count: int, begun: list[int], seconds: float = 0.0):
    def job(number: int) -> int:
        begun.append(number)
        time.sleep(seconds)
        return number * number

    return [partial(job, number) for number in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_results_are_in_order(count, threads):
    squares = [n * n for n in range(count)]
    assert list(in_order(jobs(count, []), threads)) == squares
    weighed = [((7 * n) % 5, job) for n, job in enumerate(jobs(count, []))]
    assert list(heaviest_first(weighed, threads)) == squares
    assert results_of(weighed, threads) == squares


def test_the_heaviest_in_flight_are_begun_first():
    begun: list[int] = []
    weights = [0.1, 0.5, 1.0, 0.2]
    list(heaviest_first(zip(weights, jobs(4, begun, 0.05), strict=True), 2))
    assert sorted(begun[:2]) == [0, 2]  # the caller's is the lightest: there may be more to draw
    assert begun[2] == 1
    begun.clear()
    list(heaviest_first(zip([0.3] * 9, jobs(9, begun, 0.01), strict=True), 2))
    assert all(abs(place - number) <= 1 for place, number in enumerate(begun))


def test_the_heaviest_of_all_is_begun_first():
    begun: list[int] = []
    weights = [*[0.1] * 8, 1.0]
    results_of(list(zip(weights, jobs(9, begun, 0.01), strict=True)), 2)
    assert 8 in begun[:2]


def test_few_jobs_are_drawn_ahead():
    drawn = 0

    def counted():
        nonlocal drawn
        for job in jobs(20, []):
            drawn += 1
            yield 1.0, job

    results = heaviest_first(counted(), 3)
    next(results)
    assert 4 <= drawn <= 7
    assert len(list(results)) == 19
    drawn = 0
    results = in_order((job for _, job in counted()), 3)
    next(results)
    assert 4 <= drawn <= 7
    assert len(list(results)) == 19


def test_no_thread_is_idle_while_a_light_job_waits_for_its_turn():
    """The first is done last of those in flight; what comes behind it need not wait for its result."""
    begun: list[int] = []
    weights = [0.0, 0.9, 0.8, 0.5, 0.5, 0.5]
    together = threading.Barrier(2, timeout=20)

    def first() -> int:
        begun.append(0)
        together.wait()  # for the last one
        return 0

    def last() -> int:
        together.wait()
        return 25

    some = jobs(6, begun)
    some[0], some[3] = first, last
    assert list(heaviest_first(zip(weights, some, strict=True), 2)) == [0, 1, 4, 25, 16, 25]


def test_the_caller_does_a_light_job_while_there_are_more_to_draw():
    """Else the other thread would soon wait for it."""
    did: dict[int, int] = {}

    def job(number: int, seconds: float) -> int:
        did[number] = threading.get_ident()
        time.sleep(seconds)
        return number

    seconds = [0.05, 0.05, 0.05, 0.3, 0.3, 0.05, 0.05]
    weighed = [(s, partial(job, number, s)) for number, s in enumerate(seconds)]
    began = time.perf_counter()
    assert list(heaviest_first(iter(weighed), 2)) == list(range(7))
    assert did[3] != did[4]
    assert time.perf_counter() - began < sum(seconds[3:])


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_reaches_the_caller_and_the_rest_is_not_begun(threads):
    begun: list[int] = []
    some = jobs(50, begun)
    some[3] = partial(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_order(some, threads))
    assert len(begun) < 10
    with pytest.raises(ZeroDivisionError):
        list(heaviest_first([(1.0, lambda: 1 / 0), (2.0, lambda: 1)], threads))


def test_no_job_is_left_running_behind_an_error():
    begun, ended = threading.Event(), []

    def fails() -> None:
        assert begun.wait(20)
        raise ValueError("here")

    def slow() -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(1)

    with pytest.raises(ValueError, match="here"):
        list(in_order([fails, slow, slow, slow], 2))
    assert ended == [1]


def test_the_caller_does_jobs_itself():
    together = threading.Barrier(2, timeout=20)

    def job() -> int:
        together.wait()
        return threading.get_ident()

    for begin in (in_order, lambda jobs, threads: heaviest_first(((1.0, job) for job in jobs), threads)):
        idents = list(begin([job] * 10, 2))
        assert len(set(idents)) == 2
        assert idents.count(threading.get_ident()) == 5


def test_a_caller_who_reads_for_long_leaves_jobs_to_others():
    """Two workers, that is, in two threads."""
    done: list[int] = []

    def job() -> None:
        done.append(threading.get_ident())
        time.sleep(0.02)

    def read():
        for _ in range(30):
            time.sleep(0.01)
            yield job

    list(in_order(read(), 2))
    assert done.count(threading.get_ident()) <= 2
    assert len(set(done[5:])) == 2


def test_an_interrupt_of_the_caller_ends_it_at_once():
    begun: list[int] = []
    here = threading.get_ident()

    def job(number: int) -> None:
        begun.append(number)
        if threading.get_ident() == here:
            raise KeyboardInterrupt
        time.sleep(0.05)

    with pytest.raises(KeyboardInterrupt):
        list(in_order([partial(job, number) for number in range(50)], 2))
    assert len(begun) <= 3


def idents(count: int) -> set[int]:
    """The threads of as many jobs that are there at once."""
    together = threading.Barrier(count, timeout=20)

    def job() -> int:
        together.wait()
        return threading.get_ident()

    return set(in_order([job] * count, count))


def test_the_next_call_finds_the_threads_of_the_last_one(monkeypatch):
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    first = idents(3)
    assert len(first) == 3
    assert idents(3) == first
    assert idents(2) < first
    assert first < idents(4)


def test_no_more_threads_come_than_are_needed(monkeypatch):
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    seen: set[int] = set()
    for number in range(200):
        seen |= set(in_order([threading.get_ident] * (number % 7), 2)) | idents(2)
    assert len(seen) == 2


def test_idle_threads_end_and_hold_nothing(monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 0.05)
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    before = set(threading.enumerate())
    held = np.zeros(3)
    gone = weakref.ref(held)
    assert list(in_order([partial(np.sum, held)] * 4, 2)) == [0.0] * 4
    del held
    came = set(threading.enumerate()) - before
    assert came
    assert gone() is None
    for thread in came:
        thread.join(20)
    assert not any(thread.is_alive() for thread in came)
    assert len(idents(2)) == 2  # and new ones come


def test_threads_come_and_go_while_others_begin(monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 1e-4)
    monkeypatch.setattr(workers, "_workers", workers.Workers())
    for number in range(300):
        assert list(in_order(jobs(5, [], 1e-4 * (number % 3)), 3)) == [0, 1, 4, 9, 16]


def test_a_worker_does_not_hold_its_last_result_while_it_does_the_next_job():
    taken, done = threading.Event(), threading.Event()

    def first() -> np.ndarray:
        return np.zeros(3)

    def second() -> None:
        assert done.wait(20)

    def third() -> None:
        taken.wait(20)

    results = in_order([second, first, third, third], 2)
    held = threading.Timer(0.3, done.set)
    held.start()
    next(results)
    made = weakref.ref(next(results))
    assert made() is None
    taken.set()
    assert list(results) == [None, None]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(
    "end",
    ["", "del begun", "if os.fork() == 0: begun.close()\nelse: assert os.wait()[1] == 0"],
    ids=["exit", "collected", "fork"],
)
def test_what_is_left_in_the_middle_does_not_keep_the_process(end):
    """Nobody takes up its results any more, so nobody waits for the jobs that run."""
    program = f"""
import os, time
from functools import partial
from itertools import pairwise
from lossyzip.threads import in_order
begun = in_order([partial(time.sleep, 0.3)] * 6, 2)
next(begun)
{end}
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    assert subprocess.run(command, timeout=60).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own():
    program = """
import os
from lossyzip.threads import in_order
print(list(in_order([int, int], 2)), flush=True)
child = os.fork()
if child == 0:
    os._exit(sum(in_order([lambda: 3, lambda: 4], 2)))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout.split("\n") == ["[0, 0]", "7", ""]


def test_what_kernels_write_to_shares_no_cache_line():
    arrays = [
        apart(shape, dtype) for shape in (1, 6, (5, 8)) for dtype in (np.uint8, np.int64) for _ in range(9)
    ]
    places = sorted((array.ctypes.data, array.nbytes) for array in arrays)
    for (place, size), (following, _) in pairwise(places):
        assert place + size + 128 <= following
    for array in arrays:
        assert array.flags.c_contiguous
        assert not array.any()
