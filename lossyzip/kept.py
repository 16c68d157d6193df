"""Memory that a thread keeps from one tile to the next: to get new pages takes longer than to code them."""

from __future__ import annotations

import threading

import numpy as np

_MOST_KEPT = 1 << 24  # bytes of a room
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
