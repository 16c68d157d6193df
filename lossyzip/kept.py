"""Memory of one thread alone: what it keeps from one tile to the next, since to get new pages takes longer
than to code them, and small arrays that no other thread's lie beside."""

from __future__ import annotations

import math
import threading

import numpy as np

_MOST_KEPT = 1 << 24  # bytes of a room
_LINES = 128  # bytes that processors fetch, and wait for, together
_own = threading.local()  # of each thread: rooms


def kept_room(name: str, size: int, dtype: np.dtype) -> np.ndarray:
    """A flat array of ``size`` with anything in it, this thread's until it asks for ``name`` again."""
    needed = size * dtype.itemsize
    if needed > _MOST_KEPT:
        return np.empty(size, dtype)
    room = getattr(_own, name, None)
    if room is None or room.size < needed:
        room = np.empty(needed, np.uint8)
        setattr(_own, name, room)
    kept: np.ndarray = room[:needed].view(dtype)
    return kept


def in_one_piece(array: np.ndarray) -> np.ndarray:
    """``array`` in C order: itself, or a copy that is there until this thread asks for the next one."""
    if array.flags.c_contiguous:
        return array
    copy = kept_room("in one piece", array.size, array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    return copy


def apart(shape: int | tuple[int, ...], dtype: type | np.dtype) -> np.ndarray:
    """Zeros for a kernel to write to all the time, in cache lines of their own.

    Small arrays of numpy's lie beside those of other threads, whoever gave the memory back last: two threads
    that write to one line wait for one another.
    """
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    room = np.zeros(2 * _LINES + size * np.dtype(dtype).itemsize, np.uint8)
    zeros: np.ndarray = room[_LINES:-_LINES].view(dtype).reshape(shape)
    return zeros
