"""Lorenzo differences (Ibarria et al., 2003) of integers along some axes of a tile, row by row.

Knows neither values nor codes: lattice.py does. docs/FORMAT.md, "Lattice".
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, inlined
from lossyzip.decompose.fold import Fold, fold

X, Y, Z, T = 1, 2, 4, 8  # bits of the axes


class Rows(NamedTuple):
    """The rows of a tile (t, z, y, x) and their differences.

    A row of class c has ``taps[c]`` neighbouring rows, at ``offsets[c]`` and with ``signs[c]``: -1, -1, +1
    and what comes with a third axis. It is differenced along x where ``along_x[c]``; its first value is
    then taken relative to the one at ``first[c]`` (0: to none).
    """

    nt: int
    nz: int
    ny: int
    nx: int
    taps: np.ndarray
    offsets: np.ndarray
    signs: np.ndarray
    along_x: np.ndarray
    first: np.ndarray


@lru_cache(maxsize=64)
def differences(shape: tuple[int, ...], axes: int, how: Fold) -> Rows:
    """The rows of a tile of ``shape``.

    A point is differenced along those of ``axes`` along which it is not the first; where none is left,
    along the last of all axes along which it is not the first.
    """
    field = fold(shape, how)
    strides = {Y: field.x, Z: field.y * field.x, T: field.z * field.y * field.x}
    taps, offsets, signs = np.zeros(8, np.int64), np.zeros((8, 8), np.int64), np.zeros((8, 8), np.int32)
    along_x, first = np.zeros(8, np.int64), np.zeros(8, np.int64)
    for row_class in range(8):
        before = [axis for axis, lacks in ((Y, 1), (Z, 2), (T, 4)) if not row_class & lacks]
        used = [axis for axis in before if axes & axis]
        corners = [(-strides[used[0]], -1)] if used else []
        for axis in used[1:]:
            corners += [(-strides[axis], -1)] + [(at - strides[axis], -sign) for at, sign in corners]
        taps[row_class] = len(corners)
        for k, (at, sign) in enumerate(corners):
            offsets[row_class, k], signs[row_class, k] = at, sign
        along_x[row_class] = int(bool(axes & X) or (axes != 0 and not used))
        if along_x[row_class] and not used and before:
            first[row_class] = -strides[before[0]]
    return Rows(*field, taps, offsets, signs, along_x, first)


@inlined
def row_class(plane, nz, y):
    """0: there is a row, a plane and a volume before this one; +1, +2, +4: there is none."""
    return (0 if y > 0 else 1) + (0 if plane % nz > 0 else 2) + (0 if plane >= nz else 4)


@helper
def sum_rows(total, q, base, taps, offsets, signs):
    """Sum neighbouring rows, with their signs, into ``total`` (int32, modulo 2**32)."""
    n = total.size
    if taps == 0:
        total[:] = np.int32(0)
        return
    first = q[base + offsets[0] : base + offsets[0] + n]
    if taps == 1:
        for i in range(n):
            total[i] = -first[i]
        return
    second = q[base + offsets[1] : base + offsets[1] + n]
    third = q[base + offsets[2] : base + offsets[2] + n]
    for i in range(n):
        total[i] = third[i] - first[i] - second[i]
    for k in range(3, taps):
        other = q[base + offsets[k] : base + offsets[k] + n]
        if signs[k] > 0:
            for i in range(n):
                total[i] += other[i]
        else:
            for i in range(n):
                total[i] -= other[i]
