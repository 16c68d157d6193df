"""Writes the golden frames and what they decode to. Run by hand, when the format changes, and never by tests.

python tests/golden/make.py
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import lossyzip as lz
from datasets.synthetic import waves
from lossyzip import field, tuning
from lossyzip.learned import enhancement as training

HERE = Path(__file__).parent


def main() -> None:
    tuning.EFFORTS["balanced"] = replace(tuning.EFFORTS["balanced"], mixed=0)  # small tiles would be mixed
    expected = {}
    for name, blob in frames().items():
        (HERE / name).write_bytes(blob)
        fields = lz.decompress_fields(blob) if name.endswith(".lza") else {"": lz.decompress(blob)}
        expected[name] = {key: described(array) for key, array in fields.items()}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


def described(array: np.ndarray) -> dict[str, object]:
    digest = hashlib.sha256(np.ma.getdata(array).tobytes())
    if isinstance(array, np.ma.MaskedArray):
        digest.update(np.ma.getmaskarray(array).tobytes())
    return {"shape": list(array.shape), "dtype": array.dtype.str, "sha256": digest.hexdigest()}


def frames() -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    smooth = waves((240, 320), np.random.default_rng(0))[:70, :90]
    winds = waves((6, 5, 12, 13), rng) + 0.02 * rng.standard_normal((6, 5, 12, 13)).astype("<f4")
    rain = np.maximum(waves((3, 25, 30), rng) - 0.8, 0.0)
    special = waves((30, 40), rng).astype(">f4")
    special[:10] = 1e20
    special[12, ::2] = np.inf
    special[13, ::2] = -0.0
    special[14, :20].view(">u4")[:] = 0x7FC00000 + np.arange(20)
    special[20, 3] = 1e9
    profiles = stepped((3, 5, 12, 13))
    precise = waves((9, 10), rng).astype("<f8")
    rng = np.random.default_rng(1)
    noisy = waves((20, 26, 28), rng) + 0.5 * rng.standard_normal((20, 26, 28)).astype("<f4")
    rng = np.random.default_rng(75)
    patterns = waves((24, 25, 26), rng, 6) + 0.05 * rng.standard_normal((24, 25, 26)).astype("<f4")
    disorder = np.random.default_rng(1).random((12, 13, 14), np.float32)
    decades = (np.exp(4.0 * noisy) * np.where(noisy > -0.5, 1, -1)).astype(">f4")[:8]
    decades[2, 3:9] = 0.0
    counts = np.rint(1000 * noisy[:6]).astype(">i2")
    halves = noisy[:9].astype("<f2")
    halves[3, 4, 5:9] = np.nan, np.inf, -0.0, 7.0
    vectors = (noisy[:5] + 1j * noisy[5:10]).astype("<c8")
    sea = np.ma.masked_greater(smooth, 0.4)
    finer = np.where(np.arange(28) < 9, 0.01, 0.2)
    finer[20:] = 0.0
    swells = waves((8, 34, 38), rng, 6) + 0.02 * rng.standard_normal((8, 34, 38)).astype("<f4")
    swells[2, 5:9], swells[3, 3, 3:8] = np.nan, -0.0
    archived = {"p": precise, "Wind (m/s) \N{RIGHTWARDS ARROW}": winds[0], "none": winds[:0]}
    return {
        "multigrid.lz": coded_as("multigrid", smooth.astype(">f8"), lz.relative(1e-2)),
        "raster.lz": coded_as("raster", winds, lz.relative(1e-3)),
        "still.lz": coded_as("raster", rain, lz.relative(0.03)),
        "wavelet.lz": coded_as("wavelet", noisy, lz.relative(0.3)),
        "mixed.lz": coded_as("raster", winds, lz.relative(1e-3), effort="max"),
        "mixed-multigrid.lz": coded_as("multigrid", smooth, lz.relative(1e-2), effort="max"),
        "mixed-wavelet.lz": coded_as("wavelet", noisy, lz.relative(0.3), effort="max"),
        "lattice.lz": coded_as("lattice", profiles, lz.absolute(0.05), fill_value=1e20, effort="fast"),
        "centred.lz": coded_as("lattice", disorder, lz.absolute(0.01), effort="fast"),
        "special.lz": coded_as("raster", special, lz.absolute(1e-3), fill_value=1e20),
        "tiles.lz": in_tiles(winds[:, 0], lz.relative(1e-2)),
        "pointwise.lz": coded_as("raster", decades, lz.pointwise_relative(0.05)),
        "integers.lz": coded_as("raster", counts, lz.absolute(20)),
        "halves.lz": coded_as("raster", halves, lz.absolute(0.05)),
        "complex.lz": coded_as("raster", vectors, lz.relative(0.02)),
        "masked.lz": coded_as("raster", sea, lz.relative(0.01)),
        "regions.lz": lz.compress(noisy[:4], lz.absolute(finer)),
        "enhanced.lz": enhanced(swells, lz.relative(0.02)),
        "psnr.lz": coded_as("wavelet", patterns, lz.psnr(26)),
        "lossless.lz": coded_as("lossless", precise, lz.lossless()),
        "archive.lza": lz.compress_fields(archived, {"*": lz.relative(1e-2)}),
    }


def coded_as(family: str, array: np.ndarray, bound: lz.Bound, **options: Any) -> bytes:
    blob = lz.compress(array, bound, **options)
    assert lz.inspect(blob).families == (family,), lz.inspect(blob).families
    return blob


def enhanced(array: np.ndarray, bound: lz.Bound) -> bytes:
    """By a network, which would not pay in so small a field."""
    price, training.Price.of = training.Price.of, lambda *_: 0.0
    try:
        blob = lz.compress(array, bound, enhance="network", train_seconds=2)
    finally:
        training.Price.of = price
    assert lz.inspect(blob).enhancer == "network", lz.inspect(blob)
    return blob


def stepped(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Walks along all axes but the third; a mask and spikes."""
    rng = np.random.default_rng(3)
    nt, nz, _, nx = shape
    walk = np.cumsum(rng.standard_normal((nt, nz, 1, nx)), axis=0) + np.cumsum(
        rng.standard_normal((1, nz, 1, nx)), 1
    )
    array = walk + 0.1 * rng.standard_normal(shape)
    array[1:, :, 3, 4:8], array[0, 0, 5, 5], array[2, 4, 11, 12] = 1e20, 1e9, -3e12
    return array.astype("<f8")


def in_tiles(array: np.ndarray, bound: lz.Bound) -> bytes:
    """Real tiles have two million values."""
    values, field.TILE_VALUES = field.TILE_VALUES, 200
    try:
        return lz.compress(array, bound)
    finally:
        field.TILE_VALUES = values


if __name__ == "__main__":
    main()
