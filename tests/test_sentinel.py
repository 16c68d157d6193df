"""Values that stand for none, though nobody said so."""

from __future__ import annotations

import numpy as np
import pytest
from round_trip import round_trip

import lossyzip as lz
from datasets import synthetic
from lossyzip.decompressor import Frame
from lossyzip.sentinel import sentinel_of


def ocean(dtype: str = "<f4", sentinel: float = 1e20) -> tuple[np.ndarray, np.ndarray]:
    """A smooth field, and where its land is, which holds ``sentinel``."""
    rng = np.random.default_rng(4)
    values = synthetic.waves((40, 60, 80), rng).astype(dtype)
    land = np.broadcast_to(synthetic.waves((60, 80), rng) > 1.0, values.shape)
    values[land] = sentinel
    assert 0.01 < land.mean() < 0.7
    return values, land


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
@pytest.mark.parametrize("sentinel", [1e20, -999.0, 9.96921e36, -32768.0])
@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_it_comes_back_bit_for_bit_and_takes_what_a_declared_one_takes(effort, sentinel, dtype):
    values, land = ocean(dtype, sentinel)
    unit = "u4" if dtype == "<f4" else "u8"
    bound = lz.absolute(1e-3)
    blob = lz.compress(values, bound, effort=effort)
    decoded = round_trip(values, bound, effort=effort)
    bits = dtype[0] + unit
    assert np.array_equal(decoded.view(bits)[land], values.view(bits)[land])
    declared = lz.compress(values, bound, effort=effort, fill_value=float(values[land][0]))
    assert len(blob) <= 1.03 * len(declared)


def test_a_relative_bound_is_of_the_range_with_it():
    values, land = ocean(sentinel=-999.0)
    blob = lz.compress(values, lz.relative(1e-4))
    eps = 1e-4 * (float(values.max()) - float(values.min()))
    assert lz.inspect(blob).eps == pytest.approx(eps, rel=1e-12)
    assert eps > 0.05
    assert lz.verify(values, blob).passed
    assert Frame.of_bytes(blob)._header.specials
    assert np.array_equal(lz.decompress(blob)[land], values[land])


@pytest.mark.parametrize("bound", [lz.psnr(60.0), lz.lossless()], ids=lambda bound: bound.kind)
def test_other_bounds(bound):
    values, _ = ocean(sentinel=-999.0)
    round_trip(values, bound)


def test_beside_as_many_fill_values_as_there_may_be():
    values, _ = ocean(sentinel=-999.0)
    fills = tuple(1000.0 + k for k in range(16))
    values[3, 5, :16] = fills
    round_trip(values, lz.absolute(1e-3), fill=fills)
    round_trip(values, lz.absolute(1e-3), fill=fills[:15])


def test_what_is_restored_has_it_again():
    values, _ = ocean(sentinel=-999.0)
    first = lz.decompress(lz.compress(values, lz.absolute(1e-2), effort="fast", idempotent=True))
    again = lz.decompress(lz.compress(first, lz.absolute(1e-2), effort="fast", idempotent=True))
    assert np.array_equal(first, again)


def sample(seed: int = 0, count: int = 1024) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.0, 3.0, (count, 4)).astype(np.float32)


def end_of(values: np.ndarray) -> float | None:
    flat = values.reshape(-1)
    return sentinel_of(flat, float(flat.min()), float(flat.max()))


def test_which_values_are_sentinels():
    values = sample()
    assert end_of(values) is None
    for sentinel in (-999.0, 50.0):
        values[: len(values) // 10] = sentinel
        assert end_of(values) == sentinel
        values = sample()


@pytest.mark.parametrize("case", ["near", "rare", "scattered", "classes", "nothing else", "in between"])
def test_which_are_not(case):
    values = sample()
    some = slice(0, len(values) // 5)
    if case == "near":
        values[some] = 8.0  # the others span 4
    elif case == "rare":
        values[:2] = -999.0
    elif case == "scattered":
        values[np.random.default_rng(1).random(values.shape) < 0.2] = -999.0
    elif case == "classes":
        values = np.round(values)
        values[some] = 100.0
    elif case == "nothing else":
        values[:] = -999.0
    else:
        values += np.float32(1.0) * (values > 1.0) * 50
        values[some] = 25.0
    assert end_of(values) is None
