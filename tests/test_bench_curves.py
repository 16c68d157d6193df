"""Curves of rate and distortion: metrics against slow twins and known values, interpolation, whole runs."""

from __future__ import annotations

import cmath
import itertools
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from bench import curve_plots, curve_tables, curves
from bench.curves import Contestant, Measurer
from bench.fields import Field, find
from bench.peers import Peer
from bench.quality import spectrum_error, structural_similarity
from bench.rows import Row, read


def walk(*shape: int) -> np.ndarray:
    array = np.random.default_rng(3).standard_normal(shape)
    for axis in range(array.ndim):
        array = array.cumsum(axis)
    return array.astype(np.float32)


def field_of(array: np.ndarray, name: str = "walk") -> Field:
    return Field("made", name, array.shape, array.dtype, partial(lambda a: (a, ()), array))


def slow_powers(array: np.ndarray) -> list[float]:
    """By the definition of the Fourier transform: means of squared amplitudes by rounded wavenumber."""
    longest = max(array.shape)
    bins: dict[int, list[float]] = {}
    for wave in itertools.product(*map(range, array.shape)):
        cycles = [min(k, n - k) / n for k, n in zip(wave, array.shape, strict=True)]
        number = round(math.hypot(*cycles) * longest)
        total = 0j
        for index in itertools.product(*map(range, array.shape)):
            turns = sum(i * k / n for i, k, n in zip(index, wave, array.shape, strict=True))
            total += float(array[index]) * cmath.exp(-2j * math.pi * turns)
        bins.setdefault(number, []).append(abs(total) ** 2)
    return [float(np.mean(bins[k])) for k in range(1, longest // 4 + 1)]


@pytest.mark.parametrize("shape", [(16,), (9, 8), (8, 1, 9), (4, 3, 8)])
def test_the_error_of_the_spectrum_is_that_of_its_definition(shape):
    original = np.random.default_rng(1).standard_normal(shape)
    decoded = original + 0.1 * np.random.default_rng(2).standard_normal(shape)
    before, after = slow_powers(original.squeeze()), slow_powers(decoded.squeeze())
    expected = np.mean([abs(b / a - 1.0) for a, b in zip(before, after, strict=True)])
    assert spectrum_error(original, decoded) == pytest.approx(expected, rel=1e-9)


def test_known_errors_of_a_spectrum():
    original = walk(20, 30, 40)
    assert spectrum_error(original, original) == 0.0
    assert spectrum_error(original, original + 5.0) == pytest.approx(0.0, abs=1e-5)
    assert spectrum_error(original.astype(np.float64), original * 1.1) == pytest.approx(0.21, rel=1e-3)
    assert spectrum_error(original, np.full_like(original, 3.0)) == pytest.approx(1.0)
    assert math.isnan(spectrum_error(np.full((8, 8), 2.0), np.zeros((8, 8))))


def test_waves_beyond_half_nyquist_are_not_looked_at():
    x = np.arange(64)
    slow, fast = np.sin(2 * np.pi * 5 * x / 64), np.sin(2 * np.pi * 20 * x / 64)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(64)
    assert spectrum_error(slow + noise + fast, slow + noise) == pytest.approx(0.0, abs=1e-9)
    assert spectrum_error(slow + noise + fast, fast + noise) > 0.05


def slow_ssim(one: np.ndarray, other: np.ndarray, span: float) -> float:
    """Wang et al. (2004): mean over all places where the 11 x 11 window fits; C1, C2 from K = 0.01, 0.03."""
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weights = np.outer(line, line) / line.sum() ** 2
    found = []
    for i, j in itertools.product(range(one.shape[0] - 10), range(one.shape[1] - 10)):
        x, y = one[i : i + 11, j : j + 11], other[i : i + 11, j : j + 11]
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        vxy = (weights * (x - mx) * (y - my)).sum()
        c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
        found.append((2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(found))


def test_structural_similarity_is_that_of_its_definition():
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    original = walk(14, 16, 18).astype(np.float64)
    span = float(np.ptp(original))
    decoded = original + 0.05 * span * np.random.default_rng(2).standard_normal(original.shape)
    slices = [(7,), (slice(None), 8), (slice(None), slice(None), 9)]
    expected = np.mean([slow_ssim(original[where], decoded[where], span) for where in slices])
    assert structural_similarity(original, decoded, span) == pytest.approx(expected, rel=1e-9)
    assert structural_similarity(original, original, span) == pytest.approx(1.0)


def test_structural_similarity_of_a_shift_and_of_thin_fields():
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    flat = np.full((12, 12), 3.0)
    c1 = (0.01 * 8.0) ** 2
    expected = (2 * 3.0 * 4.0 + c1) / (9.0 + 16.0 + c1)
    assert structural_similarity(flat, flat + 1.0, 8.0) == pytest.approx(expected)
    thin = walk(3, 20, 20)
    middle = structural_similarity(thin[1], thin[1] + 1, 8.0)
    assert structural_similarity(thin, thin + 1, 8.0) == middle
    assert math.isnan(structural_similarity(walk(3, 5, 20), walk(3, 5, 20), 8.0))


def row(compressor: str, bits: float, psnr: float, spectrum: float = 0.1, ssim: float = 0.9) -> Row:
    numbers = {"bits": bits, "psnr": psnr, "spectrum_error": spectrum, "ssim": ssim, "rel": 0.01}
    texts = {name: repr(value) for name, value in numbers.items()}
    names = {"file": "made", "field": "f", "compressor": compressor, "setting": "", "problem": ""}
    return names | texts | {"violations": "0"}


def test_interpolation_goes_through_the_points_and_no_further():
    pytest.importorskip("scipy", reason="scipy is not installed: nothing is interpolated")
    points = [row("max", math.log1p(math.exp(db / 8 - 7)), db) for db in (40.0, 50.0, 60.0, 70.0, 80.0)]
    at = partial(curve_tables.interpolated, points, curve_tables.psnr, curve_tables.log_bits)
    assert at(60.0) == pytest.approx(curve_tables.log_bits(points[2]))
    for db in (44.0, 55.0, 63.0, 75.0):
        assert math.exp(at(db)) == pytest.approx(math.log1p(math.exp(db / 8 - 7)), rel=0.02)
    assert at(39.9) is None
    assert at(80.1) is None
    lossless = [*points, row("max", 32.0, math.inf)]
    assert curve_tables.interpolated(lossless, curve_tables.psnr, curve_tables.log_bits, 90.0) is None


def test_comparisons_of_known_curves():
    """Ours takes 0.7 of the bits of one peer, which takes half of another's; errors follow from bits."""
    pytest.importorskip("scipy", reason="scipy is not installed: nothing is interpolated")
    quality = [(40.0, 1.0), (50.0, 2.0), (60.0, 4.0), (70.0, 8.0)]
    rows = [row("sz3", bits, db, 1 / bits, 1 - 0.1 / bits) for db, bits in quality]
    rows += [row("zfp", 2 * bits, db, 2 / bits, 1 - 0.2 / bits) for db, bits in quality]
    rows += [row("max", 0.7 * bits, db, 0.5 / bits, 1 - 0.2 / bits) for db, bits in quality]
    rows += [row("max + learned + enhance", 0.35, 40.0), row("max + learned + enhance", 1.0, 50.0)]
    rows += [row("max + learned", 0.6, 40.0)]
    equal_psnr = curve_tables.equal_psnr_table(rows)
    assert "| max | ours | 0.700 (4 of 4) |" in equal_psnr
    assert "| max | peers' | 0.700 (4 of 4) |" in equal_psnr
    best = (0.35 * 0.5 * 0.7 * 0.7) ** 0.25
    assert f"| the best of these | ours | {best:.3f} (4 of 4) |" in equal_psnr
    (curves_,) = curve_tables.by_field(rows).values()
    spectra = curve_tables.at_our_points(
        curves_, "max", curve_tables.log_bits, curve_tables.log_spectrum_error
    )
    inside = [comparison.ratio for comparison in spectra if comparison.other is not None]
    assert inside == pytest.approx([0.35] * 3)  # the first point has fewer bits than any peer
    assert "| max | 3 of 3 | 1 of 1 | 0.350 | 0 of 3 | 0 of 1 | 1.400 |" in curve_tables.quality_table(rows)
    own = curve_tables.own_best_table(rows)
    mean = (0.5 / 1.4) ** 0.5
    assert f"| all | max + learned + enhance |  |  |  | {mean:.3f} (2) | 0.583 (1) | 0.583 (1) |" in own
    assert "0 failed or are outside" in curve_tables.tables(rows)


OURS = (Contestant("balanced", effort="balanced"), Contestant("balanced, psnr", True, effort="balanced"))


def test_a_run_and_what_is_not_measured_again(tmp_path, monkeypatch):
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    array = walk(12, 24, 24)
    absent = Peer("absent", "no-such-package-of-lossyzip", ("none",), 1, 4)
    contestants = [*OURS, Contestant("absent", peer=absent)]
    output, told, notes = tmp_path / "curves.csv", [], []
    run = partial(curves.run, [field_of(array)], [1e-2, 1e-3])
    rows = run(contestants, output, 1, told.append, notes.append)
    assert rows == told == read(output)
    assert [(row["compressor"], row["rel"]) for row in rows] == [
        (one.name, rel) for one in OURS for rel in ("0.01", "0.001")
    ]
    assert {row["problem"] + row["violations"] for row in rows} == {"0"}
    assert notes == ["absent is left out: no-such-package-of-lossyzip is not installed"]
    for one in rows:
        assert float(one["bits"]) == pytest.approx(8 * int(one["bytes"]) / array.size, rel=1e-5)
        assert float(one["psnr"]) >= float(one["db"] or 0.0)
        assert 0.0 < float(one["spectrum_error"]) < 0.1
        assert 0.9 < float(one["ssim"]) < 1.0

    monkeypatch.setattr(Measurer, "rows", lambda self, job: pytest.fail("measured again"))
    assert run(contestants, output, 1, told.append, notes.append) == rows
    monkeypatch.undo()
    more = curves.run([field_of(array)], [1e-2, 1e-3, 0.1], OURS[:1], output, 1, told.append, notes.append)
    assert [one["rel"] for one in more] == ["0.01", "0.001", "0.1"]
    assert len(told) == 5
    other = curves.run([field_of(2 * array)], [1e-2], OURS[:1], output, 1, told.append, notes.append)
    assert len(told) == 6  # other data under the same name
    assert other == told[5:]


@pytest.mark.slow  # each process imports and loads what is compiled
def test_several_processes_measure_the_same():
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    fields = find(None, 1, "*wave_2d")
    run = partial(curves.run, fields, [1e-2, 1e-3], OURS, None)
    one, two = (run(jobs, lambda row: None, print) for jobs in (1, 2))
    assert len(one) == 4
    took = dict.fromkeys(("encode", "decode"), "")
    assert [row | took for row in one] == [row | took for row in two]


def test_what_fails_is_a_row_with_its_problem():
    rows = curves.run([field_of(walk(3, 4))], [2e-2], [Contestant("bad", effort="?")], None, 1, print, print)
    assert "InvalidArgumentError" in rows[0]["problem"]
    assert curve_tables.by_field(rows) == {}
    assert curves.run([field_of(np.zeros((4, 4)))], [1e-2], OURS, None, 1, print, print) == []


def test_fields_together_have_rows_with_and_without_their_enhancer():
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    array = walk(20, 32, 32)
    fields = [field_of(array, "a"), field_of(array**2, "b")]
    (asked,) = (one for one in curves.OURS if one.together)
    together = replace(asked, effort="balanced", enhance="offsets", seconds=0.0)
    rows = curves.run(fields, [1e-2], [together], None, 1, print, print)
    assert {(one["field"], one["compressor"]) for one in rows} == {
        (name, how) for name in "ab" for how in (together.name, curves.WITHOUT_ENHANCER)
    }
    assert {one["together"] for one in rows} == {"a b"}
    assert {one["violations"] + one["problem"] for one in rows} == {"0"}


def test_peers_and_pictures(tmp_path):
    pytest.importorskip("skimage", reason="scikit-image is not installed: no structural similarity")
    pytest.importorskip("zfpy")
    pytest.importorskip("matplotlib")
    (zfp,) = (one for one in curves.THEIRS if one.name == "zfp")
    rows = curves.run([field_of(walk(12, 24, 24))], [1e-2], [zfp], None, 1, print, print)
    assert [one["rel"] for one in rows] == ["0.1", "0.03", "0.01"]  # looser ones, too
    assert {one["violations"] + one["problem"] for one in rows} == {"0"}
    assert float(rows[0]["bits"]) < float(rows[-1]["bits"])
    (picture,) = curve_plots.draw(rows, tmp_path / "plots")
    assert picture.name == "made-walk.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
