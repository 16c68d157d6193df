"""Writes the golden frames and what they decode to. Run by hand, when the format changes, and never by tests.

python tests/golden/make.py NAME...

Files that still decode stay as they are: of those that are there the names are said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from plans import WITH_FLAGS, frame_with

import lossyzip as lz
from datasets.synthetic import waves
from lossyzip import field, second_pass, trial
from lossyzip.compressor import compress_field
from lossyzip.container.archive import unpack_archive
from lossyzip.decompose import multiples
from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.lattice import Lattice
from lossyzip.decompose.regression import CLASSES, Raster, class_taps
from lossyzip.decompose.stencil import Weights
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS
from lossyzip.guide import FieldGuide
from lossyzip.learned import corrections
from lossyzip.learned.enhancer import Enhancer
from lossyzip.learned.latents import Latents, grid_of
from lossyzip.learned.model import Target
from lossyzip.learned.neighbourhood import FIRST_LATENT, Input
from lossyzip.learned.network import Feature, Layer, Network

HERE = Path(__file__).parent


def main(names: list[str]) -> None:
    # small tiles would be mixed
    EFFORTS["balanced"] = replace(EFFORTS["balanced"], mixed=0, mixed_if_few=0, mixed_if_rare=0.0)
    made, path = makers(), HERE / "expected.json"
    expected = json.loads(path.read_text())
    for name in names:
        if name.endswith(".lzm"):
            (HERE / name).write_bytes(models()[name]().to_bytes())
            continue
        blob = made[name]()
        (HERE / name).write_bytes(blob)
        of_it = (HERE / name).with_suffix(".lzm")
        known = lz.Model.from_bytes(of_it.read_bytes()) if of_it.exists() else None
        if name.endswith(".lza"):
            fields = lz.decompress_fields(blob, model=known)
        else:
            fields = {"": lz.decompress(blob)}
        expected[name] = {key: described(array) for key, array in fields.items()}
    told = {name: expected[name] for name in made if name in expected}
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def described(array: np.ndarray) -> dict[str, object]:
    digest = hashlib.sha256(np.ma.getdata(array).tobytes())
    if isinstance(array, np.ma.MaskedArray):
        digest.update(np.ma.getmaskarray(array).tobytes())
    return {"shape": list(array.shape), "dtype": array.dtype.str, "sha256": digest.hexdigest()}


def reaching(shape: tuple[int, ...]) -> Raster:
    """A plan whose taps reach to edges or corners in the volume before, by class."""
    rng, weights = np.random.default_rng(2), []
    for row_class in range(CLASSES):
        several = class_taps(row_class, fold(shape, Fold.VOLUMES))
        count = len(several[min(1 + row_class % 2, len(several) - 1)].offsets)
        weights.append(Weights(1, tuple(rng.integers(-6, 7, count - 1).tolist())))
    return Raster(Fold.VOLUMES, tuple(weights))


def based(array: np.ndarray) -> bytes:
    """With what all steps have in common once."""
    blob = lz.compress(array.astype("<f4"), lz.absolute(0.1))
    assert lz.inspect(blob).sections["base"]
    return blob


def makers() -> dict[str, Callable[[], bytes]]:
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
    phases = 0.2 * np.random.default_rng(1).random((24, 13, 14), np.float32)
    z, y, x = np.indices(phases.shape)
    phases += np.where(np.sin(x / 3 + z / 2) + np.sin(y / 4 - z / 3) > 0, 0.5, -0.7).astype(np.float32)
    decades = (np.exp(4.0 * noisy) * np.where(noisy > -0.5, 1, -1)).astype(">f4")[:8]
    decades[2, 3:9] = 0.0
    counts = np.rint(1000 * noisy[:6]).astype(">i2")
    halves = noisy[:9].astype("<f2")
    halves[3, 4, 5:9] = np.nan, np.inf, -0.0, 7.0
    vectors = (noisy[:5] + 1j * noisy[5:10]).astype("<c8")
    pairs = vectors.view("<f4").reshape(5, 26, 28, 2)
    sea = np.ma.masked_greater(smooth, 0.4)
    ice = np.ma.MaskedArray(noisy, noisy < -0.6)
    finer = np.where(np.arange(28) < 9, 0.01, 0.2)
    finer[20:] = 0.0
    swells = waves((8, 34, 38), rng, 6) + 0.02 * rng.standard_normal((8, 34, 38)).astype("<f4")
    swells[2, 5:9], swells[3, 3, 3:8] = np.nan, -0.0
    tenths = np.round(10.0 + 5.0 * noisy[:6].astype("<f8"), 1)
    tenths[2, 3, 4:9], tenths[3, 1, 1] = np.nan, 1.2345
    calm = np.full((20, 26, 28), 2.0, "<f4")
    calm[6:15, 4:, 5:25] += noisy[:9, :22, :20]
    archived = {"p": precise, "Wind (m/s) \N{RIGHTWARDS ARROW}": winds[0], "none": winds[:0]}
    return {
        "multigrid.lz": partial(coded_as, "multigrid", smooth.astype(">f8"), lz.relative(1e-2)),
        "raster.lz": partial(coded_as, "raster", winds, lz.relative(1e-3)),
        "still.lz": partial(coded_as, "raster", rain, lz.relative(0.03)),
        "wavelet.lz": partial(coded_as, "wavelet", noisy, lz.relative(0.3)),
        "volumes.lz": partial(frame_with, winds, 0.02, reaching(winds.shape)),
        "mixed.lz": partial(coded_as, "raster", winds, lz.relative(1e-3), effort="max"),
        "mixed-multigrid.lz": partial(coded_as, "multigrid", smooth, lz.relative(1e-2), effort="max"),
        "mixed-wavelet.lz": partial(coded_as, "wavelet", noisy, lz.relative(0.3), effort="max"),
        "base.lz": partial(
            based, 270 + 3 * noisy[0] + 0.2 * waves((24, 26, 28), np.random.default_rng(4), 4)
        ),
        "flags.lz": partial(frame_with, swells, 0.2, Wavelet(Fold.MERGED, 48), WITH_FLAGS),
        "lattice.lz": partial(
            coded_as, "lattice", profiles, lz.absolute(0.05), fill_value=1e20, effort="fast"
        ),
        "centred.lz": partial(coded_as, "lattice", disorder, lz.absolute(0.01), effort="fast"),
        "levels.lz": partial(frame_with, phases, 0.01, Lattice(0, -7, levels=True)),
        "special.lz": partial(coded_as, "raster", special, lz.absolute(1e-3), fill_value=1e20),
        "tiles.lz": partial(in_tiles, winds[:, 0], lz.relative(1e-2)),
        "pointwise.lz": partial(coded_as, "raster", decades, lz.pointwise_relative(0.05)),
        "integers.lz": partial(coded_as, "raster", counts, lz.absolute(20)),
        "packed.lz": partial(coded_as, "raster", tenths, lz.absolute(0.13)),
        "halves.lz": partial(coded_as, "raster", halves, lz.absolute(0.05)),
        "complex.lz": partial(coded_as, "raster", vectors, lz.relative(0.02)),
        "masked.lz": partial(coded_as, "raster", sea, lz.relative(0.01)),
        "regions.lz": partial(lz.compress, noisy[:4], lz.absolute(finer)),
        "enhanced.lz": partial(enhanced, swells, lz.relative(0.02)),
        "psnr.lz": partial(coded_as, "wavelet", patterns, lz.psnr(26)),
        "margins.lz": partial(coded_as, "raster", calm, lz.absolute(0.2)),
        "origin.lz": partial(in_tiles, calm[:, 5:12, 8:16], lz.absolute(0.2)),
        "components.lz": partial(coded_as, "raster", pairs, lz.relative(0.02)),
        "components-lattice.lz": partial(frame_with, winds, 0.02, Lattice(6, fold=Fold.COMPONENTS)),
        "ice.lz": partial(coded_as, "raster", ice, lz.relative(0.02)),
        "lossless.lz": partial(coded_as, "lossless", precise, lz.lossless()),
        "archive.lza": partial(lz.compress_fields, archived, {"*": lz.relative(1e-2)}),
        "guided.lza": guided,
        "guided-enhanced.lza": guided_enhanced,
        "objective.lz": for_an_objective,
        "in-model.lza": in_model,
        "latents.lz": partial(with_latents, noisy[:8, :18].reshape(2, 4, 18, 28)),
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
    tell(blob)
    return blob


def with_latents(array: np.ndarray) -> bytes:
    """Two channels of latents, and a network that sees no reference; numbers at random."""
    rng = np.random.default_rng(5)
    strides = (2, 8, 4)
    grid = (2, *grid_of(array.shape, strides))
    latents = Latents(rng.integers(-20, 20, grid).astype(np.int16), strides, array.shape)
    inputs = tuple(Input(FIRST_LATENT + k, False, 0.0, 1 / 64, 64.0) for k in range(2))
    features = tuple(Feature(k, kind, kind) for k in range(2) for kind in (0, 1, 4))
    none = np.zeros(1, np.int64)
    hidden = Layer(rng.integers(-90, 90, (4, 6)), rng.integers(-9000, 9000, 4), np.full(4, 7))
    network = Network(
        inputs, features, (hidden,), Layer(rng.integers(-90, 90, (1, 10)), none, none), 12, 0.1, 2.0**-22
    )
    guide = FieldGuide(network.to_bytes(), [], array.shape, array.dtype, latents=latents.to_bytes())
    parts: list[bytes] = []
    compress_field(array, lz.absolute(0.05), parts.append, guide=guide)
    assert lz.inspect(b"".join(parts)).sections["latents"]
    return b"".join(parts)


def guided_enhanced() -> bytes:
    """An enhancer that sees what a network says, and a filter of that and of the values."""
    known, options = lz.Model((as_first(),)), {"embed_model": True, "enhance": "network", "train_seconds": 2}
    with worth_it():
        blob = lz.compress_fields(snapshot(2), {"*": lz.relative(0.02)}, model=known, **options)
    tell(blob)
    return blob


def for_an_objective() -> bytes:
    """Of waves of all lengths: what lowers squares would take power from the short ones."""
    rng, shape = np.random.default_rng(5), (10, 20, 22)
    lengths = np.sqrt(sum(np.square(k) for k in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    noise = np.fft.fftn(rng.standard_normal(shape)) / (lengths + 0.02) ** 2.5
    array = np.fft.ifftn(noise).real.astype("<f4")
    blob = lz.compress(array, lz.relative(0.03), enhance="spectrum", train_seconds=2)
    about = lz.inspect(blob)
    assert about.objective == "spectrum", about
    print(about.objective_errors)
    return blob


def snapshot(seed: int) -> dict[str, np.ndarray]:
    """The second field is the first, but for long waves."""
    rng, shape = np.random.default_rng(seed), (8, 24, 28)
    first = waves(shape, np.random.default_rng(3), 6) + 0.5 * rng.standard_normal(shape)
    second = first + 0.1 * waves(shape, rng, 6)
    return {"second": second.astype("<f4"), "first": first.astype("<f4")}


def in_model() -> bytes:
    """Frames that name a network and an enhancer of a model: that of `trained_model`."""
    model = lz.Model.from_bytes((HERE / "in-model.lzm").read_bytes())
    with worth_it():
        blob = lz.compress_fields(snapshot(2), {"*": lz.relative(0.02)}, model=model, enhance=True)
    tell(blob)
    return blob


def trained_model() -> lz.Model:
    """With enhancers of both fields."""
    with worth_it():
        trained = lz.train([snapshot(1)], {"*": lz.relative(0.02)}, train_seconds=1, enhance="offsets")
    return lz.Model((as_first(),), trained.enhanced)


def as_first() -> Target:
    """A network that says of the second field what the first is."""
    none, one = np.zeros(1, np.int64), np.ones((1, 1), np.int64)
    inputs, seen = (Input(0, False, 0.0, 1.0, 4096.0),), (Feature(0, 0, 0),)
    network = Network(inputs, seen, (), Layer(one, none, none), 1, 0.0, 2.0**-12)
    return Target("second", ("first",), 0.02, network.to_bytes())


def tell(archive: bytes) -> None:
    """Look whether all is there."""
    for name, data in unpack_archive(archive).items():
        header = Frame.of_bytes(bytes(data))._header
        print(name, header.family, header.guided)
        if isinstance(header.enhancer, bytes):
            enhancer = Enhancer.from_bytes(header.enhancer)
            features = [tuple(feature) for feature in enhancer.features if feature.plane]
            print(" ", len(enhancer.hidden), "hidden,", enhancer.guides, features, enhancer.filter)
        elif header.enhancer is not None:
            print(" ", header.enhancer)


@contextlib.contextmanager
def worth_it() -> Iterator[None]:
    """Networks and enhancers, which would not pay in small fields."""
    before = trial._LEAST_FOR_NETWORK, corrections.Price.of, second_pass._cheaper
    trial._LEAST_FOR_NETWORK = 0
    corrections.Price.of, second_pass._cheaper = (lambda *_: 0.0), (lambda *_: True)
    try:
        yield
    finally:
        trial._LEAST_FOR_NETWORK, corrections.Price.of, second_pass._cheaper = before


def models() -> dict[str, Callable[[], lz.Model]]:
    return {"model.lzm": model, "in-model.lzm": trained_model}


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
    """By tuning's plan, but by no lattice where it should be something else."""
    suits = multiples.suits
    try:
        if family != "lattice":
            multiples.suits = lambda *_: False
        blob = lz.compress(array, bound, **options)
    finally:
        multiples.suits = suits
    assert lz.inspect(blob).families == (family,), lz.inspect(blob).families
    return blob


def enhanced(array: np.ndarray, bound: lz.Bound) -> bytes:
    """By a network."""
    with worth_it():
        blob = lz.compress(array, bound, enhance="network", train_seconds=2)
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
    main(sys.argv[1:])
