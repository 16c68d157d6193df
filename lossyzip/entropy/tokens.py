"""Quantization codes <-> tokens of one byte and extra bits. Knows nothing of their statistics.

A code of magnitude below 32 is a token of its own. A larger one is a bucket, an octave cut into
four, whose place within the bucket follows as extra bits. docs/FORMAT.md, "Tokens".
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import inlined, kernel
from lossyzip.entropy.words import WORD, get, put

RADIUS = 2.0**28  # codes are smaller than this in magnitude
DIRECT = 32  # magnitudes below have a token each
FIRST_BUCKET = 63
ESCAPE = 254  # the true token follows in eight extra bits: it is too rare for its context's table
OUTLIER_TOKEN = 255
OUTLIER = np.int32(-(2**31))  # in an array of codes


@inlined
def token_of(code):
    """(token, number of extra bits, extra bits) of a code."""
    magnitude = np.int64(abs(np.int64(code)))
    if code == OUTLIER:
        return np.int64(OUTLIER_TOKEN), np.int64(0), np.int64(0)
    negative = np.int64(1) if code < 0 else np.int64(0)
    if magnitude < DIRECT:
        return (np.int64(0) if magnitude == 0 else 2 * magnitude - 1 + negative), np.int64(0), np.int64(0)
    octave = np.int64(5)
    while (magnitude >> (octave + 1)) != 0:
        octave += 1
    bits = octave - 2
    bucket = (octave - 5) * 4 + ((magnitude >> bits) & 3)
    return FIRST_BUCKET + 2 * bucket + negative, bits, magnitude & ((np.int64(1) << bits) - 1)


@kernel
def tokenize(codes, cells, tokens, histogram):
    """Fill ``tokens``, count them by context cell in ``histogram`` (cells, 256); return their extra bits."""
    extra_bits = np.int64(0)
    for i in range(codes.size):
        token, bits, _ = token_of(codes[i])
        tokens[i] = np.uint8(token)
        histogram[cells[i], token] += 1
        extra_bits += bits
    return extra_bits


@kernel
def pack_extra(codes, cells, tokens, context_of_cell, listed, words):
    """Write every code's extra bits; replace tokens that are not ``listed`` in their context by ESCAPE.

    ``words`` (uint64) must be zero and have a word more than the bits need; returns their number.
    """
    cursor = np.int64(0)
    for i in range(codes.size):
        token = np.int64(tokens[i])
        if not listed[context_of_cell[cells[i]], token]:
            tokens[i] = np.uint8(ESCAPE)
            cursor = put(words, cursor, token, np.int64(8))
        if token >= FIRST_BUCKET and token != OUTLIER_TOKEN:
            _, bits, extra = token_of(codes[i])
            cursor = put(words, cursor, extra, bits)
    return cursor


@kernel
def _get(words, cursor, bits):
    """The next ``bits`` of the extra bits; 0, and a negative cursor[4], behind their end."""
    position = cursor[3]
    cursor[3] = position + bits
    if position + bits > np.int64(words.size) * WORD:
        cursor[4] = -1
        return np.int64(0)
    return get(words, position, bits)


@inlined
def code_of_token(token):
    """The code of a ``token`` below FIRST_BUCKET."""
    negative = (token & 1) - 1  # all ones or zero: a sign is not worth a branch, which could not be predicted
    return np.int32((((token + 1) >> 1) ^ negative) - negative)


@kernel
def decode_rare_token(token, extra, cursor):
    """The code of any other token; takes its extra bits from ``extra`` (uint64 words) at bit cursor[3]."""
    if token == ESCAPE:
        token = _get(extra, cursor, np.int64(8))
    if token >= ESCAPE:
        if token == ESCAPE:
            cursor[4] = -1
        return OUTLIER
    if token < FIRST_BUCKET:
        return code_of_token(token)
    bucket = (token - FIRST_BUCKET) >> 1
    bits = (bucket >> 2) + 3
    magnitude = ((4 + (bucket & 3)) << bits) | _get(extra, cursor, bits)
    return np.int32(-magnitude if (token - FIRST_BUCKET) & 1 else magnitude)
