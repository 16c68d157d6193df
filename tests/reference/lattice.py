"""Lattice: section 4.4 of FORMAT.md."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product

import numpy as np

from reference.codes import Codes
from reference.passes import fold
from reference.quantizer import Quantizer
from reference.readers import require

BIT_OF_AXIS = (8, 4, 2, 1)  # t, z, y, x


def lattice(
    codes: Codes, outliers: Iterator[np.floating], plan: bytes, shape: tuple[int, ...], quantizer: Quantizer
) -> np.ndarray:
    centred = plan[:1] == b"\x10"
    require(len(plan) == (5 if centred else 1) and plan[0] <= 16, "plan of a lattice")
    chosen = [axis for axis in range(4) if plan[0] & BIT_OF_AXIS[axis]]
    c = (
        sum(byte << bits for byte, bits in zip(plan[1:], (16, 24, 0, 8), strict=True)) - 2**31
        if centred
        else 0
    )
    folded = fold(shape, 1)
    _, nz, ny, nx = folded
    multiples, magnitudes = np.zeros(folded, object), np.zeros(folded, object)
    values = np.zeros(folded, quantizer.low.dtype)
    step, some_left_out = step_of(quantizer), codes.next(1) == 1
    planes = magnitudes.reshape(-1, ny, nx)  # the same, without volumes
    for point in product(*map(range, folded)):
        t, z, y, x = point
        if x == 0:
            blank = some_left_out and codes.next(1) == 0
        code = 0 if blank else codes.next(cell_of(planes, t * nz + z, y, x))
        total = 0 if code is None else code
        for offset, sign in neighbours(point, chosen):
            total += sign * multiples[tuple(np.subtract(point, offset))]
        multiples[point] = (total + 2**31) % 2**32 - 2**31
        magnitudes[point] = min(abs(code or 0), 8191)
        value = values.dtype.type(np.float64(multiples[point] + c) * step)
        values[point] = next(outliers) if code is None else quantizer.clamp(value)
    return values


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


def cell_of(planes: np.ndarray, plane: int, y: int, x: int) -> int:
    def around(row: np.ndarray) -> int:
        return sum(
            weight * row[x + d] for d, weight in ((-1, 1), (0, 2), (1, 1)) if 0 <= x + d < planes.shape[2]
        )

    rows = [planes[plane, y - 1]] if y else []
    rows += [planes[plane - 1, y]] if plane else []
    activity = sum(map(around, rows)) * (2 if len(rows) == 1 else 1) + 1
    octave = activity.bit_length() - 1
    return 2 * octave + (activity >> (octave - 1) & 1 if octave else 0)
