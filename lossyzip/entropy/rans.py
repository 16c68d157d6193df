"""Range asymmetric numeral systems (rANS, Duda 2013): interleaved states, a context per token.

Probabilities are multiples of 2**-PRECISION. A state is 32 bits, renormalized by 16. Token i uses
state i % lanes; there are eight, or one where the stream is so short that states would be its bulk.
Knows nothing of what tokens mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import inlined, kernel

PRECISION = 14
TOTAL = 1 << PRECISION
LANES = 8
LOWEST = 1 << 16  # a state is in [LOWEST, LOWEST << 16)


class Coder(NamedTuple):
    """What a decoder holds: the tables of all contexts, and the stream."""

    context_of_cell: np.ndarray  # uint8
    token_of_slot: np.ndarray  # (contexts << PRECISION) uint8
    frequency: np.ndarray  # (contexts << 8) uint32
    start: np.ndarray  # (contexts << 8) uint32
    states: np.ndarray  # (lanes,) uint32, lanes a power of two
    words: np.ndarray  # uint16, and one more that is never used up in a sound stream


def open_coder(
    context_of_cell: np.ndarray, frequency: np.ndarray, states: np.ndarray, words: np.ndarray
) -> Coder:
    """A coder for ``frequency`` (contexts, 256), each row of which sums to TOTAL."""
    contexts = frequency.shape[0]
    slots = np.repeat(np.tile(np.arange(256, dtype=np.uint8), contexts), frequency.ravel())
    start = np.cumsum(frequency, axis=1) - frequency
    return Coder(
        context_of_cell.astype(np.uint8),
        slots,
        frequency.astype(np.uint32).ravel(),
        start.astype(np.uint32).ravel(),
        states.astype(np.uint32),
        np.append(words, np.uint16(0)).astype(np.uint16),
    )


@inlined
def _put(state, entry, words, position, frequency, start, reciprocal):
    """(new state, where the words begin): without a branch, which could not be predicted."""
    f = np.uint64(frequency[entry])
    words[position - 1] = np.uint16(state & np.uint64(0xFFFF))
    full = state >= (f << np.uint64(32 - PRECISION))
    position -= np.int64(full)
    state = state >> np.uint64(16) if full else state
    quotient = np.uint64(np.int64(np.float64(np.int64(state)) * reciprocal[entry]))
    return state + quotient * (np.uint64(TOTAL) - f) + np.uint64(start[entry]), position


@inlined
def _entry(i, tokens, cells, context_of_cell):
    return (np.int64(context_of_cell[cells[i]]) << 8) | np.int64(tokens[i])


@kernel
def encode_tokens(tokens, cells, context_of_cell, frequency, start, reciprocal, states, words):
    """Code ``tokens`` backwards into the end of ``words`` (uint16); returns where they begin there.

    ``frequency``, ``start`` (uint32) and ``reciprocal`` (float64, slightly above 1 / frequency, so
    that the truncated product is the exact quotient) are indexed by context << 8 | token. ``words`` has
    one place more than there are tokens at least.
    """
    position = np.int64(words.size)
    lanes = states.size
    lane = np.full(lanes, np.uint64(LOWEST))
    i = tokens.size - 1
    while i >= 0 and (lanes != LANES or (i + 1) % LANES != 0):
        entry = _entry(i, tokens, cells, context_of_cell)
        lane[i % lanes], position = _put(
            lane[i % lanes], entry, words, position, frequency, start, reciprocal
        )
        i -= 1
    if lanes == LANES:  # eight states in registers
        s0, s1, s2, s3, s4, s5, s6, s7 = lane[0], lane[1], lane[2], lane[3], lane[4], lane[5], lane[6], lane[7]
        while i >= 0:
            entry = _entry(i, tokens, cells, context_of_cell)
            s7, position = _put(s7, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 1, tokens, cells, context_of_cell)
            s6, position = _put(s6, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 2, tokens, cells, context_of_cell)
            s5, position = _put(s5, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 3, tokens, cells, context_of_cell)
            s4, position = _put(s4, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 4, tokens, cells, context_of_cell)
            s3, position = _put(s3, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 5, tokens, cells, context_of_cell)
            s2, position = _put(s2, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 6, tokens, cells, context_of_cell)
            s1, position = _put(s1, entry, words, position, frequency, start, reciprocal)
            entry = _entry(i - 7, tokens, cells, context_of_cell)
            s0, position = _put(s0, entry, words, position, frequency, start, reciprocal)
            i -= LANES
        lane[0], lane[1], lane[2], lane[3], lane[4], lane[5], lane[6], lane[7] = s0, s1, s2, s3, s4, s5, s6, s7
    for k in range(lanes):
        states[k] = np.uint32(lane[k])
    return position


def reciprocals(frequency: np.ndarray) -> np.ndarray:
    """1 / frequency, rounded up enough for `encode_tokens`; 0 where a token does not occur."""
    return np.where(frequency > 0, (1.0 + 2.0**-50) / np.maximum(frequency, 1), 0.0).ravel()


@inlined
def decode_symbol(context, state, used, token_of_slot, frequency, start, words):
    """(token, new state, words used) for a ``state`` in ``context``.

    Renormalizes without a branch, which could not be predicted.
    """
    slot = np.int64(state) & np.int64(TOTAL - 1)
    token = np.int64(token_of_slot[(context << PRECISION) | slot])
    entry = (context << 8) | token
    state = np.uint32(frequency[entry] * (state >> np.uint32(PRECISION)) + np.uint32(slot) - start[entry])
    renewed = np.uint32((state << np.uint32(16)) | np.uint32(words[min(used, words.size - 1)]))
    low = state < np.uint32(LOWEST)
    state = renewed if low else state
    used += np.int64(low)
    return token, state, used


@kernel
def decode_row(
    tokens, cells, first, context_of_cell, token_of_slot, frequency, start, states, words, cursor
):
    """Decode as many ``tokens`` as there are ``cells``, the first being the ``first``-th of the stream.

    The contexts are known beforehand, so that eight states decode side by side. ``cursor`` is that of
    `entropy.stream.CodeStream`.
    """
    n = tokens.size
    used = cursor[2]
    lanes = states.size
    i = 0
    if lanes == LANES:
        s0, s1, s2, s3 = states[first & 7], states[(first + 1) & 7], states[(first + 2) & 7], states[(first + 3) & 7]
        s4, s5, s6, s7 = states[(first + 4) & 7], states[(first + 5) & 7], states[(first + 6) & 7], states[(first + 7) & 7]
        while i + LANES <= n and used + LANES <= words.size:
            context = np.int64(context_of_cell[cells[i]])
            token, s0, used = _get(context, s0, used, token_of_slot, frequency, start, words)
            tokens[i] = token
            context = np.int64(context_of_cell[cells[i + 1]])
            token, s1, used = _get(context, s1, used, token_of_slot, frequency, start, words)
            tokens[i + 1] = token
            context = np.int64(context_of_cell[cells[i + 2]])
            token, s2, used = _get(context, s2, used, token_of_slot, frequency, start, words)
            tokens[i + 2] = token
            context = np.int64(context_of_cell[cells[i + 3]])
            token, s3, used = _get(context, s3, used, token_of_slot, frequency, start, words)
            tokens[i + 3] = token
            context = np.int64(context_of_cell[cells[i + 4]])
            token, s4, used = _get(context, s4, used, token_of_slot, frequency, start, words)
            tokens[i + 4] = token
            context = np.int64(context_of_cell[cells[i + 5]])
            token, s5, used = _get(context, s5, used, token_of_slot, frequency, start, words)
            tokens[i + 5] = token
            context = np.int64(context_of_cell[cells[i + 6]])
            token, s6, used = _get(context, s6, used, token_of_slot, frequency, start, words)
            tokens[i + 6] = token
            context = np.int64(context_of_cell[cells[i + 7]])
            token, s7, used = _get(context, s7, used, token_of_slot, frequency, start, words)
            tokens[i + 7] = token
            i += LANES
        states[first & 7], states[(first + 1) & 7], states[(first + 2) & 7], states[(first + 3) & 7] = s0, s1, s2, s3
        states[(first + 4) & 7], states[(first + 5) & 7] = s4, s5
        states[(first + 6) & 7], states[(first + 7) & 7] = s6, s7
    while i < n:
        lane = (first + i) & (lanes - 1)
        context = np.int64(context_of_cell[cells[i]])
        token, states[lane], used = _get(
            context, states[lane], min(used, words.size - 1), token_of_slot, frequency, start, words
        )
        tokens[i] = token
        i += 1
    cursor[2] = used


@inlined
def _get(context, state, used, token_of_slot, frequency, start, words):
    """`decode_symbol` where there surely is another word."""
    slot = np.int64(state) & np.int64(TOTAL - 1)
    token = token_of_slot[(context << PRECISION) | slot]
    entry = (context << 8) | np.int64(token)
    state = np.uint32(frequency[entry] * (state >> np.uint32(PRECISION)) + np.uint32(slot) - start[entry])
    renewed = np.uint32(np.uint32(state << np.uint32(16)) | np.uint32(words[used]))
    low = state < np.uint32(LOWEST)
    state = renewed if low else state
    return token, state, used + np.int64(low)
