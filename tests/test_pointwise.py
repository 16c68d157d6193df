"""The bound pointwise_relative(r): every value within r of itself, whatever its magnitude and sign."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import exact
import h5py
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lossyzip as lz
from datasets import synthetic
from lossyzip import carrier, checker, logarithms, tile
from lossyzip.bound import parse
from lossyzip.cli import exits
from lossyzip.cli import lossyzip as command
from lossyzip.entropy import lossless

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DTYPES = st.sampled_from(["<f4", "<f8", ">f4", ">f8"]).map(np.dtype)
FACTORS = st.one_of(st.sampled_from([0.0, 1e-12, 1e-7, 1e-3, 0.1, 0.5, 0.999]), st.floats(0.0, 0.99))


def decades(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    """Values of both signs over ten decades, some zeros among them."""
    rng = np.random.default_rng(sum(shape))
    smooth = synthetic.waves(shape, rng, 6) + 0.01 * rng.standard_normal(shape)
    array = (np.exp(6.0 * smooth) * np.where(smooth > -0.3, 1.0, -1.0)).astype(dtype)
    array[smooth > 1.2] = 0.0
    return array


def round_trip(array: np.ndarray, r: float, fills: tuple[float, ...] = (), **options: object) -> bytes:
    blob = lz.compress(array, lz.pointwise_relative(r), fill_value=fills, **options)
    decoded, about = lz.decompress(blob), lz.inspect(blob)
    assert (decoded.shape, decoded.dtype) == (array.shape, array.dtype)
    assert not exact.pointwise_violations(array, decoded, r, fills).size
    assert (np.signbit(decoded) == np.signbit(array)).all()
    assert about.bound == f"pwrel:{r!r}"
    assert about.max_error <= about.eps
    assert about.eps in (r, 0.0)
    report = lz.verify(array, blob, fill_value=fills)
    assert report.passed
    assert report.max_error == about.max_error
    return blob


@given(data=st.data(), dtype=DTYPES, r=FACTORS, effort=st.sampled_from(["fast", "balanced", "max"]))
@settings(max_examples=150)
def test_any_array(data, dtype, r, effort):
    """All floats there are: subnormal, huge, zeros of both signs, NaN, infinities."""
    elements = hnp.from_dtype(dtype, allow_nan=True, allow_infinity=True, allow_subnormal=True)
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
    fills = tuple(float(value) for value in array.reshape(-1)[: data.draw(st.integers(0, 1))])
    assert_decodes_alike(round_trip(array, r, fills, effort=effort))


def assert_decodes_alike(blob: bytes) -> None:
    assert reference.decode_frame(blob).tobytes() == lz.decompress(blob).tobytes()


@pytest.mark.parametrize("effort", ["fast", "balanced", "max"])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_fields_over_many_decades(dtype, effort):
    """Where a bound for all of them alike would be as tight as the smallest value needs it."""
    array = decades((12, 20, 26), dtype)
    sizes = [len(round_trip(array, r, effort=effort)) for r in (0.5, 0.1, 1e-3, 1e-5)]
    assert sizes == sorted(sizes)
    smallest = float(np.abs(array[array != 0]).min())
    assert sizes[2] < 0.5 * len(lz.compress(array, lz.absolute(1e-3 * smallest), effort=effort))
    assert_decodes_alike(lz.compress(array[:3], lz.pointwise_relative(0.1), effort=effort))


def test_zeros_signs_and_special_values_cost_little():
    smooth = np.exp(decades((20, 30, 40)).clip(-1, 1) * 0.2)
    with_zeros = np.where(np.arange(20)[:, None, None] < 10, smooth, 0).astype(np.float32)
    assert len(round_trip(with_zeros, 1e-2)) < 0.7 * len(round_trip(smooth, 1e-2))
    negative = smooth * np.where(np.arange(30)[:, None] < 7, -1, 1).astype(np.float32)
    assert len(round_trip(negative, 1e-2)) < len(round_trip(smooth, 1e-2)) + 300


def test_as_many_fill_values_as_there_may_be():
    """The list of special values is full then, and 0 finds no place in it."""
    fills = tuple(float(k) for k in range(100, 116))
    array = decades((10, 40))
    array[2, :16], array[3, :5] = fills, 0.0
    round_trip(array, 0.1, fills)


def test_a_factor_below_the_rounding_of_the_dtype_is_lossless():
    array = decades((10, 12))
    for r in (0.0, 1e-8):
        blob = round_trip(array, r)
        assert lz.inspect(blob).eps == 0.0
        assert lz.decompress(blob).tobytes() == array.tobytes()
    assert lz.inspect(round_trip(array.astype(np.float64), 1e-8)).eps == 1e-8


@pytest.mark.parametrize("r", [-1.0, 1.0, 7.0, math.nan, math.inf, "a"])
def test_factors_that_are_none(r):
    with pytest.raises(lz.InvalidArgumentError, match="pointwise_relative"):
        lz.pointwise_relative(r)


def test_what_cannot_be_is_refused():
    with pytest.raises(lz.InvalidArgumentError, match="idempotent"):
        lz.compress(np.ones(5), lz.pointwise_relative(0.1), idempotent=True)
    assert parse("pwrel:1e-3") == lz.pointwise_relative(1e-3)
    assert str(lz.pointwise_relative(1e-3)) == "pwrel:0.001"


def test_regions_tiles_and_threads(monkeypatch):
    from lossyzip import field

    array = decades((40, 50, 60))
    monkeypatch.setattr(field, "TILE_VALUES", 1 << 14)
    one, two = (lz.compress(array, lz.pointwise_relative(1e-2), threads=threads) for threads in (1, 2))
    assert one == two
    assert lz.inspect(one).tile_count > 4
    whole = lz.decompress(one)
    assert not exact.pointwise_violations(array[::7], whole[::7], 1e-2).size
    region = np.s_[3:31:2, -1, 5:]
    assert lz.decompress(one, region=region).tobytes() == np.ascontiguousarray(whole[region]).tobytes()


def test_logarithms_and_powers():
    """Both within their margin, over all exponents, and one the reverse of the other."""
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        scale = logarithms.scale_of(0.5, dtype)
        tops = math.floor(math.log2(np.finfo(dtype).max)) - 7
        values = np.exp2(np.linspace(math.log2(scale.least) + 1e-6, tops, 20_001)).astype(dtype)
        logs, classes, negative, raw = logarithms.logarithms(values, scale, ())
        assert not classes.any()
        assert not negative.any()
        assert raw == 0
        logs -= scale.shift
        assert np.abs(logs - np.log2(values.astype(np.float64))).max() < 0.5e-12
        back = np.empty_like(values)
        logarithms.powers(logs, None, back)
        assert np.abs(back / values - 1).max() < max(2e-12, np.finfo(dtype).eps)


@given(
    value=st.floats(1e-300, 1e300),
    r=st.floats(1e-9, 0.9),
    ulps=st.integers(-3, 3),
    sign=st.sampled_from([-1.0, 1.0]),
)
@settings(max_examples=300)
def test_the_checker_is_exact(value, r, ulps, sign):
    """Right at the bound, too."""
    decoded = value + sign * r * value
    for _ in range(abs(ulps)):
        decoded = math.nextafter(decoded, math.copysign(math.inf, ulps))
    exceeds = abs(Fraction(value) - Fraction(decoded)) > Fraction(r) * Fraction(value)
    check = checker.Checker(r, value, value, pointwise=True)
    check.update(np.array([1.0, value]), np.array([1.0, decoded]), (0,))
    assert check.report().violations == exceeds
    assert check.report().first_violation == ((1,) if exceeds else None)


@pytest.mark.parametrize(
    ("original", "decoded"),
    [
        (0.0, 1e-300),
        (0.0, -0.0),
        (-0.0, 0.0),
        (1.0, math.nan),
        (math.nan, 1.0),
        (math.inf, 1e308),
        (1.0, 1.2),
    ],
)
def test_the_checker_sees(original, decoded):
    check = checker.Checker(0.1, 0.0, 1.0, pointwise=True)
    check.update(np.array([original]), np.array([decoded]), (0,))
    assert check.report().violations == 1


def test_a_lying_power_does_not_pass_the_door(monkeypatch):
    def lying(logs, negative, into):
        logarithms.powers(logs + 0.2, negative, into)

    monkeypatch.setattr(carrier, "powers", lying)
    with pytest.raises(lz.BoundViolationError, match="pwrel"):
        lz.compress(decades((9, 10)), lz.pointwise_relative(0.1))


def test_a_mask_of_signs_in_another_frame_is_refused():
    """And one of another length."""
    from lossyzip.decompressor import Frame

    array = decades((9, 10))
    header = Frame.of_bytes(lz.compress(np.abs(array) + 1, lz.absolute(0.1)))._header
    with pytest.raises(lz.CorruptError, match="flags 8"):
        tile.decode_tile(b"\x08", array.shape, header, object())
    signed = Frame.of_bytes(lz.compress(array, lz.pointwise_relative(0.1)))._header
    short = lossless.pack(np.zeros(3, np.uint8))
    payload = b"\x08" + bytes([len(short)]) + short
    with pytest.raises(lz.CorruptError, match="12 bytes"):
        tile.decode_tile(payload, array.shape, signed, object())


def test_on_the_command_line(tmp_path: Path):
    array = decades((12, 20, 30))
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["rain"] = array
    run = CliRunner().invoke
    arguments = [str(tmp_path / "in.h5"), "-o", str(tmp_path / "out.h5"), "-b", "rain=pwrel:1e-2"]
    assert run(command, ["compress", *arguments]).exit_code == 0
    shown = run(command, ["info", str(tmp_path / "out.h5")]).output
    assert "pwrel:0.01" in shown
    assert run(command, ["verify", arguments[0], arguments[2]]).exit_code == 0
    back = [str(tmp_path / "out.h5"), "-o", str(tmp_path / "back.h5")]
    assert run(command, ["decompress", *back]).exit_code == 0
    with h5py.File(tmp_path / "back.h5") as file:
        assert not exact.pointwise_violations(array, file["rain"][...], 1e-2).size
    arguments[-1] = "rain=pwrel:2"
    wrong = run(command, ["compress", *arguments, "--force"]).exception
    assert exits.code_of(wrong) == exits.USAGE
