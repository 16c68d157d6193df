"""The plan of a frame that is enhanced: what it takes at equal PSNR decides, not its bytes alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from enhanced_fields import assert_within, mean_square
from forgery import Parts

import lossyzip as lz
from lossyzip import enhanced_plan, enhancing_pass, second_pass
from lossyzip.compressor import compress_field
from lossyzip.container.header import Header
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.interpolation import Multigrid
from lossyzip.decompose.regression import Raster
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.decompressor import plan_of_header
from lossyzip.enhancing import asked_for
from lossyzip.learned import observations
from lossyzip.learned.corrections import Judged, Price

GRID, RASTER, WAVELET = Multigrid(Fold.MERGED, 3), Raster(Fold.MERGED), Wavelet(Fold.MERGED, 40)
FINER = Wavelet(Fold.MERGED, 32)
FINEST = Wavelet(Fold.MERGED, 25)
PRICE = Price(0.1, 1000, 4000, 1)


class Pass:
    """A frame of plan ``own``; ``plans``: (bytes as a part of the frame's, mean square of errors in eps)."""

    def __init__(self, own, plans):
        self.plan, self.price, self._plans, self.looked_at = own, PRICE, plans, []

    def middle(self):
        return 0

    def look(self, number):
        return self.look_with(self.plan)[1]

    def look_with(self, plan):
        self.looked_at.append(plan)
        times, square = self._plans[plan]
        decoded = np.zeros(4000, np.float32)
        return times, observations.Seen(decoded, decoded + np.float32(square**0.5), None, 0.0, 1.0, {})


@pytest.fixture
def gains(monkeypatch):
    """How many dB an enhancer gains (it costs no bytes) by the mean square error that it finds."""
    table = {}

    def train(sample, *_):
        gain = table.get(round(float(np.square(sample.errors).mean()), 3), 1.0)
        return Judged(None, gain, gain) if gain else None

    monkeypatch.setattr(enhanced_plan.enhancement, "train", train)
    monkeypatch.setattr(observations, "view_of", lambda *_: observations.View())
    return table


def chosen(own, **others):
    plans = {"grid": GRID, "raster": RASTER, "wavelet": WAVELET, "finer": FINER, "finest": FINEST}
    pass_ = Pass(own, {plans[name]: value for name, value in others.items()})
    return enhanced_plan.other_plan(pass_, lambda: [GRID, RASTER], 0), pass_.looked_at


def test_smaller_errors_for_hardly_more_bytes_are_taken(gains):
    assert chosen(GRID, grid=(1.0, 0.3), raster=(1.02, 0.15))[0] == RASTER
    assert chosen(GRID, grid=(1.0, 0.3), raster=(1.04, 0.28))[0] is None  # 4 % are worth 0.4 dB


def test_what_an_enhancer_gains_counts(gains):
    gains[0.31] = 3.0
    assert chosen(GRID, grid=(1.0, 0.3), raster=(1.01, 0.31))[0] == RASTER
    gains[0.31] = 0.0
    assert chosen(GRID, grid=(1.0, 0.3), raster=(0.9, 0.31))[0] is None


def test_what_takes_many_more_bytes_or_is_not_as_near_never_is(gains):
    assert chosen(GRID, grid=(1.0, 0.3), raster=(1.06, 0.001))[0] is None
    assert chosen(GRID, grid=(1.0, 0.3), raster=(0.5, 0.4))[0] is None  # 1 dB does not make up for it


def test_steps_of_a_wavelet_become_finer_as_long_as_it_pays(gains):
    plans = {"grid": (1.2, 0.1), "raster": (1.2, 0.1), "wavelet": (1.0, 0.3), "finer": (1.01, 0.2)}
    assert chosen(WAVELET, finest=(1.04, 0.195), **plans)[0] == FINER
    assert chosen(WAVELET, finest=(1.04, 0.15), **plans | {"finer": (1.01, 0.31)}) == (
        None,
        [WAVELET, FINER, GRID, RASTER],
    )


def test_a_step_that_would_take_too_many_bytes_is_not_tried(gains):
    plans = {"grid": (1.2, 0.1), "raster": (1.2, 0.1), "wavelet": (1.0, 0.3), "finer": (1.03, 0.1)}
    assert chosen(WAVELET, **plans) == (FINER, [WAVELET, FINER, GRID, RASTER])


def test_a_plan_of_the_frames_own_kind_is_not_tried_again(gains):
    assert chosen(GRID, grid=(1.0, 0.3), raster=(1.2, 0.1))[1] == [GRID, RASTER]


def oscillating(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    waves = sum(np.sin(0.35 * (1 + 0.3 * k) * axis + 0.1 * z) for k, axis in enumerate((z, y, x)))
    return (waves + 0.05 * rng.standard_normal(z.shape)).astype("<f4")


def frame_of(array: np.ndarray, any_plan: bool) -> tuple[bytes, Wavelet]:
    parts: list[bytes] = []
    asked = asked_for("offsets")
    assert asked is not None
    compress_field(
        array, lz.relative(0.05), parts.append, threads=1, enhancing=asked._replace(any_plan=any_plan)
    )
    blob = b"".join(parts)
    return blob, plan_of_header(Header.from_bytes(Parts.of(blob).header))


def test_a_field_takes_fewer_bytes_than_any_smaller_eps_with_another_plan():
    array = oscillating(24, 64, 64)
    blob, plan = frame_of(array, True)
    plain = lz.compress(array, lz.relative(0.05), threads=1)
    own = plan_of_header(Header.from_bytes(Parts.of(plain).header))
    assert lz.inspect(blob).enhancer == "offsets"
    assert plan.step < own.step
    square = mean_square(array, lz.decompress(blob))
    assert square < 0.9 * mean_square(array, lz.decompress(plain))
    for rel in (0.043, 0.037, 0.032):
        tighter = lz.compress(array, lz.relative(rel), threads=1)
        assert len(tighter) > len(blob) or mean_square(array, lz.decompress(tighter)) > square
    for enhance in (True, False):
        assert_within(array, lz.decompress(blob, enhance=enhance), lz.inspect(blob).eps)
    assert lz.verify(array, blob).passed


def test_where_the_other_plan_does_not_pay_the_frames_own_is_enhanced(monkeypatch):
    monkeypatch.setattr(second_pass, "_cheaper", lambda *_: True)
    array = oscillating(12, 48, 48)
    kept, _ = frame_of(array, False)
    assert lz.inspect(kept).enhancer == "offsets"
    judged, encode = [], enhancing_pass.Pass.encode

    def refused_once(pass_, *arguments):
        judged.append(pass_.plan)
        done = encode(pass_, *arguments)
        return None if len(judged) == 1 else done

    monkeypatch.setattr(enhancing_pass.Pass, "encode", refused_once)
    monkeypatch.setattr(second_pass, "other_plan", lambda pass_, *_: replace(pass_.plan, step=38))
    assert frame_of(array, True)[0] == kept
    assert len(set(judged)) == 2


def test_enhancers_of_models_learn_from_plans_of_fewest_bytes(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(second_pass, "other_plan", lambda *_: pytest.fail("another plan"))
    array = oscillating(12, 40, 40)
    snapshots = [{"a": array}, {"a": array + np.float32(0.1)}]
    lz.train(snapshots, {"a": lz.relative(0.05)}, train_seconds=0, enhance="offsets")


def test_the_pass_that_stands_for_one_has_what_is_asked_of_it():
    """So that `Pass` above does not outlive a change."""
    assert {"plan", "price", "middle", "look", "look_with"} <= set(dir(enhancing_pass.Pass))
