"""Bits in an array of 64-bit words, for kernels: fixed width and Rice codes, from the lowest bit up.

The same bits as `lossyzip.entropy.bits`, which is for headers and plans.
"""

from __future__ import annotations

import numpy as np

from lossyzip._jit import helper, merged

WORD = 64
_LONGEST_QUOTIENT = 1024  # a Rice code with a longer unary part is damage, or an attack


@merged
def put(words, position, value, width):
    """Or ``value`` into ``words`` (uint64, zero there) at bit ``position``; the position behind it."""
    word, shift = position >> 6, position & 63
    words[word] |= np.uint64(value) << np.uint64(shift)
    if shift + width > 64:
        words[word + 1] |= np.uint64(value) >> np.uint64(64 - shift)
    return position + width


@merged
def get(words, position, width):
    """The ``width`` < 64 bits at ``position``; the caller knows that they are there."""
    word, shift = position >> 6, position & 63
    value = words[word] >> np.uint64(shift)
    if shift + width > 64:
        value |= words[word + 1] << np.uint64(64 - shift)
    return np.int64(value & ((np.uint64(1) << np.uint64(width)) - np.uint64(1)))


@merged
def folded(value):
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return 2 * value if value >= 0 else -2 * value - 1


@helper
def put_rice(words, position, value, parameter):
    """``value`` >= 0: its quotient by 2**parameter in unary (ones, then a zero), then the remainder."""
    for _ in range(value >> parameter):
        position = put(words, position, np.int64(1), np.int64(1))
    position = put(words, position, np.int64(0), np.int64(1))
    return put(words, position, value & ((np.int64(1) << parameter) - 1), np.int64(parameter))


@helper
def get_rice(words, position, end, parameter):
    """(value, position behind it); the position is negative when ``end`` (bits) comes first."""
    quotient = np.int64(0)
    while True:
        if position + parameter >= end or quotient > _LONGEST_QUOTIENT:
            return np.int64(0), np.int64(-1)
        one = get(words, position, np.int64(1))
        position += 1
        if one == 0:
            break
        quotient += 1
    return (quotient << parameter) | get(words, position, np.int64(parameter)), position + parameter


@merged
def unfolded(value):
    """The reverse of `folded`."""
    return -((value + 1) >> 1) if value & 1 else value >> 1


def to_bytes(words: np.ndarray, bits: int) -> bytes:
    """The first ``bits`` of ``words`` as whole bytes."""
    return words.astype("<u8", copy=False).view(np.uint8)[: (bits + 7) // 8].tobytes()


def from_bytes(data: bytes | memoryview) -> np.ndarray:
    """The words of ``data``, and one more, so that `get` may look beyond the end."""
    words = np.zeros(len(data) // 8 + 2, "<u8")
    words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    return words.astype(np.uint64, copy=False)
