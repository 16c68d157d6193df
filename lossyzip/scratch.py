"""Arrays that memory should not hold: in files without a name, written and read in parts.

A file is gone when its array is, however the process ends. Knows nothing of fields and frames.
"""

from __future__ import annotations

import itertools
import math
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import xxhash

IN_MEMORY = 1 << 28  # bytes of arrays that a `Space` gives, before further ones are files
_PIECE = 1 << 17  # values, at most
_RUN = 1 << 22  # values that a checksum reads at a time
Where = tuple[slice, ...]


class Space:
    """Room for arrays: in memory as long as these are few bytes, then in files in ``folder`` (None: the one
    of the system for temporary files; TMPDIR says where that is)."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = folder
        self._given: list[weakref.ref[np.ndarray]] = []

    def array(
        self, shape: tuple[int, ...], dtype: np.dtype, tile: tuple[int, ...], origin: tuple[int, ...] = ()
    ) -> np.ndarray | Scratch:
        """One without values yet, to be written in tiles of that shape, the first of which begins at
        ``origin``, cut off at the field's ends."""
        self._given = [one for one in self._given if one() is not None]
        taken = sum(array.nbytes for one in self._given if (array := one()) is not None)
        if taken + math.prod(shape) * dtype.itemsize > IN_MEMORY and shape:
            return Scratch(shape, dtype, tile, self._folder, origin)
        made = np.empty(shape, dtype)
        self._given.append(weakref.ref(made))
        return made


class Scratch:
    """An array of ``shape`` and the native ``dtype`` in a file of its own.

    It lies there in pieces, parts of a ``tile``, which begin at 0 and ``origin``: reading a part that is not
    much larger touches few of them.
    Indices are tuples of slices with a step of 1, one for each axis. Threads may read at the same time.
    Raises OSError, where there is no room for instance.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype,
        tile: tuple[int, ...],
        folder: str | os.PathLike[str] | None = None,
        origin: tuple[int, ...] = (),
    ) -> None:
        self.shape, self.dtype = shape, dtype
        piece, origin = _halved(tile), origin or (0,) * len(shape)
        self._cuts = [_cuts(*lengths) for lengths in zip(shape, tile, piece, origin, strict=True)]
        self._grid = [len(cuts) - 1 for cuts in self._cuts]
        self._slot = math.prod(piece) * dtype.itemsize  # bytes, from one piece to the next
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(prefix="lossyzip-", dir=folder, buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def __setitem__(self, where: Where, values: np.ndarray) -> None:
        """Raises ValueError for a part that is not made of whole tiles."""
        for box, offset in self._pieces(where):
            if any(b.start < w.start or b.stop > w.stop for b, w in zip(box, where, strict=True)):
                raise ValueError(f"{where} cuts the piece {box} of an array that is written in tiles")
            data = np.ascontiguousarray(values[_moved(box, where)], self.dtype).reshape(-1).view(np.uint8)
            left = data.data
            with self._lock:
                self._file.seek(offset)
                while left:
                    left = left[self._file.write(left) or 0 :]

    def __getitem__(self, where: Where) -> np.ndarray:
        out = np.empty([s.stop - s.start for s in where], self.dtype)
        for box, offset in self._pieces(where):
            both = tuple(
                slice(max(b.start, w.start), min(b.stop, w.stop)) for b, w in zip(box, where, strict=True)
            )
            first, *others = box
            rows = np.empty([both[0].stop - both[0].start, *(s.stop - s.start for s in others)], self.dtype)
            before = (both[0].start - first.start) * rows[:1].nbytes
            self._read(rows.reshape(-1).view(np.uint8), offset + before)
            out[_moved(both, where)] = rows[(slice(None), *_moved(both, box)[1:])]
        return out

    @cached_property
    def checksum(self) -> int:
        """XXH3 (64 bits) of the values as little-endian bytes in C order, once all are there."""
        state = xxhash.xxh3_64()
        for where in _runs(self.shape):
            run = np.ascontiguousarray(self[where], self.dtype.newbyteorder("<"))
            state.update(run.reshape(-1).view(np.uint8).data)
        return int(state.intdigest())

    def _pieces(self, where: Where) -> Iterator[tuple[Where, int]]:
        """(where a piece lies, its first byte in the file) of all that a part touches."""
        ranges = []
        for s, cuts in zip(where, self._cuts, strict=True):
            first = int(np.searchsorted(cuts, s.start, side="right")) - 1
            ranges.append(range(first, int(np.searchsorted(cuts, s.stop))) if s.stop > s.start else range(0))
        for index in itertools.product(*ranges):
            number = 0
            for k, count in zip(index, self._grid, strict=True):
                number = number * count + k
            box = tuple(
                slice(int(cuts[k]), int(cuts[k + 1])) for k, cuts in zip(index, self._cuts, strict=True)
            )
            yield box, number * self._slot

    def _read(self, into: np.ndarray, offset: int) -> None:
        left = into.data
        with self._lock:
            self._file.seek(offset)
            while left:
                count = self._file.readinto(left)
                if not count:
                    raise OSError(f"a scratch file of {self.dtype} {self.shape} lacks {len(left)} bytes")
                left = left[count:]


def _halved(tile: tuple[int, ...]) -> list[int]:
    """The longest axis of a tile is halved until it is a piece; leading ones last, as these are read in
    rows."""
    lengths = list(tile)
    while math.prod(lengths) > _PIECE:
        longest = max(range(len(lengths)), key=lambda axis: (lengths[axis], axis))
        lengths[longest] = -(-lengths[longest] // 2)
    return lengths


def _cuts(length: int, tile: int, piece: int, origin: int) -> np.ndarray:
    """Where pieces begin along an axis, and the last one ends."""
    tiles = [0] * (origin > 0) + [*range(origin, length, tile), length]
    return np.array(
        [*(k for a, b in itertools.pairwise(tiles) for k in range(a, b, piece)), length], np.int64
    )


def _moved(box: Where, origin: Where) -> Where:
    """``box``, from the start of ``origin`` on."""
    return tuple(slice(b.start - o.start, b.stop - o.start) for b, o in zip(box, origin, strict=True))


def _runs(shape: tuple[int, ...]) -> Iterator[Where]:
    """Parts of at most _RUN values that follow one another in C order."""
    axis = 0
    while math.prod(shape[axis + 1 :]) > _RUN:
        axis += 1
    step = max(_RUN // max(math.prod(shape[axis + 1 :]), 1), 1)
    rest = [slice(0, n) for n in shape[axis + 1 :]]
    for index in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            end = min(start + step, shape[axis])
            yield (*(slice(k, k + 1) for k in index), slice(start, end), *rest)
