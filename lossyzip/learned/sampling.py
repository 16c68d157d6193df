"""What a network learns from: patches of neighbouring points, drawn from all over the fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossyzip.learned.neighbourhood import FEATURES, REACH, Box, Input, Planes, folded, places, planes

_BOXES = 16  # of a field too large to be taken as a whole,
_BOX_VALUES = 1 << 20  # with so many points each
_QUANTILES = np.array([0.01, 0.25, 0.5, 0.75, 0.99])
_CURVED = 12.0  # tails longer than so many half distances of quartiles are seen as logarithms
_SPAN = 4096.0  # integers for the distance of the quantiles 0.01 and 0.99


@dataclass(frozen=True)
class Patches:
    """Blocks of 2 x 2 x 2 points, less along axes of length 1."""

    shape: tuple[int, int, int]
    boxes: list[tuple[Planes, np.ndarray]]  # around which points: (patches, points) flat indices into planes
    values: np.ndarray  # (patches, points) float64 target; 0.0 where it is not valid
    valid: np.ndarray  # (patches, points) bool

    def features(self, wanted: Sequence[tuple[int, int]], first: int | None = None) -> np.ndarray:
        """(patches, points, wanted) float32 of ``wanted`` (input, kind); of the first patches of each box."""
        blocks = []
        for around, index in self.boxes:
            at = index[:first]
            block = np.empty((*at.shape, len(wanted)), np.float32)
            flat = around.values.reshape(-1)
            for k, (item, kind) in enumerate(wanted):
                total = np.zeros(at.shape)
                for place, sign in places(kind):
                    offset = np.dot((item, *place), around.strides)
                    total += sign * flat.take(at + offset)
                block[..., k] = total
            blocks.append(block)
        return np.concatenate(blocks)


def candidates(inputs: int) -> list[tuple[int, int]]:
    return [(k, kind) for k in range(inputs) for kind in range(FEATURES)]


def inputs_for(references: Sequence[np.ndarray], usable: np.ndarray, rng: np.random.Generator) -> list[Input]:
    """One input for each reference that is not constant, on a scale of its middle 98 %."""
    from lossyzip.learned.network_bytes import storable

    places_ = np.flatnonzero(usable) if not usable.all() else np.arange(usable.size)
    chosen = rng.choice(places_, min(places_.size, 1 << 16)) if places_.size else places_
    found = []
    for k, reference in enumerate(references):
        seen = reference.reshape(-1)[chosen].astype(np.float64)
        seen = seen[np.isfinite(seen)]
        if not seen.size or seen.min() == seen.max():
            continue
        low, quarter, middle, three, high = np.quantile(seen, _QUANTILES)
        wide = max(high - low, 1e-3 * (seen.max() - seen.min()))
        core = 0.5 * (three - quarter)
        if core > 0 and max(high - middle, middle - low) > _CURVED * core:
            inverse = 1.0 / core
            ends = np.log2(1.0 + np.abs(np.array([low, high]) - middle) / core)
            found.append(Input(k, True, storable(middle), storable(inverse), storable(_SPAN / ends.sum())))
        else:
            found.append(Input(k, False, storable(middle), storable(1.0 / wide), storable(_SPAN)))
    return found


def draw(
    target: np.ndarray,
    valid: np.ndarray,
    inputs: Sequence[Input],
    references: Sequence[np.ndarray],
    count: int,
    rng: np.random.Generator,
) -> Patches:
    """About ``count`` patches with a valid point at least; fields are folded here."""
    full = folded(target.shape)
    target, valid = target.reshape(full), valid.reshape(full)
    rows = [reference.reshape(full) for reference in references]
    shape = tuple(min(n, 2) for n in full[1:])
    corners = np.stack([c.reshape(-1) for c in np.indices(shape)])
    boxes, values, valids = [], [], []
    chosen = _boxes(full, rng)
    for box in chosen:
        around = planes(inputs, rows, box)
        separate, z, y, x = box
        sizes = [s.stop - s.start for s in (z, y, x)]
        here, there = target[separate.start, z, y, x], valid[separate.start, z, y, x]
        share = -(-count * 2 // len(chosen))
        at = [
            rng.integers(0, n - k + 1, share)[:, None] + c
            for n, k, c in zip(sizes, shape, corners, strict=True)
        ]
        good = there[tuple(at)]
        keep = np.flatnonzero(good.any(axis=1))[: share // 2]
        at = [a[keep] for a in at]
        _, sz, sy, _ = around.strides
        boxes.append((around, (at[0] + REACH) * sz + (at[1] + REACH) * sy + at[2] + REACH))
        valids.append(good[keep])
        values.append(np.where(good[keep], here[tuple(at)], 0).astype(np.float64))
    return Patches(shape, boxes, np.concatenate(values), np.concatenate(valids))


def _boxes(full: tuple[int, int, int, int], rng: np.random.Generator) -> list[Box]:
    """All of a small field, or boxes from all over it."""
    separate, *sizes = full
    box = list(sizes)
    while box[0] * box[1] * box[2] > _BOX_VALUES * (4 if separate == 1 else 1):
        longest = int(np.argmax(box))
        box[longest] = -(-box[longest] // 2)
    everything = separate * int(np.prod(sizes))
    if everything <= 4 * _BOX_VALUES and box == list(sizes):
        return [(slice(t, t + 1), *(slice(0, n) for n in sizes)) for t in range(separate)][:256]  # type: ignore[misc]
    found: list[Box] = []
    for _ in range(_BOXES):
        t = int(rng.integers(separate))
        starts = [int(rng.integers(n - b + 1)) for n, b in zip(sizes, box, strict=True)]
        z, y, x = (slice(s, s + b) for s, b in zip(starts, box, strict=True))
        found.append((slice(t, t + 1), z, y, x))
    return found
