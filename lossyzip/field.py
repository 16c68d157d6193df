"""Arrays as fields: valid values and special ones, ranges, tiles. Knows nothing of compression.

A value is *special* when it must come back bit for bit whatever the bound: NaN, infinities, -0.0,
declared fill values, and values so large that predicting from them could overflow, or integers so large
that no float holds them. The parts of complex numbers are values of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from lossyzip._jit import kernel
from lossyzip.container.dtypes import part_of
from lossyzip.container.header import MOST_AXES, MOST_SPECIALS
from lossyzip.errors import InvalidArgumentError, UnsupportedDataError
from lossyzip.kept import in_one_piece
from lossyzip.threads import in_order

TILE_VALUES = 1 << 21
RAW = 255  # class of a special value whose bits are not in the list
_LARGEST = {
    2: float(np.finfo(np.float16).max),  # which is coded as float32
    4: float(np.finfo(np.float32).max) / 64,
    8: float(np.finfo(np.float64).max) / 64,
}
_LARGEST_INTEGER = 2.0**52
_KINDS = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}
Number = float | int  # an int where it may be too long for a float


class Watcher(Protocol):
    """Looks at tiles while they are in memory for somebody else."""

    def look(self, tile: np.ndarray) -> Any:
        """What there is to see in ``tile``; in any thread."""

    def note(self, seen: Any) -> None:
        """What was seen in the next of all tiles, which come in their order."""


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

    low: Number
    high: Number
    coded_low: float
    coded_high: float
    specials: tuple[int, ...]


def check_supported(source: Source) -> np.dtype:
    """The field's dtype. Raises UnsupportedDataError when lossyzip does not take it."""
    dtype = np.dtype(source.dtype)
    if dtype.itemsize not in _KINDS.get(dtype.kind, ()):
        raise UnsupportedDataError(
            f"data type {dtype} is not supported; floats and complex numbers of up to 64 bits a part, "
            "integers and bool are"
        )
    if len(source.shape) > MOST_AXES:
        raise UnsupportedDataError(f"{len(source.shape)} axes are not supported; up to {MOST_AXES} are")
    return dtype


def tile_shape(shape: tuple[int, ...], times: float = 1) -> tuple[int, ...]:
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


def special_patterns(part: np.dtype, fill_values: Iterable[Number]) -> np.ndarray:
    """The bit patterns (uint64) of ``fill_values`` in the dtype ``part``; of integers, those it can hold.

    More than the header takes are refused.
    """
    numbers = list(fill_values)
    if len(numbers) > MOST_SPECIALS:
        raise InvalidArgumentError(f"{len(numbers)} fill values; there may be up to {MOST_SPECIALS}")
    if part.kind in "iu":
        limits = np.iinfo(part)
        whole = [int(n) for n in numbers if math.isfinite(n) and n == math.floor(n)]
        kept = [n for n in whole if limits.min <= n <= limits.max]
        return np.array(kept, part.newbyteorder("=")).view(f"u{part.itemsize}").astype(np.uint64)
    with np.errstate(over="ignore"):
        values = np.array(numbers, np.float64).astype(part.newbyteorder("="))
    return values.view(f"u{part.itemsize}").astype(np.uint64)


def parts_of(array: np.ndarray) -> np.ndarray:
    """The numbers that ``array`` consists of: complex ones' along a new first axis, bools as 0 and 1."""
    if array.dtype.kind == "c":
        return np.stack([array.real, array.imag])
    return array.view(np.uint8) if array.dtype.kind == "b" else array


def negative_zeros(values: np.ndarray) -> np.ndarray:
    """Which of the flat array ``values`` are -0.0; no integer is."""
    if values.dtype.kind != "f":
        return np.zeros(values.size, bool)
    return (values == 0) & np.signbit(values)


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


def _look(tile: np.ndarray, watchers: Sequence[Watcher]) -> list[Any]:
    return [watcher.look(tile) for watcher in watchers]


Spans = tuple[Number, Number, float, float]  # low, high, coded low, coded high


def _scan_tile(tile: np.ndarray, patterns: np.ndarray) -> tuple[Spans, np.ndarray]:
    """Spans and the special patterns of one tile, masked values apart."""
    flat = native(parts_of(in_one_piece(np.ma.getdata(tile))))
    if isinstance(tile, np.ma.MaskedArray):
        masked = np.broadcast_to(np.ma.getmaskarray(tile), (flat.size // max(tile.size, 1), *tile.shape))
        flat = flat[~masked.reshape(-1)]
    if flat.dtype.kind != "f" or flat.itemsize == 2:
        return _scan_widened(flat, patterns)
    span = None if patterns.size else plain_span(flat)
    if span is not None:
        return (*span, *span), patterns
    spans, found = np.empty(4), np.empty(MOST_SPECIALS, np.uint64)
    bits = flat.view(f"u{flat.itemsize}")
    count = _scan(flat, bits, patterns, _LARGEST[flat.itemsize], spans, found)
    low, high, coded_low, coded_high = spans.tolist()
    return (low, high, coded_low, coded_high), found[:count]


def _scan_widened(flat: np.ndarray, patterns: np.ndarray) -> tuple[Spans, np.ndarray]:
    """The same for float16 and integers, the span of which is one of ints."""
    bits = flat.view(f"u{flat.itemsize}")
    filled, negative_zero = np.isin(bits, patterns), negative_zeros(flat)
    special = filled | negative_zero | (~np.isfinite(flat) if flat.dtype.kind == "f" else False)
    found = np.unique(bits[special]).astype(np.uint64)
    valid = flat[~special | (negative_zero & ~filled)]
    if not valid.size:
        return (math.inf, -math.inf, math.inf, -math.inf), found
    coded = flat[~special & (np.abs(flat.astype(np.float64)) <= largest_coded(flat.dtype))]
    low, high = valid.min().item(), valid.max().item()
    if not coded.size:
        return (low, high, math.inf, -math.inf), found
    return (low, high, float(coded.min()), float(coded.max())), found


def summarize(
    tiles: Iterable[np.ndarray],
    dtype: np.dtype,
    fill_values: Iterable[Number],
    threads: int = 1,
    watchers: Sequence[Watcher] = (),
) -> Summary:
    """Go once through all ``tiles`` of a field. The same for any number of threads."""
    patterns = special_patterns(part_of(dtype), fill_values)
    low: Number = math.inf
    high: Number = -math.inf
    coded_low, coded_high = math.inf, -math.inf
    found = dict.fromkeys(patterns.tolist())  # first: the header must list them

    def jobs() -> Iterator[Callable[[], Any]]:
        """Looks are Python's, of which one thread alone runs at a time; it may be beside a scan."""
        for tile in tiles:
            yield partial(_scan_tile, tile, patterns)
            yield partial(_look, tile, watchers)

    results = in_order(jobs(), threads)
    for (spans, specials), seen in zip(results, results, strict=True):
        for watcher, its in zip(watchers, seen, strict=True):
            watcher.note(its)
        low, high = min(low, spans[0]), max(high, spans[1])
        coded_low, coded_high = min(coded_low, spans[2]), max(coded_high, spans[3])
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


def largest_coded(part: np.dtype) -> float:
    """Values beyond this magnitude are special: sums of weighted neighbours must not overflow, and carriers
    must be exact."""
    return _LARGEST[part.itemsize] if part.kind == "f" else _LARGEST_INTEGER


def read(source: Source, where: tuple[slice, ...]) -> np.ndarray:
    """A part of ``source``; a masked array if that is one."""
    part = source[(*where, ...)]  # an array even if it has no axes
    return part if isinstance(part, np.ma.MaskedArray) else np.asarray(part)


def valid_range(source: Source, fill_values: Iterable[Number] = ()) -> tuple[Number, Number]:
    """(low, high) over finite, unmasked values, read tile by tile; (0.0, 0.0) when there are none.

    Over the parts of complex numbers. Ints, for a field of integers.
    """
    dtype = check_supported(source)
    tiles = (read(source, s) for s in tile_slices(tuple(source.shape)))
    summary = summarize(tiles, dtype, tuple(fill_values))
    return (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)


def tile_slices(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Where the tiles of a field of ``shape`` lie."""
    if 0 in shape:
        return
    tile = tile_shape(shape)
    grid = [-(-n // t) for n, t in zip(shape, tile, strict=True)]
    for index in np.ndindex(*grid):
        yield tuple(slice(i * t, min((i + 1) * t, n)) for i, t, n in zip(index, tile, shape, strict=True))
