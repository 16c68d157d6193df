"""Rows in which each value is predicted from those before it: up to eight side by side, a chain of vectors.

``step`` is the room for the rows of a step: step.py. Knows nothing of where rows lie.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.decompose.band import WAVE
from lossyzip.decompose.rows import clamp, within
from lossyzip.entropy.tokens import OUTLIER, OUTLIER_TOKEN, RADIUS


@merged
def _quantized(total, value, run1, run2, before, before2, step, inverse, low, high, zero):
    """(code in the field's dtype, what the decoder will see) of one value of `quantize_wave`."""
    prediction = clamp((total + run2 * before2) + run1 * before, low, high)
    q = np.rint((value - prediction) * inverse)
    q = q if value == value else zero
    return q, clamp(prediction + q * step, low, high)


@merged
def _reconstructed(total, q, run1, run2, before, before2, step, low, high):
    """One value of `reconstruct_wave`."""
    prediction = clamp((total + run2 * before2) + run1 * before, low, high)
    return clamp(prediction + q * step, low, high)


@helper
def quantize_eight(sums, values, steps, recon, running, quantizer):
    """`quantize_wave` of WAVE rows: eight chains, written out, so that their ends stay in registers."""
    zero = sums.dtype.type(0)
    step, inverse, low, high = quantizer.step, quantizer.inverse, quantizer.low, quantizer.high
    f0, g0, b0, a0 = running[0, 0], running[1, 0], running[2, 0], running[2, 0]
    f1, g1, b1, a1 = running[0, 1], running[1, 1], running[2, 1], running[2, 1]
    f2, g2, b2, a2 = running[0, 2], running[1, 2], running[2, 2], running[2, 2]
    f3, g3, b3, a3 = running[0, 3], running[1, 3], running[2, 3], running[2, 3]
    f4, g4, b4, a4 = running[0, 4], running[1, 4], running[2, 4], running[2, 4]
    f5, g5, b5, a5 = running[0, 5], running[1, 5], running[2, 5], running[2, 5]
    f6, g6, b6, a6 = running[0, 6], running[1, 6], running[2, 6], running[2, 6]
    f7, g7, b7, a7 = running[0, 7], running[1, 7], running[2, 7], running[2, 7]
    for i in range(np.uint64(sums.size // WAVE)):
        at = i * np.uint64(WAVE)
        q0, c0 = _quantized(sums[at], values[at], f0, g0, b0, a0, step, inverse, low, high, zero)
        q1, c1 = _quantized(
            sums[at + np.uint64(1)], values[at + np.uint64(1)], f1, g1, b1, a1, step, inverse, low, high, zero
        )
        q2, c2 = _quantized(
            sums[at + np.uint64(2)], values[at + np.uint64(2)], f2, g2, b2, a2, step, inverse, low, high, zero
        )
        q3, c3 = _quantized(
            sums[at + np.uint64(3)], values[at + np.uint64(3)], f3, g3, b3, a3, step, inverse, low, high, zero
        )
        q4, c4 = _quantized(
            sums[at + np.uint64(4)], values[at + np.uint64(4)], f4, g4, b4, a4, step, inverse, low, high, zero
        )
        q5, c5 = _quantized(
            sums[at + np.uint64(5)], values[at + np.uint64(5)], f5, g5, b5, a5, step, inverse, low, high, zero
        )
        q6, c6 = _quantized(
            sums[at + np.uint64(6)], values[at + np.uint64(6)], f6, g6, b6, a6, step, inverse, low, high, zero
        )
        q7, c7 = _quantized(
            sums[at + np.uint64(7)], values[at + np.uint64(7)], f7, g7, b7, a7, step, inverse, low, high, zero
        )
        steps[at] = q0
        steps[at + np.uint64(1)] = q1
        steps[at + np.uint64(2)] = q2
        steps[at + np.uint64(3)] = q3
        steps[at + np.uint64(4)] = q4
        steps[at + np.uint64(5)] = q5
        steps[at + np.uint64(6)] = q6
        steps[at + np.uint64(7)] = q7
        recon[at] = c0
        recon[at + np.uint64(1)] = c1
        recon[at + np.uint64(2)] = c2
        recon[at + np.uint64(3)] = c3
        recon[at + np.uint64(4)] = c4
        recon[at + np.uint64(5)] = c5
        recon[at + np.uint64(6)] = c6
        recon[at + np.uint64(7)] = c7
        a0, a1, a2, a3, a4, a5, a6, a7 = b0, b1, b2, b3, b4, b5, b6, b7
        b0, b1, b2, b3, b4, b5, b6, b7 = c0, c1, c2, c3, c4, c5, c6, c7


@helper
def reconstruct_eight(sums, code, recon, running, quantizer):
    """The reverse of `quantize_eight`."""
    number = sums.dtype.type
    step, low, high = quantizer.step, quantizer.low, quantizer.high
    f0, g0, b0, a0 = running[0, 0], running[1, 0], running[2, 0], running[2, 0]
    f1, g1, b1, a1 = running[0, 1], running[1, 1], running[2, 1], running[2, 1]
    f2, g2, b2, a2 = running[0, 2], running[1, 2], running[2, 2], running[2, 2]
    f3, g3, b3, a3 = running[0, 3], running[1, 3], running[2, 3], running[2, 3]
    f4, g4, b4, a4 = running[0, 4], running[1, 4], running[2, 4], running[2, 4]
    f5, g5, b5, a5 = running[0, 5], running[1, 5], running[2, 5], running[2, 5]
    f6, g6, b6, a6 = running[0, 6], running[1, 6], running[2, 6], running[2, 6]
    f7, g7, b7, a7 = running[0, 7], running[1, 7], running[2, 7], running[2, 7]
    for i in range(np.uint64(sums.size // WAVE)):
        at = i * np.uint64(WAVE)
        q0 = number(code[at])
        q1 = number(code[at + np.uint64(1)])
        q2 = number(code[at + np.uint64(2)])
        q3 = number(code[at + np.uint64(3)])
        q4 = number(code[at + np.uint64(4)])
        q5 = number(code[at + np.uint64(5)])
        q6 = number(code[at + np.uint64(6)])
        q7 = number(code[at + np.uint64(7)])
        c0 = _reconstructed(sums[at], q0, f0, g0, b0, a0, step, low, high)
        c1 = _reconstructed(sums[at + np.uint64(1)], q1, f1, g1, b1, a1, step, low, high)
        c2 = _reconstructed(sums[at + np.uint64(2)], q2, f2, g2, b2, a2, step, low, high)
        c3 = _reconstructed(sums[at + np.uint64(3)], q3, f3, g3, b3, a3, step, low, high)
        c4 = _reconstructed(sums[at + np.uint64(4)], q4, f4, g4, b4, a4, step, low, high)
        c5 = _reconstructed(sums[at + np.uint64(5)], q5, f5, g5, b5, a5, step, low, high)
        c6 = _reconstructed(sums[at + np.uint64(6)], q6, f6, g6, b6, a6, step, low, high)
        c7 = _reconstructed(sums[at + np.uint64(7)], q7, f7, g7, b7, a7, step, low, high)
        recon[at] = c0
        recon[at + np.uint64(1)] = c1
        recon[at + np.uint64(2)] = c2
        recon[at + np.uint64(3)] = c3
        recon[at + np.uint64(4)] = c4
        recon[at + np.uint64(5)] = c5
        recon[at + np.uint64(6)] = c6
        recon[at + np.uint64(7)] = c7
        a0, a1, a2, a3, a4, a5, a6, a7 = b0, b1, b2, b3, b4, b5, b6, b7
        b0, b1, b2, b3, b4, b5, b6, b7 = c0, c1, c2, c3, c4, c5, c6, c7


@helper
def quantize_wave(step, wanted, active, count, quantizer):
    """Fill `steps` and `recon` as if no value were an outlier, each predicted from those before it."""
    sums, values = step.sums[:count], wanted[:count]
    number = sums.dtype.type
    step_size, inverse = quantizer.step, quantizer.inverse
    low, high = quantizer.low, quantizer.high
    steps, recon = step.steps[:count], step.recon[:count]
    run1, run2 = step.running[0], step.running[1]
    before, before2 = step.running[3], step.running[4]
    for k in range(active):
        before[k], before2[k] = step.running[2, k], step.running[2, k]
    for start in range(0, count, active):
        total, value = sums[start : start + active], values[start : start + active]
        out, made = steps[start : start + active], recon[start : start + active]
        for k in range(active):
            prediction = clamp((total[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            q = np.rint((value[k] - prediction) * inverse)
            q = q if value[k] == value[k] else number(0)
            candidate = clamp(prediction + q * step_size, low, high)
            out[k], made[k] = q, candidate
            before2[k] = before[k]
            before[k] = candidate


@helper
def codes_of_steps(wanted, recon, steps, code, quantizer):
    """Fill ``code`` with ``steps``; False where one of ``recon`` is not within the bound: an outlier."""
    number = steps.dtype.type
    outside = 0
    for i in range(steps.size):
        value = wanted[i]
        ok = (within(value, recon[i], quantizer.eps) | (value != value)) & (abs(steps[i]) < number(RADIUS))
        outside += 0 if ok else 1
    if outside > 0:
        return False
    for i in range(steps.size):
        code[i] = np.int32(steps[i])
    return True


@helper
def quantize_chains(step, wanted, active, code, quantizer):
    """The same value by value, with outliers; returns how many those are."""
    sums, recon = step.sums, step.recon
    number = sums.dtype.type
    low, high, eps = quantizer.low, quantizer.high, quantizer.eps
    bad = 0
    for k in range(active):
        run1, run2 = step.running[0, k], step.running[1, k]
        before = before2 = step.running[2, k]
        for i in range(k, code.size, active):
            prediction = clamp((sums[i] + run2 * before2) + run1 * before, low, high)
            value = wanted[i]
            q = np.rint((value - prediction) * quantizer.inverse)
            q = q if value == value else number(0)
            candidate = clamp(prediction + q * quantizer.step, low, high)
            ok = (within(value, candidate, eps) | (value != value)) & (abs(q) < number(RADIUS))
            recon[i] = candidate if ok else value
            code[i] = np.int32(q if ok else number(0)) if ok else OUTLIER
            bad += 0 if ok else 1
            before2, before = before, recon[i]
    return bad


@helper
def reconstruct_wave(step, active, code, quantizer):
    """The reverse of `quantize_wave`."""
    count = code.size
    sums, recon = step.sums[:count], step.recon[:count]
    number = sums.dtype.type
    step_size, low, high = quantizer.step, quantizer.low, quantizer.high
    run1, run2 = step.running[0], step.running[1]
    before, before2 = step.running[3], step.running[4]
    for k in range(active):
        before[k], before2[k] = step.running[2, k], step.running[2, k]
    for start in range(0, count, active):
        total, q, made = (
            sums[start : start + active],
            code[start : start + active],
            recon[start : start + active],
        )
        for k in range(active):
            prediction = clamp((total[k] + run2[k] * before2[k]) + run1[k] * before[k], low, high)
            value = clamp(prediction + number(q[k]) * step_size, low, high)
            made[k] = value
            before2[k] = before[k]
            before[k] = value


@helper
def reconstruct_chains(step, active, token, code, quantizer):
    """The reverse of `quantize_chains`; outliers are there already."""
    sums, recon = step.sums, step.recon
    low, high = quantizer.low, quantizer.high
    for k in range(active):
        run1, run2 = step.running[0, k], step.running[1, k]
        before = before2 = step.running[2, k]
        for i in range(k, code.size, active):
            if token[i] != np.uint8(OUTLIER_TOKEN):
                prediction = clamp((sums[i] + run2 * before2) + run1 * before, low, high)
                recon[i] = clamp(prediction + sums.dtype.type(code[i]) * quantizer.step, low, high)
            before2, before = before, recon[i]
