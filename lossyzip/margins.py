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
SHARE = 16  # and the part of what is left of it that a margin is at least
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
    coded: np.ndarray,
    plan: Plan,
    rule: Quantizer,
    exact: bool = False,
    span: tuple[float, float] | None = None,
) -> tuple[list[Margin], np.ndarray]:
    """Margins of the tile ``coded`` (NaN where nobody looks), and what they leave of it, contiguous.

    All values of a margin are within eps / 2 of the middle between the least and the largest, which stands
    for them: that is never worse than the errors of codes, which are spread over eps evenly. ``exact``: they
    are all the same, where it is not eps but a mean error that counts. ``span`` of all of them, if known.
    """
    found: list[Margin] = []
    if coded.size < _FEWEST:
        return found, coded
    number = rule.eps.dtype.type
    spread = number(0) if exact else rule.eps
    whole = None if span is None else (number(span[0]), number(span[1]))
    for axis in range(coded.ndim):
        for at_end in (False, True):
            length, inner = coded.shape[axis], math.prod(coded.shape[axis + 1 :])
            outer = math.prod(coded.shape[:axis])
            if whole is not None and whole[1] - whole[0] <= spread:
                count, (least, largest) = length, whole
            else:
                count, least, largest = _quiet(coded.reshape(-1), outer, length, inner, at_end, spread)
            if count < length:
                count -= _KEPT
            if count <= 0 or count * SHARE < length:
                continue
            value = stands_for(least, _middle(least, largest, rule), largest, plan, rule)
            if value is None or not rule.low <= value <= rule.high:
                continue
            if max(largest - value, value - least) > rule.eps:
                continue
            found.append(Margin(axis, at_end, count, value))
            rest, _ = found[-1].cut(coded)
            if not rest.size:
                return found, rest
            coded = np.ascontiguousarray(rest)
    return found, coded


def _middle(least: np.floating, largest: np.floating, rule: Quantizer) -> np.floating:
    """That of what is coded, within the span: logarithms are moved, by less than eps, out of it."""
    middle = least + 0.5 * (largest - least) if least <= largest else rule.low
    number: np.floating = rule.eps.dtype.type(middle)
    return min(max(number, rule.low), rule.high)


def is_quiet(values: np.ndarray, rule: Quantizer) -> bool:
    """Whether the contiguous ``values`` might be one margin."""
    count, _, _ = _quiet(values.reshape(-1), 1, 1, values.size, False, rule.eps)
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
def _quiet(values, outer, length, inner, backwards, spread):
    """How many slabs, from one end of the middle axis of (outer, length, inner), hold nothing but NaN and
    values that are no more than ``spread`` apart; the least and the largest of these (inf and -inf: none)."""
    number = values.dtype.type
    least, largest = number(np.inf), number(-np.inf)
    for k in range(length):
        slab = length - 1 - k if backwards else k
        low, high = least, largest
        for o in range(outer):
            start = (o * length + slab) * inner
            row = values[start : start + inner]
            for at in range(0, inner, _AT_ONCE):
                part = row[at : at + _AT_ONCE]
                for i in range(part.size):
                    value = part[i]
                    low = value if value < low else low
                    high = value if value > high else high
                if high - low > spread:
                    return k, least, largest
        least, largest = low, high
    return length, least, largest
