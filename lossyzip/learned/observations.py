"""Observations: points of decoded tiles, what an enhancer sees there, and what it should find.

For the encoder alone; knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lossyzip.container.guided import FROM_NETWORK
from lossyzip.learned import filter_fitting
from lossyzip.learned.enhancer import MOST_GUIDES
from lossyzip.learned.filtering import Filter
from lossyzip.learned.neighbourhood import folded
from lossyzip.learned.terms import OWN, REACH, Feature, gather, stacked, useful

POINTS = 250_000  # in all


class View(NamedTuple):
    """What an enhancer sees beside decoded values: see `Enhancer`."""

    guides: tuple[int, ...] = ()
    filter: Filter | None = None


@dataclass(frozen=True)
class Sample:
    """Points of decoded tiles: what an enhancer sees there, and what it should find."""

    view: View
    kinds: list[Feature]
    features: np.ndarray  # (points, kinds) float32
    errors: np.ndarray  # (points,) float32: (original - decoded) / eps
    usable: float  # share of all values that are like these, and not void

    def only(self, columns: Sequence[int]) -> Sample:
        """The same without other features, and without planes that have none left."""
        kinds, view = [self.kinds[k] for k in columns], self.view
        planes = {kind.plane for kind in kinds}
        if len(view.guides) + 1 not in planes:
            kept = [k for k in range(len(view.guides)) if k + 1 in planes]
            view = View(tuple(view.guides[k] for k in kept))
            kinds = [Feature(kept.index(p - 1) + 1 if p else 0, kind) for p, kind in kinds]
        return replace(self, view=view, kinds=kinds, features=self.features[:, columns])


class Seen(NamedTuple):
    """A decoded tile, and what lies beside it: see `Enhancer.classes`; and its original."""

    decoded: np.ndarray
    original: np.ndarray
    void: np.ndarray | None
    low: float
    eps: float
    guides: Mapping[int, np.ndarray]

    def planes(self, view: View) -> np.ndarray:
        full = folded(self.decoded.shape)
        void = None if self.void is None else self.void.reshape(full)
        planes = stacked(self.decoded.reshape(full), void, self.low, self.eps, view.guides, self.guides)
        return planes if view.filter is None else np.concatenate([planes, view.filter.plane(planes)[None]])

    def drawn(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """(flat places of about ``count`` values that are not void and whose original is finite, the share of
        these)"""
        size = self.decoded.size
        flat = rng.permutation(size)[: 2 * count] if size > count else np.arange(size)
        usable = np.isfinite(self.original.reshape(-1)[flat])
        if self.void is not None:
            usable &= ~self.void.reshape(-1)[flat]
        return flat[usable][:count], float(usable.mean())

    def first(self, flat: np.ndarray) -> np.ndarray:
        """Where values are in the first plane."""
        full = folded(self.decoded.shape)
        number, *near = np.unravel_index(flat, full)
        padded = (full[0], *(n + 2 * REACH for n in full[1:]))
        return np.ravel_multi_index((number, *(at + REACH for at in near)), padded)

    def errors(self, flat: np.ndarray) -> np.ndarray:
        errors = self.original.reshape(-1)[flat].astype(np.float64) - self.decoded.reshape(-1)[flat]
        return (errors / self.eps).astype(np.float32)


def view_of(seen: Seen, rng: np.random.Generator) -> View:
    """All that may tell something of values like these: guides, and a filter of them."""
    guides = tuple(sorted(seen.guides, key=lambda number: number != FROM_NETWORK)[:MOST_GUIDES])
    (flat, _), planes = seen.drawn(filter_fitting.POINTS, rng), seen.planes(View(guides))
    kinds = useful(folded(seen.decoded.shape)[1:])
    with threadpool_limits(1):
        made = filter_fitting.fitted(planes, seen.first(flat), seen.errors(flat), kinds, guides)
    return View(guides, made)


def draw(seen: Seen, view: View, count: int, rng: np.random.Generator) -> Sample:
    """About ``count`` points of a tile."""
    flat, share = seen.drawn(count, rng)
    kinds, guides = useful(folded(seen.decoded.shape)[1:]), len(view.guides)
    features = [Feature(0, kind) for kind in kinds]
    features += [Feature(k + 1, OWN) for k, number in enumerate(view.guides) if number == FROM_NETWORK]
    if view.filter is not None:
        features += [Feature(guides + 1, kind) for kind in [*kinds, OWN]]
    found = gather(seen.planes(view), features, seen.first(flat), view.filter is not None)
    return Sample(view, features, found, seen.errors(flat), share)


def joined(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    """One sample, in random order; tiles differ in the kinds that are useful only where one is flat."""
    kinds = min((sample.kinds for sample in samples), key=len)
    of_all = [sample.features[:, [sample.kinds.index(k) for k in kinds]] for sample in samples]
    errors = np.concatenate([sample.errors for sample in samples])
    order = rng.permutation(errors.size)
    share = sum(sample.usable for sample in samples) / len(samples)
    return Sample(samples[0].view, kinds, np.concatenate(of_all)[order], errors[order], share)
