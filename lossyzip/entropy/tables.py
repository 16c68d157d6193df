"""Context models as bits: which cell uses which table, and each table's probabilities.

A table holds the logarithm of each token's probability in fractions of an octave, its *level*; 0 says
that the token is not listed. docs/FORMAT.md, "Contexts".
"""

from __future__ import annotations

from functools import cache

import numpy as np

from lossyzip._jit import brief, helper, inlined
from lossyzip.entropy.rans import PRECISION, TOTAL
from lossyzip.entropy.tokens import ESCAPE, OUTLIER_TOKEN
from lossyzip.entropy.words import folded, from_bytes, get, get_rice, put, put_rice, unfolded
from lossyzip.errors import CorruptError, TruncatedError

MOST_CONTEXTS = 64
_PARAMETERS = 8  # of Rice codes
_CONTEXT_WORDS = 64  # enough for a table
_DESCRIBED, _END, _STEP = np.int64(3), np.int64(3), np.int64(0)  # Rice parameters of counts
_OK, _TRUNCATED, _CELLS, _CONTEXT, _TOKENS, _LEVEL, _EMPTY, _SUM = range(8)
_PROBLEMS = {
    _CELLS: "a group has more context cells than there are",
    _CONTEXT: "a cell has a context that does not exist",
    _TOKENS: "a table lists more tokens than there are",
    _LEVEL: "a probability in a table is out of range",
    _EMPTY: "a table of probabilities is empty",
    _SUM: "a table of probabilities does not sum to one",
}


def room(cells: int, contexts: int) -> np.ndarray:
    """Words for `put_model`."""
    return np.zeros(_CONTEXT_WORDS * (1 + contexts) + 2 * cells, np.uint64)


def read(data: bytes, cells: int, group_cells: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(context_of_cell, levels, resolution) of `put_model`. Raises DecodeError when ``data`` is none."""
    context_of_cell = np.zeros(cells, np.uint8)
    levels = np.zeros((MOST_CONTEXTS, 256), np.int64)
    state = np.zeros(2, np.int64)
    problem = _read(from_bytes(data), 8 * len(data), group_cells, context_of_cell, levels, state)
    if problem == _TRUNCATED:
        raise TruncatedError(f"a table ends after {len(data)} bytes, in the middle of a number")
    check(problem)
    return context_of_cell, levels[: state[0]], int(state[1])


def frequencies(levels: np.ndarray, resolution: int) -> np.ndarray:
    """Levels -> frequencies that sum to TOTAL, by integers alone: the decoder must find the same."""
    frequency = np.zeros(levels.shape, np.int64)
    check(fill_frequencies(levels, weights(resolution), frequency))
    return frequency


def check(problem: int) -> None:
    """Raise CorruptError if there is one."""
    if problem != _OK:
        raise CorruptError(_PROBLEMS[problem])


@brief
def fill_frequencies(levels, weights, frequency):
    """Fill ``frequency`` (contexts, 256); what is wrong, or _OK."""
    for context in range(levels.shape[0]):
        row, out = levels[context], frequency[context]
        total = np.int64(0)
        for token in range(row.size):
            total += weights[row[token] - 1] if row[token] > 0 else np.int64(0)
        if total == 0:
            return _EMPTY
        left, most = np.int64(TOTAL), np.int64(0)
        for token in range(row.size):
            if row[token] > 0:
                out[token] = max(weights[row[token] - 1] * TOTAL // total, np.int64(1))
                left -= out[token]
            most = token if out[token] > out[most] else most
        out[most] += left
        if out[most] < 0:
            return _SUM
    return np.int64(_OK)


@cache
def weights(resolution: int) -> np.ndarray:
    """round(256 * 2 ** (level / steps)): exact to the integer in any float64 arithmetic."""
    steps = 1 << resolution
    return np.rint(256.0 * np.exp2(np.arange(PRECISION * steps + 1) / steps)).astype(np.int64)


@inlined
def _predicted(levels, context, token):
    """What the level of ``token`` is coded against: the other sign's, or the magnitude before."""
    if token == 0:
        return np.int64(0)
    return levels[context, token - 1] if token % 2 == 0 or token < 3 else levels[context, token - 2]


@brief
def put_model(words, context_of_cell, used, group_cells, levels, resolution):
    """Put the model into ``words``: ``context_of_cell`` (cells,) where ``used``, ``levels`` (contexts, 256)
    int64; returns how many bits. Cells that are not used get the contexts that a reader gives them."""
    contexts = levels.shape[0]
    position = put(words, np.int64(0), np.int64(contexts - 1), np.int64(6))
    position = put(words, position, np.int64(resolution), np.int64(3))
    if contexts > 1:
        for first in range(0, context_of_cell.size, group_cells):
            position = _write_map(words, position, context_of_cell, used, first, group_cells)
    for context in range(contexts):
        position = _write_levels(words, position, levels, context)
    return position


@helper
def _write_map(words, position, context_of_cell, used, first, group_cells):
    """How many cells of a group are described, then each one's context less the one before it."""
    described = np.int64(0)
    for k in range(group_cells):
        if used[first + k]:
            described = np.int64(k + 1)
    position = put_rice(words, position, described, _DESCRIBED)
    previous = np.int64(0)
    for k in range(described):
        context = np.int64(context_of_cell[first + k]) if used[first + k] else previous
        position = put_rice(words, position, folded(context - previous), _STEP)
        context_of_cell[first + k] = previous = context
    return position


@helper
def _write_levels(words, position, levels, context):
    end = np.int64(0)
    for token in range(ESCAPE):
        if levels[context, token] > 0:
            end = np.int64(token + 1)
    position = put_rice(words, position, end, _END)
    for token in (ESCAPE, OUTLIER_TOKEN):
        level = levels[context, token]
        position = put(words, position, np.int64(level > 0), np.int64(1))
        if level > 0:
            position = put(words, position, level - 1, np.int64(8))
    parameter, least = np.int64(0), np.int64(1) << np.int64(62)
    for rice in range(np.int64(_PARAMETERS)):
        bits = end * (1 + rice)
        for token in range(end):
            bits += folded(levels[context, token] - _predicted(levels, context, token)) >> rice
        if bits < least:
            parameter, least = rice, bits
    position = put(words, position, parameter, np.int64(3))
    for token in range(end):
        difference = folded(levels[context, token] - _predicted(levels, context, token))
        position = put_rice(words, position, difference, parameter)
    return position


@brief
def _read(words, end, group_cells, context_of_cell, levels, state):
    """Fill ``context_of_cell``, ``levels`` and ``state`` (contexts, resolution); what is wrong, or _OK."""
    if end < 9:
        return _TRUNCATED
    contexts = get(words, np.int64(0), np.int64(6)) + 1
    resolution = get(words, np.int64(6), np.int64(3))
    state[0], state[1] = contexts, resolution
    position = np.int64(9)
    if contexts > 1:
        for first in range(0, context_of_cell.size, group_cells):
            described, position = get_rice(words, position, end, _DESCRIBED)
            if position < 0:
                return _TRUNCATED
            if described > group_cells:
                return _CELLS
            previous = np.int64(0)
            for k in range(described):
                step, position = get_rice(words, position, end, _STEP)
                if position < 0:
                    return _TRUNCATED
                previous += unfolded(step)
                if previous < 0 or previous >= contexts:
                    return _CONTEXT
                context_of_cell[first + k] = previous
    highest = (np.int64(PRECISION) << resolution) + 1
    for context in range(contexts):
        position = _read_levels(words, position, end, levels, context)
        if position < 0:
            return -position
        for token in range(256):
            if levels[context, token] < 0 or levels[context, token] > highest:
                return _LEVEL
    return _OK


@helper
def _read_levels(words, position, end, levels, context):
    """Fill a row of ``levels``; the position behind it, or what is wrong, negative."""
    listed, position = get_rice(words, position, end, _END)
    if position < 0:
        return np.int64(-_TRUNCATED)
    if listed > ESCAPE:
        return np.int64(-_TOKENS)
    for token in (ESCAPE, OUTLIER_TOKEN):
        if position + 1 > end:
            return np.int64(-_TRUNCATED)
        there = get(words, position, np.int64(1))
        position += 1
        if there:
            if position + 8 > end:
                return np.int64(-_TRUNCATED)
            levels[context, token] = get(words, position, np.int64(8)) + 1
            position += 8
    if position + 3 > end:
        return np.int64(-_TRUNCATED)
    parameter = get(words, position, np.int64(3))
    position += 3
    for token in range(listed):
        difference, position = get_rice(words, position, end, parameter)
        if position < 0:
            return np.int64(-_TRUNCATED)
        levels[context, token] = _predicted(levels, context, token) + unfolded(difference)
    return position
