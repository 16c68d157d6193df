"""Which plan a frame has that is to be enhanced: bytes count at equal PSNR, and once it is enhanced.

The plan of the fewest bytes may leave errors that tell little, or are as large as eps where those of another
one, of hardly more bytes, are much smaller. So plans code one tile, offsets are fitted to what that leaves,
and dB are weighed against bytes, at what these gain where eps is smaller. For the encoder alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lossyzip.candidates import kind_of
from lossyzip.decompose.families import Plan
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.learned import enhancement, observations
from lossyzip.learned.corrections import Price

if TYPE_CHECKING:
    from lossyzip.enhancing_pass import Pass

Plans = Callable[[], Sequence[Plan]]
_LARGER = 1.05  # times the tile's bytes: a plan that takes more is none for this eps
_CLEARLY = 0.1  # dB, by which another plan is better: samples do not tell less
_POINTS = 60_000
_FINER = 0.8  # times a wavelet's step


class _Tried(NamedTuple):
    plan: Plan
    times: float  # as many bytes as the frame's own plan takes
    worth: float  # dB, once enhanced, less what bytes are worth
    psnr: float  # dB, once enhanced, of errors as large as eps
    enhanced: bool  # whether that pays


def other_plan(pass_: Pass, plans: Plans, seed: int) -> Plan | None:
    """That of ``plans``, or of wavelets with finer steps than the frame's or theirs, with which the enhanced
    frame takes the fewest bytes at equal PSNR; None if it is the frame's own. It is none with which PSNR
    would be lower than it is without an enhancer."""
    own = pass_.plan
    if own is None:
        return None
    seen, price = pass_.look(pass_.middle()), pass_.price
    if price is None:
        return None
    least = _psnr(seen)
    now = _judged(own, seen, 1.0, price, seed)

    def tried(plan: Plan) -> _Tried | None:
        times, its = pass_.look_with(plan)
        if times > _LARGER:
            return None
        found = _judged(plan, its, times, price, seed)
        return found if found.enhanced and found.psnr > least else None

    found = [now]
    for plan in [own, *(plan for plan in plans() if kind_of(plan) != kind_of(own))]:
        here, grown = now if plan is own else tried(plan), 1.0
        while here is not None:
            found.append(here)
            finer = _finer(here.plan)
            # bytes grow faster and faster: what would be too large if they did as before is not tried
            next_ = None if finer is None or grown * here.times > _LARGER else tried(finer)
            grown = 1.0 if next_ is None else next_.times / here.times
            here = next_ if next_ is not None and next_.worth > here.worth else None
    best = max(found, key=lambda one: one.worth)
    return best.plan if best.worth > now.worth + _CLEARLY else None


def _judged(plan: Plan, seen: observations.Seen, times: float, price: Price, seed: int) -> _Tried:
    rng = np.random.default_rng(seed)
    sample = observations.draw(seen, observations.view_of(seen, rng), _POINTS, rng)
    its_price = price._replace(stream_bytes=round(times * price.stream_bytes))
    made = enhancement.train(sample, its_price, ("offsets",), 0.0, seed)
    gain, net = (0.0, 0.0) if made is None else (made.gain, made.net)
    plain = _psnr(seen)
    worth = plain + net - price.decibels * 100.0 * math.log(times)
    return _Tried(plan, times, worth, plain + gain, made is not None)


def _psnr(seen: observations.Seen) -> float:
    flat, _ = seen.drawn(seen.decoded.size, np.random.default_rng(0))
    square = float(np.square(seen.errors(flat), dtype=np.float64).mean()) if flat.size else 0.0
    return -10.0 * math.log10(square) if square > 0.0 else math.inf


def _finer(plan: Plan) -> Plan | None:
    if not isinstance(plan, Wavelet) or plan.step < 2:
        return None
    return replace(plan, step=math.floor(_FINER * plan.step))
