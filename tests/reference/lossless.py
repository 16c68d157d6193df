"""Lossless array: section 7 of FORMAT.md."""

from __future__ import annotations

from math import prod

import numpy as np
import zstandard

from reference.readers import require


def lossless_array(data: bytes, dtype: np.typing.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
    way, body, dtype, count = data[0], data[1:], np.dtype(dtype), prod(shape)
    if way == 3:
        axes, body = body[0], body[1:]
        require(0 < axes < 1 << len(shape), "axes of a lossless array")
    if way == 4:
        require(dtype.itemsize == 1 and 0 < body[0] <= 8, "planes of bits")
        planes, size = body[0], -(-count // 8)
        raw = zstandard.ZstdDecompressor().decompress(body[1:], max_output_size=planes * size)
        require(len(raw) == planes * size, "size of planes of bits")
        bits = [
            format(int.from_bytes(raw[k * size : (k + 1) * size], "big"), f"0{8 * size}b")
            for k in range(planes)
        ]
        items = [sum(int(plane[i]) << k for k, plane in enumerate(bits)) for i in range(count)]
        return np.array(items, np.uint8).view(dtype).reshape(shape)
    if way > 0:
        body = zstandard.ZstdDecompressor().decompress(body, max_output_size=count * dtype.itemsize)
    require(way <= 3 and len(body) == count * dtype.itemsize, "lossless array")
    if way >= 2:
        body = np.frombuffer(body, np.uint8).reshape(dtype.itemsize, count).T.tobytes()
    items = np.frombuffer(body, f"<u{dtype.itemsize}").astype(object).reshape(shape)
    if way == 3:
        half = 1 << (8 * dtype.itemsize - 1)
        items = np.where(items % 2 == 1, -(items + 1) // 2, items // 2)
        for axis in range(len(shape)):
            if axes >> (len(shape) - 1 - axis) & 1:
                items = np.cumsum(items, axis=axis)
        items = items % (2 * half)
        items = np.where(items >= half, items - half, 2 * half - 1 - items)
    return items.astype(f"<u{dtype.itemsize}").view(dtype.newbyteorder("<"))
