"""A base: what is much the same all along the leading axes of a field, as its mean over them is.

Years of a climate, members of an ensemble, hours over the same mountains: each step has the same pattern,
which no neighbour tells. It is in the frame once, a frame in itself, and subtracted from the field before
that is coded. How one is found is in base_search.py. docs/FORMAT.md, "Base".
"""

from __future__ import annotations

import math

import numpy as np

from lossyzip.container.frame import TAIL
from lossyzip.errors import CorruptError

MOST_VALUES = 1 << 21  # of a base


def values_of(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The base that a frame has for a field of ``shape`` and native ``dtype``: its last axes. ``data``: a
    frame as `within_a_frame` has it.

    Raises a DecodeError subclass for anything else.
    """
    from lossyzip.decompressor import Frame

    frame = Frame.of_bytes(data + TAIL)
    axes = len(frame.shape)
    alike = frame.dtype.newbyteorder("=") == dtype and not frame.masked
    if not alike or frame.guided is not None or frame.enhancer:
        raise CorruptError(f"a base of {frame.dtype}, masked, or not by itself, for {dtype}")
    if not 0 < axes < len(shape) or frame.shape != shape[-axes:] or math.prod(frame.shape) > MOST_VALUES:
        raise CorruptError(f"a base of shape {frame.shape} for {shape}")
    values = np.empty(frame.shape, dtype)
    for where, tile in frame.tiles(threads=1):
        values[where] = tile
    if not np.isfinite(values).all():
        raise CorruptError("a base with values that are not finite")
    return values


def within_a_frame(data: bytes) -> bytes:
    """A frame to be part of a header: without what would be the end of the outer one, were that cut there."""
    return data.removesuffix(TAIL)


def part_of(base: np.ndarray, where: tuple[slice, ...]) -> np.ndarray:
    """What is subtracted from a part of the field, from each step of it."""
    return base[where[-base.ndim :]]
