"""A layer's sums and activations over rows of points: for guides in float64, for enhancers in float32.

Both hold integers that their floats hold exactly, as are all sums on the way: order and fused operations
cannot matter.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import exact, helper

SWEEP = 8  # products that one vectorized sweep over a row adds up


def padded(count: int) -> int:
    return -(-count // SWEEP) * SWEEP


@exact
def weigh(sums, rows, weights, bias, inputs, n):
    """Fill ``sums[:n]`` with bias + weights @ rows; behind ``inputs`` are zeros up to a multiple of SWEEP."""
    for i in range(n):
        sums[i] = bias
    for k in range(0, inputs, SWEEP):
        a, b, c, d = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        e, f, g, h = rows[k + 4], rows[k + 5], rows[k + 6], rows[k + 7]
        p, q, r, s = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        t, u, v, w = weights[k + 4], weights[k + 5], weights[k + 6], weights[k + 7]
        for i in range(n):
            first = p * a[i] + q * b[i] + r * c[i] + s * d[i]
            sums[i] += first + t * e[i] + u * f[i] + v * g[i] + w * h[i]


@helper
def activate(sums, scale, largest, into, n):
    """The clipped ReLU of sums scaled down: integers in [0, largest]."""
    zero = largest - largest  # of their type
    for i in range(n):
        x = np.floor(sums[i] * scale)
        x = x if x < largest else largest
        into[i] = x if x > zero else zero
