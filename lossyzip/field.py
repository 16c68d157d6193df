"""Arrays as fields: valid values and special ones, ranges, tiles. Knows nothing of compression.

A value is *special* when it must come back bit for bit whatever the bound: NaN, infinities, -0.0,
declared fill values, and values so large that predicting from them could overflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from lossyzip._jit import kernel
from lossyzip.container.header import MOST_AXES, MOST_SPECIALS
from lossyzip.errors import InvalidArgumentError, UnsupportedDataError
from lossyzip.threads import in_order

TILE_VALUES = 1 << 21
RAW = 255  # class of a special value whose bits are not in the list
_LARGEST = {4: float(np.finfo(np.float32).max) / 64, 8: float(np.finfo(np.float64).max) / 64}


class Source(Protocol):
    """What a field is read from: an ndarray, an h5py.Dataset."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True)
class Summary:
    """Of a whole field: the span of its valid values, of those coded with loss, and its special bit patterns.

    ``low`` > ``high`` when no value is valid. ``coded_low`` and ``coded_high`` leave out huge values.
    """

    low: float
    high: float
    coded_low: float
    coded_high: float
    specials: tuple[int, ...]


def check_supported(source: Source) -> np.dtype:
    """The field's dtype. Raises UnsupportedDataError when lossyzip does not take it."""
    dtype = np.dtype(source.dtype)
    if dtype.kind != "f" or dtype.itemsize not in (4, 8):
        raise UnsupportedDataError(f"data type {dtype} is not supported; float32 and float64 are")
    if len(source.shape) > MOST_AXES:
        raise UnsupportedDataError(f"{len(source.shape)} axes are not supported; up to {MOST_AXES} are")
    return dtype


def tile_shape(shape: tuple[int, ...], times: int = 1) -> tuple[int, ...]:
    """Tiles of at most ``times`` TILE_VALUES: the longest axis is halved, leading ones first, rows last.

    Axes before the last three count eightfold: they are often short, and one of their steps is cut
    from the next at little cost. Where the last two are so short that a halo around them would outweigh
    the values (many small tensors), tiles are smaller.
    """
    tile = [max(n, 1) for n in shape]
    weight = [8.0] * max(len(tile) - 3, 0) + [1.0, 1.0, 0.5][-len(tile) :]
    while math.prod(tile) > times * TILE_VALUES or _with_halo(tile) > 4 * TILE_VALUES:
        axis = max(range(len(tile)), key=lambda a: (tile[a] > 1, tile[a] * weight[a]))
        tile[axis] = -(-tile[axis] // 2)
    return tuple(-(-max(n, 1) // -(-max(n, 1) // t)) for n, t in zip(shape, tile, strict=True))


def _with_halo(tile: list[int]) -> int:
    long = [n for n in tile if n > 1]
    return math.prod(long[:-2]) * math.prod(n + 6 for n in long[-2:])


def special_patterns(dtype: np.dtype, fill_values: Iterable[float]) -> np.ndarray:
    """The bit patterns (uint64) of ``fill_values`` in ``dtype``. More than the header takes are refused."""
    with np.errstate(over="ignore"):
        values = np.array(list(fill_values), np.float64).astype(dtype.newbyteorder("="))
    if values.size > MOST_SPECIALS:
        raise InvalidArgumentError(f"{values.size} fill values; there may be up to {MOST_SPECIALS}")
    return values.view(f"u{dtype.itemsize}").astype(np.uint64)


@kernel
def _order_span(bits, shift, all_but_sign):
    """(smallest, largest, whether -1 is among them) of floats' bits as integers that sort as the floats do.

    -0.0 is -1 in that order, and NaN are beyond infinity. The compiler makes vectors of minima of integers.
    """
    first = bits[0] ^ ((bits[0] >> shift) & all_but_sign)
    low, high, negative_zero = first, first, bits.dtype.type(0)
    for i in range(bits.size):
        pattern = bits[i]
        place = bits.dtype.type(pattern ^ (bits.dtype.type(pattern >> shift) & all_but_sign))
        low = place if place < low else low
        high = place if place > high else high
        negative_zero |= bits.dtype.type(place == bits.dtype.type(-1))
    return low, high, negative_zero


def plain_span(values: np.ndarray) -> tuple[float, float] | None:
    """(low, high) of the flat array ``values`` (native order); None where one is special, fills apart.

    Most tiles have no special value, and this is several times faster than to look for each kind.
    """
    if not values.size:
        return None
    signed = np.dtype(f"i{values.itemsize}").type
    shift, all_but_sign = signed(8 * values.itemsize - 1), signed(np.iinfo(signed).max)
    low, high, negative_zero = _order_span(values.view(signed), shift, all_but_sign)
    ends = np.array([low, high], signed)
    low, high = (float(end) for end in (ends ^ ((ends >> shift) & all_but_sign)).view(values.dtype))
    largest = _LARGEST[values.itemsize]
    return (low, high) if -largest <= low and high <= largest and not negative_zero else None


@kernel
def _scan(values, bits, patterns, largest, spans, found):
    """Fill spans (low, high, coded low, coded high) and ``found``, special patterns; returns how many."""
    negative_zero = np.uint64(1) << np.uint64(8 * bits.itemsize - 1)
    low, high, coded_low, coded_high = np.inf, -np.inf, np.inf, -np.inf
    count = np.int64(0)
    for i in range(values.size):
        value = np.float64(values[i])
        pattern = np.uint64(bits[i])
        special = not np.isfinite(value)
        for k in range(patterns.size):
            special = special or pattern == patterns[k]
        if not special:
            low, high = min(low, value), max(high, value)
            if pattern == negative_zero:
                special = True
            elif abs(value) <= largest:
                coded_low, coded_high = min(coded_low, value), max(coded_high, value)
        if special:
            known = False
            for k in range(count):
                known = known or found[k] == pattern
            if not known and count < found.size:
                found[count] = pattern
                count += 1
    spans[0], spans[1], spans[2], spans[3] = low, high, coded_low, coded_high
    return count


def _scan_tile(tile: np.ndarray, patterns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spans (4,) and the special patterns of one tile."""
    flat = native(tile)
    span = None if patterns.size else plain_span(flat)
    if span is not None:
        return np.array([*span, *span]), patterns
    spans, found = np.empty(4), np.empty(MOST_SPECIALS, np.uint64)
    bits = flat.view(f"u{flat.itemsize}")
    count = _scan(flat, bits, patterns, _LARGEST[flat.itemsize], spans, found)
    return spans, found[:count]


def summarize(
    tiles: Iterator[np.ndarray], dtype: np.dtype, fill_values: Iterable[float], threads: int = 1
) -> Summary:
    """Go once through all ``tiles`` of a field. The same for any number of threads."""
    patterns = special_patterns(dtype, fill_values)
    low, high, coded_low, coded_high = math.inf, -math.inf, math.inf, -math.inf
    found = dict.fromkeys(patterns.tolist())  # first: the header must list them
    for spans, specials in in_order((partial(_scan_tile, tile, patterns) for tile in tiles), threads):
        low, high = min(low, float(spans[0])), max(high, float(spans[1]))
        coded_low, coded_high = min(coded_low, float(spans[2])), max(coded_high, float(spans[3]))
        found |= dict.fromkeys(specials.tolist())
    return Summary(low, high, coded_low, coded_high, tuple(found)[:MOST_SPECIALS])


def native(array: np.ndarray) -> np.ndarray:
    """Flat, contiguous and in this machine's byte order; a view where that costs nothing."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(-1)


@kernel
def classify(values, bits, specials, largest, classes, coded):
    """Class of each value (0: coded, k + 1: special k, RAW: other bits); in ``coded`` specials are NaN.

    Returns how many are special, and how many of those are RAW.
    """
    negative_zero = np.uint64(1) << np.uint64(8 * bits.itemsize - 1)
    special = 0
    raw = 0
    for i in range(values.size):
        value = values[i]
        pattern = np.uint64(bits[i])
        kind = 0 if abs(value) <= largest and pattern != negative_zero else RAW  # NaN and inf: RAW
        for k in range(specials.size):
            if pattern == specials[k]:
                kind = k + 1
        classes[i] = kind
        if kind == 0:
            coded[i] = value
        else:
            coded[i] = np.nan
            special += 1
            raw += 1 if kind == RAW else 0
    return special, raw


def largest_coded(dtype: np.dtype) -> float:
    """Values beyond this magnitude are special: sums of weighted neighbours must not overflow."""
    return _LARGEST[dtype.itemsize]


def valid_range(source: Source, fill_values: Iterable[float] = ()) -> tuple[float, float]:
    """(low, high) over finite, unmasked values, read tile by tile; (0.0, 0.0) when there are none."""
    dtype = check_supported(source)
    summary = summarize((source[s] for s in tile_slices(tuple(source.shape))), dtype, tuple(fill_values))
    return (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)


def tile_slices(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Where the tiles of a field of ``shape`` lie."""
    if 0 in shape:
        return
    tile = tile_shape(shape)
    grid = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
    for index in np.ndindex(*grid):
        yield tuple(slice(i * t, min((i + 1) * t, n)) for i, t, n in zip(index, tile, shape, strict=True))
