"""`tune`: what it says is what one gets, meets the targets, and is near the loosest bound that does."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from decimal import Decimal
from pathlib import Path

import exact
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lossyzip as lz
from datasets import synthetic
from datasets.flow import snapshot
from lossyzip import field
from lossyzip.bound_search import MORE_PASSES, PASSES, Targets, find_bound
from lossyzip.cli import main
from lossyzip.preview import Look, Preview
from lossyzip.secants import FAR, LEAP, Goal, Point, neighbour, shorten

FILL = -9999.0


def wave(shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (synthetic.waves(shape, rng, 6) + 0.02 * rng.standard_normal(shape)).astype(dtype)


def masked() -> np.ndarray:
    values = wave((16, 30, 24))
    values[:, 10:20, :12] = FILL
    values[3, 25, ::5] = np.nan
    values[4, 25, ::5] = -0.0
    return values


SMOOTH = {
    "smooth": wave((20, 22, 24)),
    "turbulent": snapshot(32, 8)["velocity_x"][:20],
    "masked": masked(),
    "one axis, big-endian": np.cumsum(np.random.default_rng(5).standard_normal(9_000)).astype(">f8"),
    "noise": np.random.default_rng(4).standard_normal((30, 50)).astype(np.float32),
}
ODD = {
    "rounded": np.round(wave((40, 60)), 1),
    "ten": wave((10,)),
    "two": np.array([1.0, 3.0]),
    "huge": wave((30, 40), "<f8") * 1e307,
    "tiny": wave((30, 40), "<f8") * 1e-318,
    "one differs": np.where(np.arange(1200).reshape(30, 40) == 77, np.float32(2), np.float32(1)),
}
FLAT = {
    "constant": np.full((20, 30), 1.5, np.float32),
    "scalar": np.array(2.5),
    "empty": np.zeros((3, 0, 2), np.float32),
    "all NaN": np.full((20, 30), np.nan),
    "all fills": np.full((20, 30), FILL, np.float32),
}


def figures(array: np.ndarray, bound: lz.Bound, effort: str = "balanced") -> tuple[float, float, float]:
    """(ratio, PSNR, largest error), from what is decompressed, by numpy in float64 and by fractions."""
    blob = lz.compress(array, bound, fill_value=FILL, effort=effort)
    decoded = lz.decompress(blob)
    valid = np.isfinite(array) & ~exact.equals_any(array.astype(array.dtype.newbyteorder("=")), (FILL,))
    a, b = (x[valid].astype(np.float64) for x in (array, decoded))
    unit = 1.0 / max(float(np.abs(a).max(initial=0.0)), 1e-300)
    with np.errstate(over="ignore"):
        scaled, differences = a * unit, np.where(np.isinf(a - b), a * unit - b * unit, (a - b) * unit)
    psnr = math.nan
    if a.size:
        mean_square = math.fsum(differences**2) / a.size
        span = float(scaled.max() - scaled.min())
        psnr = 20.0 * math.log10(span / math.sqrt(mean_square)) if mean_square > 0.0 else math.inf
    return array.nbytes / len(blob), psnr, float(exact.largest_error(a, b))


def tuned(array: np.ndarray, effort: str = "balanced", **targets: float) -> lz.Tuned:
    """What `tune` says, after it was compared with what one gets, and with the targets."""
    found = lz.tune(array, fill_value=FILL, effort=effort, **targets)
    ratio, psnr, max_error = figures(array, found.bound, effort)
    assert (found.ratio, found.max_error) == (ratio, max_error)
    assert found.psnr == pytest.approx(psnr, abs=1e-6, nan_ok=True)
    assert ratio >= targets.get("ratio", 0.0)
    assert not found.psnr < targets.get("psnr", 0.0)
    assert max_error <= targets.get("max_error", math.inf)
    assert found.bound == (lz.absolute(found.eps) if found.eps > 0.0 else lz.lossless())
    assert 1 <= found.passes <= 2 * MORE_PASSES
    if found.eps not in (0.0, targets.get("max_error")):
        assert len(Decimal(repr(found.eps)).normalize().as_tuple().digits) <= 3 or found.eps < 1e-300
    return found


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("db", [40, 80.5])
def test_a_psnr_is_met_and_not_by_far(name, db):
    found = tuned(SMOOTH[name], psnr=db)
    looser = neighbour(found.eps, up=True)
    near = found.psnr <= db + 0.1 or figures(SMOOTH[name], lz.absolute(looser))[1] < db
    assert near or (found.passes >= PASSES and found.psnr < db + 1.5)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("ratio", [4.5, 30])
def test_a_ratio_is_met_and_not_by_far(name, ratio):
    found = tuned(SMOOTH[name], ratio=ratio)
    tighter = neighbour(found.eps, up=False)
    near = found.ratio <= 1.02 * ratio or figures(SMOOTH[name], lz.absolute(tighter))[0] < ratio
    assert near or (found.passes >= PASSES and found.ratio < 1.15 * ratio)


@pytest.mark.parametrize("effort", ["fast", "max"])
def test_every_effort(effort):
    assert tuned(SMOOTH["smooth"], effort, psnr=55).psnr < 56
    assert tuned(SMOOTH["smooth"], effort, ratio=9).ratio < 9.5


@pytest.mark.parametrize("name", ODD)
def test_odd_fields(name):
    array = ODD[name]
    for db in (10, 140, 5000):
        tuned(array, psnr=db)
        tuned(array, "fast", psnr=db)
    assert tuned(array, max_error=0.25).bound == lz.absolute(0.25)
    assert tuned(array, max_error=0).bound == lz.lossless()
    most = figures(array, lz.absolute(float(array.max() / 2 - array.min() / 2)))[0]
    for ratio in (0.01, most):
        tuned(array, ratio=ratio)


@pytest.mark.parametrize("name", FLAT)
def test_where_nothing_varies_every_bound_is_as_good(name):
    array = FLAT[name]
    assert tuned(array, psnr=60).bound == lz.lossless()
    assert tuned(array, max_error=0.125, psnr=60).bound == lz.absolute(0.125)
    most = figures(array, lz.lossless())[0]
    if most:
        assert tuned(array, ratio=most).bound == lz.lossless()
    with pytest.raises(lz.UnreachableTargetError, match="nothing varies"):
        lz.tune(array, ratio=1e9, fill_value=FILL)


def test_a_psnr_that_only_exact_values_have_is_lossless():
    assert tuned(SMOOTH["noise"], psnr=400).bound == lz.lossless()


def test_a_ratio_that_lossless_has():
    assert tuned(synthetic.repeated(np.random.default_rng(0)), ratio=3).bound == lz.lossless()


def test_targets_together():
    array = SMOOTH["smooth"]
    psnr, error = tuned(array, "fast", psnr=60).eps, 0.003
    assert tuned(array, "fast", psnr=60, max_error=error).eps == min(psnr, error)
    assert tuned(array, "fast", psnr=60, max_error=10).eps == psnr
    assert tuned(array, "fast", psnr=80, max_error=error).eps < error
    assert (
        tuned(array, "fast", ratio=4, psnr=60).eps == tuned(array, "fast", ratio=4, max_error=0.1).eps < psnr
    )
    just = tuned(array, "fast", psnr=60)  # no tighter bound is needed for the ratio
    assert tuned(array, "fast", ratio=0.99 * just.ratio, psnr=60).ratio < 1.01 * just.ratio


def test_targets_that_exclude_each_other():
    array = SMOOTH["smooth"]
    with pytest.raises(
        lz.UnreachableTargetError, match=r"ratio of 20 and a PSNR of 70 dB: abs:.*; abs:"
    ) as error:
        lz.tune(array, ratio=20, psnr=70, effort="fast")
    said = re.findall(r"(abs:\S+) has a ratio of (\S+), a PSNR of (\S+) dB", str(error.value))
    assert [float(ratio) >= 20 for _, ratio, _ in said] == [True, False]
    assert [float(psnr) >= 70 for _, _, psnr in said] == [False, True]
    with pytest.raises(lz.UnreachableTargetError, match="ratio of 20 and a largest error of 1e-05"):
        lz.tune(array, ratio=20, max_error=1e-5)
    with pytest.raises(lz.UnreachableTargetError, match="no bound has a ratio of 1e\\+08: abs:"):
        lz.tune(array, ratio=1e8)


@pytest.mark.parametrize(
    "targets",
    [
        {},
        *({"psnr": value} for value in (0, -3, math.nan, math.inf, "x")),
        *({"ratio": value} for value in (0, -1, math.nan, math.inf, "x")),
        *({"max_error": value} for value in (-1, math.nan, math.inf, "x")),
        {"psnr": 60, "effort": "most"},
        {"psnr": 60, "threads": 0},
    ],
    ids=str,
)
def test_what_makes_no_sense(targets):
    with pytest.raises(lz.InvalidArgumentError):
        lz.tune(SMOOTH["noise"], **targets)
    assert issubclass(lz.UnreachableTargetError, lz.LossyZipError)


def test_unsupported_data():
    for array in (np.array(["a"]), np.zeros(3, np.longdouble)):
        with pytest.raises(lz.UnsupportedDataError):
            lz.tune(array, psnr=60)


@pytest.mark.parametrize("dtype", ["<f2", ">i4", "|i1", "<c8", "|b1", "masked"])
def test_other_types(dtype):
    array = (100 * SMOOTH["turbulent"]).astype("<f8" if dtype == "masked" else dtype)
    array = np.ma.masked_greater(array, 50.0) if dtype == "masked" else array
    for targets in ({"psnr": 50}, {"max_error": 2.0}):
        found = lz.tune(array, **targets)
        report = lz.verify(array, lz.compress(array, found.bound))
        assert report.psnr == found.psnr >= targets.get("psnr", 0)
        assert report.max_error == found.max_error <= targets.get("max_error", np.inf)


# samples and passes


class Watched:
    """An array that tells of the largest piece that was read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.dtype, self.largest = array.shape, array.dtype, 0
        self._array = array

    def __getitem__(self, key: object) -> np.ndarray:
        part: np.ndarray = self._array[key]
        self.largest = max(self.largest, part.size)
        return part


def test_many_tiles_are_read_one_by_one(monkeypatch):
    monkeypatch.setattr(field, "TILE_VALUES", 5000)
    array = wave((50, 30, 28))
    array[:30] *= np.float32(0.1)
    source, seen = Watched(array), []
    found = find_bound(source, Targets(psnr=55), threads=1, fill_values=(FILL,), progress=seen.append)
    assert source.largest <= 5000
    assert sum(seen) == found.passes * array.size
    assert found == tuned(array, psnr=55) == lz.tune(array, psnr=55, threads=3, fill_value=FILL)
    assert found.psnr < 55.1
    assert tuned(array, ratio=12, effort="fast").ratio < 13


@pytest.mark.parametrize("factor", [1 / 30, 1.25, 30, math.nan])
def test_samples_that_mislead(monkeypatch, factor):
    """They cost passes, never the target."""
    honest = Preview.look

    def lie(self: Preview, eps: float) -> Look:
        look = honest(self, eps)
        return Look(look.rms * factor, look.ratio * factor)

    monkeypatch.setattr(Preview, "look", lie)
    array = SMOOTH["smooth"]
    assert tuned(array, "fast", psnr=60).psnr < 62
    assert tuned(array, "fast", ratio=10).ratio < 11


def test_samples_that_miss_where_it_happens():
    """A corner of turbulence in a field at rest."""
    array = np.zeros((60, 60, 50), np.float32)
    array[:20, :20, :22] = SMOOTH["turbulent"][:, :20, :22]
    assert tuned(array, "fast", psnr=70).psnr < 71
    assert tuned(array, "fast", ratio=60).ratio < 80  # which axes are best differs from eps to eps


def test_passes_that_never_meet_the_target_end_where_it_is_sure(monkeypatch):
    monkeypatch.setattr(
        Goal, "next_eps", lambda self, tried, least, most, hints=(): 0.5 if 0.4 in tried else 0.4
    )
    found = tuned(SMOOTH["smooth"], psnr=60)
    low, high = (float(end(SMOOTH["smooth"])) for end in (np.min, np.max))
    assert found.eps == shorten(lz.psnr(60).resolve(low, high), up=False)


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("slope", [0.1, 0.4, 1.0, 2.5])
def test_along_a_line_two_steps_are_enough(grows, slope):
    goal, tried, eps = Goal(0.0, 0.02 if grows else -0.02, grows), {}, 0.03
    while eps is not None and not any(map(goal.reached, tried.values())) and len(tried) < 9:
        value = slope * math.log(eps / 0.123456)
        tried[eps] = Point(value, value >= -0.01 if grows else value <= 0.01)
        eps = goal.next_eps(tried, 1e-9, 10.0)
    assert len(tried) <= (3 if slope < 2 else 4)


def test_a_leap_is_closed_in_on():
    """Below 0.05 all is exact."""
    goal, tried, eps = Goal(-9.0, -9.1, grows=False), {}, 0.5
    while eps is not None:
        value = math.log(eps) if eps > 0.05 else -math.inf
        tried[eps] = Point(value, value <= -9.0)
        eps = goal.next_eps(tried, 1e-9, 10.0)
    assert goal.best(tried) == 0.05
    assert goal.missed(tried) == 0.0501
    assert len(tried) < 25


def test_samples_tell_where_a_leap_is():
    tried = {0.5: Point(-math.inf, True)}
    assert Goal(-9.0, -9.1, grows=False).next_eps(tried, 1e-9, 10.0, [0.49, 0.52]) == 0.52
    assert Goal(-9.0, -9.1, grows=False).next_eps(tried, 1e-9, 0.5) is None
    far = Goal(0.0, 0.1, grows=True).next_eps({0.5: Point(LEAP + 9.0, True)}, 1e-9, 10.0, [0.6])
    assert far == shorten(0.5 * math.exp(-FAR), up=True)


@given(st.floats(1e-300, 1e300), st.booleans())
def test_three_digits(eps, up):
    short = shorten(eps, up)
    assert short >= eps if up else short <= eps
    assert abs(short / eps - 1.0) <= 0.0101
    assert float(f"{short:.2e}") == short
    beyond = neighbour(eps, up)
    assert (beyond > eps) == up
    assert abs(beyond / eps - 1.0) <= 0.0102


# files


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["T"] = SMOOTH["smooth"]
        file["run/it's"] = SMOOTH["turbulent"]
        file["run/masked"] = masked()
        file["run/masked"].attrs["_FillValue"] = np.float32(FILL)
        file["steps"] = np.array([b"a", b"b"])
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """run(*arguments) -> (exit code, stdout, stderr) of `lossyzip tune`, in this process."""

    def call(*arguments: object, verb: str = "tune") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lossyzip", verb, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return call


def test_what_is_printed_can_be_pasted(source, run):
    before = source.read_bytes()
    code, out, err = run(source, "--psnr", 60)
    assert (code, err) == (0, "")
    assert source.read_bytes() == before
    options = [word for line in out.splitlines()[2:] for word in shlex.split(line[line.index("-b ") :])]
    assert options[0::2] == ["-b"] * 3
    packed = source.with_name("packed.h5")
    assert run(source, "-o", packed, *options, verb="compress")[0] == 0
    verified = json.loads(run(source, packed, "--json", verb="verify")[1])
    assert len(verified["fields"]) == 3
    assert all(60 <= row["psnr"] < 60.3 for row in verified["fields"])
    shown = [f"{row['psnr']:.2f}" in out and f"{row['ratio']:.2f}" in out for row in verified["fields"]]
    assert all(shown)


def test_json_and_quiet(source, run):
    code, out, err = run(
        source, "--field", "masked", "--field", "T", "--ratio", 10, "--json", "--effort", "fast"
    )
    report = json.loads(out)
    assert (code, err, report["unmet"]) == (0, "", {})
    assert {row["name"] for row in report["fields"]} == {"T", "run/masked"}
    for row in report["fields"]:
        assert 10 <= row["ratio"] < 11
        assert row["bound"] == f"abs:{row['eps']}"
        assert row["max_error"] <= row["eps"]
        assert row["relative_eps"] < 0.1
    assert run(source, "--field", "T", "--max-error", 0.1, "--quiet", "--threads", 1) == (0, "", "")


def test_a_field_that_cannot_meet_the_targets_does_not_stop_the_others(source, run):
    code, out, err = run(source, "--field", "[Ti]*", "--ratio", 20, "--max-error", 0.1, "--effort", "fast")
    assert (code, err.count("\n")) == (1, 1)
    assert "field 'T': no bound has a ratio of 20 and a largest error of 0.1" in err
    assert "-b 'run/it'\"'\"'s=abs:" in out
    assert "-b 'T=" not in out
    code, out, err = run(source, "--field", "T", "--ratio", 1e9, "--json", "--effort", "fast")
    assert code == 1
    assert json.loads(out)["unmet"] == {"T": err.removeprefix("lossyzip: ").rstrip("\n")}


def test_exit_codes(source, run, monkeypatch):
    for arguments in (
        [],
        ["--psnr", "x"],
        ["--psnr", "nan"],
        ["--psnr", "-1"],
        ["--ratio", "0"],
        ["--max-error", "-1"],
        ["--psnr", "60", "--field", "nope"],
        ["--psnr", "60", "--effort", "most"],
        ["--psnr", "60", "--threads", "0"],
    ):
        code, out, err = run(source, *arguments)
        assert (code, out) == (2, ""), arguments
        assert err
    assert "T, run/it's, run/masked" in run(source, "--psnr", 60, "--field", "nope")[2]
    assert run(source, "--psnr", 60, "--field", "steps")[0] == 5
    assert run(source.with_name("none.h5"), "--psnr", 60)[0] == 2
    text = source.with_name("text.h5")
    text.write_text("no HDF5 file")
    assert run(text, "--psnr", 60)[0] == 4
    packed = source.with_name("packed.h5")
    lz.compress_file(source, packed, {"*": lz.relative(0.01)})
    code, _, err = run(packed, "--psnr", 60)
    assert code == 2
    assert "T: it is compressed already" in err

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lossyzip.io.tune.find_bound", interrupted)
    assert run(source, "--psnr", 60)[0] == 130


def test_a_wish_to_stop_is_heard_within_a_pass(source):
    from lossyzip.io.tune import tune_file

    def stop(name: str, done: int, total: int) -> None:
        assert (name, done, total) == ("T", SMOOTH["smooth"].size, MORE_PASSES * SMOOTH["smooth"].size)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_file(source, ["T"], Targets(psnr=60), progress=stop)
