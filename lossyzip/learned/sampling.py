"""What a network learns from: patches of neighbouring points, drawn from all over the fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossyzip.learned.neighbourhood import REACH, Box, Input, Planes, places, planes
from lossyzip.learned.network_bytes import storable

_BOXES = 16  # of a field too large to be taken as a whole,
_BOX_VALUES = 1 << 20  # with so many points each
_MOST_BOXES = 256
_SEEN = 1 << 16  # values that settle an input's scale
_QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
_CURVED = 12.0  # tails longer than so many half distances of the quartiles are seen as logarithms
_SPAN = 4096.0  # integers between the quantiles 0.01 and 0.99


@dataclass(frozen=True)
class Patches:
    """Blocks of 2 x 2 x 2 points, less along axes of length 1."""

    shape: tuple[int, int, int]
    boxes: list[tuple[Planes, np.ndarray]]  # (inputs around, (patches, points) flat indices into these)
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
        start = 0
        for around, index in self.boxes:
            here = (which >= start) & (which < start + len(index))
            at = index[which[here] - start]
            start += len(index)
            flat = around.values.reshape(-1)
            for k, (item, kind) in enumerate(wanted):
                total = np.zeros(at.shape)
                for place, sign in places(kind):
                    total += sign * flat.take(at + around.offset(item, place))
                found[here, :, k] = total
        return found


def inputs_for(references: Sequence[np.ndarray], usable: np.ndarray, rng: np.random.Generator) -> list[Input]:
    """One input for each reference that is not constant, on a scale of its middle 98 %."""
    points = np.flatnonzero(usable)
    chosen = rng.choice(points, min(points.size, _SEEN)) if points.size else points
    found = []
    for k, reference in enumerate(references):
        seen = reference.reshape(-1)[chosen].astype(np.float64)
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
    target: np.ndarray,
    usable: np.ndarray,
    inputs: Sequence[Input],
    references: Sequence[np.ndarray],
    count: int,
    rng: np.random.Generator,
) -> Patches:
    """Up to about ``count`` patches that have a usable point, of arrays (separate, z, y, x)."""
    full = target.shape
    nz, ny, nx = (min(n, 2) for n in full[1:])
    corners = np.indices((nz, ny, nx)).reshape(3, -1)
    chosen = _boxes(full, rng)
    share = -(-count // len(chosen))
    boxes, values, valid, first_points = [], [], [], []
    for box in chosen:
        sizes = np.array([s.stop - s.start for s in box[1:]])
        first = [rng.integers(0, n - k + 1, 2 * share) for n, k in zip(sizes, (nz, ny, nx), strict=True)]
        z, y, x = (start[:, None] + corner for start, corner in zip(first, corners, strict=True))
        here = target[box][0], usable[box][0]
        kept = np.flatnonzero(here[1][z, y, x].any(axis=1))[:share]
        z, y, x = z[kept], y[kept], x[kept]
        around = planes(inputs, references, full, box)
        boxes.append((around, around.offset(0, (REACH, REACH, REACH)) + around.offset(0, (z, y, x))))
        starts = [
            np.full(len(kept), box[0].start),
            *(s.start + c[:, 0] for s, c in zip(box[1:], (z, y, x), strict=True)),
        ]
        first_points.append(np.stack(starts, axis=1))
        valid.append(here[1][z, y, x])
        values.append(np.where(valid[-1], here[0][z, y, x], 0).astype(np.float64))
    return Patches(
        (nz, ny, nx), boxes, np.concatenate(values), np.concatenate(valid), np.concatenate(first_points)
    )


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
