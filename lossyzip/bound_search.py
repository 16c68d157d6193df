"""The bound that meets a PSNR, a ratio or a largest error: found on samples, confirmed on the whole field.

Both errors and ratios grow with eps, nearly along a line in logarithms. So eps is moved by secants, first on
samples, which cost next to nothing (preview.py), then through compressions of the whole field, each through
the door: what a `Tuned` says is what was decoded and counted there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, NamedTuple

import numpy as np

from lossyzip import field, tuning
from lossyzip.bound import Bound, absolute, lossless
from lossyzip.bound import psnr as psnr_bound
from lossyzip.compressor import FieldReport, compress_field
from lossyzip.errors import InvalidArgumentError, UnreachableTargetError
from lossyzip.field import Source
from lossyzip.preview import Preview
from lossyzip.threads import thread_count

PASSES, MORE_PASSES = 5, 8  # over the whole field at most, for a target; more where all are far from it
_LOOKS = 12  # at samples
_DIGITS = 3  # of eps, so that it is pleasant to read
_DECIBEL = math.log(10.0) / 20.0
_NEAR_PSNR, _AIM_PSNR = 0.1 * _DECIBEL, 0.04 * _DECIBEL  # beyond the target
_NEAR_RATIO, _AIM_RATIO = math.log(1.02), math.log(1.007)
_LEAST_SLOPE, _MOST_SLOPE, _FAR, _FARTHEST = 0.05, 3.0, math.log(4.0), math.log(64.0)
_APART, _LEAP, _FAIR = math.log(1.08), math.log(2.0), math.log(1.1)
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
    fill_values: Iterable[float] = (),
    progress: Callable[[int], Any] | None = None,
) -> Tuned:
    """`lossyzip.tune` for what `compress_field` takes; ``progress`` is told of the values of each pass.

    The source is read a few times, tile by tile, from the calling thread.
    """
    if effort not in tuning.EFFORTS:
        raise InvalidArgumentError(f"effort {effort!r} is unknown; one of {', '.join(tuning.EFFORTS)}")
    dtype, fills, workers = field.check_supported(source), tuple(fill_values), thread_count(threads)
    tiles = (np.asarray(source[place]) for place in field.tile_slices(tuple(source.shape)))
    summary = field.summarize(tiles, dtype, fills, workers)
    span = (summary.low, summary.high) if summary.low <= summary.high else (0.0, 0.0)

    def compress(bound: Bound) -> FieldReport:
        options: dict[str, Any] = {"effort": effort, "threads": threads, "fill_values": fills}
        return compress_field(source, bound, lambda _: None, progress=progress, **options)

    if span[0] == span[1]:
        return _Search(targets, span, dtype, compress, None).any_eps()
    preview = Preview(source, summary, fills, tuning.EFFORTS[effort], workers)
    return _Search(targets, span, dtype, compress, preview).run()


class _Point(NamedTuple):
    """What was found at an eps: the logarithm of a quantity that grows with it, and whether that will do."""

    value: float
    met: bool


@dataclass(frozen=True)
class _Goal:
    """The largest eps at which a quantity is at most so large; with ``grows``, the smallest at which it is
    at least so large. Logarithms: ``aim`` at this; a value that will do is ``enough`` if it is no farther."""

    aim: float
    enough: float
    grows: bool
    slope: float = 1.0  # of the quantity along eps, as long as two points do not say

    def reached(self, point: _Point) -> bool:
        return point.met and (point.value <= self.enough if self.grows else point.value >= self.enough)

    def best(self, tried: Mapping[float, _Point]) -> float | None:
        met = [eps for eps, point in tried.items() if point.met]
        return (min(met) if self.grows else max(met)) if met else None

    def missed(self, tried: Mapping[float, _Point]) -> float | None:
        """The nearest eps beyond the best one that does not do."""
        best = self.best(tried)
        missed = [eps for eps, point in tried.items() if not point.met]
        if best is not None:
            missed = [eps for eps in missed if (eps < best) == self.grows]
        return (max(missed) if self.grows else min(missed)) if missed else None

    def next_eps(
        self, tried: Mapping[float, _Point], least: float, most: float, hints: Sequence[float] = ()
    ) -> float | None:
        """Where to try next, in few digits; None: there is nothing between, or beyond.

        ``hints``: where samples were on this and on that side of the target. A value that is far from it
        nevertheless means that the quantity leaps there.
        """
        best, missed = self.best(tried), self.missed(tried)
        if best is not None and missed is not None:
            low, high = sorted((best, missed))
            eps = self.shorten(low * math.exp(self._share(tried[low], tried[high]) * math.log(high / low)))
            eps = min(max(eps, neighbour(low, up=True)), neighbour(high, up=False))
            return eps if low < eps < high else None
        known = best if best is not None else missed
        assert known is not None
        up = (best is not None) != self.grows
        if known >= most if up else known <= least:
            return None
        distance = self.aim - tried[known].value
        beyond = [eps for eps in hints if eps != known and (eps > known) == up]
        if abs(distance) > _LEAP and beyond:
            eps = min(beyond) if up else max(beyond)
        else:
            steps, most_steps = distance / self.slope_at(tried), _FAR if hints else _FARTHEST
            eps = known * math.exp(min(max(steps, -most_steps), most_steps))
        eps = self.shorten(eps)
        eps = max(eps, neighbour(known, up=True)) if up else min(eps, neighbour(known, up=False))
        return min(max(eps, least), most)

    def shorten(self, eps: float) -> float:
        """``eps`` in few digits, rounded to where the target is met rather."""
        return shorten(eps, up=self.grows)

    def slope_at(self, tried: Mapping[float, _Point]) -> float:
        """Along the two points nearest to the aim that are not so close that all is noise."""
        finite = [(eps, point.value) for eps, point in tried.items() if math.isfinite(point.value)]
        near = sorted(finite, key=lambda pair: abs(pair[1] - self.aim))
        for eps, value in near[1:]:
            along = math.log(eps / near[0][0])
            if abs(along) >= _APART:
                slope = (value - near[0][1]) / along
                return slope if _LEAST_SLOPE <= slope <= _MOST_SLOPE else self.slope
        return self.slope

    def _share(self, low: _Point, high: _Point) -> float:
        """How far the aim is on the way from one point to the other."""
        if not (math.isfinite(low.value) and math.isfinite(high.value) and low.value < high.value):
            return 0.5
        return min(max((self.aim - low.value) / (high.value - low.value), 0.1), 0.9)


class _Search:
    """For ``targets``, in a field whose valid values have a ``span``. ``compress`` goes over all of it."""

    def __init__(
        self,
        targets: Targets,
        span: tuple[float, float],
        dtype: np.dtype,
        compress: Callable[[Bound], FieldReport],
        preview: Preview | None,
    ) -> None:
        self._targets, self._span, self._compress, self._preview = targets, span, compress, preview
        self._range = min(span[1] - span[0], float(np.finfo(np.float64).max) / 128.0)
        self._finest = self._range * float(np.finfo(dtype).eps) ** 2
        self._done: dict[float, FieldReport] = {}

    def run(self) -> Tuned:
        ratio = self._targets.ratio
        if ratio is None:
            return self._tuned(self._loosest())
        tightest = self._tightest(ratio)
        if self._meets_quality(tightest):
            return self._tuned(tightest)
        loosest = self._loosest()
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

    def _loosest(self) -> float:
        """The largest eps that meets the PSNR and the largest error."""
        most = self._range if self._targets.max_error is None else self._targets.max_error
        if self._targets.psnr is None or most == 0.0:
            return self._pass(most)
        aim = -self._targets.psnr * _DECIBEL - _AIM_PSNR
        goal = _Goal(aim, aim + _AIM_PSNR - _NEAR_PSNR, grows=False)
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
        aim = math.log(ratio) + _AIM_RATIO
        goal = _Goal(aim, aim - _AIM_RATIO + _NEAR_RATIO, grows=True, slope=0.5)
        least, most = (goal.shorten(eps) for eps in (max(self._finest, 1e-320), self._range))
        best = self._approach(goal, 1e-3 * self._range, least, most)
        best = self._pass(most) if best is None else best
        if self._done[best].ratio < ratio:
            raise UnreachableTargetError(f"no bound has a ratio of {ratio:g}: {self._say(best)}")
        return 0.0 if best == least and self._done[self._pass(0.0)].ratio >= ratio else best

    def _approach(self, goal: _Goal, start: float, least: float, most: float) -> float | None:
        """The best eps for ``goal``, on samples, then on the whole field; None where none will do."""
        assert self._preview is not None
        looks: dict[float, _Point] = {}
        eps: float | None = min(max(goal.shorten(start), least), most)
        while eps is not None and len(looks) < _LOOKS:
            look = self._preview.look(eps)
            value = _log(look.ratio if goal.grows else look.rms)
            if math.isnan(value):  # samples without a valid value
                break
            looks[eps] = _Point(value, value >= goal.aim if goal.grows else value <= goal.aim)
            if goal.reached(looks[eps]):
                break
            eps = goal.next_eps(looks, least, most)
        start = _first(eps, goal.best(looks), goal.missed(looks))
        hints = [eps for eps in (goal.best(looks), goal.missed(looks)) if eps is not None]
        goal = replace(goal, slope=goal.slope_at(looks))
        tried: dict[float, _Point] = {}
        eps = start
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

    def _point(self, goal: _Goal, eps: float) -> _Point:
        report = self._done[eps]
        if goal.grows:
            assert self._targets.ratio is not None
            return _Point(_log(report.ratio), report.ratio >= self._targets.ratio)
        return _Point(-report.psnr_floor * _DECIBEL, self._meets_quality(eps))

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


def shorten(eps: float, up: bool) -> float:
    """``eps`` > 0 in three significant decimal digits, rounded up or down."""
    context = Context(prec=_DIGITS, rounding=ROUND_CEILING if up else ROUND_FLOOR)
    return float(context.create_decimal(Decimal(eps)))


def neighbour(eps: float, up: bool) -> float:
    """The next number of three significant digits above or below ``eps``."""
    for beyond in (1.0, 1.002, 1.02):
        short = shorten(eps * beyond if up else eps / beyond, up)
        if short > eps if up else short < eps:
            return short
    return math.nextafter(eps, math.inf if up else 0.0)


def _first(*candidates: float | None) -> float:
    return next(eps for eps in candidates if eps is not None)


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else -math.inf
