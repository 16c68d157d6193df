"""Enhancers for other objectives than PSNR: gradients and spectra come back better, within the bound."""

from __future__ import annotations

import dataclasses
import json

import exact
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import lossyzip as lz
from datasets import synthetic
from lossyzip.aimed import Aimed
from lossyzip.cli import lossyzip as group
from lossyzip.container.enhanced import Objective, objective_section, objective_told
from lossyzip.learned import enhancement as training
from lossyzip.objectives import Gradient, MeanSquare, Spectrum

OBJECTIVES = ("spectrum", "gradient")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_LEAST_SECONDS", 0.5)


def rough() -> np.ndarray:
    """Waves of all lengths, short ones weak."""
    rng = np.random.default_rng(5)
    shape = (24, 40, 44)
    lengths = np.sqrt(sum(np.square(k) for k in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    noise = np.fft.fftn(rng.standard_normal(shape)) / (lengths + 0.02) ** 2.5
    return np.fft.ifftn(noise).real.astype("<f4")


def gradient_error(array: np.ndarray, decoded: np.ndarray) -> float:
    errors = decoded.astype(float) - array
    parts = [np.moveaxis(errors, axis, 0) for axis in range(errors.ndim)]
    squares = [np.square(part[2:] - part[:-2]).reshape(-1) / 4 for part in parts]
    return float(np.concatenate(squares).mean())


def spectrum_error(array: np.ndarray, decoded: np.ndarray) -> float:
    squares = (np.fft.fftfreq(n) ** 2 for n in array.shape)
    longest = max(array.shape)
    shells = np.rint(longest * np.sqrt(sum(np.meshgrid(*squares, indexing="ij")))).astype(int)
    power = [
        np.abs(np.fft.fftn(one.astype(float) - array.mean(dtype=float))) ** 2 for one in (array, decoded)
    ]
    off = []
    for shell in range(1, longest // 4 + 1):
        before, after = (float(one[shells == shell].sum()) for one in power)
        if before > 0.0:
            off.append(abs(after / before - 1.0))
    return float(np.mean(off)) if off else np.nan


MEASURES = {"spectrum": spectrum_error, "gradient": gradient_error}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("rel", [0.03, 0.02])
def test_an_objective_improves_what_it_names(objective, rel):
    array = rough()
    plain, blob = (lz.compress(array, lz.relative(rel), threads=1, enhance=e) for e in (False, objective))
    about, decoded = lz.inspect(blob), lz.decompress(blob)
    before, after = (MEASURES[objective](array, some) for some in (lz.decompress(plain), decoded))
    assert about.enhancer
    assert about.objective == objective
    assert after < 0.99 * before
    told = about.objective_errors
    assert told is not None
    assert told[1] / told[0] == pytest.approx(after / before, rel=1e-6)
    for values in (decoded, lz.decompress(blob, enhance=False)):
        assert not exact.violations(array, values, about.eps).size
    assert len(blob) < 1.2 * len(plain)
    assert lz.verify(array, blob).passed


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_objective_is_made_worse_by_enhancers_that_lie(objective, monkeypatch):
    trained = training.trained

    def wrong(*arguments):
        """Each towards the wrong side."""
        found = []
        for one in trained(*arguments):
            output = one.enhancer.output
            other = output._replace(weights=-output.weights, biases=-output.biases)
            found.append(one._replace(enhancer=dataclasses.replace(one.enhancer, output=other)))
        return found

    array = rough()
    plain = lz.compress(array, lz.relative(0.02), threads=1)
    monkeypatch.setattr(training, "trained", wrong)
    blob = lz.compress(array, lz.relative(0.02), threads=1, enhance=objective)
    before, after = (MEASURES[objective](array, lz.decompress(some)) for some in (plain, blob))
    assert blob == plain or after < before
    assert not exact.violations(array, lz.decompress(blob), lz.inspect(blob).eps).size


def test_the_whole_field_has_the_last_word():
    """An objective that is not better never pays, and one that is has to be worth its bytes."""
    pass_ = object.__new__(Aimed)
    pass_._slope, pass_._written = 2.0, type("Written", (), {"size": 1000})
    assert pass_._pays(0.0, 1.0, 0.75, 1100)
    assert not pass_._pays(0.0, 1.0, 0.85, 1100)
    for before, after in ((1.0, 1.0), (1.0, 1.25), (0.0, 0.0), (1.0, np.nan), (np.nan, 1.0)):
        assert not pass_._pays(9.0, before, after, 10)


def test_psnr_is_the_objective_with_a_psnr_bound():
    array = synthetic.waves((14, 40, 45), np.random.default_rng(3), 6).astype("<f4")
    options = {"threads": 1, "train_seconds": 0.5}
    blobs = [lz.compress(array, lz.psnr(40), enhance=what, **options) for what in ("spectrum", "psnr", True)]
    assert blobs[0] == blobs[1] == blobs[2]
    assert lz.inspect(blobs[0]).objective == "psnr"


@given(
    st.integers(0, 1 << 32), st.sampled_from([(9, 12, 10), (5, 17), (40,), (3, 1, 12, 9), (2, 4, 8, 9, 16)])
)
@settings(max_examples=40)
def test_objectives_are_what_their_definitions_say(seed, shape):
    rng = np.random.default_rng(seed)
    original = rng.standard_normal(shape)
    decoded = original + rng.uniform(-0.3, 0.3, shape)
    none, unit = np.zeros(shape, bool), 0.7
    square, slope = MeanSquare(), Gradient()
    of_square = square.value(square.sums(original, decoded, none, unit))
    assert of_square * unit**2 == pytest.approx(np.square(original - decoded).mean())
    of_slope = slope.value(slope.sums(original, decoded, none, unit))
    assert of_slope * unit**2 == pytest.approx(gradient_error(original, decoded))
    long = [n for n in shape if n > 1]
    if len(long) <= 3:
        waves = Spectrum(max(long))
        expected = spectrum_error(original.reshape(long), decoded.reshape(long))
        assert waves.value(waves.sums(original, decoded, none, unit)) == pytest.approx(expected)


@given(st.integers(0, 1 << 32))
@settings(max_examples=20)
def test_what_is_left_out_does_not_count(seed):
    rng = np.random.default_rng(seed)
    original = rng.standard_normal((8, 12, 13))
    decoded, left_out = original + rng.uniform(-0.3, 0.3, original.shape), rng.random(original.shape) < 0.2
    for objective in (MeanSquare(), Gradient(), Spectrum(13)):
        expected = objective.value(objective.sums(original, decoded, left_out, 1.0))
        for garbage in (np.nan, np.inf, 1e300):
            arrays = [np.where(left_out, garbage, array) for array in (original, decoded)]
            assert objective.value(objective.sums(*arrays, left_out, 1.0)) == expected
        assert np.isnan(objective.value(objective.sums(original, decoded, np.ones_like(left_out), 1.0)))


def test_frames_say_what_they_were_made_for():
    told = Objective("gradient", 0.5, 0.25)
    assert objective_told(objective_section(told)) == told
    assert objective_told(None) is None
    blob = lz.compress(rough(), lz.relative(0.02), threads=1, enhance="gradient")
    good = objective_section(told)
    for data in (b"", good[:-1], good + b"\0", b"\7" + good[1:]):
        with pytest.raises(lz.CorruptError):
            objective_told(data)
    assert lz.inspect(blob).objective_errors is not None


def test_in_files(tmp_path):
    source, target = (str(tmp_path / name) for name in ("in.h5", "out.h5"))
    with h5py.File(source, "w") as file:
        file["a"] = rough()
    runner = CliRunner()
    done = runner.invoke(
        group, ["compress", source, "-o", target, "-b", "a=rel:0.02", "--enhance", "--objective", "gradient"]
    )
    assert done.exit_code == 0, done.output
    for options in ([], ["--json"]):
        done = runner.invoke(group, ["info", target, *options])
        assert done.exit_code == 0, done.output
        if options:
            (row,) = json.loads(done.output)["fields"]
            assert row["objective"] == "gradient"
            assert 0.0 < row["objective_left"] < 1.0
        else:
            assert "enhanced: gradient error x 0." in done.output
    done = runner.invoke(group, ["compress", source, "-o", target, "-b", "a=rel:0.02", "--objective", "psnr"])
    assert (done.exit_code, str(done.exception)) == (1, "--objective is for --enhance")
