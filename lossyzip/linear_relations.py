"""Which references tell something linear of a field: a quick look, for the guides that taps reach into.

Of a block of all fields wavelet coefficients are taken, in which noise and details of one scale are apart;
what other fields' coefficients of a scale leave of the target's, by least squares, says about what bits they
save.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossyzip.decompose.fold import Fold, fold
from lossyzip.decompose.lifting import transform
from lossyzip.decompose.wavelet import bands, splits
from lossyzip.entropy import lossless
from lossyzip.field import Source, tile_slices

_BLOCK = 1 << 18
_MOST, _AT_LEAST = 4, 2  # references
_WORTH = 0.004  # of the bits, that one must save
_ROUNDS = 3
_SEEN = 1 << 13  # coefficients of a group that are looked at, about
_MASK_BYTES = 32  # that knowing a mask must save


def promising(target: Source, eps: float, others: Sequence[Source], fills: Sequence[float]) -> list[int]:
    """Which of ``others``, as a decoder has them, tell something of ``target``, coded within ``eps``; the
    best first. A few, even if they seem to tell nothing: taps into guides see more."""
    where = _block(tuple(target.shape))
    wanted = _coefficients(target[where], fills, False)
    if wanted is None:
        return []
    known = {k: _coefficients(other[where], fills, True) for k, other in enumerate(others)}
    thinned = [_thinned(len(group)) for group in wanted]
    few = [group[::step, 0] / (3.0 * eps) for group, step in zip(wanted, thinned, strict=True)]
    known = {
        k: None if groups is None else [g[::step] for g, step in zip(groups, thinned, strict=True)]
        for k, groups in known.items()
    }
    alone = here = _bits(few, [], thinned)
    chosen: list[int] = []
    while len(chosen) < _MOST:
        tried = {
            k: _bits(few, [*(known[j] or [] for j in chosen), coefficients], thinned)
            for k, coefficients in known.items()
            if coefficients is not None and k not in chosen
        }
        best = min(tried, key=lambda k: tried[k], default=-1)
        if best < 0 or (len(chosen) >= _AT_LEAST and tried[best] > here - _WORTH * alone):
            return chosen
        here = tried[best]
        chosen.append(best)
    return chosen


def mask_of(target: Source, others: Sequence[Source], fills: Sequence[float]) -> int | None:
    """Which of ``others`` has special values where ``target`` has NaN, if that tells something: in fewer
    bytes, tile by tile."""
    shape = tuple(target.shape)
    if not any(np.isnan(target[where]).any() for where in tile_slices(shape)):
        return None
    alike = [k for k, other in enumerate(others) if _are_alike(other, target)]
    alone, sizes = 0, dict.fromkeys(alike, 0)
    for where in tile_slices(shape) if alike else ():
        none = np.isnan(target[where])
        alone += len(lossless.pack(none.view(np.uint8)))
        for k in alike:
            other = others[k][where]
            differs = none ^ (~np.isfinite(other) | np.isin(other, np.array(fills, other.dtype)))
            sizes[k] += len(lossless.pack(differs.view(np.uint8)))
    best = min(alike, key=lambda k: sizes[k], default=None)
    return best if best is not None and sizes[best] < alone - _MASK_BYTES else None


def _are_alike(other: Source, target: Source) -> bool:
    return (tuple(other.shape), other.dtype.itemsize) == (tuple(target.shape), target.dtype.itemsize)


def _block(shape: tuple[int, ...]) -> tuple[slice, ...]:
    lengths = list(shape)
    while np.prod(lengths) > _BLOCK:
        axis = int(np.argmax(lengths))
        lengths[axis] = -(-lengths[axis] // 2)
    return tuple(slice((n - k) // 2, (n - k) // 2 + k) for n, k in zip(shape, lengths, strict=True))


def _coefficients(block: np.ndarray, fills: Sequence[float], slopes: bool) -> list[np.ndarray] | None:
    """Those of each group of bands (places, 1): of a block; and of its differences along the last two
    axes."""
    values = np.ma.getdata(block).astype(np.float64)
    meant = np.isfinite(values) & ~np.isin(values, np.array(fills, block.dtype).astype(np.float64))
    meant &= ~np.ma.getmaskarray(block)
    if not meant.any():
        return None
    values = np.where(meant, values, values[meant].mean())
    field = fold(block.shape, Fold.MERGED)
    if not 0.0 < float(np.abs(values).max()) < 1e100:
        return None
    values = np.ascontiguousarray(values).reshape(field)
    grids = [values.copy()]
    for axis in (2, 3) if slopes else ():
        grids.append(np.gradient(values, axis=axis) if field[axis] > 2 else np.zeros(field))
    for grid in grids:
        transform(grid, splits(field), inverse=False)
    groups: dict[int, list[np.ndarray]] = {}
    for band in bands(field):
        columns = np.stack([grid[:, *band.box].reshape(-1) for grid in grids], axis=1)
        groups.setdefault(band.group, []).append(columns)
    return [np.concatenate(groups[group]) for group in sorted(groups)]


def _thinned(count: int) -> int:
    """One of so many of ``count`` coefficients is looked at: an odd number, so that all columns are."""
    return (count // _SEEN) | 1


def _bits(wanted: list[np.ndarray], known: list[list[np.ndarray]], times: list[int]) -> float:
    """About the bits that ``wanted``, in steps, takes: each group counts so many ``times``."""
    total = 0.0
    for number, own in enumerate(wanted):
        least = float(np.log2(1.0 + own * own).sum())
        if known and own.size > 24 * len(known):
            columns = np.hstack([groups[number] for groups in known])
            columns = columns / np.maximum(np.abs(columns).mean(axis=0), 1e-300)
            weight = 1.0 / (1.0 + own * own)
            for _ in range(_ROUNDS):  # what takes many bits counts less, as these grow with its logarithm
                gram = (columns * weight[:, None]).T @ columns
                gram += 1e-9 * np.trace(gram) * np.eye(len(gram)) / len(gram)
                rest = own - columns @ np.linalg.solve(gram, (columns * weight[:, None]).T @ own)
                weight = 1.0 / (1.0 + rest * rest)
                least = min(least, float(np.log2(1.0 + rest * rest).sum()))
        total += 0.5 * least * times[number]
    return total
