"""Fields to be enhanced, and what is asked of the values."""

from __future__ import annotations

import importlib.util

import exact
import numpy as np
import pytest
from forgery import Parts

import lossyzip as lz
from datasets import synthetic
from lossyzip.container.frame import pack_sections, unpack_sections

FILL = -9999.0
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="networks are trained by torch, which is not installed"
)


def waves(*shape: int, dtype: str = "<f4", noise: float = 0.02, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (synthetic.waves(shape, rng, 6) + noise * rng.standard_normal(shape)).astype(dtype)


def with_specials(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[2:4, 5:9] = FILL
    array[5, 1:30:4], array[6, 3:20:5], array[7, 2:33:3] = np.nan, np.inf, -0.0
    array[8, 3], array[8, 5] = 3e38, 1e9
    return array


FIELDS = {
    "3d": waves(14, 40, 45),
    "float64": waves(14, 40, 45, dtype="<f8"),
    "big-endian": waves(14, 40, 45, dtype=">f4"),
    "4d": waves(3, 8, 40, 45),
    "5d": waves(2, 3, 6, 25, 28),
    "axes of length one": waves(1, 130, 1, 140, noise=0.05),
    "specials": with_specials(waves(40, 30, 25)),
    "masked": np.ma.masked_greater(waves(16, 60, 65), 0.5),
}


def compressed(
    array: np.ndarray, kind: bool | str = "offsets", rel: float = 0.02, **options: object
) -> bytes:
    options = {"threads": 1, "fill_value": FILL, "train_seconds": 0.5} | options
    span = np.ptp(np.ma.compressed(np.ma.masked_invalid(array[np.abs(array) < 1e3])).astype(float))
    return lz.compress(array, lz.absolute(rel * float(span)), enhance=kind, **options)


def mean_square(array: np.ndarray, decoded: np.ndarray) -> float:
    usual = np.ma.filled(np.abs(array) < 1e3, False)
    difference = np.ma.getdata(array)[usual].astype(float) - np.ma.getdata(decoded)[usual].astype(float)
    return float(np.square(difference).mean())


def assert_within(array: np.ndarray, decoded: np.ndarray, eps: float) -> None:
    kept = ~np.ma.getmaskarray(array)
    assert not exact.violations(np.ma.getdata(array)[kept], np.ma.getdata(decoded)[kept], eps, (FILL,)).size


def forged(blob: bytes, **sections: bytes | None) -> bytes:
    parts = Parts.of(blob)
    header = unpack_sections(parts.header, "ABRSMLGEP") | sections
    kept = {tag: data for tag, data in header.items() if data is not None}
    return Parts(pack_sections(kept), parts.tiles, parts.index, 0).forge()
