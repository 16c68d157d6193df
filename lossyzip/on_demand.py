"""References that are decoded where they are read: for regions of fields that others help.

A frame names its references by hashes of all their values, which are not known before all are decoded. So
the archive is believed, which lists them in the frame's order; if it was wrong, checksums of tiles tell.
"""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from lossyzip.decompressor import Frame
from lossyzip.errors import MissingReferenceError

if TYPE_CHECKING:
    from lossyzip.learned.model import Model

_KEPT = 32  # tiles of a field
Where = tuple[slice, ...]


class OnDemand:
    """What ``frame``, which has its references, decodes to; a few tiles are kept."""

    checksum = 0  # of all values, if they are what was claimed

    def __init__(self, frame: Frame) -> None:
        self.shape, self.dtype = frame.shape, frame.dtype.newbyteorder("=")
        self._frame = frame
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()

    def known_as(self, checksum: int) -> OnDemand:
        """The same, if it has that checksum."""
        claimed = copy.copy(self)
        claimed.checksum = checksum
        return claimed

    def __getitem__(self, where: Where) -> np.ndarray:
        """A part, by slices with a step of 1, one for each axis. Raises a DecodeError subclass."""
        out = np.empty([s.stop - s.start for s in where], self.dtype)
        touched = [
            [slice(*ends) for ends in pairwise([*starts, n]) if ends[0] < s.stop and s.start < ends[1]]
            for s, starts, n in zip(where, self._frame.cuts(), self.shape, strict=True)
        ]
        for box in product(*touched):
            both = [
                slice(max(w.start, b.start), min(w.stop, b.stop)) for w, b in zip(where, box, strict=True)
            ]
            inside = tuple(slice(w.start - b.start, w.stop - b.start) for w, b in zip(both, box, strict=True))
            target = tuple(
                slice(b.start - w.start, b.stop - w.start) for b, w in zip(both, where, strict=True)
            )
            out[target] = self._tile(box)[inside]
        return out

    def _tile(self, box: tuple[slice, ...]) -> np.ndarray:
        index = tuple(s.start for s in box)
        with self._lock:
            if index not in self._tiles:
                ((_, values),) = self._frame.tiles(threads=1, region=box)
                self._tiles[index] = np.ma.getdata(values)
                if len(self._tiles) > _KEPT:
                    self._tiles.popitem(last=False)
            self._tiles.move_to_end(index)
            return self._tiles[index]


def opened_on_demand(
    frames: Mapping[str, bytes | memoryview],
    graph: Mapping[str, Sequence[str]],
    order: Sequence[str],
    model: Model | None,
) -> Frame:
    """The frame of the last field in ``order``, which names all that it needs, each behind what it needs.

    Raises MissingReferenceError where the ``graph`` does not have as many references as a frame.
    """
    opened: dict[str, OnDemand] = {}
    for name in order:
        frame, names = Frame.of_bytes(bytes(frames[name])), graph.get(name, ())
        if len(names) != len(frame.references):
            raise MissingReferenceError(f"field {name!r} needs {len(frame.references)}, not {len(names)}")
        known = [
            opened[other].known_as(number) for other, number in zip(names, frame.references, strict=True)
        ]
        frame.refer_to(known, model)
        opened[name] = OnDemand(frame)
    return frame
