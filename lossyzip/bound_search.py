"""The bound that meets a PSNR, a ratio or a largest error: found on samples, confirmed on the whole field.

Both errors and ratios grow with eps, so that it is moved by secants (secants.py), first on samples, of which
nothing is coded (preview.py), then by compressions of the whole field, each through the door: what a `Tuned`
says is what was decoded and counted there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossyzip import field
from lossyzip.bound import Bound, absolute, lossless
from lossyzip.bound import psnr as psnr_bound
from lossyzip.compressor import FieldReport, compress_field
from lossyzip.container.dtypes import coded_as, part_of
from lossyzip.effort import EFFORTS
from lossyzip.errors import InvalidArgumentError, UnreachableTargetError
from lossyzip.field import Number, Source
from lossyzip.preview import Preview
from lossyzip.secants import Goal, Point
from lossyzip.threads import thread_count

PASSES, MORE_PASSES = 5, 8  # over the whole field at most, for a target; more where all are far from it
_LOOKS = 12  # at samples
_DECIBEL = math.log(10.0) / 20.0
_NEAR_PSNR, _AIM_PSNR = 0.1 * _DECIBEL, 0.04 * _DECIBEL  # beyond the target
_NEAR_RATIO, _AIM_RATIO = math.log(1.02), math.log(1.007)
_FAIR = math.log(1.1)
_NEARLY = 1.25  # what a sample says of a lossless ratio


@dataclass(frozen=True)
class Tuned:
    """A bound, and what it makes of the whole field, as it was decoded.

    ``eps`` and ``max_error`` are in the field's units, eps 0.0 for `lossless()`; ``relative_eps`` is eps over
    the range (NaN where nothing varies); ``psnr`` in dB, inf if all values are equal, NaN if none is valid.
    ``passes``: how many times the whole field was compressed to find it.
    """

    bound: Bound
    eps: float
    ratio: float
    psnr: float
    max_error: float
    relative_eps: float
    passes: int


@dataclass(frozen=True)
class Targets:
    """What is asked: a PSNR in dB, a ratio, a largest error in the field's units; those that are not None.

    Raises InvalidArgumentError where none is, or one is no number that makes sense.
    """

    psnr: float | None = None
    ratio: float | None = None
    max_error: float | None = None

    def __post_init__(self) -> None:
        if self.psnr is None and self.ratio is None and self.max_error is None:
            raise InvalidArgumentError("nothing to tune for: name a psnr, a ratio or a max_error")
        if self.psnr is not None:
            psnr_bound(self.psnr)
        if self.max_error is not None:
            absolute(self.max_error)
        if self.ratio is not None:
            try:
                number = float(self.ratio)
            except (TypeError, ValueError):
                raise InvalidArgumentError(f"ratio must be a number, not {self.ratio!r}") from None
            if not (math.isfinite(number) and number > 0.0):
                raise InvalidArgumentError(
                    f"ratio (raw / compressed bytes) must be finite and > 0, not {number}"
                )

    def quality(self) -> str:
        psnr = "" if self.psnr is None else f"a PSNR of {self.psnr:g} dB"
        error = "" if self.max_error is None else f"a largest error of {self.max_error:g}"
        return " and ".join(filter(None, (psnr, error)))


def find_bound(
    source: Source,
    targets: Targets,
    *,
    effort: str = "balanced",
    threads: int | None = None,
    fill_values: Iterable[Number] = (),
    progress: Callable[[int], Any] | None = None,
) -> Tuned:
    """`lossyzip.tune` for what `compress_field` takes; ``progress`` is told of the values of each pass.

    The source is read a few times, tile by tile, from the calling thread.
    """
    if effort not in EFFORTS:
        raise InvalidArgumentError(f"effort {effort!r} is unknown; one of {', '.join(EFFORTS)}")
    dtype, fills, workers = field.check_supported(source), tuple(fill_values), thread_count(threads)
    tiles = (field.read(source, place) for place in field.tile_slices(tuple(source.shape)))
    summary = field.summarize(tiles, dtype, fills, workers)
    span = (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)

    def compress(bound: Bound) -> FieldReport:
        options: dict[str, Any] = {"effort": effort, "threads": threads, "fill_values": fills}
        return compress_field(source, bound, lambda _: None, progress=progress, **options)

    if span[0] == span[1]:
        return _Search(targets, span, dtype, compress, None).any_eps()
    preview = Preview(source, summary, fills, EFFORTS[effort], workers)
    return _Search(targets, span, dtype, compress, preview).run()


class _Search:
    """For ``targets``, in a field whose valid values have a ``span``. ``compress`` goes over all of it."""

    def __init__(
        self,
        targets: Targets,
        span: tuple[Number, Number],
        dtype: np.dtype,
        compress: Callable[[Bound], FieldReport],
        preview: Preview | None,
    ) -> None:
        self._targets, self._span, self._compress, self._preview = targets, span, compress, preview
        self._range = min(span[1] - span[0], float(np.finfo(np.float64).max) / 2.0)
        self._finest = self._range * float(np.finfo(coded_as(part_of(dtype))).eps) ** 2
        self._done: dict[float, FieldReport] = {}

    def run(self) -> Tuned:
        ratio = self._targets.ratio
        if ratio is None:
            return self._tuned(self._loosest())
        tightest = self._tightest(ratio)
        if self._meets_quality(tightest):
            return self._tuned(tightest)
        loosest = self._loosest(nearly=False)
        if self._done[loosest].ratio >= ratio:
            return self._tuned(loosest)
        raise UnreachableTargetError(
            f"no bound has a ratio of {ratio:g} and {self._targets.quality()}: "
            f"{self._say(tightest)}; {self._say(loosest)}"
        )

    def any_eps(self) -> Tuned:
        """Where nothing varies, so that every bound gives the same values."""
        eps = self._pass(0.0 if self._targets.max_error is None else self._targets.max_error)
        if self._targets.ratio is not None and self._done[eps].ratio < self._targets.ratio:
            raise UnreachableTargetError(
                f"no bound has a ratio of {self._targets.ratio:g}, as nothing varies: {self._say(eps)}"
            )
        return self._tuned(eps)

    def _loosest(self, nearly: bool = True) -> float:
        """The largest eps that meets the PSNR and the largest error; or ``nearly`` that."""
        most = self._range if self._targets.max_error is None else self._targets.max_error
        if self._targets.psnr is None or most == 0.0:
            return self._pass(most)
        limit = -self._targets.psnr * _DECIBEL
        goal = Goal(limit - nearly * _AIM_PSNR, limit - nearly * _NEAR_PSNR, grows=False)
        sure = goal.shorten(psnr_bound(self._targets.psnr).resolve(*self._span))
        if sure == 0.0:
            return self._pass(0.0)
        most = goal.shorten(most) if self._targets.max_error is None else most
        sure = min(sure, most)
        best = self._approach(goal, min(math.sqrt(3.0) * sure, most), sure, most)
        best = self._pass(sure) if best is None else best
        report = self._done[best]
        exact = not self._meets_quality(best) or report.families == ("lossless",)
        return self._pass(0.0) if exact else best

    def _tightest(self, ratio: float) -> float:
        """The smallest eps that has the ratio."""
        assert self._preview is not None
        if self._preview.look(0.0).ratio * _NEARLY >= ratio and self._done[self._pass(0.0)].ratio >= ratio:
            return 0.0
        limit = math.log(ratio)
        goal = Goal(limit + _AIM_RATIO, limit + _NEAR_RATIO, grows=True, slope=0.5)
        least, most = (goal.shorten(eps) for eps in (max(self._finest, 1e-320), self._range))
        best = self._approach(goal, 1e-3 * self._range, least, most)
        best = self._pass(most) if best is None else best
        if self._done[best].ratio < ratio:
            raise UnreachableTargetError(f"no bound has a ratio of {ratio:g}: {self._say(best)}")
        return 0.0 if best == least and self._done[self._pass(0.0)].ratio >= ratio else best

    def _approach(self, goal: Goal, start: float, least: float, most: float) -> float | None:
        """The best eps for ``goal``, on samples, then on the whole field; None where none will do."""
        assert self._preview is not None
        looks: dict[float, Point] = {}
        guess = eps = min(max(goal.shorten(start), least), most)
        for _ in range(_LOOKS):
            look = self._preview.look(eps)
            value = _log(look.ratio if goal.grows else look.rms)
            if math.isnan(value) or value == math.inf:  # no valid value is among the samples
                break
            looks[eps] = Point(value, value >= goal.aim if goal.grows else value <= goal.aim)
            following = None if goal.reached(looks[eps]) else goal.next_eps(looks, least, most)
            if following is None:
                eps = _first(goal.best(looks), eps)
                break
            eps = following
        if goal.grows and eps == least:  # samples in which nothing happens know nothing
            eps = guess
        hints = [eps for eps in (goal.best(looks), goal.missed(looks)) if eps is not None]
        goal = replace(goal, slope=goal.slope_at(looks))
        tried: dict[float, Point] = {}
        for done in range(1, MORE_PASSES + 1):
            self._pass(eps)
            tried = {eps: self._point(goal, eps) for eps in self._done if eps > 0.0}
            following = None if goal.reached(tried[eps]) else goal.next_eps(tried, least, most, hints)
            best = goal.best(tried)
            fair = best is not None and abs(tried[best].value - goal.aim) <= _FAIR
            if following is None or (fair and done >= PASSES):
                break
            eps = following
        return goal.best(tried)

    def _point(self, goal: Goal, eps: float) -> Point:
        report = self._done[eps]
        if goal.grows:
            assert self._targets.ratio is not None
            return Point(_log(report.ratio), report.ratio >= self._targets.ratio)
        return Point(-report.psnr_floor * _DECIBEL, self._meets_quality(eps))

    def _meets_quality(self, eps: float) -> bool:
        report, psnr, max_error = self._done[eps], self._targets.psnr, self._targets.max_error
        return (psnr is None or report.psnr_floor >= psnr) and (
            max_error is None or report.max_error <= max_error
        )

    def _pass(self, eps: float) -> float:
        """``eps``, of which it is known now what it makes of the whole field."""
        if eps not in self._done:
            self._done[eps] = self._compress(absolute(eps) if eps > 0.0 else lossless())
        return eps

    def _tuned(self, eps: float) -> Tuned:
        report, bound = self._done[eps], absolute(eps) if eps > 0.0 else lossless()
        relative = eps / self._range if self._range > 0.0 else math.nan
        return Tuned(
            bound, eps, report.ratio, report.psnr, report.max_error, relative, passes=len(self._done)
        )

    def _say(self, eps: float) -> str:
        report = self._done[eps]
        return (
            f"{report.bound} has a ratio of {report.ratio:.4g}, a PSNR of {report.psnr:.2f} dB "
            f"and a largest error of {report.max_error:.3g}"
        )


def _first(*candidates: float | None) -> float:
    return next(eps for eps in candidates if eps is not None)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf
