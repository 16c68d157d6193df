"""Lifting along columns, row by row: the four steps follow one another at a distance of a row, while the rows
are in the fastest cache. To the bit what the steps are one after the other.

Each of them adds to every other row a weight times the sum of the rows on both sides; where one of these is
beyond the end, the other takes its place. docs/FORMAT.md, "Wavelet".
"""

from __future__ import annotations

from lossyzip._jit import helper, merged

LIFTING = (-1.586134342059924, -0.052980118572961, 0.882911075530934, 0.443506852043971)
GAIN = 1.149604398860098


@helper
def split_columns(flat, start, length, stride, width, half, few):
    """Halve columns of ``length`` > 1 values each; ``width`` of them lie side by side from ``start``.

    ``half`` is room for as many rows as there are low ones: for the high ones, which belong where others have
    not been read yet. ``few`` is room for three rows.
    """
    number = flat.dtype.type
    a0, a1, a2, a3 = number(LIFTING[0]), number(LIFTING[1]), number(LIFTING[2]), number(LIFTING[3])
    gain, loss = number(GAIN), number(1.0 / GAIN)
    lows, highs = (length + 1) // 2, length // 2
    for k in range(lows + 1):
        at = start + 2 * k * stride
        if k < highs:
            next_even = at + 2 * stride if k + 1 < lows else at
            even, odd = flat[at : at + width], flat[at + stride : at + stride + width]
            _lifted(half[k * width : (k + 1) * width], odd, even, flat[next_even : next_even + width], a0)
        if k < lows:
            even = flat[at : at + width]
            before, behind = max(k - 1, 0) * width, min(k, highs - 1) * width
            d, e = half[before : before + width], half[behind : behind + width]
            _lifted(few[(k & 1) * width : ((k & 1) + 1) * width], even, d, e, a1)
        if k == 0:
            continue
        j = k - 1
        mine, other = (j & 1) * width, ((k if k < lows else j) & 1) * width
        s, t = few[mine : mine + width], few[other : other + width]
        if j < highs:
            _lift(half[j * width : k * width], s, t, a2)
        before, behind = max(j - 1, 0) * width, min(j, highs - 1) * width
        d, e = half[before : before + width], half[behind : behind + width]
        at = start + j * stride
        _lifted_and_scaled(flat[at : at + width], s, d, e, a3, gain)
    for k in range(highs):
        at = start + (lows + k) * stride
        _scaled(flat[at : at + width], half[k * width : (k + 1) * width], loss)


@helper
def join_columns(flat, start, length, stride, width, half, few):
    """The reverse of `split_columns`; here the low rows are in ``half``."""
    number = flat.dtype.type
    a0, a1, a2, a3 = -number(LIFTING[0]), -number(LIFTING[1]), -number(LIFTING[2]), -number(LIFTING[3])
    gain, loss = number(GAIN), number(1.0 / GAIN)
    lows, highs = (length + 1) // 2, length // 2
    for k in range(lows):
        at = start + k * stride
        _scaled(half[k * width : (k + 1) * width], flat[at : at + width], loss)
    for k in range(lows + 2):
        if k < highs:
            at, here = start + (lows + k) * stride, k % 3 * width
            _scaled(few[here : here + width], flat[at : at + width], gain)
        if k < lows:
            before, behind = max(k - 1, 0) % 3 * width, min(k, highs - 1) % 3 * width
            d, e = few[before : before + width], few[behind : behind + width]
            _lift(half[k * width : (k + 1) * width], d, e, a3)
        j = k - 1
        if 0 <= j < lows:
            s, beyond = half[j * width : k * width], min(k, lows - 1) * width
            if j < highs:
                here = j % 3 * width
                _lift(few[here : here + width], s, half[beyond : beyond + width], a2)
            before, behind = max(j - 1, 0) % 3 * width, min(j, highs - 1) % 3 * width
            d, e = few[before : before + width], few[behind : behind + width]
            at = start + 2 * j * stride
            _lifted(flat[at : at + width], s, d, e, a1)
        j = k - 2
        if 0 <= j < highs:
            at, here = start + 2 * j * stride, j % 3 * width
            next_even = at + 2 * stride if j + 1 < lows else at
            s, t = flat[at : at + width], flat[next_even : next_even + width]
            _lifted(flat[at + stride : at + stride + width], few[here : here + width], s, t, a0)


@merged
def _lifted(target, own, left, right, weight):
    for i in range(target.size):
        target[i] = own[i] + weight * (left[i] + right[i])


@merged
def _lifted_and_scaled(target, own, left, right, weight, scale):
    for i in range(target.size):
        target[i] = (own[i] + weight * (left[i] + right[i])) * scale


@merged
def _lift(target, left, right, weight):
    for i in range(target.size):
        target[i] = target[i] + weight * (left[i] + right[i])


@merged
def _scaled(target, source, scale):
    for i in range(target.size):
        target[i] = source[i] * scale
