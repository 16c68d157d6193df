"""Bases: the pattern that all steps of a field have is in the frame once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
from forgery import Parts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_frames import FRAMES

import lossyzip as lz
from datasets.varied import noise
from lossyzip.base import within_a_frame
from lossyzip.carrier import carry, restore
from lossyzip.compressor import compress_field
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.container.guided import Guided
from lossyzip.container.header import Header
from lossyzip.effort import EFFORTS
from lossyzip.errors import DecodeError

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
EPS = lz.absolute(0.05)
HEADER = Header(
    *(np.dtype("<f4"), (1,), (1,), EPS, 0.05, -5.0, 5.0, (), "raster", b"", ()),
    guided=Guided(-15.0, 15.0, (), b"", base=b"one"),
)
WITHOUT = replace(EFFORTS["balanced"], bases=False)


def climate(shape: tuple[int, ...] = (40, 30, 40), axes: int = 1, dtype: str = "<f4") -> np.ndarray:
    """Rough, and the same along the leading axes, but for what is smooth."""
    rng = np.random.default_rng(3)
    steps = int(np.prod(shape[:axes]))
    smooth = np.stack([noise(shape[axes:], 4, rng) for _ in range(steps)]).reshape(shape)
    return (270 + 5 * rng.standard_normal(shape[axes:]) + 0.3 * smooth).astype(dtype)


def size_without(array: np.ndarray, bound: lz.Bound = EPS) -> int:
    parts: list[bytes] = []
    compress_field(array, bound, parts.append, effort=WITHOUT)
    return sum(map(len, parts))


def base_bytes(blob: bytes) -> int:
    return lz.inspect(blob).sections.get("base", 0)


@pytest.mark.parametrize(
    ("shape", "axes", "dtype"),
    [
        ((40, 30, 40), 1, "<f4"),
        ((5, 9, 24, 30), 2, ">f8"),
        ((12, 5, 20, 24), 1, "<f4"),
        ((50, 300), 1, "<f8"),
    ],
)
def test_a_pattern_is_there_once(shape, axes, dtype):
    array = climate(shape, axes, dtype)
    blob = lz.compress(array, EPS)
    assert 0 < base_bytes(blob) < len(blob) < 0.95 * size_without(array)
    back = lz.decompress(blob)
    assert back.dtype == array.dtype
    assert np.abs(back.astype(np.float64) - array).max() <= 0.05
    assert lz.verify(array, blob).passed
    assert lz.compress(array, EPS, threads=1) == lz.compress(array, EPS, threads=2) == blob
    region = tuple(slice(n // 3, n // 2 + 1) for n in shape)
    assert np.array_equal(lz.decompress(blob, region=region), back[region])
    sections = lz.inspect(blob).sections
    assert sum(sections.values()) == len(blob)


@pytest.mark.parametrize("shape", [(160, 80, 100), (9, 16, 90, 100)])
def test_large_fields_are_sampled(shape):
    array = climate(shape, axes=len(shape) - 2)
    blob = lz.compress(array, EPS, threads=1)
    assert 0 < base_bytes(blob) < len(blob) < 0.95 * size_without(array)
    assert lz.compress(array, EPS, threads=2) == blob
    assert np.abs(lz.decompress(blob).astype(np.float64) - array).max() <= 0.05
    low = lz.relative(0.3)  # so few bits that a sample would say little
    assert lz.verify(array, lz.compress(array, low)).passed


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@given(data=st.data())
def test_subtracting_and_adding(dtype, data):
    """As numpy does it, for every step of a part."""
    numbers = st.floats(-10.0, 10.0, width=32).map(lambda value: value + 0.0)  # -0.0 is special
    steps, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    base = data.draw(arrays(dtype, size, elements=numbers))
    field = data.draw(arrays(dtype, steps * size, elements=st.one_of(numbers, st.just(np.nan))))
    header = replace(HEADER, dtype=np.dtype(dtype), shape=field.shape, tile_shape=field.shape)
    within = np.tile(np.clip(base, -5.0, 5.0), steps)
    known = ~np.isnan(field)
    carried = carry(field, header, guide=base)
    assert np.array_equal(carried.coded[known], (field - within)[known])
    assert np.isnan(carried.coded[~known]).all()
    expected = np.clip(field + within, -5.0, 5.0)
    assert np.array_equal(restore(field.copy(), None, header, base), expected, equal_nan=True)


def test_the_format_alone_says_how_it_is_read():
    array = climate((30, 12, 14))
    array[2, 3, 4:7], array[:, 5, 5], array[4, 4, 4] = np.nan, np.nan, -0.0
    blob = lz.compress(array, lz.absolute(0.2), effort="max")
    assert base_bytes(blob)
    assert np.array_equal(reference.decode_frame(blob), lz.decompress(blob), equal_nan=True)
    assert np.array_equal(np.isnan(lz.decompress(blob)), np.isnan(array))
    assert np.signbit(lz.decompress(blob)[4, 4, 4])


def test_fills_are_no_part_of_it():
    array = climate()
    array[:, 3:9, 5:30] = -999.0
    array[7, 20:22, 3:8] = -999.0
    blob = lz.compress(array, EPS, fill_value=-999.0)
    assert base_bytes(blob)
    back = lz.decompress(blob)
    assert np.array_equal(back == -999.0, array == -999.0)
    assert np.abs(back - array).max() <= 0.05


def test_it_is_left_out_where_it_would_not_pay():
    rng = np.random.default_rng(1)
    for array in (
        rng.standard_normal((30, 30, 40)),
        noise((30, 30, 40), 3, rng),
        climate((5, 30, 40)),  # so few steps that a base would take much of what it saves
        np.zeros((30, 30, 40)),
        np.full((30, 30, 40), np.nan),
        np.zeros((30, 0, 40)),
    ):
        assert not base_bytes(lz.compress(array, EPS))


def test_who_does_not_ask_for_one_gets_none():
    array = climate()
    assert not base_bytes(lz.compress(array, EPS, effort="fast"))
    assert not base_bytes(lz.compress(array, EPS, idempotent=True))
    assert not base_bytes(lz.compress(array, lz.psnr(60)))
    assert not base_bytes(lz.compress(array, lz.pointwise_relative(1e-3)))
    assert not base_bytes(lz.compress(array, lz.lossless()))
    assert not base_bytes(lz.compress(np.ma.masked_less(array, 269), EPS))
    assert not base_bytes(lz.compress(np.rint(10 * array).astype(int), lz.absolute(1)))


@pytest.mark.parametrize(
    "bound", [lz.absolute(1e-7), lz.absolute(1e-30), lz.absolute(5e-324), lz.relative(1e-8)]
)
def test_bounds_that_leave_nothing_to_subtract(bound):
    """Where rounding to the field's dtype is all of the tolerance."""
    for dtype in ("<f4", "<f8"):
        array = climate((8, 12, 14), dtype=dtype)
        assert lz.verify(array, lz.compress(array, bound)).passed


def test_huge_values_and_infinities():
    array = climate((12, 14, 16), dtype="<f8")
    array[3, 3, 3], array[4, :, 2], array[5, 5, 5] = np.inf, 1e308, -1e308
    blob = lz.compress(array, EPS)
    assert lz.verify(array, blob).passed
    far = 1e305 * climate((12, 14, 16), dtype="<f8")
    assert lz.verify(far, lz.compress(far, lz.relative(1e-4))).passed


def offsets() -> bytes:
    """An enhancer for any field."""
    enhancer = unpack_sections(Parts.of(FRAMES["enhanced"]).header, "ABRSEPw")["E"]
    assert enhancer
    return enhancer


def test_forged_bases():
    array = climate((24, 9, 11))
    blob = lz.compress(array, lz.absolute(0.2))
    assert base_bytes(blob)
    parts = Parts.of(blob)
    sections = unpack_sections(parts.header, "ABRSMLGYEKP")
    own, plain = sections["G"], {tag: data for tag, data in sections.items() if tag not in "GY"}
    mean = array.mean(axis=0)

    def base(values: np.ndarray) -> bytes:
        return within_a_frame(lz.compress(values, lz.absolute(0.1)))

    forged = [
        {**plain, "G": own},
        {**plain, "Y": sections["Y"]},
        {**sections, "Y": b""},
        {**sections, "Y": sections["Y"][:-3]},
        {**sections, "Y": blob[:-4]},  # of the field's shape, and with a base of its own
        {**sections, "Y": sections["Y"] + b"ZysL"},
        {**sections, "Y": base(mean.astype(np.float64))},
        {**sections, "Y": base(mean[:, :10])},
        {**sections, "Y": base(mean.T.copy())},
        {**sections, "Y": base(mean[0, 0])},
        {**sections, "Y": base(np.ma.masked_less(mean, 270))},
        {**sections, "Y": base(np.where(mean > 275, np.nan, mean))},
        {**sections, "Y": base(np.where(mean > 275, np.inf, mean))},
        {**sections, "G": bytes([8]) + own[1:]},
        {**sections, "G": bytes([11]) + own[1:]},
        {**sections, "G": bytes([14]) + own[1:]},
        {**sections, "G": own + b"\0"},
        {**sections, "G": own[:-1]},
        {**sections, "N": bytes(9)},
        {**sections, "Z": b"\1\1\1"},
        {**sections, "E": offsets()},
    ]
    for some in forged:
        with pytest.raises(DecodeError):
            lz.decompress(Parts(pack_sections(some), parts.tiles, parts.index, 0).forge())


def test_a_base_is_no_larger_than_memory_allows(monkeypatch):
    from lossyzip import base, base_search

    monkeypatch.setattr(base_search, "MOST_VALUES", 1000)
    array = climate()
    assert not base_bytes(lz.compress(array, EPS))
    monkeypatch.undo()
    monkeypatch.setattr(base_search, "_MOST_BYTES", 100)
    assert not base_bytes(lz.compress(array, EPS))
    monkeypatch.undo()
    blob = lz.compress(array, EPS)
    monkeypatch.setattr(base, "MOST_VALUES", 1000)
    with pytest.raises(DecodeError):
        lz.decompress(blob)
