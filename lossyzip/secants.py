"""Where to look next for the eps at which a quantity has a value: secants in logarithms. Knows no fields.

What grows with eps (errors, ratios) is nearly a line there. But it is not smooth: where from one eps to the
next another plan is chosen, it leaps, also back. So of all that was tried the best is kept, and what is
looked at next lies between it and the nearest that will not do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import NamedTuple

_DIGITS = 3  # of eps, so that it is pleasant to read
_LEAST_SLOPE, _MOST_SLOPE = 0.05, 3.0
FAR, _FARTHEST = math.log(16.0), math.log(64.0)  # beyond what was tried, with and without hints
_APART, LEAP = math.log(1.08), math.log(2.0)


class Point(NamedTuple):
    """What was found at an eps: the logarithm of a quantity that grows with it, and whether that will do."""

    value: float
    met: bool


@dataclass(frozen=True)
class Goal:
    """The largest eps at which a quantity is at most so large; with ``grows``, the smallest at which it is
    at least so large. Logarithms: ``aim`` at this; a value that will do is ``enough`` if it is no farther."""

    aim: float
    enough: float
    grows: bool
    slope: float = 1.0  # of the quantity along eps, as long as two points do not say

    def reached(self, point: Point) -> bool:
        return point.met and (point.value <= self.enough if self.grows else point.value >= self.enough)

    def best(self, tried: Mapping[float, Point]) -> float | None:
        met = [eps for eps, point in tried.items() if point.met]
        return (min(met) if self.grows else max(met)) if met else None

    def missed(self, tried: Mapping[float, Point]) -> float | None:
        """The nearest eps beyond the best one that does not do."""
        best = self.best(tried)
        missed = [eps for eps, point in tried.items() if not point.met]
        if best is not None:
            missed = [eps for eps in missed if (eps < best) == self.grows]
        return (max(missed) if self.grows else min(missed)) if missed else None

    def next_eps(
        self, tried: Mapping[float, Point], least: float, most: float, hints: Sequence[float] = ()
    ) -> float | None:
        """Where to try next, in few digits; None: there is nothing between, or beyond.

        ``hints``: where samples were on this and on that side of the target. A value that is far from it
        nevertheless means that the quantity leaps there.
        """
        best, missed = self.best(tried), self.missed(tried)
        if best is not None and missed is not None:
            low, high = sorted((best, missed))
            whole_way = math.log(high) - math.log(low)
            eps = self.shorten(low * math.exp(self._share(tried[low], tried[high]) * whole_way))
            eps = min(max(eps, neighbour(low, up=True)), neighbour(high, up=False))
            return eps if low < eps < high else None
        known = best if best is not None else missed
        assert known is not None
        up = (best is not None) != self.grows
        if known >= most if up else known <= least:
            return None
        distance = self.aim - tried[known].value
        beyond = [eps for eps in hints if eps != known and (eps > known) == up]
        if abs(distance) > LEAP and beyond:
            eps = min(beyond) if up else max(beyond)
        else:
            steps, most_steps = distance / self.slope_at(tried), FAR if hints else _FARTHEST
            eps = known * math.exp(min(max(steps, -most_steps), most_steps))
        eps = self.shorten(eps)
        eps = max(eps, neighbour(known, up=True)) if up else min(eps, neighbour(known, up=False))
        return min(max(eps, least), most)

    def shorten(self, eps: float) -> float:
        """``eps`` in few digits, rounded to where the target is met rather."""
        return shorten(eps, up=self.grows)

    def slope_at(self, tried: Mapping[float, Point]) -> float:
        """Along the two points nearest to the aim that are not so close that all is noise."""
        finite = [(eps, point.value) for eps, point in tried.items() if math.isfinite(point.value)]
        near = sorted(finite, key=lambda pair: abs(pair[1] - self.aim))
        for eps, value in near[1:]:
            along = math.log(eps) - math.log(near[0][0])
            if abs(along) >= _APART:
                slope = (value - near[0][1]) / along
                return slope if _LEAST_SLOPE <= slope <= _MOST_SLOPE else self.slope
        return self.slope

    def _share(self, low: Point, high: Point) -> float:
        """How far the aim is on the way from one point to the other."""
        if not (math.isfinite(low.value) and math.isfinite(high.value) and low.value < high.value):
            return 0.5
        return min(max((self.aim - low.value) / (high.value - low.value), 0.1), 0.9)


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
