"""A second pass for another objective than PSNR: how much values should move is tried.

What lowers the mean square most is not best for a power spectrum: estimates of errors know less of short
waves, and leave them too weak. So enhancers that are trained for the mean square are weakened in steps, and
judged by the objective on a part of a tile: what it gains there, less what their bytes would gain if eps were
smaller. The whole field has the last word: the objective is better than without, or nothing is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, Any

import numpy as np

from lossyzip import enhancement, field
from lossyzip.carrier import Guiding
from lossyzip.compressor import Written
from lossyzip.container.enhanced import Objective
from lossyzip.enhancing import Enhancing
from lossyzip.enhancing_pass import Pass
from lossyzip.learned import enhancement as training
from lossyzip.learned.enhancer import Enhancer

_STRENGTHS = (1.0, 0.8, 0.6, 0.45, 0.3, 0.15)  # of corrections
_PRICES = (1.0, 0.3)  # of marks: a bit more or less of what PSNR is worth
_PART = 1 << 19  # values of a tile, for trials
_TRIES = 3  # with the whole field


class Aimed(Pass):
    """The pass, for the objective that was asked for."""

    def __init__(self, job: Any, plain: Written, spool: IO[bytes], asked: Enhancing) -> None:
        super().__init__(job, plain, spool, asked.objective)
        self._asked = asked
        self._slope = 0.0  # how fast the logarithm of the objective falls with that of bytes

    def candidates(self) -> list[Enhancer]:
        """Those that pay in part of a tile, the best first."""
        if self._asked.ready is not None:
            self.look(self.middle())
            ready = [Enhancer.from_bytes(self._asked.ready.enhancer)]
            return [enhancer for score, enhancer in self._judged(ready, (1.0,)) if score < 0.0]
        sample, seconds = self._sample(self._asked)
        if self._price is None or self._finer is None:
            return []
        prices = [self._price._replace(decibels=part * self._price.decibels) for part in _PRICES]
        found = training.trained(sample, prices, self._asked.kinds, seconds, self._asked.seed)
        judged = sorted(self._judged([one.enhancer for one in found], _STRENGTHS), key=lambda one: one[0])
        return [enhancer for score, enhancer in judged if score < 0.0][:_TRIES]

    def _judged(
        self, enhancers: list[Enhancer], strengths: Sequence[float]
    ) -> Iterator[tuple[float, Enhancer]]:
        """(logarithm of what is left of the objective, when bytes are paid; enhancer)"""
        assert self._finer is not None
        number = self.middle()
        tile, guiding, grown = self._reader.tile(number), self._guide(number), self._finer[0]
        decoded, box = self._decoded(number, guiding, tile), _middle_of(self._where[number])
        part, original = decoded[box], self._original(number)[box]
        guiding = _part_of(guiding, decoded.shape, box)
        before = self._objective.value(self._sums(original, part))
        finer = self._objective.value(self._sums(original, self._finer[1][box]))
        if not before > 0.0:
            return
        if 0.0 < finer < before and grown > 1.0:
            self._slope = math.log(before / finer) / math.log(grown)
        payload = len(tile.payload) * part.size / decoded.size
        wanted = field.native(np.ma.getdata(original))
        patterns = field.special_patterns(self._header.part, self._job.fill_values)
        for whole in enhancers:
            for strength in strengths:
                corrections = tuple(round(strength * c) for c in whole.corrections)
                enhancer = replace(whole, corrections=corrections)
                moves = enhancement.Moves(part, self._header, enhancer, guiding)
                marks = enhancement.mark(moves, wanted, self._header.eps, patterns)
                after = self._objective.value(self._sums(original, enhancement.apply(part, moves, marks)))
                more = len(enhancement.pack_marks(moves, marks)) / payload
                more += len(enhancer.to_bytes()) / self._written.size
                if after > 0.0:
                    yield self._score(before, after, 1.0 + more), enhancer

    def _score(self, before: float, after: float, grown: float) -> float:
        return math.log(after / before) + self._slope * math.log(grown)

    def _pays(self, gain: float, before: float, after: float, size: int) -> bool:
        better = 0.0 < after < before
        return better and self._score(before, after, size / self._written.size) < 0.0

    def _told(self, before: float, after: float) -> Objective:
        return Objective(self._asked.objective, before, after)


def _middle_of(where: tuple[slice, ...]) -> tuple[slice, ...]:
    """The middle of a tile, of at most `_PART` values."""
    lengths = [s.stop - s.start for s in where]
    whole = list(lengths)
    while math.prod(lengths) > _PART:
        longest = lengths.index(max(lengths))
        lengths[longest] = -(-lengths[longest] // 2)
    return tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(whole, lengths, strict=True))


def _part_of(guiding: Guiding, shape: tuple[int, ...], box: tuple[slice, ...]) -> Guiding:
    subtracted, beside = guiding.subtracted, guiding.beside
    return Guiding(
        None if subtracted is None else subtracted.reshape(shape)[box].reshape(-1),
        None if beside is None else np.stack([one.reshape(shape)[box].reshape(-1) for one in beside]),
    )
