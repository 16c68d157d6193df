"""Samples of fields, coded in trial: the judge of what helps what (learned/relations.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lossyzip import trial
from lossyzip.bound import Bound, absolute, lossless
from lossyzip.grid import common, onto
from lossyzip.learned.relations import Given, blocks_of, cut, useful

if TYPE_CHECKING:
    from lossyzip.field import Source

_LEAST_SECONDS = 0.1  # of training, for one look
_WORTH = 0.02  # of a sample's bytes, that references must save to count as such


class Sample:
    """Samples of fields, coded in trial: the judge of what helps what (learned/relations.py)."""

    def __init__(
        self,
        fields: Mapping[str, Source],
        bounds: Mapping[str, Bound],
        seed: int,
        seconds: float,
        options: Mapping[str, Any],
    ) -> None:
        from lossyzip.field import valid_range

        self._options = {**trial.not_enhanced(options), "effort": "balanced"}
        fills = options.get("fill_values", ())
        shape = common(field.shape for field in fields.values())
        blocks = blocks_of(shape, seed)
        self.in_part = blocks is not None  # else samples are all that there is
        self._fields = [cut(field, shape, blocks) for field in fields.values()]
        self._eps = [bounds[name].resolve(*valid_range(field, fills)) for name, field in fields.items()]
        self._bounds = [absolute(eps) if eps > 0.0 else lossless() for eps in self._eps]
        self._times = math.prod(shape) / self._fields[0].size
        self._trains = seconds > 0.0
        self._seconds = max(seconds / (len(fields) * len(fields)), _LEAST_SECONDS)
        self._seed = seed
        plain = zip(self._fields, self._bounds, strict=True)
        self._plain = [trial.compressed(field, bound, None, self._options).frame for field, bound in plain]
        self._decoded = [trial.decoded(frame, [], options.get("threads")) for frame in self._plain]

    def given(self, k: int, known: frozenset[int]) -> Given:
        from lossyzip.learned.network import Network

        best = Given(self._times * len(self._plain[k]), frozenset())
        if not known:
            return best
        enough = (1.0 - _WORTH) * best.bytes
        field, bound, others = self._fields[k], self._bounds[k], sorted(known)
        arrays = [self._decoded[j] for j in others]
        tapped = trial.tapped(
            field, bound, trial.told_by(field, bound, arrays, (), self._options), self._options
        )
        if tapped is not None and self._times * len(tapped.frame) < enough:
            used = trial.used_of(tapped.frame, dict(zip(others, arrays, strict=True)))
            best = Given(self._times * len(tapped.frame), frozenset(used))
        if not self._trains or not trial.worth_a_network(self._times * len(self._plain[k])):
            return best
        guided = trial.guided(field, bound, arrays, None, self._seconds, self._seed, self._options)
        if guided is None:
            return best
        network = guided.network
        taken = self._times * (len(guided.frame) - len(network)) + len(network)
        if taken >= min(best.bytes, enough):
            return best
        target = trial.valid_only(field, self._options.get("fill_values", ()))
        moved = [onto(other, target.shape) for other in arrays]
        of_use = useful(Network.from_bytes(network).guide, target, moved, self._eps[k])
        return Given(taken, frozenset(others[j] for j in of_use))
