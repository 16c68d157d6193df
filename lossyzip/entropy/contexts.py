"""Which cells share a probability table, and the tables: fitted on counts.

Cells (group of passes x activity) with alike statistics are merged into contexts as long as that
saves bits, tables counted. How a model is written: tables.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, kernel, merged
from lossyzip.entropy import tables
from lossyzip.entropy.rans import PRECISION, TOTAL
from lossyzip.entropy.tables import MOST_CONTEXTS
from lossyzip.entropy.tokens import DIRECT, ESCAPE, FIRST_BUCKET
from lossyzip.entropy.words import to_bytes

_TABLE_BITS = 12.0  # what a context costs before its first token,
_TOKEN_BITS = 3.0  # and for each token that it lists: for the decision to merge
_ESCAPED_BITS = 20.0  # what an escaped token costs, about


@dataclass(frozen=True)
class ContextModel:
    """``context_of_cell`` (cells,) uint8 and ``frequency`` (contexts, 256) int64, rows summing to TOTAL."""

    context_of_cell: np.ndarray
    frequency: np.ndarray


class Fitted(NamedTuple):
    model: ContextModel
    data: bytes  # the model as such
    counts: np.ndarray  # (contexts, 256) int64


def fit(histogram: np.ndarray, group_cells: int) -> Fitted:
    """The model for ``histogram`` (cells, 256), and what it sums to in each context. Cells come in groups of
    ``group_cells``."""
    cells = len(histogram)
    most = min(cells, MOST_CONTEXTS)
    resolution = 2 if histogram.sum() < 1 << 19 else 4
    context_of_cell, words = np.zeros(cells, np.uint8), tables.room(cells, most)
    counts, levels, frequency = (np.zeros((most, 256), np.int64) for _ in range(3))
    contexts, bits, problem = _fit(
        *(histogram, group_cells, _MAGNITUDES, _ESCAPED_BITS, resolution, tables.weights(resolution)),
        *(context_of_cell, counts, levels, frequency, words),
    )
    tables.check(problem)
    return Fitted(
        ContextModel(context_of_cell, frequency[:contexts]), to_bytes(words, bits), counts[:contexts]
    )


def read(data: bytes, cells: int, group_cells: int) -> ContextModel:
    """The model that ``data`` describes. Raises DecodeError when it describes none."""
    context_of_cell, levels, resolution = tables.read(data, cells, group_cells)
    return ContextModel(context_of_cell, tables.frequencies(levels, resolution))


@kernel
def _fit(
    histogram,
    group_cells,
    magnitudes,
    escaped_bits,
    resolution,
    weights,
    context_of_cell,
    counts,
    levels,
    frequency,
    words,
):
    """Fill the last five; returns how many contexts there are, how many bits of ``words``, and what is wrong
    with the tables. One call, since each from Python takes as long as its work."""
    mean, order = np.empty(histogram.shape[0], np.float64), np.empty(histogram.shape[0], np.int64)
    rows = _by_magnitude(histogram, magnitudes, mean, order)
    merged, context_of_row = np.empty((rows, 256), np.int64), np.zeros(rows, np.int64)
    for k in range(rows):
        merged[k] = histogram[order[k]]
    contexts = max(_merge(merged, context_of_row), np.int64(1))
    for k in range(rows):
        context_of_cell[order[k]] = context_of_row[k]
    _add_rows(histogram, context_of_cell, counts)
    _levels(counts[:contexts], resolution, escaped_bits, levels)
    bits = tables.put_model(words, context_of_cell, mean < np.inf, group_cells, levels[:contexts], resolution)
    return contexts, bits, tables.fill_frequencies(levels[:contexts], weights, frequency)


@helper
def _add_rows(histogram, context_of_cell, counts):
    for cell in range(histogram.shape[0]):
        row, target = histogram[cell], counts[context_of_cell[cell]]
        for token in range(row.size):
            target[token] += row[token]


def _token_magnitudes() -> np.ndarray:
    """About the magnitude that each token stands for; what is behind the last direct token grows slower."""
    token = np.arange(256)
    bucket = (token - FIRST_BUCKET) // 2
    beyond = DIRECT * 2.0 ** (np.maximum(bucket, 0) / 4.0)
    return np.where(token < FIRST_BUCKET, (token + 1) // 2, np.minimum(beyond, 1e4))


@helper
def _cost(counts, row, other):
    """Bits for row ``row`` of ``counts`` (cells, 256) under its own statistics, the table included.

    If ``other`` is another row, for both together.
    """
    total = 0.0
    bits = _TABLE_BITS
    for token in range(256):
        count = counts[row, token] + (counts[other, token] if other != row else 0)
        if count > 0:
            total += count
            bits += _TOKEN_BITS - count * math.log2(count)
    return bits + (total * math.log2(total) if total > 0 else 0.0)


_MAGNITUDES = _token_magnitudes()


@helper
def _by_magnitude(histogram, magnitudes, mean, order):
    """Fill ``mean`` magnitudes of the tokens in cells, infinite in those that do not occur, and ``order``
    with those that do, by means, then by number; returns how many."""
    rows = np.int64(0)
    for cell in range(mean.size):
        row = histogram[cell]
        total, weighted = np.int64(0), 0.0
        for token in range(row.size):
            total += row[token]
        if total > 0:
            for token in range(row.size):
                weighted += np.float64(row[token]) * magnitudes[token]
        mean[cell] = weighted / np.float64(total) if total > 0 else np.inf
        if total > 0:
            at = rows
            while at > 0 and mean[order[at - 1]] > mean[cell]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = cell
            rows += 1
    return rows


@kernel
def _merge(counts, context_of_row):
    """Greedy merging of neighbouring rows of ``counts`` (rows, 256), which becomes that of contexts.

    Fills ``context_of_row`` (rows,); returns how many contexts there are.
    """
    rows = counts.shape[0]
    own = np.empty(rows, np.float64)
    following = np.empty(rows, np.int64)  # a linked list of the contexts that are left
    head_of = np.empty(rows, np.int64)
    joint = np.empty(rows, np.float64)  # bits saved (negative) by merging with the following one
    for k in range(rows):
        own[k] = _cost(counts, k, k)
        following[k] = k + 1
        head_of[k] = k
    for k in range(rows):
        joint[k] = _cost(counts, k, k + 1) - own[k] - own[k + 1] if k + 1 < rows else np.inf
    left = rows
    while left > 1:
        best = np.int64(0)  # not a literal, for which `_cost` would be compiled once more
        for k in range(rows):
            best = k if joint[k] < joint[best] else best
        if joint[best] >= 0.0 and left <= MOST_CONTEXTS:
            break
        second = following[best]
        for token in range(256):
            counts[best, token] += counts[second, token]
        own[best] = _cost(counts, best, best)
        following[best] = following[second]
        joint[second] = np.inf
        head_of[second] = best
        left -= 1
        after = following[best]
        joint[best] = _cost(counts, best, after) - own[best] - own[after] if after < rows else np.inf
        before = best
        while before > 0:
            before -= 1
            if head_of[before] == before:
                joint[before] = _cost(counts, before, best) - own[before] - own[best]
                break
    context = -1
    for k in range(rows):
        context += 1 if head_of[k] == k else 0
        context_of_row[k] = context
    return left


@helper
def _levels(counts, resolution, escaped_bits, levels):
    """Counts (contexts, 256) -> logarithmic levels; 0: a token that is not listed, for ``escaped_bits``."""
    steps = np.float64(np.int64(1) << resolution)
    for context in range(counts.shape[0]):
        row, out = counts[context], levels[context]
        total, most = np.int64(0), np.int64(0)
        for token in range(row.size):
            total += row[token]
            most = token if row[token] > row[most] else most
        total = max(total, np.int64(1))
        escaped = np.int64(0)
        for token in range(row.size):
            count = row[token] if row[most] > 0 else np.int64(token == most)
            rare = count * escaped_bits <= 6.0 + 1.5 * total / TOTAL
            if token != most and (rare or token == ESCAPE):
                escaped += count if rare else np.int64(0)
            elif count > 0:
                out[token] = _level(count, total, steps)
        if escaped > 0:
            out[ESCAPE] = _level(escaped, total, steps)


@merged
def _level(count, total, steps):
    octaves = math.log2(np.float64(count) / np.float64(total)) + PRECISION
    return np.int64(max(np.rint(octaves * steps), 0.0)) + np.int64(1)
