"""Packed fields: floats that are whole multiples of a step. Both decoders agree, and the bound holds."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import exact
import numpy as np
import pytest
import reference
from forgery import Parts
from hypothesis import given, settings
from hypothesis import strategies as st
from round_trip import DTYPES, round_trip, wave

import lossyzip as lz
from lossyzip import packing_search, planning
from lossyzip.container.frame import pack_sections, unpack_sections
from lossyzip.container.header import Header
from lossyzip.container.packing import Packing, pack_packing
from lossyzip.decompressor import Frame
from lossyzip.entropy import lossless
from lossyzip.packing import packed, unpacked

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SHAPE = (36, 47)


def counts(dtype: str = "<f4", shape: tuple[int, ...] = SHAPE, levels: int = 90) -> np.ndarray:
    """Whole numbers, smooth and a little noisy."""
    noise = np.random.default_rng(3).normal(size=shape)
    return np.rint(levels * wave(shape, "f8") + 2 * noise).astype(dtype) + 0.0


def header_of(dtype: str, bound: lz.Bound, values: np.ndarray, packing: Packing | None) -> Header:
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    eps = bound.resolve(low, high)
    fields = (np.dtype(dtype), values.shape, values.shape, bound, eps, low + 0.0, high + 0.0, ())
    return Header(*fields, "lossless", b"", (0, 1, 0), packing=packing)


# Which fields are packed


SCALES = [(1.0, 0.0), (0.1, 0.0), (0.25, 7.0), (1 / 3, 0.0), (0.1, 273.15), (1234.5, -1e5)]


def found_in(array: np.ndarray, bound: lz.Bound) -> Packing | None:
    """The packing that the encoder finds."""
    sampler = packing_search.Sampler(array.size, array.dtype, ())
    sampler.note(sampler.look(array))
    return packing_search.packing_of(sampler.values(), header_of(array.dtype.str, bound, array, None))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("step", "offset"), SCALES)
def test_the_step_is_found(dtype, step, offset):
    array = (counts("f8") * step + offset).astype(dtype)
    for eps, most in ((0.01 * step, 0), (0.3 * step, 0), (1.2 * step, 1)):
        packing = found_in(array, lz.absolute(eps))
        assert packing.step == pytest.approx(step, rel=1e-6)
        assert packing.most == most
        header = header_of(dtype, lz.absolute(eps), array, packing)
        numbers, _, special, _ = packed(array.reshape(-1), header, packing)
        assert special == 0
        assert np.abs(unpacked(numbers, header, packing) - array.reshape(-1)).max() <= 1e-3 * step


@pytest.mark.parametrize(("dtype", "scale"), list(zip(DTYPES, SCALES[2:], strict=True)))
def test_both_decoders_agree(dtype, scale):
    array = (counts("f8", (19, 22)) * scale[0] + scale[1]).astype(dtype)
    for eps in (0.2 * scale[0], 1.2 * scale[0]):
        blob = lz.compress(array, lz.absolute(eps))
        assert lz.inspect(blob).step == pytest.approx(scale[0], rel=1e-6)
        decoded = round_trip(array, lz.absolute(eps))
        assert reference.decode_frame(blob).tobytes() == decoded.tobytes()
        assert lz.compress(array, lz.absolute(eps), threads=2) == blob


def test_counts_take_hardly_more_than_as_integers():
    array = counts()
    whole = len(lz.compress(array.astype(np.int32), lz.absolute(0.1)))
    assert len(lz.compress(array, lz.absolute(0.1))) < 1.02 * whole + 60


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
def test_lossless_by_the_families(dtype):
    """Every bit comes back, in fewer bytes than the values pack into as they are."""
    array = (counts("f8") / 10).astype(dtype)
    blob = lz.compress(array, lz.lossless())
    assert lz.inspect(blob).step == 0.1
    assert lz.inspect(blob).families != ("lossless",)
    assert lz.decompress(blob).tobytes() == array.tobytes()
    assert len(blob) < 0.8 * len(lossless.pack(array))


@pytest.mark.parametrize("effort", ["fast", "max"])
def test_other_efforts(effort):
    array = counts("f8") / 8
    assert lz.inspect(lz.compress(array, lz.relative(1e-4), effort=effort)).step == 0.125
    round_trip(array, lz.relative(1e-4), effort=effort)


def test_other_fields_are_not_packed(rng):
    noise = rng.standard_normal(SHAPE)
    fields = {
        "continuous": (noise, lz.absolute(1e-3)),
        "continuous, lossless": (noise, lz.lossless()),
        "close to a scale": (counts("f8") + 1e-3 * noise, lz.absolute(1e-4)),
        "one in a hundred beside": (counts("f8") + (rng.random(SHAPE) < 0.01) * noise, lz.absolute(0.1)),
        "constant": (np.ones(SHAPE), lz.absolute(0.1)),
        "one peak": (np.where(np.arange(36 * 47).reshape(SHAPE) == 500, 3.0, 0.0), lz.absolute(0.1)),
        "fine steps": (counts(), lz.absolute(40)),
        "eps is nearly a step": (counts(), lz.absolute(0.999)),
        "relative to each": (counts() + 400, lz.pointwise_relative(1e-4)),
        "psnr": (counts(), lz.psnr(80)),
        "half": (counts("f2"), lz.absolute(0.1)),
    }
    for name, (array, bound) in fields.items():
        assert found_in(array, bound) is None, name


@pytest.mark.parametrize(
    ("bound", "options"),
    [
        (lz.absolute(0.1), {"idempotent": True}),
        (lz.absolute(np.linspace(0.1, 0.2, 10)), {}),
    ],
    ids=["idempotent", "of each value"],
)
def test_what_is_asked_besides_may_forbid_it(bound, options):
    assert lz.inspect(lz.compress(counts(shape=(9, 10)), bound, **options)).step == 0.0


def test_a_value_beside_the_scale_does_not_shift_it():
    array = counts("f8") / 10
    array[3, 5], array[0, 0] = array.max() + 7.0345, array.min() - 8.034
    packing = found_in(np.resize(array, (4, *SHAPE)), lz.absolute(0.02))
    assert packing is None  # four of either are too many
    array = np.concatenate([counts("f8", (3 * SHAPE[0], SHAPE[1])) / 10, array])
    assert found_in(array, lz.absolute(0.02)) == Packing(0.0, 1.0, 10.0, 0)


def test_a_few_values_beside_the_scale_cost_bytes_and_not_the_bound(monkeypatch):
    array = counts(shape=(19, 22))
    array[3, ::5] += 0.3
    array[5:7], array[8, 3:9], array[9, ::2] = np.nan, -99.0, -0.0
    array[11, :3] = np.inf, -np.inf, 3e38
    for bound, most in ((lz.absolute(0.2), 0), (lz.absolute(1.2), 1), (lz.lossless(), 0)):
        packing = Packing(0.0, 1.0, 1.0, most)
        monkeypatch.setattr(planning, "packing_of", lambda *_, packing=packing: packing)
        assert lz.inspect(lz.compress(array, bound, fill_value=-99.0)).step == 1.0
        decoded = round_trip(array, bound, fill=(-99.0,))
        again = reference.decode_frame(lz.compress(array, bound, fill_value=-99.0))
        assert again.tobytes() == decoded.tobytes()


def test_masked_packed_fields():
    array = np.ma.masked_greater(counts(), 60.0)
    array.data[array.mask] = 0.123
    blob = lz.compress(array, lz.absolute(0.1))
    decoded = lz.decompress(blob)
    assert lz.inspect(blob).step == 1.0
    assert np.array_equal(np.ma.getmaskarray(decoded), array.mask)
    assert np.array_equal(decoded.compressed(), array.compressed())
    assert np.ma.getdata(reference.decode_frame(blob)).tobytes() == np.ma.getdata(decoded).tobytes()


def test_a_sample_is_of_all_tiles():
    """And of valid values alone."""
    tiles = [np.ma.masked_equal(np.full((300, 40), float(k)), 2.0) for k in range(5)]
    tiles[3].data[:] = [np.nan, -99.0] * 20
    sampler = packing_search.Sampler(60_000, np.dtype("f8"), (-99.0,))
    for tile in tiles:
        sampler.note(sampler.look(tile))
    values, times = np.unique(sampler.values(), return_counts=True)
    assert values.tolist() == [0.0, 1.0, 4.0]
    assert times.tolist() == [times[0]] * 3
    assert packing_search.Sampler(0, np.dtype("f4"), ()).values().size == 0


# The bound, whatever the packing


@st.composite
def scales(draw):
    """(values, a packing, bound): values on the scale, beside it, and of all sizes."""
    dtype = draw(st.sampled_from(["f4", "f8"]))
    exponent = draw(st.integers(-30, 30) if dtype == "f4" else st.integers(-290, 290))
    numerator = draw(st.sampled_from([1.0, 3.0, 0.1, 1234.5, 2.0**-3]))
    numerator *= 10.0**exponent
    denominator = draw(st.sampled_from([1.0, 3.0, 10.0, 1000.0]))
    step = numerator / denominator
    offset = step * draw(st.sampled_from([0.0, 0.3, -7.5, 1e3, -1e6, 1e12]))
    numbers = np.array(draw(st.lists(st.integers(-60, 60), min_size=1, max_size=40)), "f8")
    numbers *= draw(st.sampled_from([1.0, 7.0, 1000.0, 1e6]))
    beside = draw(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1e-9, 0.2, 0.5, -0.5]), min_size=1, max_size=40))
    values = offset + (numbers + np.resize(beside, numbers.size)) * step
    with np.errstate(over="ignore"):
        values = values.astype(dtype) + np.dtype(dtype).type(0.0)
    values = values[np.isfinite(values)]
    most = draw(st.integers(0, 5))
    eps = abs(most + draw(st.sampled_from([0.0, 0.0, 0.1, 0.4, 0.9]))) * step
    eps = float(np.nextafter(eps, draw(st.sampled_from([0.0, eps, np.inf]))))
    return values, Packing(offset, numerator, denominator, most), lz.absolute(eps)


@given(scales(), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_values_are_within_the_bound_or_special(case, random):
    """Of any numbers that the coder may have in the place of their own; and kernels do as Python does."""
    values, packing, bound = case
    header = header_of(values.dtype.str, bound, values, packing)
    if not values.size or not packing.suits(header.low, header.high):
        return
    with np.errstate(over="ignore"):
        numbers, classes, special, raw = packed(values, header, packing)
    assert special == raw == np.count_nonzero(classes) == np.count_nonzero(np.isnan(numbers))
    coded = classes == 0
    reach = header.coded_eps
    moved = np.nan_to_num(numbers) + np.array([random.uniform(-reach, reach) for _ in values], numbers.dtype)
    moved[coded] = np.clip(moved[coded], numbers[coded] - reach, numbers[coded] + reach)
    with np.errstate(over="ignore"):
        decoded = unpacked(moved.copy(), header, packing)
    assert not exact.violations(values[coded], decoded[coded], bound.value).size
    first, last = packing.numbers(header.low, header.high)
    slowly = []
    for number in moved.tolist():
        whole = first + min(max(float(round(number)), 0.0), last)
        exact_value = packing.offset + whole * packing.numerator / packing.denominator
        with np.errstate(over="ignore"):
            value = values.dtype.type(exact_value)
        slowly.append(min(max(value + 0, values.dtype.type(header.low)), values.dtype.type(header.high)))
    assert np.array(slowly, values.dtype).tobytes() == decoded.tobytes()


@given(scales(), st.integers(0, 2**32))
@settings(max_examples=25)
def test_frames_of_any_scale(case, seed):
    """Through the door, with a packing forced on the field, special values, and the second decoder."""
    values, packing, bound = case
    rng = np.random.default_rng(seed)
    array = np.resize(values, 90).reshape(9, 10) if values.size else np.zeros((9, 10))
    array[rng.random(array.shape) < 0.1] = rng.choice([np.nan, np.inf, -0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            planning,
            "packing_of",
            lambda _, header: packing if packing.suits(header.low, header.high) else None,
        )
        blob = lz.compress(array, bound)
        round_trip(array, bound)
    assert reference.decode_frame(blob).tobytes() == lz.decompress(blob).tobytes()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_of_all_sizes_are_searched_for_steps(dtype):
    """From subnormal ones to the largest: nothing warns, and the bound holds."""
    limits = np.finfo(dtype)
    for step in (limits.smallest_subnormal * 40, limits.tiny, 1.0, limits.max / 2**8, limits.max / 2**7):
        array = (np.clip(counts("f8"), -127, 127) * float(step)).astype(dtype) + 0.0
        for eps in (0.3 * float(step), 1.4 * float(step)):
            round_trip(array, lz.absolute(eps))


# Headers


def test_headers_come_back():
    array = counts()
    for packing in (Packing(-0.5, 1.0, 10.0, 3), Packing(1e300, 1e-300, 5.0, 0)):
        header = header_of("<f4", lz.absolute(0.1), array, packing)
        if packing.suits(header.low, header.high):
            assert Header.from_bytes(header.to_bytes()) == header
        else:
            with pytest.raises(lz.CorruptError, match="packed"):
                Header.from_bytes(header.to_bytes())


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("value", [math.inf, math.nan, 0.0, -1.0, 5e-324, 1e-300, 1e300])
def test_forged_packings_are_refused_or_harmless(number, value):
    parts = Parts.of(lz.compress(counts(), lz.absolute(0.1)))
    sections = unpack_sections(parts.header, "ABRSQP")
    sections["Q"] = sections["Q"][: 8 * number] + struct.pack("<d", value) + sections["Q"][8 * number + 8 :]
    blob = replace(parts, header=pack_sections(sections)).forge()
    if number == 0 and abs(value) <= 1.0:
        lz.decompress(blob)  # another offset that is a whole number of steps, or hardly anything else
    else:
        with pytest.raises(lz.DecodeError):
            lz.decompress(blob)


def test_forged_sections_are_refused():
    blob = lz.compress(counts(), lz.absolute(0.1))
    parts, packing = Parts.of(blob), Frame.of_bytes(blob)._header.packing
    sections = unpack_sections(parts.header, "ABRSQP")
    whole = pack_packing(packing)
    changes = (
        {"Q": whole[:-1]},
        {"Q": whole + b"\0"},
        {"Q": b""},
        {"Q": pack_packing(packing._replace(most=1 << 21))},
        {"R": np.array([0.0, 1e30], "<f4").tobytes()},
        {"B": b"\3" + struct.pack("<2d", 60.0, 0.1)},
        {"E": b"\0" * 40},
        {"L": struct.pack("<dB", 0.1, 1) + b"\2"},
    )
    for change in changes:
        forged = replace(parts, header=pack_sections(sections | change)).forge()
        with pytest.raises(lz.DecodeError):
            lz.decompress(forged)
        with pytest.raises((AssertionError, ValueError, IndexError, struct.error, KeyError)):
            reference.decode_frame(forged)
