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
from lossyzip import field, second_pass, trial
from lossyzip.container.archive import unpack_archive
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS
from lossyzip.learned import corrections
from lossyzip.learned.model import Target
from lossyzip.learned.neighbourhood import Input
from lossyzip.learned.network import Feature, Layer, Network

HERE = Path(__file__).parent


def main() -> None:
    EFFORTS["balanced"] = replace(EFFORTS["balanced"], mixed=0)  # small tiles would be mixed
    expected: dict[str, object] = {}
    (HERE / "model.lzm").write_bytes(model().to_bytes())
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
    tenths = np.round(10.0 + 5.0 * noisy[:6].astype("<f8"), 1)
    tenths[2, 3, 4:9], tenths[3, 1, 1] = np.nan, 1.2345
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
        "packed.lz": coded_as("raster", tenths, lz.absolute(0.13)),
        "halves.lz": coded_as("raster", halves, lz.absolute(0.05)),
        "complex.lz": coded_as("raster", vectors, lz.relative(0.02)),
        "masked.lz": coded_as("raster", sea, lz.relative(0.01)),
        "regions.lz": lz.compress(noisy[:4], lz.absolute(finer)),
        "enhanced.lz": enhanced(swells, lz.relative(0.02)),
        "psnr.lz": coded_as("wavelet", patterns, lz.psnr(26)),
        "lossless.lz": coded_as("lossless", precise, lz.lossless()),
        "archive.lza": lz.compress_fields(archived, {"*": lz.relative(1e-2)}),
        "guided.lza": guided(),
    }


def guided() -> bytes:
    """Fields with taps into others by each family, a staggered one, a network, and a mask that two share."""
    rng = np.random.default_rng(7)
    shape = (5, 24, 36)
    rough = 0.3 * rng.standard_normal((5, 24, 37)).astype("<f4")
    smooth = [waves(shape, np.random.default_rng(seed), 6) for seed in range(4)]
    cells = ((rough[..., 1:] + rough[..., :-1]) / 2 + 0.3 * smooth[0]).astype("<f4")
    land = rng.random(shape) < 0.2
    first, second = smooth[1] + 0.5 * cells, smooth[2] + 0.2 * smooth[1]
    first[land], second[land] = np.nan, np.nan
    still = waves((72, 72), np.random.default_rng(2), 6)[:24, :36]
    pattern = np.stack([still * np.cos(0.3 * step) for step in range(5)])
    fields = {
        "faces": (rough, 0.02),
        "cells": (cells, 0.02),
        "first": (first, 0.02),
        "second": (second, 0.2),
        "bent": (np.abs(cells) * 2 + 0.02 * smooth[3], 0.01),
        "pattern": (0.7 * pattern + 0.02 * rng.standard_normal(shape), 0.05),
        "again": (pattern + 0.02 * rng.standard_normal(shape), 0.1),
    }
    least, trial._LEAST_FOR_NETWORK = trial._LEAST_FOR_NETWORK, 0
    try:
        blob = lz.compress_fields(
            {name: values.astype("<f4") for name, (values, _) in fields.items()},
            {name: lz.absolute(eps) for name, (_, eps) in fields.items()},
            learned=True,
            train_seconds=5,
        )
    finally:
        trial._LEAST_FOR_NETWORK = least
    tell = []
    for name, data in unpack_archive(blob).items():
        header = Frame.of_bytes(bytes(data))._header
        tell.append((name, header.family, header.guided))
    print(*tell, sep="\n")  # look whether all is there
    return blob


def model() -> lz.Model:
    """Networks of one hidden layer and of none, the second target from the first; weights at random."""
    rng = np.random.default_rng(4)
    inputs = tuple(Input(k, bool(k), 0.25 * k, 1.5, 900.0) for k in range(2))
    features = tuple(Feature(k, kind, kind % 3) for k in range(2) for kind in (0, 2, 3, 5, 20))
    none = np.zeros(1, np.int64)
    hidden = Layer(rng.integers(-90, 90, (3, 10)), rng.integers(-9000, 9000, 3), np.array([9, 8, 10]))
    deep = Layer(rng.integers(-900, 900, (1, 13)), none, none)
    flat = Layer(rng.integers(-900, 900, (1, 10)), none, none)
    networks = (
        Network(inputs, features, (hidden,), deep, 12, -2.5, 2.0**-20),
        Network(inputs, features, (), flat, 12, 0.5, 2.0**-22),
    )
    names = ("T", ("p", "Wind (m/s) \N{RIGHTWARDS ARROW}")), ("q", ("T", "p"))
    pairs = zip(names, networks, strict=True)
    return lz.Model(tuple(Target(*name, 1e-3, network.to_bytes()) for name, network in pairs))


def coded_as(family: str, array: np.ndarray, bound: lz.Bound, **options: Any) -> bytes:
    blob = lz.compress(array, bound, **options)
    assert lz.inspect(blob).families == (family,), lz.inspect(blob).families
    return blob


def enhanced(array: np.ndarray, bound: lz.Bound) -> bytes:
    """By a network, which would not pay in so small a field."""
    price, corrections.Price.of = corrections.Price.of, lambda *_: 0.0
    cheaper, second_pass._cheaper = second_pass._cheaper, lambda *_: True
    try:
        blob = lz.compress(array, bound, enhance="network", train_seconds=2)
    finally:
        corrections.Price.of, second_pass._cheaper = price, cheaper
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
