"""The bound psnr(dB): reached by what was decoded, whatever was predicted; and what is said of it."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import exact
import h5py
import hostile
import numpy as np
import pytest
import reference
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import lossyzip as lz
from datasets import synthetic
from lossyzip import field, tile, tuning_psnr
from lossyzip.bound import parse
from lossyzip.checker import Checker
from lossyzip.cli import lossyzip as command
from lossyzip.tuning_psnr import Aim, Tried, at_target, next_eps

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FILL = -9999.0
EFFORTS = ("fast", "balanced", "max")


def waves(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (synthetic.waves(shape, rng, 6) + 0.05 * rng.standard_normal(shape)).astype(dtype)


def reaches(original: np.ndarray, decoded: np.ndarray, db: float, fills: tuple[float, ...] = ()) -> bool:
    """range^2 x n >= 10^(dB/10) x the sum of squares, over valid values: in fractions, if they are few."""
    a, b = (x.astype(x.dtype.newbyteorder("=")).reshape(-1) for x in (original, decoded))
    valid = np.isfinite(a) & ~exact.equals_any(a, fills)
    if not valid.any():
        return True
    if valid.sum() > 3000:
        squares = Fraction(math.fsum((a[valid].astype(np.float64) - b[valid]) ** 2))
    else:
        pairs = zip(a[valid].tolist(), b[valid].tolist(), strict=True)
        squares = sum((Fraction(x) - Fraction(y)) ** 2 for x, y in pairs)
    span = Fraction(float(a[valid].max())) - Fraction(float(a[valid].min()))
    power = Fraction(10.0 ** (db / 10.0)) if db < 3000 else Fraction(10) ** math.ceil(db / 10.0)
    return span**2 * int(valid.sum()) >= power * squares


def round_trip(array: np.ndarray, db: float, fills: tuple[float, ...] = (), **options: object) -> bytes:
    """The frame; what it decodes to reaches ``db``, is within its eps, and keeps special values."""
    blob = lz.compress(array, lz.psnr(db), fill_value=fills, **options)
    decoded, about = lz.decompress(blob), lz.inspect(blob)
    assert (decoded.shape, decoded.dtype) == (array.shape, array.dtype)
    assert about.bound == str(lz.psnr(db))
    assert about.max_error <= about.eps or about.eps == 0.0
    assert not exact.violations(array, decoded, about.eps, fills).size
    assert reaches(array, decoded, db, fills)
    assert lz.verify(array, blob, fill_value=fills).passed
    return blob


@pytest.mark.parametrize("dtype", ["<f4", ">f8"])
@pytest.mark.parametrize("shape", [(400,), (50, 61), (13, 21, 22), (2, 9, 12, 13)], ids=str)
def test_reached_and_not_by_far(shape, dtype):
    array = waves(shape, dtype)
    for db in (20, 45.5, 70):
        for effort in EFFORTS:
            blob = round_trip(array, db, effort=effort)
            assert lz.verify(array, blob).psnr < db + (3 if effort == "fast" else 1)


@pytest.mark.parametrize("effort", EFFORTS)
def test_fewer_bytes_than_by_the_bound_that_is_sure_of_it(effort):
    """A bound on each value that is sure of the PSNR is smaller by the root of three, and more."""
    array = waves((40, 41, 42))
    for db in (45, 65):
        sure = lz.psnr(db).resolve(float(array.min()), float(array.max()))
        alone = len(lz.compress(array, lz.absolute(sure), effort=effort))
        assert len(round_trip(array, db, effort=effort)) < 0.97 * alone


def test_patterns_under_noise_take_the_wavelet():
    array = waves((48, 48, 48))
    assert lz.inspect(round_trip(array, 30)).families == ("wavelet",)


@pytest.mark.parametrize("db", [1e-3, 1, 5, 10, 150, 319, 700, 5000])
def test_absurd_numbers(db):
    for dtype in ("<f4", "<f8"):
        round_trip(waves((20, 30), dtype), db)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (1,), (2,), (0,), (3, 0, 2), (1, 1), (2, 3)], ids=str)
def test_small_arrays(shape, dtype):
    rng = np.random.default_rng(1)
    for effort in EFFORTS:
        round_trip(rng.standard_normal(shape).astype(dtype), 40, effort=effort)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, 1e30, np.nan, np.inf, FILL])
def test_nothing_varies(value):
    array = np.full((30, 40), value, np.float32)
    blob = round_trip(array, 60, (FILL,))
    assert len(blob) < 400
    assert lz.decompress(blob).tobytes() == array.tobytes()


def test_nothing_but_one_value_varies():
    array = np.ones((30, 40))
    array[3, 4] = 2.0
    round_trip(array, 60)


def test_masks_and_fills_do_not_count():
    """Neither for the range, nor for the mean, nor do they change."""
    array = waves((40, 50))
    array[:15] = FILL
    array[20, ::3] = np.nan
    array[21, ::3] = -np.inf
    array[22, ::3] = -0.0
    blob = round_trip(array, 50, (FILL,))
    assert lz.verify(array, blob, fill_value=FILL).psnr < 52
    assert len(blob) < 0.5 * len(round_trip(array, 50 + 20 * math.log10(10_000), (FILL,)))


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-318])
def test_the_ends_of_the_type(scale):
    array = waves((30, 40), "<f8") * scale
    for db in (30, 60, 200):
        round_trip(array, db)


def test_values_too_large_to_code():
    array = waves((30, 40), "<f4")
    array[5, 5] = 3e38
    array[6, 6] = -3e38
    round_trip(array, 60)
    round_trip(array, 800)


@given(
    values=st.lists(st.floats(width=32), min_size=1, max_size=60),
    shape=st.sampled_from([(-1,), (1, -1), (-1, 1)]),
    db=st.floats(0.1, 200.0),
    wide=st.booleans(),
    fill=st.booleans(),
    effort=st.sampled_from(EFFORTS),
)
@settings(max_examples=60)
def test_any_values(values, shape, db, wide, fill, effort):
    array = np.array(values, "<f8" if wide else "<f4").reshape(shape)
    round_trip(array, db, tuple(values[:1]) if fill and math.isfinite(values[0]) else (), effort=effort)


@given(
    seed=st.integers(0, 999),
    shape=st.lists(st.integers(1, 14), min_size=1, max_size=4).map(tuple),
    db=st.floats(5.0, 120.0),
    steps=st.sampled_from([0, 4, 64]),
)
@settings(max_examples=40)
def test_any_field(seed, shape, db, steps):
    """With plateaus, over which the mean square leaps."""
    array = waves(shape) + np.float32(seed)
    round_trip(np.round(array * steps) / steps if steps else array, db)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field, "TILE_VALUES", 2000)


@pytest.mark.usefixtures("small_tiles")
def test_over_many_tiles():
    """Of which some are worse than the mean. More tiles than are surveyed."""
    array = waves((60, 40, 30))
    array[:30] *= np.float32(0.01)
    for effort in EFFORTS:
        blob = round_trip(array, 55, effort=effort, threads=1)
        assert lz.inspect(blob).tile_count > tuning_psnr._SURVEYED_TILES
        assert lz.verify(array, blob).psnr < 57
        assert blob == lz.compress(array, lz.psnr(55), effort=effort, threads=3)


# Where it is missed


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The eps of each header that is tried."""
    tried: list[float] = []
    honest = Aim.header

    def header(aim: Aim) -> object:
        tried.append(honest(aim).eps)
        return honest(aim)

    monkeypatch.setattr(Aim, "header", header)
    return tried


def coarser(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    honest = Aim._tune

    def tune(aim: Aim) -> None:
        honest(aim)
        aim._eps *= factor

    monkeypatch.setattr(Aim, "_tune", tune)


@pytest.mark.parametrize("factor", [1.01, 1.5, 30.0])
def test_a_first_step_that_misses_is_followed_by_a_finer_one(monkeypatch, attempts, factor):
    array = waves((40, 50))
    coarser(monkeypatch, factor)
    round_trip(array, 50)
    assert 1 < len(attempts) <= 4
    assert attempts[1] < attempts[0]


def test_the_last_attempt_is_sure(monkeypatch, attempts):
    array = waves((40, 50))
    coarser(monkeypatch, 30.0)
    monkeypatch.setattr(Aim, "missed", lambda aim, mean_square: None)
    round_trip(array, 50)
    assert len(attempts) == 4
    assert attempts[-1] == lz.psnr(50).resolve(float(array.min()), float(array.max()))


def test_nothing_is_written_before_the_psnr_is_reached(monkeypatch):
    from lossyzip.compressor import compress_field
    from lossyzip.decompressor import Frame

    coarser(monkeypatch, 30.0)
    array, parts = waves((40, 50)), []
    report = compress_field(array, lz.psnr(50), parts.append)
    blob = b"".join(parts)
    assert Frame.of_bytes(blob).eps == report.eps
    assert len(blob) == report.compressed_bytes
    assert reaches(array, lz.decompress(blob), 50)


def test_a_preview_that_promises_too_much(monkeypatch, attempts):
    honest = tuning_psnr.preview_tile

    def preview(values, header, plan):
        seen = honest(values, header, plan)
        return None if seen is None else (values - (values - seen[0]) / 100, seen[1])

    monkeypatch.setattr(tuning_psnr, "preview_tile", preview)
    round_trip(waves((40, 50)), 50)
    assert len(attempts) > 1


@pytest.mark.parametrize("lie", hostile.LIES)
@pytest.mark.parametrize("part", ["preview_tile", "decode_tile", "recompose"])
def test_parts_that_lie(monkeypatch, part, lie):
    array = waves((20, 30))
    where = tuning_psnr if part == "preview_tile" else tile
    honest = getattr(where, part)

    def previewing(*args):
        seen = honest(*args)
        return None if seen is None else (hostile.LIES[lie](seen[0]), seen[1])

    lying = previewing if part == "preview_tile" else hostile.lying(honest, hostile.LIES[lie])
    monkeypatch.setattr(where, part, lying)
    try:
        blob = lz.compress(array, lz.psnr(50), threads=1)
    except lz.SelfCheckError:
        return
    monkeypatch.undo()
    try:
        decoded = lz.decompress(blob)
    except lz.ContentMismatchError:
        return
    assert reaches(array, decoded, 50)


def test_a_psnr_that_is_never_reached_is_an_error(monkeypatch):
    monkeypatch.setattr(Checker, "_floor", lambda checker: 12.0)
    written: list[bytes] = []
    from lossyzip.compressor import compress_field

    with pytest.raises(lz.BoundViolationError, match="dB"):
        compress_field(waves((20, 30)), lz.psnr(50), written.append)
    assert not written


# What is said of it


@pytest.mark.parametrize("value", [60, 60.5, 1e-3, 1 / 3, 1e3])
def test_as_text(value):
    bound = lz.psnr(value)
    assert parse(str(bound)) == bound
    assert str(lz.psnr(60)) == "psnr:60"


@pytest.mark.parametrize("value", [0, -3.0, np.nan, np.inf, "a", None])
def test_numbers_without_meaning_are_refused(value):
    with pytest.raises(lz.InvalidArgumentError):
        lz.psnr(value)


def test_no_psnr_is_idempotent():
    with pytest.raises(lz.InvalidArgumentError, match="idempotent"):
        lz.compress(waves((20, 30)), lz.psnr(50), idempotent=True)


def test_another_decoder():
    array = waves((2, 9, 12, 13))
    for db in (30, 80):
        blob = lz.compress(array, lz.psnr(db))
        assert reference.decode_frame(blob).tobytes() == lz.decompress(blob).tobytes()


def test_verify_tells_a_psnr_that_is_missed():
    """Not so with the original, but with another array that is within eps of it."""
    array = waves((64, 64, 64))
    blob = lz.compress(array, lz.psnr(45))
    about = lz.verify(array, blob)
    assert about.passed
    assert about.psnr >= 45
    decoded = lz.decompress(blob)
    far = decoded + np.float32(0.9 * about.max_error)
    far.flat[np.argmin(decoded)] = decoded.min()  # the range stays
    other = lz.verify(far, blob)
    assert not other.violations
    assert not other.passed


def test_files(tmp_path: Path):
    original, packed = tmp_path / "in.h5", tmp_path / "out.h5"
    array = waves((40, 50, 20))
    with h5py.File(original, "w") as file:
        file.create_dataset("temperature", data=array, chunks=(10, 50, 20))
        file["temperature"].attrs["_FillValue"] = np.float32(FILL)
    runner = CliRunner()
    arguments = ["compress", str(original), "-o", str(packed), "-b", "*=psnr:45", "--json"]
    assert runner.invoke(command, arguments).exit_code == 0
    with h5py.File(packed) as file:
        attributes = dict(file["temperature"].attrs)
    assert attributes["lossyzip_bound"] == "psnr:45"
    assert 0.0 < attributes["lossyzip_max_error"] <= attributes["lossyzip_eps"]
    assert "psnr:45" in runner.invoke(command, ["info", str(packed)]).output
    verified = runner.invoke(command, ["verify", str(original), str(packed)])
    assert verified.exit_code == 0
    assert "psnr:45" in verified.output
    with h5py.File(original, "r+") as file:
        with h5py.File(packed) as coded:
            decoded = lz.decompress(coded["temperature"][...].tobytes())
        file["temperature"][...] = decoded + np.float32(0.9 * attributes["lossyzip_eps"])
    missed = runner.invoke(command, ["verify", str(original), str(packed)])
    assert "below the 45 dB" in missed.output


def test_archives():
    fields = {"a": waves((20, 30)), "b": waves((30, 20))}
    back = lz.decompress_fields(lz.compress_fields(fields, {"*": lz.psnr(40)}))
    assert all(reaches(fields[name], back[name], 40) for name in fields)


# The parts


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e-3, 1e-3)), min_size=2, max_size=40),
    st.integers(1, 40),
    st.sampled_from([1.0, 1e290, 1e-300, 1e-320]),
)
@settings(max_examples=150)
def test_the_floor_is_below_the_exact_psnr(pairs, cut, scale):
    """And not by much; however the field is cut into tiles."""
    a = np.array([x for x, _ in pairs]) * scale + 0.0
    b = a + np.array([e for _, e in pairs]) * scale
    whole = Checker(math.inf, float(a.min()), float(a.max()))
    for start in range(0, a.size, cut):
        part = Checker(math.inf, float(a.min()), float(a.max()))
        part.update(a[start : start + cut], b[start : start + cut], (start,))
        whole.merge(part)
    squares = sum((Fraction(x) - Fraction(y)) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True))
    report = whole.report()
    if not squares:
        assert report.psnr == report.psnr_floor == math.inf
        return
    span = Fraction(float(a.max())) - Fraction(float(a.min()))
    if not span:
        assert report.psnr == report.psnr_floor == -math.inf
        return
    if report.psnr == -math.inf:  # as the range is nothing beside the errors
        assert not reaches(a, b, 1.0)
        return
    assert reaches(a, b, report.psnr_floor) or report.psnr_floor <= 0.0
    assert min(report.psnr - 1e-6, 3000.0) < report.psnr_floor < report.psnr  # further off, squares are zero


def tried(*points: tuple[float, float, float]) -> list[Tried]:
    return [Tried(*point) for point in points]


def test_the_next_eps():
    assert next_eps([], 1.0, 3.0, 10.0) == 3.0
    assert next_eps([], 1.0, 30.0, 10.0) == 10.0
    assert next_eps(tried((1.0, 4.0, 1.0)), 1.0, 1.0, 10.0) == pytest.approx(0.5)
    assert next_eps(tried((1.0, 0.0, 1.0)), 1.0, 1.0, 10.0) == 8.0
    assert next_eps(tried((1.0, 0.25, 9.0), (4.0, 4.0, 1.0)), 1.0, 1.0, 10.0) == pytest.approx(2.0)
    assert next_eps(tried((1.0, 0.1, 9.0), (2.0, 0.2, 7.0)), 0.4, 1.0, 10.0) == pytest.approx(4.0)


def test_eps_and_size_at_the_target():
    assert at_target(tried((1.0, 0.5, 100.0)), 1.0).size == 100.0
    between = at_target(tried((1.0, 0.5, 100.0), (2.0, 2.0, 25.0)), 1.0)
    assert (between.eps, between.size) == (pytest.approx(math.sqrt(2)), pytest.approx(50.0))
    leap = at_target(tried((1.0, 0.5, 100.0), (1.01, 2.0, 99.0)), 1.0)
    assert (leap.eps, leap.size) == (1.0, 100.0)
    assert at_target(tried((1.0, 0.0, 10.0)), 1.0).eps == 1.0
