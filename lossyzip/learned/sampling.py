"""What a network learns from: patches of neighbouring points, drawn from all over the fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lossyzip.learned.neighbourhood import FEATURES, Box, Input, haloed, places, rounded, unfolded
from lossyzip.learned.network_bytes import storable
from lossyzip.parts import values_at

if TYPE_CHECKING:
    from lossyzip.field import Source

_BOXES = 16  # of a field too large to be taken as a whole,
_BOX_VALUES = 1 << 20  # with so many points each
_MOST_BOXES = 256
_SEEN = 1 << 16  # values that settle an input's scale
_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_CURVED = 12.0  # tails longer than so many half distances of the quartiles are seen as logarithms
_SPAN = 4096.0  # integers between the quantiles 0.01 and 0.99


_AROUND = sorted({place for kind in range(FEATURES) for place, _ in places(kind)})


@dataclass(frozen=True)
class Patches:
    """Blocks of 2 x 2 x 2 points, less along axes of length 1."""

    shape: tuple[int, int, int]
    seen: np.ndarray  # (inputs, places of _AROUND, patches, points) int16: inputs around each point
    values: np.ndarray  # (patches, points) float64: the target, 0.0 where it is not valid
    valid: np.ndarray  # (patches, points) bool
    first: np.ndarray  # (patches, 4) int64: the place (separate, z, y, x) of their first points

    def points(self) -> np.ndarray:
        """(patches, points, 4) int64: where all points are."""
        corners = np.indices(self.shape).reshape(3, -1).T
        return self.first[:, None] + np.pad(corners, ((0, 0), (1, 0)))

    def features(self, wanted: Sequence[tuple[int, int]], which: np.ndarray | None = None) -> np.ndarray:
        """(patches, points, wanted) float32: integers, of ``wanted`` (input, kind) and patches ``which``."""
        which = np.arange(len(self.values)) if which is None else which
        found = np.empty((len(which), self.values.shape[1], len(wanted)), np.float32)
        for k, (item, kind) in enumerate(wanted):
            total = np.zeros(found.shape[:2], np.int32)
            for place, sign in places(kind):
                total += sign * self.seen[item, _AROUND.index(place), which].astype(np.int32)
            found[:, :, k] = total
        return found


def inputs_for(references: Sequence[Source], target: Source, rng: np.random.Generator) -> list[Input]:
    """One input for each reference that is not constant, on a scale of its middle 98 %, where ``target`` is
    finite."""
    size = math.prod(target.shape)
    chosen = rng.integers(size, size=min(size, _SEEN))
    chosen = chosen[np.isfinite(values_at(target, chosen))]
    found = []
    for k, reference in enumerate(references):
        seen = values_at(reference, chosen).astype(np.float64)
        seen = np.sort(seen[np.isfinite(seen)])
        span = float(seen[-1] - seen[0]) if seen.size else 0.0
        if not 1e-300 < span < 1e300:
            continue
        low, quarter, middle, third, high = np.quantile(seen, _QUANTILES).tolist()
        core, tail = 0.5 * (third - quarter), max(high - middle, middle - low)
        curved = core > 1e-9 * span and tail > _CURVED * core
        if curved:
            octaves = math.log2(1.0 + (high - middle) / core) + math.log2(1.0 + (middle - low) / core)
            scales = middle, 1.0 / core, _SPAN / octaves
        else:
            scales = middle, 1.0 / max(high - low, 1e-3 * span), _SPAN
        found.append(Input(k, curved, *(storable(value) for value in scales)))
    return found


def draw(
    target: Source,
    full: tuple[int, int, int, int],
    inputs: Sequence[Input],
    references: Sequence[Source],
    count: int,
    rng: np.random.Generator,
) -> Patches:
    """Up to about ``count`` patches that have a point where ``target`` is finite, of arrays that are read as
    ``full`` (separate, z, y, x): boxes from all over them are, one by one."""
    nz, ny, nx = (min(n, 2) for n in full[1:])
    corners = np.indices((nz, ny, nx)).reshape(3, -1)
    chosen = _boxes(full, rng)
    share = -(-count // len(chosen))
    seen = np.empty((len(inputs), len(_AROUND), share * len(chosen), nz * ny * nx), np.int16)
    values: list[np.ndarray] = []
    valid: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    drawn = 0
    for box in chosen:
        wide, inner = haloed(box, full)
        sizes = np.array([s.stop - s.start for s in box[1:]])
        first = [rng.integers(0, n - k + 1, 2 * share) for n, k in zip(sizes, (nz, ny, nx), strict=True)]
        z, y, x = (start[:, None] + corner for start, corner in zip(first, corners, strict=True))
        here = target[unfolded(box, full, tuple(target.shape))].reshape(sizes)
        usable = np.isfinite(here)
        kept = np.flatnonzero(usable[z, y, x].any(axis=1))[:share]
        z, y, x = z[kept], y[kept], x[kept]
        starts.append(
            np.stack([s.start + c[:, 0] for s, c in zip(box, (0 * z, z, y, x), strict=True)], axis=1)
        )
        lengths = [s.stop - s.start for s in wide[1:]]
        for k, item in enumerate(inputs):
            source = references[item.reference]
            whole = source[unfolded(wide, full, tuple(source.shape))].reshape(lengths)
            for number, place in enumerate(_AROUND):
                at = (
                    np.clip(near + s.start + step, 0, n - 1)
                    for near, s, step, n in zip((z, y, x), inner[1:], place, lengths, strict=True)
                )
                seen[k, number, drawn : drawn + kept.size] = rounded(item, whole[tuple(at)])
        drawn += kept.size
        valid.append(usable[z, y, x])
        values.append(np.where(valid[-1], here[z, y, x], 0).astype(np.float64))
    parts = map(np.concatenate, (values, valid, starts))
    return Patches((nz, ny, nx), seen[:, :, :drawn], *parts)


def _boxes(full: tuple[int, int, int, int], rng: np.random.Generator) -> list[Box]:
    """All of a small field, or boxes from all over it."""
    separate, *sizes = full
    lengths = list(sizes)
    while math.prod(lengths) > (4 * _BOX_VALUES if separate == 1 else _BOX_VALUES):
        longest = lengths.index(max(lengths))
        lengths[longest] = -(-lengths[longest] // 2)
    whole = lengths == sizes
    if whole and separate <= _MOST_BOXES and separate * math.prod(sizes) <= 4 * _BOX_VALUES:
        numbers = list(range(separate))
    else:
        numbers = rng.integers(separate, size=_BOXES).tolist()
    found = []
    for number in numbers:
        starts = [int(rng.integers(n - k + 1)) for n, k in zip(sizes, lengths, strict=True)]
        z, y, x = (slice(start, start + k) for start, k in zip(starts, lengths, strict=True))
        found.append((slice(number, number + 1), z, y, x))
    return found
