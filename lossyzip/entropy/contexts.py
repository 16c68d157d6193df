"""Which cells share a probability table, and the tables: fitted on counts, written in few bits.

Cells (group of passes x activity) with alike statistics are merged into contexts as long as that
saves bits, tables counted. A table holds the logarithm of each token's probability in fractions of
an octave. docs/FORMAT.md, "Contexts".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossyzip._jit import kernel
from lossyzip.entropy.bits import BitReader, BitWriter, rice_bits
from lossyzip.entropy.rans import PRECISION, TOTAL
from lossyzip.entropy.tokens import DIRECT, ESCAPE, FIRST_BUCKET, OUTLIER_TOKEN
from lossyzip.errors import CorruptError

MOST_CONTEXTS = 64
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
    counts = np.zeros((contexts, 256), np.int64)
    np.add.at(counts, context_of_cell, histogram)
    resolution = 2 if histogram.sum() < 1 << 19 else 4
    writer = BitWriter()
    writer.bits(contexts - 1, 6)
    writer.bits(resolution, 3)
    if contexts > 1:
        _write_map(writer, context_of_cell, histogram.sum(axis=1) > 0, group_cells)
    levels = np.array([_levels(row, resolution) for row in counts])
    for row in levels:
        _write_levels(writer, row)
    data = writer.finish()
    return read(data, histogram.shape[0], group_cells), data


def read(data: bytes, cells: int, group_cells: int) -> ContextModel:
    """The model that ``data`` describes. Raises DecodeError when it describes none."""
    reader = BitReader(data)
    contexts = reader.bits(6) + 1
    resolution = reader.bits(3)
    context_of_cell = np.zeros(cells, np.uint8)
    if contexts > 1:
        _read_map(reader, context_of_cell, contexts, group_cells)
    levels = np.array([_read_levels(reader, PRECISION << resolution) for _ in range(contexts)])
    return ContextModel(context_of_cell, _frequencies(levels, resolution))


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
    """Counts -> logarithmic levels; 0: the token is not listed."""
    total = int(counts.sum())
    if total == 0:
        counts = np.zeros(256, np.int64)
        counts[0] = total = 1
    rare = counts * _ESCAPED_BITS <= 6.0 + 1.5 * total / TOTAL
    rare[np.argmax(counts)] = False
    escaped = int(counts[rare].sum())
    listed = np.where(rare, 0, counts)
    listed[ESCAPE] = escaped
    steps = 1 << resolution
    with np.errstate(divide="ignore"):
        octaves = np.log2(listed / total) + PRECISION
    levels = np.maximum(np.rint(octaves * steps), 0) + 1
    return np.where(listed > 0, levels, 0).astype(np.int64)


def _frequencies(levels: np.ndarray, resolution: int) -> np.ndarray:
    """Levels -> frequencies that sum to TOTAL, by integers alone: the decoder must find the same."""
    weight = np.where(levels > 0, _weights(resolution)[np.maximum(levels - 1, 0)], 0)
    total = weight.sum(axis=1, keepdims=True)
    if (total == 0).any():
        raise CorruptError("a table of probabilities is empty")
    frequency = np.where(weight > 0, np.maximum(weight * TOTAL // total, 1), 0)
    for row in frequency:
        row[np.argmax(row)] += TOTAL - row.sum()
        if row.min() < 0:
            raise CorruptError("a table of probabilities does not sum to one")
    return frequency


def _weights(resolution: int) -> np.ndarray:
    """round(256 * 2 ** (level / steps)): exact to the integer in any float64 arithmetic."""
    steps = 1 << resolution
    return np.rint(256.0 * np.exp2(np.arange(PRECISION * steps + 1) / steps)).astype(np.int64)


def _write_map(writer: BitWriter, context_of_cell: np.ndarray, used: np.ndarray, group_cells: int) -> None:
    """For each group how many cells are described, then each one's context less the one before it."""
    for first in range(0, context_of_cell.size, group_cells):
        used_here = np.flatnonzero(used[first : first + group_cells])
        described = int(used_here[-1]) + 1 if used_here.size else 0
        writer.rice(described, 3)
        previous = 0
        for cell in range(first, first + described):
            if used[cell]:
                writer.signed(int(context_of_cell[cell]) - previous, 0)
                previous = int(context_of_cell[cell])
            else:
                writer.signed(0, 0)


def _read_map(reader: BitReader, context_of_cell: np.ndarray, contexts: int, group_cells: int) -> None:
    for first in range(0, context_of_cell.size, group_cells):
        described = reader.rice(3)
        if described > group_cells:
            raise CorruptError(f"a group has {described} context cells, not {group_cells}")
        previous = 0
        for cell in range(first, first + described):
            previous += reader.signed(0)
            if not 0 <= previous < contexts:
                raise CorruptError(f"context {previous} of {contexts}")
            context_of_cell[cell] = previous


def _predicted_level(levels: list[int], token: int) -> int:
    """What the level of ``token`` is coded against: the other sign's, or the magnitude before."""
    if token == 0 or token >= ESCAPE:
        return 0
    return levels[token - 1] if token % 2 == 0 or token < 3 else levels[token - 2]


def _write_levels(writer: BitWriter, row: np.ndarray) -> None:
    levels = [int(level) for level in row]
    end = max((token + 1 for token in range(ESCAPE) if levels[token]), default=0)
    writer.rice(end, 3)
    for token in (ESCAPE, OUTLIER_TOKEN):
        writer.bits(levels[token] > 0, 1)
        if levels[token]:
            writer.bits(levels[token] - 1, 8)
    differences = [levels[token] - _predicted_level(levels, token) for token in range(end)]
    parameter = min(range(8), key=lambda p: rice_bits(differences, p))
    writer.bits(parameter, 3)
    for difference in differences:
        writer.signed(difference, parameter)


def _read_levels(reader: BitReader, highest: int) -> list[int]:
    levels = [0] * 256
    end = reader.rice(3)
    if end > ESCAPE:
        raise CorruptError(f"a table lists {end} tokens")
    for token in (ESCAPE, OUTLIER_TOKEN):
        if reader.bits(1):
            levels[token] = reader.bits(8) + 1
    parameter = reader.bits(3)
    for token in range(end):
        levels[token] = _predicted_level(levels, token) + reader.signed(parameter)
    if not all(0 <= level <= highest + 1 for level in levels):
        raise CorruptError("a probability in a table is out of range")
    return levels
