"""Which cells share a probability table, and the tables: fitted on counts.

Cells (group of passes x activity) with alike statistics are merged into contexts as long as that
saves bits, tables counted. How a model is written: tables.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossyzip._jit import kernel
from lossyzip.entropy import tables
from lossyzip.entropy.rans import PRECISION, TOTAL
from lossyzip.entropy.tables import MOST_CONTEXTS
from lossyzip.entropy.tokens import DIRECT, ESCAPE, FIRST_BUCKET

_TABLE_BITS = 12.0  # what a context costs before its first token,
_TOKEN_BITS = 3.0  # and for each token that it lists: for the decision to merge
_ESCAPED_BITS = 20.0  # what an escaped token costs, about


@dataclass(frozen=True)
class ContextModel:
    """``context_of_cell`` (cells,) uint8 and ``frequency`` (contexts, 256) int64, rows summing to TOTAL."""

    context_of_cell: np.ndarray
    frequency: np.ndarray


def fit(histogram: np.ndarray, group_cells: int) -> tuple[ContextModel, bytes]:
    """The model for ``histogram`` (cells, 256), and its bytes. Cells come in groups of ``group_cells``."""
    context_of_cell, contexts = _merge(histogram, _token_magnitudes())
    counts = counts_of_contexts(histogram, context_of_cell, contexts)
    resolution = 2 if histogram.sum() < 1 << 19 else 4
    levels = _levels(counts, resolution)
    data = tables.write(context_of_cell, histogram.sum(axis=1) > 0, group_cells, levels, resolution)
    return read(data, histogram.shape[0], group_cells), data


def read(data: bytes, cells: int, group_cells: int) -> ContextModel:
    """The model that ``data`` describes. Raises DecodeError when it describes none."""
    context_of_cell, levels, resolution = tables.read(data, cells, group_cells)
    return ContextModel(context_of_cell, tables.frequencies(levels, resolution))


def counts_of_contexts(histogram: np.ndarray, context_of_cell: np.ndarray, contexts: int) -> np.ndarray:
    """The rows of ``histogram`` (cells, 256), summed by context."""
    counts = np.zeros((contexts, 256), np.int64)
    np.add.at(counts, context_of_cell, histogram)
    return counts


def _token_magnitudes() -> np.ndarray:
    """About the magnitude that each token stands for; what is behind the last direct token grows slower."""
    token = np.arange(256)
    bucket = (token - FIRST_BUCKET) // 2
    beyond = DIRECT * 2.0 ** (np.maximum(bucket, 0) / 4.0)
    return np.where(token < FIRST_BUCKET, (token + 1) // 2, np.minimum(beyond, 1e4))


@kernel
def _cost(counts):
    """Bits for ``counts`` (256,) under their own statistics, the table included."""
    total = 0.0
    bits = _TABLE_BITS
    for count in counts:
        if count > 0:
            total += count
            bits += _TOKEN_BITS - count * np.log2(count)
    return bits + (total * np.log2(total) if total > 0 else 0.0)


@kernel
def _merge(histogram, magnitudes):
    """Greedy merging of neighbours in the order of mean magnitude: (context of each cell, contexts)."""
    cells = histogram.shape[0]
    context_of_cell = np.zeros(cells, np.uint8)
    mean = np.empty(cells, np.float64)
    for cell in range(cells):
        total = 0.0
        for token in range(256):
            total += histogram[cell, token] * magnitudes[token]
        count = histogram[cell].sum()
        mean[cell] = total / count if count > 0 else np.inf
    order = np.argsort(mean)
    used = 0
    while used < cells and mean[order[used]] < np.inf:
        used += 1
    if used == 0:
        return context_of_cell, 1
    counts = np.empty((used, 256), np.int64)
    own = np.empty(used, np.float64)
    following = np.empty(used, np.int64)  # a linked list of the contexts that are left
    joint = np.full(used, np.inf)  # bits saved (negative) by merging with the following one
    for k in range(used):
        counts[k] = histogram[order[k]]
        own[k] = _cost(counts[k])
        following[k] = k + 1
    for k in range(used - 1):
        joint[k] = _cost(counts[k] + counts[k + 1]) - own[k] - own[k + 1]
    left = used
    head_of = np.arange(used)
    while left > 1:
        best = np.argmin(joint)
        if joint[best] >= 0.0 and left <= MOST_CONTEXTS:
            break
        second = following[best]
        counts[best] += counts[second]
        own[best] = _cost(counts[best])
        following[best] = following[second]
        joint[second] = np.inf
        head_of[second] = best
        left -= 1
        after = following[best]
        joint[best] = _cost(counts[best] + counts[after]) - own[best] - own[after] if after < used else np.inf
        before = best
        while before > 0:
            before -= 1
            if head_of[before] == before:
                joint[before] = _cost(counts[before] + counts[best]) - own[before] - own[best]
                break
    context = -1
    for k in range(used):
        if head_of[k] == k:
            context += 1
        context_of_cell[order[k]] = context
    return context_of_cell, left


def _levels(counts: np.ndarray, resolution: int) -> np.ndarray:
    """Counts (contexts, 256) -> logarithmic levels; 0: the token is not listed."""
    counts = counts.copy()
    counts[counts.sum(axis=1) == 0, 0] = 1
    total = counts.sum(axis=1, keepdims=True)
    rare = counts * _ESCAPED_BITS <= 6.0 + 1.5 * total / TOTAL
    rare[np.arange(len(counts)), counts.argmax(axis=1)] = False
    listed = np.where(rare, 0, counts)
    listed[:, ESCAPE] = np.where(rare, counts, 0).sum(axis=1)
    with np.errstate(divide="ignore"):
        octaves = np.log2(listed / total) + PRECISION
    levels = np.maximum(np.rint(octaves * (1 << resolution)), 0) + 1
    return np.where(listed > 0, levels, 0).astype(np.int64)
