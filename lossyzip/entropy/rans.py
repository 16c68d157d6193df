"""Range asymmetric numeral systems (rANS, Duda 2013): interleaved states, a context per token.

Probabilities are multiples of 2**-PRECISION. A state is 32 bits, renormalized by 16. Token i uses
state i % lanes; there are eight, or one where the stream is so short that states would be its bulk.
Knows nothing of what tokens mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, kernel, merged
from lossyzip.kept import apart

PRECISION = 12
TOTAL = 1 << PRECISION
LANES = 8
LOWEST = 1 << 16  # a state is in [LOWEST, LOWEST << 16)


class Coder(NamedTuple):
    """What a decoder holds: the tables of all contexts, and the stream."""

    context_of_cell: np.ndarray  # uint8
    token_of_slot: np.ndarray  # (contexts << PRECISION) uint8
    interval: np.ndarray  # (contexts << 8) uint32: frequency << 16 | start
    states: np.ndarray  # (lanes,) uint32, lanes a power of two
    words: np.ndarray  # uint16, and one more that is never used up in a sound stream


def open_coder(
    context_of_cell: np.ndarray, frequency: np.ndarray, states: np.ndarray, words: np.ndarray
) -> Coder:
    """A coder for ``frequency`` (contexts, 256), each row of which sums to TOTAL."""
    contexts = frequency.shape[0]
    slots = np.repeat(np.tile(np.arange(256, dtype=np.uint8), contexts), frequency.ravel())
    start = np.cumsum(frequency, axis=1) - frequency
    own, followed = apart(states.size, np.uint32), np.zeros(words.size + 1, np.uint16)
    own[:], followed[:-1] = states, words
    return Coder(
        context_of_cell.astype(np.uint8),
        slots,
        ((frequency << 16) | start).astype(np.uint32).ravel(),
        own,
        followed,
    )


@merged
def _put(i, state, position, tokens, cells, context_of_cell, frequency, start, reciprocal, words):
    """(new state, where the words begin): without a branch, which could not be predicted."""
    entry = (np.uint64(context_of_cell[cells[i]]) << np.uint64(8)) | np.uint64(tokens[i])
    f = np.uint64(frequency[entry])
    words[position - np.uint64(1)] = np.uint16(state)
    full = state >= (f << np.uint64(32 - PRECISION))
    position -= np.uint64(full)
    state = state >> np.uint64(16) if full else state
    quotient = np.uint64(np.int64(np.float64(np.int64(state)) * reciprocal[entry]))
    return state + quotient * (np.uint64(TOTAL) - f) + np.uint64(start[entry]), position


@kernel
def encode_tokens(tokens, cells, context_of_cell, frequency, start, reciprocal, lane, words):
    """Code ``tokens`` backwards into the end of ``words`` (uint16); returns where they begin there.

    ``frequency``, ``start`` (uint32) and ``reciprocal`` (float64, slightly above 1 / frequency, so
    that the truncated product is the exact quotient) are indexed by context << 8 | token. ``lane`` (uint64)
    are the states. ``words`` has one place more than there are tokens at least. (Indices are unsigned:
    signed ones might be negative and count from the end, which costs a third more time.)
    """
    at = np.uint64(words.size)
    lanes = lane.size
    for k in range(lanes):
        lane[k] = np.uint64(LOWEST)
    left = tokens.size
    while left > 0 and (lanes != LANES or left % LANES != 0):
        left -= 1
        k, i = left % lanes, np.uint64(left)
        lane[k], at = _put(
            i, lane[k], at, tokens, cells, context_of_cell, frequency, start, reciprocal, words
        )
    if lanes == LANES:  # eight states in registers
        s0, s1, s2, s3, s4, s5, s6, s7 = (
            lane[0],
            lane[1],
            lane[2],
            lane[3],
            lane[4],
            lane[5],
            lane[6],
            lane[7],
        )
        while left > 0:
            left -= LANES
            i = np.uint64(left)
            i1, i2, i3, i4 = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3), i + np.uint64(4)
            i5, i6, i7 = i + np.uint64(5), i + np.uint64(6), i + np.uint64(7)
            s7, at = _put(i7, s7, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s6, at = _put(i6, s6, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s5, at = _put(i5, s5, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s4, at = _put(i4, s4, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s3, at = _put(i3, s3, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s2, at = _put(i2, s2, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s1, at = _put(i1, s1, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
            s0, at = _put(i, s0, at, tokens, cells, context_of_cell, frequency, start, reciprocal, words)
        lane[0], lane[1], lane[2], lane[3], lane[4], lane[5], lane[6], lane[7] = (
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7,
        )
    return np.int64(at)


def reciprocals(frequency: np.ndarray) -> np.ndarray:
    """1 / frequency, rounded up enough for `encode_tokens`; 0 where a token does not occur."""
    return np.where(frequency > 0, (1.0 + 2.0**-50) / np.maximum(frequency, 1), 0.0).ravel()


@merged
def decode_symbol(context, state, used, token_of_slot, interval, words):
    """(token, new state, words used) for a ``state`` in ``context``.

    Renormalizes without a branch, which could not be predicted.
    """
    slot = state & np.uint32(TOTAL - 1)
    token = np.int64(token_of_slot[(context << PRECISION) | np.int64(slot)])
    found = interval[(context << 8) | token]
    state = np.uint32(
        (found >> np.uint32(16)) * (state >> np.uint32(PRECISION)) + slot - (found & np.uint32(0xFFFF))
    )
    renewed = np.uint32((state << np.uint32(16)) | np.uint32(words[min(used, words.size - 1)]))
    low = state < np.uint32(LOWEST)
    state = renewed if low else state
    used += np.int64(low)
    return token, state, used


@helper
def decode_row(tokens, cells, first, context_of_cell, token_of_slot, interval, states, words, cursor):
    """Decode as many ``tokens`` as there are ``cells``, the first being the ``first``-th of the stream.

    The contexts are known beforehand, so that eight states decode side by side. ``cursor`` is that of
    `entropy.stream.CodeStream`.
    """
    used = np.uint64(cursor[2])
    lanes = states.size
    i = np.uint64(0)
    if lanes == LANES:
        end, last = np.uint64(tokens.size & -LANES), np.uint64(words.size)
        k0, k1, k2, k3 = first & 7, (first + 1) & 7, (first + 2) & 7, (first + 3) & 7
        k4, k5, k6, k7 = (first + 4) & 7, (first + 5) & 7, (first + 6) & 7, (first + 7) & 7
        s0, s1, s2, s3 = states[k0], states[k1], states[k2], states[k3]
        s4, s5, s6, s7 = states[k4], states[k5], states[k6], states[k7]
        while i < end and used + np.uint64(LANES) <= last:
            i1, i2, i3, i4 = i + np.uint64(1), i + np.uint64(2), i + np.uint64(3), i + np.uint64(4)
            i5, i6, i7 = i + np.uint64(5), i + np.uint64(6), i + np.uint64(7)
            context = np.uint64(context_of_cell[cells[i]])
            tokens[i], s0, used = _get(context, s0, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i1]])
            tokens[i1], s1, used = _get(context, s1, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i2]])
            tokens[i2], s2, used = _get(context, s2, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i3]])
            tokens[i3], s3, used = _get(context, s3, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i4]])
            tokens[i4], s4, used = _get(context, s4, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i5]])
            tokens[i5], s5, used = _get(context, s5, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i6]])
            tokens[i6], s6, used = _get(context, s6, used, token_of_slot, interval, words)
            context = np.uint64(context_of_cell[cells[i7]])
            tokens[i7], s7, used = _get(context, s7, used, token_of_slot, interval, words)
            i += np.uint64(LANES)
        states[k0], states[k1], states[k2], states[k3] = s0, s1, s2, s3
        states[k4], states[k5], states[k6], states[k7] = s4, s5, s6, s7
    while i < np.uint64(tokens.size):
        lane = (first + np.int64(i)) & (lanes - 1)
        context = np.uint64(context_of_cell[cells[i]])
        tokens[i], states[lane], used = _get(
            context,
            states[lane],
            min(used, np.uint64(words.size - 1)),
            token_of_slot,
            interval,
            words,
        )
        i += np.uint64(1)
    cursor[2] = np.int64(used)


@merged
def _get(context, state, used, token_of_slot, interval, words):
    """`decode_symbol` where there surely is another word; all indices are unsigned."""
    slot = np.uint32(state & np.uint32(TOTAL - 1))
    token = token_of_slot[(context << np.uint64(PRECISION)) | np.uint64(slot)]
    found = interval[(context << np.uint64(8)) | np.uint64(token)]
    state = np.uint32(
        np.uint32(found >> np.uint32(16)) * np.uint32(state >> np.uint32(PRECISION))
        + slot
        - np.uint32(found & np.uint32(0xFFFF))
    )
    renewed = np.uint32(np.uint32(state << np.uint32(16)) | np.uint32(words[used]))
    low = state < np.uint32(LOWEST)
    state = renewed if low else state
    return token, state, used + np.uint64(low)
