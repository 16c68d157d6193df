"""A region: what is asked of an array's indices -> the box that is decoded, and what of it is returned.

Knows no bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossyzip.errors import InvalidArgumentError

Box = tuple[slice, ...]  # of unit steps, one an axis


def resolve(region: Any, shape: tuple[int, ...]) -> tuple[Box, tuple[Any, ...]]:
    """(the box that holds ``region``, a basic index into ``shape``; what to index the box with).

    Raises InvalidArgumentError for what is no basic index, and for what lies outside.
    """
    items = list(region) if isinstance(region, tuple) else [region]
    if items.count(Ellipsis) > 1:
        raise InvalidArgumentError("a region has at most one '...'")
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    if len(items) != len(shape):
        raise InvalidArgumentError(f"a region of {len(items)} indices for {len(shape)} axes")
    box: list[slice] = []
    rest: list[Any] = []
    for axis, (item, length) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            try:
                chosen = range(length)[item]
            except (TypeError, ValueError) as error:
                raise InvalidArgumentError(f"{item} on axis {axis}: {error}") from None
            low = min(chosen[0], chosen[-1]) if chosen else 0
            high = max(chosen[0], chosen[-1]) + 1 if chosen else 0
            box.append(slice(low, high))
            rest.append(slice(None, None, item.step) if chosen else slice(0, 0))
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
            if not -length <= item < length:
                raise InvalidArgumentError(f"index {item} is outside axis {axis} of length {length}")
            place = int(item) % length
            box.append(slice(place, place + 1))
            rest.append(0)
        else:
            raise InvalidArgumentError(f"a region is made of integers and slices, not {item!r}")
    return tuple(box), tuple(rest)


def shared(where: Box, box: Box) -> tuple[Box, Box]:
    """What a tile that lies at ``where`` has of ``box``, as slices of the box and of the tile."""
    inside = [slice(max(w.start, b.start), min(w.stop, b.stop)) for w, b in zip(where, box, strict=True)]
    return _from(inside, box), _from(inside, where)


def _from(inside: list[slice], origin: Box) -> Box:
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(inside, origin, strict=True))
