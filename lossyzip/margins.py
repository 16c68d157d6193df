"""Margins of a tile: slabs at the ends of its axes that hold nearly one value, which stands for all of them.

Simulations are often quiet at their edges: far from what happens, or outside of the domain. What is described
is neither coded nor decoded. docs/FORMAT.md, "Tile payload".
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lossyzip._jit import kernel
from lossyzip.decompose.families import Plan, stands_for
from lossyzip.decompose.rows import Quantizer
from lossyzip.entropy.bits import get_varint, put_varint
from lossyzip.errors import CorruptError, TruncatedError

_FEWEST = 1 << 12  # values of a tile that is looked at,
_SHARE = 16  # and the part of what is left of it that a margin is at least
_AT_ONCE = 1024  # values, between looks at whether one of them differs
_KEPT = 1  # slab that is coded all the same: what is next to it is told by it


class Margin(NamedTuple):
    """``slabs`` at one end of an axis of what earlier margins leave of a tile."""

    axis: int
    at_end: bool
    slabs: int
    value: np.floating

    def cut(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Views of ``array`` without this margin, and of the margin."""
        at = array.shape[self.axis] - self.slabs if self.at_end else self.slabs
        axes = (slice(None),) * self.axis
        first, last = array[(*axes, slice(at))], array[(*axes, slice(at, None))]
        return (first, last) if self.at_end else (last, first)


def find_margins(
    coded: np.ndarray, plan: Plan, rule: Quantizer, exact: bool = False
) -> tuple[list[Margin], np.ndarray]:
    """Margins of the tile ``coded`` (NaN where nobody looks), and what they leave of it, contiguous.

    All values of a margin are within eps / 2 of what stands for them: that is never worse than the errors of
    codes, which are spread over eps evenly. ``exact``: they are all the same, where it is not eps but a mean
    error that counts.
    """
    found: list[Margin] = []
    if coded.size < _FEWEST:
        return found, coded
    tolerance = rule.eps.dtype.type(0) if exact else _tolerance(rule)
    for axis in range(coded.ndim):
        for at_end in (False, True):
            length, inner = coded.shape[axis], math.prod(coded.shape[axis + 1 :])
            flat = coded.reshape(-1)
            count, known, first = _quiet(
                flat, math.prod(coded.shape[:axis]), length, inner, at_end, tolerance
            )
            if count < length:
                count -= _KEPT
            if count <= 0 or count * _SHARE < length:
                continue
            margin = Margin(axis, at_end, count, coded.dtype.type(first) if known else rule.low)
            rest, those = margin.cut(coded)
            value = stands_for(those, margin.value, plan, rule)
            if value is None:
                continue
            found.append(margin._replace(value=value))
            if not rest.size:
                return found, rest
            coded = np.ascontiguousarray(rest)
    return found, coded


def _tolerance(rule: Quantizer) -> np.floating:
    return rule.eps / rule.eps.dtype.type(2)


def is_quiet(values: np.ndarray, rule: Quantizer) -> bool:
    """Whether the contiguous ``values`` might be one margin."""
    count, _, _ = _quiet(values.reshape(-1), 1, 1, values.size, False, _tolerance(rule))
    return bool(count)


def fill_margins(margins: list[Margin], tile: np.ndarray) -> np.ndarray:
    """Fill those of ``tile``; returns a view of what they leave."""
    for margin in margins:
        tile, those = margin.cut(tile)
        those[...] = margin.value
    return tile


def guides_without(
    margins: list[Margin], guides: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    """``guides`` (guides, values) of a tile of ``shape``, for what the margins leave of it."""
    if guides is None or not margins:
        return guides
    left = guides.reshape(-1, *shape)
    for margin in margins:
        left, _ = margin._replace(axis=margin.axis + 1).cut(left)
    return np.ascontiguousarray(left).reshape(len(guides), -1)


def write_margins(out: bytearray, margins: list[Margin]) -> None:
    put_varint(out, len(margins))
    for axis, at_end, slabs, value in margins:
        put_varint(out, 2 * axis + at_end)
        put_varint(out, slabs)
        out += value.astype(value.dtype.newbyteorder("<")).tobytes()


def read_margins(
    data: bytes, position: int, shape: tuple[int, ...], rule: Quantizer
) -> tuple[list[Margin], int]:
    """(margins of a tile of ``shape``, position behind them).

    Raises DecodeError unless they lie in the tile, and what stands for them in the span of ``rule``.
    """
    dtype, lengths = rule.eps.dtype, list(shape)
    number, position = get_varint(data, position)
    found: list[Margin] = []
    for _ in range(number):
        end, position = get_varint(data, position)
        count, position = get_varint(data, position)
        axis = end >> 1
        if axis >= len(lengths) or not 0 < count <= lengths[axis]:
            raise CorruptError(f"a tile has a margin of {count} along axis {axis}")
        lengths[axis] -= count
        if position + dtype.itemsize > len(data):
            raise TruncatedError("ends in the middle of a margin")
        value = np.frombuffer(data, dtype.newbyteorder("<"), 1, position).astype(dtype)[0]
        position += dtype.itemsize
        if not rule.low <= value <= rule.high:
            raise CorruptError(f"a margin of {value:g} is not between {rule.low:g} and {rule.high:g}")
        found.append(Margin(axis, bool(end & 1), count, value))
    return found, position


@kernel
def _quiet(values, outer, length, inner, backwards, tolerance):
    """How many slabs, from one end of the middle axis of (outer, length, inner), hold nothing but NaN and
    what is within ``tolerance`` of the first other value; whether there is such a value; and the value."""
    known, first = False, tolerance
    for k in range(length):
        slab = length - 1 - k if backwards else k
        for o in range(outer):
            start = (o * length + slab) * inner
            row = values[start : start + inner]
            if not known:
                for i in range(row.size):
                    if row[i] == row[i]:
                        known, first = True, row[i]
                        break
            for at in range(0, inner, _AT_ONCE):
                part, differs = row[at : at + _AT_ONCE], np.uint8(0)
                for i in range(part.size):
                    differs |= np.uint8(abs(part[i] - first) > tolerance)
                if differs:
                    return k, known, first
    return length, known, first
