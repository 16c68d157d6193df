"""The lossless back end: an array's bytes, shuffled, differenced or in planes of bits, through zstd.

The first byte says which way was the smallest: tried out, or tried on a part where the array is large.
docs/FORMAT.md, "Lossless array".
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import zstandard

from lossyzip.errors import CorruptError, TruncatedError

_RAW, _ZSTD, _SHUFFLED, _DIFFERENCED, _PLANES = range(5)
_QUICK_SIZE = 1 << 18  # bytes, above which one way is chosen on a sample, and zstd is quicker
_THOROUGH, _QUICK, _TRIAL = 19, 9, 3  # zstd levels
_SAMPLE = 1 << 18  # items to choose a way by,
_FEWER = 1 << 14  # and the axes of differences
_MOST_DIFFERENCED = 4  # axes that are tried: the last ones


def pack(array: np.ndarray) -> bytes:
    """The bits of ``array`` (up to 8 axes; 1, 4 or 8 bytes an item) as bytes; `unpack` needs its shape."""
    bits = np.ascontiguousarray(array).reshape(array.shape).view(f"<u{array.dtype.itemsize}")
    ways = [_ZSTD, _PLANES] if bits.itemsize == 1 else [_ZSTD, _SHUFFLED]
    axes = _axes(bits) if bits.itemsize > 1 and bits.size > 1 else ()
    ways += [_DIFFERENCED] if axes else []
    if bits.nbytes > _QUICK_SIZE:
        sample = _middle(bits, _SAMPLE)
        ways = [min(ways, key=lambda way: len(_packed(sample, way, axes, _TRIAL)))]
    level = _THOROUGH if bits.nbytes <= _QUICK_SIZE else _QUICK
    packed = [_packed(bits, way, axes, level) for way in ways]
    return min([*packed, bytes([_RAW]) + bits.tobytes()], key=len)


def unpack(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array of ``shape`` and ``dtype``. Raises DecodeError when ``data`` holds anything else."""
    count = math.prod(shape)
    expected = count * dtype.itemsize
    way, body = (data[0], data[1:]) if data else (_RAW, b"")
    if way > (_PLANES if dtype.itemsize == 1 else _DIFFERENCED):
        raise CorruptError(f"lossless data packed in way {way}")
    axes: tuple[int, ...] = ()
    if way == _DIFFERENCED:
        if not body:
            raise TruncatedError("lossless data ends before its axes")
        axes, body = _axes_of_mask(body[0], len(shape)), body[1:]
    if way == _PLANES:
        return _joined_planes(body, count).reshape(shape).view(dtype)
    raw = body if way == _RAW else _inflate(body, expected)
    if len(raw) != expected:
        raise CorruptError(f"lossless data is not of {expected} bytes")
    if way in (_RAW, _ZSTD):
        bits = np.frombuffer(raw, f"<u{dtype.itemsize}").reshape(shape)
    else:
        bits = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, count).T)
        bits = bits.view(f"<u{dtype.itemsize}").reshape(shape)
        if way == _DIFFERENCED:
            bits = _summed(bits, axes)
    return bits.astype(f"=u{dtype.itemsize}").view(dtype.newbyteorder("="))


def _packed(bits: np.ndarray, way: int, axes: tuple[int, ...], level: int) -> bytes:
    head = bytes([way])
    if way == _DIFFERENCED:
        bits = _differences(_sorting(bits), axes)
        head += bytes([sum(1 << (bits.ndim - 1 - axis) for axis in axes)])
    if way == _PLANES:
        planes = max(int(bits.max(initial=0)).bit_length(), 1)
        head += bytes([planes])
        data = b"".join(np.packbits(bits >> k & 1).tobytes() for k in range(planes))
    else:
        data = bits.tobytes() if way == _ZSTD else _shuffle(bits)
    compressor = zstandard.ZstdCompressor(level=level, write_content_size=False, write_checksum=False)
    return head + compressor.compress(data)


def _axes(bits: np.ndarray) -> tuple[int, ...]:
    """The axes along which differences are smallest; none if there are no two items along any."""
    sample = _sorting(_middle(bits, _FEWER))
    long = [axis for axis, n in enumerate(sample.shape) if n > 1][-_MOST_DIFFERENCED:]
    choices = [axes for k in range(1, len(long) + 1) for axes in combinations(long, k)]
    return min(choices, key=lambda axes: float(np.log2(1.0 + _differences(sample, axes)).sum()), default=())


def _axes_of_mask(mask: int, ndim: int) -> tuple[int, ...]:
    if not 0 < mask < 1 << ndim:
        raise CorruptError(f"lossless data of {ndim} axes is differenced along none or others ({mask:#x})")
    return tuple(axis for axis in range(ndim) if mask >> (ndim - 1 - axis) & 1)


def _middle(bits: np.ndarray, most: int) -> np.ndarray:
    """A block from the middle, of at most ``most`` items."""
    lengths = list(bits.shape)
    while math.prod(lengths) > most:
        axis = int(np.argmax(lengths))
        lengths[axis] = -(-lengths[axis] // 2)
    return bits[tuple(slice((n - k) // 2, (n + k) // 2) for n, k in zip(bits.shape, lengths, strict=True))]


def _sorting(bits: np.ndarray) -> np.ndarray:
    """Floats' bits as unsigned integers that sort as the floats do."""
    top = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    return np.where(bits & top, ~bits, bits | top)


def _differences(integers: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Differences along ``axes``, modulo the width: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    for axis in axes:
        integers = np.diff(integers, axis=axis, prepend=integers.dtype.type(0))
    one = integers.dtype.type(1)
    negative = integers >> integers.dtype.type(8 * integers.itemsize - 1)
    return (integers << one) ^ (~negative + one)


def _summed(folded: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The reverse of `_differences` and `_sorting`."""
    one = folded.dtype.type(1)
    integers = (folded >> one) ^ (~(folded & one) + one)
    for axis in axes:
        integers = np.cumsum(integers, axis=axis, dtype=integers.dtype)
    top = integers.dtype.type(1 << (8 * integers.itemsize - 1))
    return np.where(integers & top, integers ^ top, ~integers)


def _joined_planes(body: bytes, count: int) -> np.ndarray:
    """``count`` bytes whose bits come in planes, the lowest first."""
    planes, size = body[0] if body else 0, -(-count // 8)
    if not 0 < planes <= 8:
        raise CorruptError(f"lossless data has {planes} planes of bits")
    raw = _inflate(body[1:], planes * size)
    if len(raw) != planes * size:
        raise CorruptError(f"lossless data is not of {planes} planes of {count} bits")
    joined = np.zeros(count, np.uint8)
    for k in range(planes):
        plane = np.frombuffer(raw, np.uint8, size, k * size)
        joined |= np.unpackbits(plane, count=count) << np.uint8(k)
    return joined


def _shuffle(bits: np.ndarray) -> bytes:
    return np.ascontiguousarray(bits).view(np.uint8).reshape(bits.size, bits.itemsize).T.tobytes()


def _inflate(body: bytes, expected: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body) as reader:
            return reader.read(expected + 1)
    except zstandard.ZstdError as error:
        raise CorruptError(f"lossless data: {error}") from None
