"""Lattice: section 4.4 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np

from reference.codes import Codes
from reference.passes import COMPONENTS, fold, in_c_order
from reference.quantizer import Quantizer
from reference.readers import require

BIT_OF_AXIS = (8, 4, 2, 1)  # t, z, y, x


def lattice(
    codes: Codes, outliers: Iterator[np.floating], plan: bytes, shape: tuple[int, ...], quantizer: Quantizer
) -> np.ndarray:
    apart, first = divmod(plan[0], 32)
    way, centred = COMPONENTS if apart else 1, first in (16, 17)
    require(len(plan) == (5 if centred else 1) and first <= 17 and apart <= 1, "plan of a lattice")
    chosen = [axis for axis in range(4) if first & BIT_OF_AXIS[axis] and not centred]
    c = (
        sum(byte << bits for byte, bits in zip(plan[1:], (16, 24, 0, 8), strict=True)) - 2**31
        if centred
        else 0
    )
    folded = fold(shape, way)
    _, nz, ny, nx = folded
    multiples, seen = np.zeros(folded, object), np.zeros(folded, object)  # as contexts see a code
    values = np.zeros(folded, quantizer.low.dtype)
    step, some_left_out = step_of(quantizer), codes.next(1) == 1
    levels = Levels(quantizer, step, c) if first == 17 else None
    planes = seen.reshape(-1, ny, nx)  # the same, without volumes
    for point in product(*map(range, folded)):
        t, z, y, x = point
        if x == 0:
            blank = some_left_out and codes.next(1) == 0
        code = 0 if blank else codes.next(cell_of(planes, t * nz + z, y, x, levels))
        total = 0 if code is None else code
        for offset, sign in neighbours(point, chosen):
            total += sign * multiples[tuple(np.subtract(point, offset))]
        multiples[point] = (total + 2**31) % 2**32 - 2**31
        seen[point] = min(abs(code or 0), 8191) if levels is None else levels.of(code)
        value = values.dtype.type(np.float64(multiples[point] + c) * step)
        values[point] = next(outliers) if code is None else quantizer.clamp(value)
    return in_c_order(values, shape, way)


def step_of(quantizer: Quantizer) -> np.float64:
    digits, step = {4: 9, 8: 26}[quantizer.e.itemsize], Fraction(2 * float(quantizer.e))
    unit = Fraction(1)
    while step / unit >= 2**digits:
        unit *= 2
    while step / unit < 2 ** (digits - 1):
        unit /= 2
    return np.float64(float(step // unit * unit))


def neighbours(point: tuple[int, ...], chosen: list[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """(offset, sign): a difference along several axes is a sum over the corners of a box."""
    axes = [axis for axis in chosen if point[axis]]
    if chosen and not axes:
        axes = [axis for axis in range(4) if point[axis]][-1:]
    for steps in product((0, 1), repeat=len(axes)):
        if any(steps):
            offset = [0] * 4
            for axis, step in zip(axes, steps, strict=True):
                offset[axis] = step
            yield tuple(offset), 1 if sum(steps) % 2 else -1


class Levels:
    def __init__(self, quantizer: Quantizer, step: np.float64, centre: int) -> None:
        inverse = np.float64(1) / step
        low, high = (
            int(np.rint(max(min(np.float64(end) * inverse, 2.0**30), -(2.0**30))))
            for end in (quantizer.low, quantizer.high)
        )
        self.shift = max((high - low).bit_length() - 13, 0)
        self.most = (high - low) >> self.shift
        self.offset = max(min(centre - low, 2**30), -(2**30))

    def of(self, code: int | None) -> int:
        level = ((code or 0) + self.offset + 2**31) % 2**32 - 2**31
        return max(min(level >> self.shift, self.most), 0)

    def cell(self, total: int) -> int:
        share = total * (31 * 65536 // (8 * self.most + 1)) >> 16
        return share + 1 if share else 0


def cell_of(planes: np.ndarray, plane: int, y: int, x: int, levels: Levels | None) -> int:
    last = planes.shape[2] - 1

    def around(row: np.ndarray) -> int:
        total = 0
        for d, weight in ((-1, 1), (0, 2), (1, 1)):
            if 0 <= x + d <= last or levels is not None:
                total += weight * row[min(max(x + d, 0), last)]
        return total

    rows = [planes[plane, y - 1]] if y else []
    rows += [planes[plane - 1, y]] if plane else []
    total = sum(map(around, rows)) * (2 if len(rows) == 1 else 1)
    if levels is not None:
        return levels.cell(total) if rows else 0
    octave = (total + 1).bit_length() - 1
    return 2 * octave + ((total + 1) >> (octave - 1) & 1 if octave else 0)
