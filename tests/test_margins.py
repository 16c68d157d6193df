"""Margins of tiles: what is quiet is described. Both decoders agree, and the bound holds."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import reference
from forgery import MARGINS, Parts, Payload
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import FAMILIES, NO_MIXING, STATIC, WAYS, frame_with, header_of, random_plan
from round_trip import DTYPES, round_trip, wave

import lossyzip as lz
from lossyzip import blocks, field, margins, tile
from lossyzip.carrier import carry
from lossyzip.container.guided import RawGuide
from lossyzip.decompose import multiples
from lossyzip.decompose.families import quantizer
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.lattice import Lattice
from lossyzip.effort import EFFORTS
from lossyzip.entropy.bits import put_varint
from lossyzip.guide import FieldGuide
from lossyzip.margins import Margin, find_margins, read_margins, write_margins

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
SHAPE = (24, 20, 18)
LOUD = (slice(7, 17), slice(0, 14), slice(5, 18))


def quiet_field(dtype: str = "<f4", shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Something in the middle, and one value around it."""
    array = np.full(shape, -2.0, dtype)
    inner = array[LOUD]
    inner += wave(inner.shape, "f8").astype(dtype)
    return array


def margins_in(blob: bytes) -> bool:
    return any(Payload.of(one.payload).flags & MARGINS for one in Parts.of(blob).tiles)


def decoded_alike(blob: bytes, *references: np.ndarray) -> np.ndarray:
    expected = lz.decompress(blob, references=references)
    decoded = reference.decode_frame(blob, references)
    assert np.ma.getdata(decoded).tobytes() == np.ma.getdata(expected).tobytes()
    return expected


# What margins are found


def quiet(values: np.ndarray, backwards: bool, spread: float) -> tuple[int, float, float]:
    """The slow twin of the kernel."""
    slabs = values[:, ::-1] if backwards else values
    seen: list[float] = []
    for k in range(slabs.shape[1]):
        more = seen + [value for value in slabs[:, k].ravel().tolist() if value == value]
        if more and max(more) - min(more) > spread:
            break
        seen = more
    else:
        k = slabs.shape[1]
    return k, min(seen, default=np.inf), max(seen, default=-np.inf)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_quiet_slabs_are_counted(data):
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 2, st.sampled_from((1, 2, 1025))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = np.full(shape, rng.choice((1.0, np.nan)))
    for _ in range(data.draw(st.integers(0, 3))):
        at = tuple(int(rng.integers(n)) for n in shape)
        values[at] = rng.choice((1.0, 1.5, 1.25, np.nan, 3.0))
    for backwards in (False, True):
        found = margins._quiet(values.reshape(-1), *shape, backwards, 0.5)
        assert found == quiet(values, backwards, 0.5)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("gaps", [False, True])
def test_margins_leave_what_is_not_quiet(dtype, gaps):
    array, eps = quiet_field(dtype), 0.01
    if gaps:
        array[:3, 4:6], array[20:, 15:], array[12, 3, 7] = np.nan, np.nan, np.nan
    rule = quantizer(array.dtype, eps, -4.0, 5.0)
    found, left = find_margins(array, Multigrid(Fold.MERGED, 1), rule)
    assert [(m.axis, m.at_end) for m in found] == [(0, False), (0, True), (1, True), (2, False)]
    assert left.shape == (12, 15, 14)  # each is one more than what differs
    assert left.flags.c_contiguous
    seen = np.full(array.shape, np.nan, dtype)
    margins.fill_margins(found, seen)[...] = left
    there = ~np.isnan(array)
    assert np.abs(seen[there].astype("f8") - array[there]).max() <= eps / 2


def test_each_end_has_its_own_value():
    array = wave((40, 30, 20), "<f8")
    array[:9], array[35:] = 3.0, -2.0
    rule = quantizer(array.dtype, 0.01, -4.0, 5.0)
    found, left = find_margins(array, Multigrid(Fold.MERGED, 1), rule)
    assert found == [Margin(0, False, 8, np.float64(3.0)), Margin(0, True, 4, np.float64(-2.0))]
    assert np.array_equal(left, array[8:36])


def test_values_of_a_margin_are_within_half_of_the_bound_of_their_middle():
    array = np.zeros((40, 30, 20))
    array[:20] = 0.0099
    rule, plan = quantizer(array.dtype, 0.01, 0.0, 1.0), Multigrid(Fold.MERGED, 1)
    assert find_margins(array, plan, rule)[0] == [Margin(0, False, 40, np.float64(0.00495))]
    found, _ = find_margins(array, plan, rule, exact=True)
    assert [m.slabs for m in found] == [19, 19]
    array[:20] = 0.0101
    found, _ = find_margins(array, plan, rule)
    assert [m.slabs for m in found] == [19, 19]


def test_a_lattice_describes_only_what_it_moves_to_one_point():
    array = np.zeros((40, 30, 20))
    array[:20] = 0.003
    rule = quantizer(array.dtype, 0.008, -1.0, 1.0)
    assert not find_margins(array + 0.0065, Lattice(7), rule)[0]  # between two points
    assert find_margins(array, Lattice(7), rule)[0] == [Margin(0, False, 40, np.float64(0.0))]


def test_a_lattice_has_other_points_where_its_step_is_less_than_two_eps():
    rule = quantizer(np.dtype("f4"), 0.00997, -1.0, 1.0)
    beyond = 0.25 * float(multiples.spacing(rule).step) + 0.5 * float(
        rule.eps
    )  # half a step, and less than eps
    array = np.full((40, 30, 20), 0.6 * beyond, np.float32)
    array[:20] = beyond
    assert 0.5 * float(multiples.spacing(rule).step) < float(array[0, 0, 0]) < rule.eps
    assert not find_margins(array, Lattice(7), rule)[0]


def test_what_stands_for_a_margin_is_in_the_span_and_within_the_bound():
    array = np.full((40, 30, 20), 5.0)
    for high, value in ((4.95, 4.95), (6.0, 5.0)):
        rule = quantizer(array.dtype, 0.1, -1.0, high)
        found, _ = find_margins(array, Multigrid(Fold.MERGED, 1), rule)
        assert found == [Margin(0, False, 40, np.float64(value))]
    too_low = quantizer(array.dtype, 0.1, -1.0, 4.8)
    for plan in (Multigrid(Fold.MERGED, 1), Lattice(7)):
        assert not find_margins(array, plan, too_low)[0]


@pytest.mark.parametrize("plan", [Multigrid(Fold.MERGED, 1), Lattice(7)])
@pytest.mark.parametrize("exact", [False, True])
def test_a_known_span_says_what_looking_at_all_values_does(plan, exact):
    for spread in (0.0, 0.004, 0.0099, 0.0101, 0.5):
        array = 0.0065 + spread * np.linspace(0.0, 1.0, 24_000).reshape(40, 30, 20)
        rule = quantizer(array.dtype, 0.01, -1.0, 1.0)
        looked = find_margins(array, plan, rule, exact)
        known = find_margins(array, plan, rule, exact, (array.min(), array.max()))
        assert known[0] == looked[0]
        assert np.array_equal(known[1], looked[1])


def test_the_span_is_not_known_of_what_is_left_when_a_guide_is_subtracted():
    """Nor where values are left out: margins are looked for."""
    values = np.linspace(0.0, 1.0, 6000)
    header = header_of(values, 0.01, Lattice(7))
    assert carry(values, header).span == (0.0, 1.0)
    assert carry(values, header, None, values[::-1].copy()).span is None
    assert carry(values, header, values > 0.5).span is None
    values[7] = np.nan
    assert carry(values, header).span is None


def test_small_tiles_and_thin_margins_are_coded():
    rule = quantizer(np.dtype("f8"), 0.01, -9.0, 9.0)
    assert not find_margins(quiet_field("<f8")[:, :10, :10].copy(), Multigrid(Fold.MERGED, 1), rule)[0]
    array = wave((64, 10, 10), "<f8")
    array[:3] = array[0, 0, 0]
    assert not find_margins(array, Multigrid(Fold.MERGED, 1), rule)[0]


# Whole fields


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_quiet_fields(dtype, effort):
    array = quiet_field(dtype)
    for bound in (lz.absolute(0.01), lz.relative(1e-6), lz.relative(2.0)):
        blob = lz.compress(array, bound, effort=effort)
        assert margins_in(blob)
        assert np.array_equal(round_trip(array, bound, effort=effort), decoded_alike(blob))


@pytest.mark.parametrize("mixing", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family, mixing):
    array = quiet_field()
    for how in Fold:
        plan = random_plan(family, array.shape, how, seed=how)
        blob = frame_with(array, 0.02, plan, NO_MIXING if family == "lattice" else mixing)
        assert margins_in(blob)
        decoded = decoded_alike(blob)
        assert np.abs(decoded.astype("f8") - array).max() <= 0.02


@pytest.mark.parametrize("dtype", ["<i4", "<u2", "<f2", "<c8", ">f8"])
def test_other_types(dtype):
    array = (100 * (quiet_field("<f8") + 4) * (1 + 1j if dtype == "<c8" else 1)).astype(dtype)
    blob = lz.compress(array, lz.absolute(3))
    assert margins_in(blob)
    error = decoded_alike(blob).astype("c16") - array
    assert max(np.abs(error.real).max(), np.abs(error.imag).max()) <= 3


def test_other_bounds():
    array = quiet_field("<f8")
    blob = lz.compress(array, lz.pointwise_relative(0.01))
    assert margins_in(blob)
    assert (np.abs(decoded_alike(blob) - array) <= 0.01 * np.abs(array)).all()
    finer = np.where(np.arange(SHAPE[2]) < 9, 0.001, 0.1)
    blob = lz.compress(array, lz.absolute(finer))
    assert (np.abs(decoded_alike(blob) - array) <= finer).all()
    blob = lz.compress(array, lz.psnr(60))
    decoded_alike(blob)
    assert lz.verify(array, blob).violations == 0


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("ratio", [1e-4, 0.01, 0.25])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<c8"])
def test_the_smallest_magnitude_is_quiet(dtype, ratio, effort):
    """Logarithms are moved: those of the smallest may lie below all of them."""
    array = quiet_field("<f8") + 2.3 + np.abs(quiet_field("<f8") + 2.0)
    for some in (array.astype(dtype), np.full((16, 16, 16), 3.7, dtype)):
        blob = lz.compress(some, lz.pointwise_relative(ratio), effort=effort)
        assert lz.verify(some, blob).violations == 0


def test_a_field_that_is_quiet_where_weights_are_fitted():
    """A block to judge plans by is not quiet, but all those to fit to are."""
    shape = (1536, 1600)
    array = np.random.default_rng(0).uniform(-0.45, 0.45, shape).astype("<f4")
    judged = blocks.sample_blocks(shape, EFFORTS["balanced"])[0]
    fitted = np.zeros(shape, bool)
    for where in blocks.fit_blocks(shape):
        fitted[where] = True
    free = np.argwhere(~fitted[judged])[0] + [one.start for one in judged]
    array[tuple(free)] = 2.0
    decoded = round_trip(array, lz.absolute(1.0))
    assert np.abs(decoded - array).max() <= 1.0


def test_what_is_missing_may_be_quiet():
    array = quiet_field()
    array[:3], array[20:, 3:9], array[12, 4, 7:9], array[2, 2, 2] = np.nan, 1e20, np.inf, -0.0
    blob = lz.compress(array, lz.absolute(0.01), fill_value=1e20)
    assert margins_in(blob)
    decoded = decoded_alike(blob)
    same = ~np.isfinite(array) | (array == 1e20) | (array == 0)
    assert decoded[same].tobytes() == array[same].tobytes()
    round_trip(array, lz.absolute(0.01), fill=(1e20,))
    sea = np.ma.masked_array(quiet_field(), np.arange(SHAPE[0])[:, None, None] % 5 < np.ones(SHAPE))
    blob = lz.compress(sea, lz.absolute(0.01))
    assert margins_in(blob)
    assert np.ma.abs(decoded_alike(blob) - sea).max() <= 0.01


def test_quiet_tiles_take_next_to_nothing(monkeypatch):
    array = quiet_field("<f8", (64, 40, 40))
    monkeypatch.setattr(field, "TILE_VALUES", 8 * 40 * 40)
    blob = lz.compress(array, lz.absolute(0.01))
    sizes = [len(one.payload) for one in Parts.of(blob).tiles]
    assert len(sizes) == 4  # twice as large as usual, at this rate
    assert sizes[1:] == [12] * 3  # flags, how many, which and how many slabs, a value
    decoded_alike(blob)
    assert lz.compress(array, lz.absolute(0.01), threads=2) == blob
    part = lz.decompress(blob, region=(slice(5, 50, 3), slice(3, 9)))
    assert np.array_equal(part, lz.decompress(blob)[5:50:3, 3:9])


def test_a_lattice_comes_back_as_before_in_other_tiles(monkeypatch):
    rng = np.random.default_rng(5)
    array = quiet_field("<f4", (30, 20, 18)) + 0.003 * rng.standard_normal((30, 20, 18)).astype("<f4")
    once = lz.decompress(lz.compress(array, lz.absolute(0.05), idempotent=True))
    for values in (1 << 11, 1 << 13, 1 << 20):
        monkeypatch.setattr(field, "TILE_VALUES", values)
        again = lz.compress(once, lz.absolute(0.05), idempotent=True)
        assert lz.decompress(again).tobytes() == once.tobytes()
        direct = lz.compress(array, lz.absolute(0.05), idempotent=True)
        assert lz.decompress(direct).tobytes() == once.tobytes()


@pytest.mark.parametrize("family", ["multigrid", "raster", "wavelet"])
def test_guides_are_cut_as_the_tile_is(family):
    array = quiet_field()
    other = (2.0 * array + 0.1 * wave(SHAPE, "<f4")).astype("<f4")
    raw = (RawGuide(0, False, 0.5, -1, 3),)
    guide = FieldGuide(b"", [other], array.shape, array.dtype, subtracted=False, taps=raw)
    plan = random_plan(family, SHAPE, Fold.MERGED, seed=3, guides=1)
    blob = frame_with(array, 0.02, plan, guide=guide)
    assert margins_in(blob)
    decoded = decoded_alike(blob, other)
    assert np.abs(decoded.astype("f8") - array).max() <= 0.02


def test_plans_are_judged_by_what_is_not_quiet(monkeypatch):
    """A field most of which is quiet gets the plan of what is not."""
    rng = np.random.default_rng(1)
    loud = np.cumsum(rng.standard_normal((12, 80, 90)), axis=2)
    array = np.full((120, 80, 90), 7.0)
    array[60:72] = loud
    eps = 0.01 * np.ptp(loud)
    monkeypatch.setitem(EFFORTS, "balanced", STATIC)
    alone = len(lz.compress(loud, lz.absolute(eps)))
    assert len(lz.compress(array, lz.absolute(eps))) < 1.1 * alone


# What is wrong


def test_margins_are_read_as_written():
    rule = quantizer(np.dtype("f8"), 0.1, -5.0, 5.0)
    some = [Margin(2, True, 3, np.float64(1.5)), Margin(0, False, 4, np.float64(-5.0))]
    out = bytearray(b"..")
    write_margins(out, some)
    assert read_margins(bytes(out) + b"rest", 2, (4, 5, 6), rule) == (some, len(out))
    for size in range(2, len(out)):
        with pytest.raises(lz.TruncatedError):
            read_margins(bytes(out[:size]), 2, (4, 5, 6), rule)


WRONG = [(6, 1, 0.0), (2**40, 1, 0.0), (0, 0, 0.0), (1, 5, 0.0), (4, 2**60, 0.0)]
WRONG += [(0, 1, 5.1), (0, 1, -np.inf), (0, 1, np.nan)]


@pytest.mark.parametrize(("end", "slabs", "value"), WRONG)
def test_forged_margins_are_refused(end, slabs, value):
    rule, out = quantizer(np.dtype("f8"), 0.1, -5.0, 5.0), bytearray()
    for number in (1, end, slabs):
        put_varint(out, number)
    with pytest.raises(lz.CorruptError):
        read_margins(bytes(out) + struct.pack("<d", value), 0, (4, 5, 6), rule)


def test_codes_behind_margins_that_leave_nothing_are_refused():
    blob = lz.compress(quiet_field("<f8")[:6].repeat(4, 0), lz.absolute(0.5))
    parts = Parts.of(blob)
    payload = Payload.of(parts.tiles[0].payload)
    assert payload.flags == MARGINS
    lz.decompress(parts.with_payload(payload.to_bytes()))
    with pytest.raises(lz.CorruptError):
        lz.decompress(parts.with_payload(payload.to_bytes() + b"\0"))
    whole = replace(payload, flags=0, codes=b"")
    with pytest.raises(lz.DecodeError):
        lz.decompress(parts.with_payload(whole.to_bytes()))


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_a_margin_that_is_not_filled_does_not_pass_the_door(monkeypatch, effort):
    def idle(found: list[Margin], array: np.ndarray) -> np.ndarray:
        for margin in found:
            array, _ = margin.cut(array)
        return array

    monkeypatch.setattr(tile, "fill_margins", idle)
    with pytest.raises(lz.BoundViolationError):
        lz.compress(quiet_field(), lz.absolute(0.01), effort=effort)


def test_a_margin_that_is_not_quiet_does_not_pass_the_door(monkeypatch):
    monkeypatch.setattr(margins, "_quiet", lambda *_: (9, -2.0, -2.0))
    with pytest.raises(lz.BoundViolationError):
        lz.compress(quiet_field("<f8"), lz.absolute(0.01))
