"""Raw guides: a reference's values on the target's scale, for the taps of its stencils to reach into.

Linear, or on a logarithmic scale where a reference has long tails. Steps of float64 that every machine rounds
alike. docs/FORMAT.md, "Raw guides".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lossyzip.container.guided import FROM_NETWORK, MOST_RAW_GUIDES, RawGuide, upper_half
from lossyzip.logarithms import log2

_LONG_TAIL = 12.0  # half the span, in units of the mean deviation


def values_of(raw: RawGuide, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The guide that ``raw`` makes of ``values``, in ``dtype``; 0 where these mean nothing."""
    with np.errstate(all="ignore"):
        t = np.ldexp(values.astype(np.float64) - raw.centre, raw.inverse)
        t[~(np.abs(t) <= math.ldexp(1.0, min(raw.limit, 1000)))] = 0.0
        if raw.curved:
            logs = log2(1.0 + np.abs(t).reshape(-1)).reshape(t.shape)
            t = np.ldexp(np.copysign(logs, t), raw.gain)
        out = t.astype(dtype)
        out[~np.isfinite(out)] = 0.0
    return out


def proposed(
    target: np.ndarray, references: Mapping[int, np.ndarray], fills: Sequence[float]
) -> tuple[RawGuide, ...]:
    """Guides that may tell something of a field, of each of the numbered ``references``. Of all these, rows
    from all over them (flat, parts.py): ``target`` has NaN where there is no value."""
    roughness = _roughness(target)
    found: list[RawGuide] = []
    curved: list[RawGuide] = []
    for number, seen in references.items():
        known = np.where(np.isin(seen, np.array(fills, seen.dtype)), np.nan, seen.astype(np.float64))
        valid = known[np.isfinite(known)]
        if not valid.size or not roughness > 0.0 or not _roughness(known) > 0.0:
            continue
        middle = float(np.median(valid))
        away = max(float(valid.max()) - middle, middle - float(valid.min()))
        spread = float(np.abs(valid - middle).mean())
        if not 0.0 < spread < away < 1e300:
            continue
        linear = _exponent(roughness / _roughness(known))
        found.append(_raw(number, middle, linear, away))
        if away > _LONG_TAIL * spread:
            inverse = _exponent(1.0 / max(float(np.median(np.abs(valid - middle))), 1e-3 * spread))
            bent = _raw(number, middle, inverse, away, True)
            rough = _roughness(values_of(bent, known, np.dtype(np.float64)))
            if rough > 0.0:
                curved.append(bent._replace(gain=_exponent(roughness / rough)))
    return tuple(found + curved)[: MOST_RAW_GUIDES - 1]


def from_network(rows: np.ndarray, low: float, high: float) -> tuple[RawGuide, ...]:
    """What the network makes, as a guide for taps: it is on the target's scale already. ``rows`` of that,
    and its span."""
    middle = float(np.median(rows))
    away = max(high - middle, middle - low)
    return (_raw(FROM_NETWORK, middle, 0, away),) if 0.0 < away < 1e300 else ()


def _raw(number: int, middle: float, inverse: int, away: float, curved: bool = False) -> RawGuide:
    (centre,) = np.frombuffer(bytes(4) + upper_half(middle), "<f8")
    limit = (
        math.frexp(away + abs(middle - float(centre)))[1] + inverse + 1
    )  # decoded values stray by their eps
    return RawGuide(number, curved, float(centre), inverse, limit)


def _exponent(ratio: float) -> int:
    return round(math.log2(ratio)) if 0.0 < ratio < math.inf else 0


def _roughness(values: np.ndarray) -> float:
    """The mean magnitude of differences between neighbours."""
    with np.errstate(all="ignore"):
        steps = np.abs(np.diff(values.astype(np.float64)))
        steps = steps[np.isfinite(steps)]
        return float(steps.mean()) if steps.size else 0.0
