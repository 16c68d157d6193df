"""A field of more than 2^31 values, made and compared tile by tile: no count or offset is kept in 32 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossyzip as lz
from lossyzip.compressor import compress_field
from lossyzip.decompressor import Frame

SHAPE = (2**10 + 1, 2**11, 2**10)
EPS = 0.01


class Field:
    """Values follow from their places; a byte each, so that only a tile of them is there at a time."""

    shape = SHAPE
    dtype = np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        z, y, x = (np.arange(n)[where].astype(np.float32) for n, where in zip(SHAPE, key, strict=False))
        return np.sin(0.01 * z)[:, None, None] + np.minimum(y, 500)[:, None] * np.float32(1e-3) + 0 * x


@pytest.mark.slow
def test_more_than_two_to_the_31_values():
    parts: list[bytes] = []
    report = compress_field(Field(), lz.absolute(EPS), parts.append, effort="fast")
    assert np.prod(SHAPE, dtype=np.int64) > 2**31
    assert report.raw_bytes == 4 * np.prod(SHAPE, dtype=np.int64)
    blob = b"".join(parts)
    for place in (np.s_[:2, :3, :4], np.s_[1024:, 2000:, 1000:], np.s_[511:514, 1023:1025, 511:513]):
        decoded = lz.decompress(blob, region=place)
        assert np.abs(decoded - Field()[place]).max() <= EPS
    assert Frame.of_bytes(blob).compare(Field()).violations == 0
