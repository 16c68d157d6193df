"""The lossless back end: an array's bytes, shuffled or differenced, through zstd.

The smallest of a few ways is kept; the first byte says which. docs/FORMAT.md, "Lossless".
"""

from __future__ import annotations

import numpy as np
import zstandard

from lossyzip.errors import CorruptError

_RAW, _ZSTD, _SHUFFLED, _DIFFERENCED = range(4)
_QUICK_SIZE = 1 << 18  # above, a quicker zstd level


def pack(array: np.ndarray) -> bytes:
    """The bits of ``array`` (any shape, 1, 4 or 8 bytes an item) as bytes."""
    bits = np.ascontiguousarray(array).reshape(-1).view(f"<u{array.dtype.itemsize}")
    level = 19 if bits.nbytes <= _QUICK_SIZE else 6
    compressor = zstandard.ZstdCompressor(level=level, write_content_size=False, write_checksum=False)
    ways = {_ZSTD: bits.tobytes()}
    if bits.itemsize > 1:
        ways[_SHUFFLED] = _shuffle(bits)
        ways[_DIFFERENCED] = _shuffle(_difference(bits))
    packed = [bytes([way]) + compressor.compress(data) for way, data in ways.items()]
    return min([*packed, bytes([_RAW]) + bits.tobytes()], key=len)


def unpack(data: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    """``count`` items of ``dtype``. Raises CorruptError when ``data`` holds anything else."""
    expected = count * dtype.itemsize
    way, body = (data[0], data[1:]) if data else (_RAW, b"")
    if way > _DIFFERENCED:
        raise CorruptError(f"lossless data packed in way {way}")
    raw = body if way == _RAW else _inflate(body, expected)
    if len(raw) != expected:
        raise CorruptError(f"lossless data is not of {expected} bytes")
    if way in (_RAW, _ZSTD):
        bits = np.frombuffer(raw, f"<u{dtype.itemsize}")
    else:
        bits = np.ascontiguousarray(np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, count).T)
        bits = bits.view(f"<u{dtype.itemsize}").reshape(count)
        if way == _DIFFERENCED:
            bits = np.cumsum(bits, dtype=bits.dtype)
    return bits.astype(f"=u{dtype.itemsize}").view(dtype.newbyteorder("="))


def _shuffle(bits: np.ndarray) -> bytes:
    return bits.view(np.uint8).reshape(bits.size, bits.itemsize).T.tobytes()


def _difference(bits: np.ndarray) -> np.ndarray:
    return np.diff(bits, prepend=bits.dtype.type(0))


def _inflate(body: bytes, expected: int) -> bytes:
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body) as reader:
            return reader.read(expected + 1)
    except zstandard.ZstdError as error:
        raise CorruptError(f"lossless data: {error}") from None
