"""Small frames of all kinds, to be damaged and forged, and how they are read then."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from plans import STATIC

import lossyzip as lz
from lossyzip import base_search, field, second_pass, tuning
from lossyzip.container import archive
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.stencil import Weights
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.effort import EFFORTS, Effort, Mixing
from lossyzip.learned import corrections
from lossyzip.learned import enhancement as training


def small_field() -> np.ndarray:
    """With NaN, a fill value, -0.0 and outliers: every part of a tile is there."""
    array = np.sin(np.arange(300.0) * 0.03).reshape(15, 20).astype(np.float32)
    array[2, 3:5], array[5], array[1, 1], array[3, 3], array[7, 7] = np.nan, -99.0, -0.0, 1e38, -1e33
    return array


ARRAY = small_field()


def small_field_of(dtype: str) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (100 + 50 * np.nan_to_num(np.clip(ARRAY, -2, 2))).astype(dtype)


BOUND = lz.absolute(0.1)
PATTERN = 9 * np.random.default_rng(0).standard_normal((9, 8), np.float32)
PLANS = {
    "multigrid": Multigrid(
        Fold.MERGED, 2, ((Weights(1, (-3, 1)), None, Weights(3, (-100, 7, 0)), *[None] * 4),)
    ),
    "raster": Raster(Fold.MERGED, (None,) * 6 + (Weights(2, tuple(range(-8, 8))), None)),
    "still": Raster(Fold.MERGED, still=True),
    "wavelet": Wavelet(Fold.MERGED, 40),
    "lattice": Lattice(3),
    "lossless": None,
}


def compress(
    plan: str,
    tile_values: int = 1000,
    array: np.ndarray = ARRAY,
    effort: str = "balanced",
    bound: lz.Bound = BOUND,
) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(field, "TILE_VALUES", tile_values)
        patch.setitem(EFFORTS, "balanced", STATIC)
        patch.setattr(tuning.Search, "choice", tuning.Choice(PLANS[plan], size=1.0))
        return lz.compress(array, bound, fill_value=-99.0, effort=effort, threads=1)


def enhanced() -> bytes:
    """A small field, whose enhancer would not pay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrections.Price, "of", lambda *_: 0.0)
        patch.setattr(second_pass, "_cheaper", lambda *_: True)
        patch.setattr(training, "FEWEST", 100)
        patch.setitem(EFFORTS, "balanced", STATIC)
        patch.setattr(tuning.Search, "choice", tuning.Choice(PLANS["raster"]))
        blob = lz.compress(ARRAY, BOUND, fill_value=-99.0, enhance="offsets", threads=1)
    assert lz.inspect(blob).sections["marks"] > 0
    return blob


def flagged() -> bytes:
    """Stretches of zeros behind flags, which so small a field would not have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Effort, "mixing", lambda *_: Mixing(rare=math.inf))
        return compress("raster", array=np.where(np.abs(ARRAY) < 1.5, 0, ARRAY), effort="max")


def based(array: np.ndarray) -> bytes:
    """Whether or not the base pays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_search, "_PAYS", 1e9)
        return compress("raster", array=array)


FRAMES = {
    "multigrid": compress("multigrid"),
    "two tiles": compress("multigrid", 160),
    "raster": compress("raster"),
    "still": compress("still"),
    "wavelet": compress("wavelet", array=np.where(np.abs(ARRAY) > 1e30, 0, ARRAY)[:12, :10]),
    "lattice": compress("lattice"),
    "rows left out": compress("lattice", array=np.where(np.abs(ARRAY) < 0.5, 0, ARRAY)),
    "f8": compress("raster", array=np.cumsum(ARRAY[:2], axis=1).astype(np.float64)),
    "lossless": compress("lossless", array=ARRAY[:5]),
    "no tile": compress("multigrid", array=ARRAY[:0]),
    "mixed": compress("raster", effort="max"),
    "mixed, multigrid": compress("multigrid", array=ARRAY[:9], effort="max"),
    "mixed with flags": flagged(),
    "pointwise": compress("raster", array=ARRAY[:9] - 0.1, bound=lz.pointwise_relative(0.1)),
    "zeros, multigrid": compress("multigrid", array=np.zeros_like(ARRAY)),
    "zeros, raster": compress("raster", array=np.zeros_like(ARRAY)),
    "f2": compress("raster", array=small_field_of("<f2")[:9]),
    "i2": compress("raster", array=small_field_of(">i2")[:9], bound=lz.absolute(3)),
    "u1": compress("multigrid", array=small_field_of("u1")[:9], bound=lz.lossless()),
    "packed": compress("raster", array=np.rint(8 * np.clip(ARRAY[:9], -99, 99)) / 8, bound=lz.absolute(0.05)),
    "c8": compress("raster", array=small_field_of("<c8")[:5]),
    "masked": compress("raster", array=np.ma.masked_less(ARRAY[:9], 0.1)),
    "masked, lossless": compress("lossless", array=np.ma.masked_less(ARRAY[:5], 0.1)),
    "margins": compress("raster", 1 << 13, np.pad(ARRAY, ((40, 20), (30, 18)), constant_values=(0.5, -0.25))),
    "base": based(PATTERN + 0.3 * np.sin(np.arange(16, dtype="<f4"))[:, None, None]),
    "enhanced": enhanced(),
    "levels": compress("raster", array=ARRAY[:9], bound=lz.absolute(np.where(np.arange(20) < 9, 0.1, 0.0))),
}
ARCHIVE = archive.pack_archive({"a": FRAMES["lossless"], "β": FRAMES["multigrid"]})


def decode(data: bytes) -> np.ndarray:
    return lz.decompress(data, threads=1)


def error_of(data: bytes, read: Callable = decode) -> type[Exception] | None:
    """The DecodeError that reading ``data`` raises; None if it raises none. Other errors pass."""
    try:
        read(data)
    except lz.DecodeError as error:
        return type(error)
    return None


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place >> 3] ^= 1 << (place & 7)
        yield place >> 3, bytes(flipped)
