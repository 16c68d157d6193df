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
    return Coder(
        context_of_cell.astype(np.uint8),
        slots,
        ((frequency << 16) | start).astype(np.uint32).ravel(),
        states.astype(np.uint32),
        np.append(words, np.uint16(0)).astype(np.uint16),
    )


@kernel
def encode_tokens(tokens, cells, context_of_cell, frequency, start, reciprocal, states, words):
    """Code ``tokens`` backwards into the end of ``words`` (uint16); returns where they begin there.

    ``frequency``, ``start`` (uint32) and ``reciprocal`` (float64, slightly above 1 / frequency, so
    that the truncated product is the exact quotient) are indexed by context << 8 | token.
    """
    position = np.int64(words.size)
    states[:] = np.uint32(LOWEST)
    lane_mask = states.size - 1
    for i in range(tokens.size - 1, -1, -1):
        entry = (np.int64(context_of_cell[cells[i]]) << 8) | np.int64(tokens[i])
        f = np.uint64(frequency[entry])
        state = np.uint64(states[i & lane_mask])
        if state >= (f << np.uint64(32 - PRECISION)):
            position -= 1
            words[position] = np.uint16(state & np.uint64(0xFFFF))
            state >>= np.uint64(16)
        quotient = np.uint64(np.float64(state) * reciprocal[entry])
        states[i & lane_mask] = np.uint32(
            (quotient << np.uint64(PRECISION)) + np.uint64(start[entry]) + (state - quotient * f)
        )
    return position


def reciprocals(frequency: np.ndarray) -> np.ndarray:
    """1 / frequency, rounded up enough for `encode_tokens`; 0 where a token does not occur."""
    return np.where(frequency > 0, (1.0 + 2.0**-50) / np.maximum(frequency, 1), 0.0).ravel()


@inlined
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
