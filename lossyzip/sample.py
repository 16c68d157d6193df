"""Samples of fields, coded in trial: the judge of what helps what (learned/relations.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lossyzip import trial
from lossyzip.bound import Bound, absolute, lossless
from lossyzip.container.guided import FROM_NETWORK
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS, ROUGH
from lossyzip.field import Source, valid_range
from lossyzip.grid import common, onto
from lossyzip.guide import checksum
from lossyzip.learned.network import Network
from lossyzip.learned.relations import Given, blocks_of, cut, useful

_LOOKS = 3  # a field, at most; one at fields that are samples of themselves, where more gain next to nothing
_PATCHES = 10_000  # to train with
_TAPPED = 4  # references for taps to reach into
_SCANT = 2_000  # bytes of a part of a field: fewer say little
_WORTH, _WORTH_OF_ALL = 0.02, 0.005  # of a sample's bytes, that references must save; of a whole field's


class Sample:
    """Samples of fields, coded in trial: the judge of what helps what (learned/relations.py).

    ``seconds``: nominal ones, of training for all ``looks`` that may be taken; 0.0: without networks.
    """

    def __init__(
        self,
        fields: Mapping[str, Source],
        bounds: Mapping[str, Bound],
        seed: int,
        seconds: float,
        options: Mapping[str, Any],
    ) -> None:
        fills = options.get("fill_values", ())
        shape = common(field.shape for field in fields.values())
        blocks = blocks_of(shape, seed)
        self._fields = [cut(field, shape, blocks) for field in fields.values()]
        self._eps = [bounds[name].resolve(*valid_range(field, fills)) for name, field in fields.items()]
        self._bounds = [absolute(eps) if eps > 0.0 else lossless() for eps in self._eps]
        self._times = math.prod(shape) / self._fields[0].size
        effort = EFFORTS["balanced"] if blocks is None else replace(ROUGH, times=self._times)
        self._worth = _WORTH_OF_ALL if blocks is None else _WORTH
        self._options = {**trial.not_enhanced(options), "effort": effort}
        self.looks = len(fields) * (1 if blocks is None else _LOOKS)
        self._seconds = seconds / self.looks
        self._seed = seed
        plain = zip(self._fields, self._bounds, strict=True)
        self._plain = [trial.compressed(field, bound, None, self._options).frame for field, bound in plain]
        self._decoded = [trial.decoded(frame, [], options.get("threads")) for frame in self._plain]

    def given(self, k: int, known: frozenset[int]) -> Given:
        """The bytes of field k, where those ``known`` are there as they are decoded alone.

        Taps reach into them and into what a network makes of them, so that one trial says what all of it is
        worth.
        """
        best = Given(self._bytes(self._plain[k]), frozenset())
        if not known:
            return best
        alone = best.bytes
        field, bound, others = self._fields[k], self._bounds[k], sorted(known)
        arrays = [self._decoded[j] for j in others]
        by_network = by_taps = None
        if self._seconds > 0.0 and trial.worth_a_network(best.bytes):
            told = trial.told_by(field, bound, arrays, range(len(others)), self._options, _TAPPED)
            how: dict[str, Any] = {"subtracted": told is None, "patches": _PATCHES}
            about = self._seconds, self._seed, self._options
            by_network = trial.guided(field, bound, arrays, told, *about, **how)
        if by_network is None or self._times == 1.0:  # else a network is next to nothing
            told = trial.told_by(field, bound, arrays, (), self._options, _TAPPED)
            by_taps = trial.tapped(field, bound, told, self._options)
        reached = set() if by_taps is None else _reached(by_taps, arrays)
        for one in (by_network, by_taps):
            if one is not None and self._bytes(one.frame) <= min((1.0 - self._worth) * alone, best.bytes):
                used = _reached(one, arrays)
                if one is by_network:  # whose taps may take back what it makes of noise
                    used = self._seen(k, one, arrays) | (used & reached if by_taps is not None else used)
                best = Given(self._bytes(one.frame), frozenset(others[j] for j in used))
        return best

    def is_scant(self, k: int) -> bool:
        """Whether the sample of field k is too small to say that nothing helps it."""
        return self._times > 1.0 and len(self._plain[k]) < _SCANT

    def _seen(self, k: int, found: trial.Trial, arrays: Sequence[np.ndarray]) -> set[int]:
        """Which of ``arrays`` tell the network of ``found`` something of field k."""
        guided = Frame.of_bytes(found.frame).guided
        if guided is None or not isinstance(guided.network, bytes) or not guided.network:
            return set()
        target = trial.valid_only(self._fields[k], self._options.get("fill_values", ()))
        moved = [onto(other, target.shape) for other in arrays]
        return set(useful(Network.from_bytes(guided.network).guide, target, moved, self._eps[k]))

    def _bytes(self, frame: bytes) -> float:
        """About those of the field, when its sample takes ``frame``."""
        once = len(frame) - Frame.of_bytes(frame).tile_bytes
        return once + self._times * (len(frame) - once)


def _reached(found: trial.Trial, arrays: Sequence[np.ndarray]) -> set[int]:
    """Which of ``arrays`` taps of ``found`` reach into, or tell where special values are."""
    guided = Frame.of_bytes(found.frame).guided
    if guided is None:
        return set()
    needed = {guided.references[tap.reference] for tap in guided.taps if tap.reference != FROM_NETWORK}
    if guided.mask is not None:
        needed.add(guided.references[guided.mask])
    return {j for j, array in enumerate(arrays) if checksum(array) in needed}
