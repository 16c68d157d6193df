"""Codes one by one through logistic mixing of adaptive binary models (Mahoney's PAQ, 2002 and later).

A code is a series of binary decisions. Each of several models, a context of its own, has a probability
for each decision; a weighted sum of their logits is what an arithmetic coder codes the decision with,
and models and weights learn from the outcome. Integers only, so that every machine finds the same.
Both directions are one function. Knows nothing of where contexts come from. docs/FORMAT.md, "Mixed coding".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lossyzip._jit import helper, merged
from lossyzip.entropy.tokens import OUTLIER
from lossyzip.errors import CorruptError
from lossyzip.kept import apart

LOOKS = 4  # known values near a point that it may be equal to
# Of a look: the code that would make the point equal to it; whether the codes before were as expected, a bit
# each; whether all decisions so far were; what it expects of the next one; the bit length of that code.
EXPECTED, HISTORY, AGREEING, WANTED, LENGTH = range(5)
MODELS = 8
SELECTED = 6  # models whose contexts the caller selects; the others follow from the looks
# Of a model: its context; whether it has learnt of this one with signs reversed; its slot.
CONTEXT, MIRRORED, SLOT = range(3)
CONTEXTS = (2048, 4096, 4800, 2048, 1024, 4096, 576, 576)  # of each model
FLAG_CONTEXTS = 2048
ACTIVITIES = 16  # classes of activity; half as many of what else selects weights
_NODES = 128  # kinds of decisions; a context has a slot for each

_LONGEST = 29  # the bit length that stands for an outlier
_UP, _DOWN = 1, 2  # how a search for the bit length goes on
_LAST_LENGTH = 11  # longer ones share the node of this one
_SIGN = 36  # first node of the decisions on the sign, by bit length
_BITS = 44  # first node of the decisions on bits below the highest; each sign has its own
_BITS_OF_SIGN = 42
_BELOW = 25  # among those, the first of bits that are not the highest three
_LAST_BELOW = 16
_TREE = np.array([0, 0, 0, 1, 4, 11, 18])  # among those, the first of each bit length

_LOGIT = 3071  # logits are in units of 1/256, no larger than this
_ONE = 1 << 16  # probabilities that are coded
_SURE = (1 << 22) - 1  # probabilities as models have them
_MOST_SEEN = 1000  # how often a slot was used, as it remembers
_EMPTY = np.uint32(1 << 31)  # slots are stored less this: probability 1/2, never used
_FIRST_WEIGHT = 6000  # of each of two sets; 65536 is one
_FEWEST_BITS = np.uint64(1 << 32)  # the coder's width is renewed below

_logit = np.arange(-_LOGIT, _LOGIT + 1)
PROBABILITY = np.clip(np.rint(_ONE / (1.0 + np.exp(_logit / -256.0))), 1, _ONE - 1).astype(np.int32)
_middle = (np.arange(4096) + 0.5) / 4096
LOGIT = np.rint(256.0 * np.log(_middle / (1.0 - _middle))).astype(np.int32)
PACE = (655360 // (10 * np.arange(1024) + 16)).astype(np.int32)  # of a slot, by how often it was used
RATE = (32 + 12288 // (64 + np.arange(1024))).astype(np.int32)  # of weights, by an eighth of that
_LENGTHS = np.array([n.bit_length() for n in range(1024)], np.int64)
_STARTS = (np.cumsum(CONTEXTS) - CONTEXTS) * _NODES


class Mixer(NamedTuple):
    """The state of all models, weights, flags and the coder; `state` is the coder's low end (encoding), its
    width, the code less its low end (decoding), and how many of ``words`` are used."""

    slots: np.ndarray  # uint32: 22 bits of probability, 10 bits of how often it was used, less _EMPTY
    weights: np.ndarray  # int32: MODELS for each node and activity, then for each node and selector
    uses: np.ndarray  # int32: of each of the former
    flags: np.ndarray  # uint32: slots, one for each context of a flag
    state: np.ndarray  # (4,) uint64
    words: np.ndarray  # uint32; when encoding, as many as there may be


def open_mixer(words: np.ndarray) -> Mixer:
    """A mixer that has learnt nothing, to write into or to read from ``words`` (uint32, two at least)."""
    sets = _NODES * ACTIVITIES
    state = apart(4, np.uint64)
    state[:] = 0, (1 << 64) - 1, (int(words[0]) << 32) | int(words[1]), 0
    slots = np.zeros(sum(CONTEXTS) * _NODES, np.uint32)
    weights = np.full(2 * sets * MODELS, _FIRST_WEIGHT, np.int32)
    flags = np.zeros(FLAG_CONTEXTS, np.uint32)
    return Mixer(slots, weights, np.zeros(sets, np.int32), flags, state, words)


def encoder(capacity: int) -> Mixer:
    """A mixer that encodes to at most ``capacity`` words; `finish` returns the bytes."""
    return open_mixer(np.zeros(capacity + 2, np.uint32))


def finish(mixer: Mixer) -> bytes | None:
    """What was encoded; None if it was too much. Of the codes that are left the one with most zeros at its
    end, and those are not written."""
    low, width, _, used = (int(number) for number in mixer.state)
    if used > mixer.words.size:
        return None
    for zeros in range(64, -1, -8):
        last = -(-low >> zeros) << zeros
        if last < low + width:
            break
    whole = int.from_bytes(mixer.words[:used].astype(">u4").tobytes(), "big")
    data = ((whole << 64) + last).to_bytes(4 * used + 8, "big")
    return data.rstrip(b"\0")


def decoder(data: bytes) -> Mixer:
    """A mixer that decodes ``data``, behind whose end all is zero."""
    if data.endswith(b"\0"):
        raise CorruptError("a stream of mixed codes ends with a zero")
    words = np.frombuffer(data + bytes(12 - len(data) % 4), ">u4").astype(np.uint32)
    mixer = open_mixer(words)
    mixer.state[3] = 2
    return mixer


def check_used_up(mixer: Mixer, size: int) -> None:
    """Raise CorruptError if not all of ``size`` bytes were decoded."""
    if 4 * int(mixer.state[3]) < size:
        raise CorruptError(f"a stream of mixed codes ends at word {int(mixer.state[3])} of {size} bytes")


@merged
def bit_length(magnitude):
    """Of a number below 2**30."""
    if magnitude < 1024:
        length = _LENGTHS[magnitude]
    elif magnitude < 1 << 20:
        length = 10 + _LENGTHS[magnitude >> 10]
    else:
        length = 20 + _LENGTHS[magnitude >> 20]
    return length


@helper
def _carry(words, used):
    k = min(used, words.size) - 1
    while k >= 0 and words[k] == np.uint32(0xFFFFFFFF):
        words[k] = np.uint32(0)
        k -= 1
    if k >= 0:
        words[k] += np.uint32(1)


@merged
def _code_bit(bit, probability, encoding, state, words):
    """Encode ``bit``, or decode and return one, that is 1 with ``probability`` / 65536 (range coder)."""
    width = state[1]
    part = (width >> np.uint64(16)) * np.uint64(probability)
    if not encoding:
        bit = np.int64(state[2] < part)
    if bit == 1:
        width = part
    else:
        width -= part
        if encoding:
            low = state[0] + part
            if low < part:
                _carry(words, np.int64(state[3]))
            state[0] = low
        else:
            state[2] -= part
    if width < _FEWEST_BITS:
        used = np.int64(state[3])
        if encoding:
            if used < words.size:
                words[used] = np.uint32(state[0] >> np.uint64(32))
            state[0] <<= np.uint64(32)
        else:
            state[2] = (state[2] << np.uint64(32)) | np.uint64(words[min(used, words.size - 1)])
        width <<= np.uint64(32)
        state[3] = np.uint64(used + 1)
    state[1] = width
    return bit


@merged
def _decide(bit, turned, here, there, model, inputs, slots, weights, uses, state, words, encoding):
    """Code ``bit`` as the mixture of the models' slots says, with the sum of the sets of weights ``here`` and
    ``there``; teach slots and weights. ``turned`` is 1 where mirrored models say the reverse."""
    for k in range(MODELS):
        logit = np.int64(LOGIT[(slots[np.uint64(model[SLOT, k])] ^ _EMPTY) >> np.uint32(20)])
        inputs[k] = np.int32(-logit if turned & model[MIRRORED, k] else logit)
    first = np.uint64(here * MODELS)
    second = np.uint64((_NODES * ACTIVITIES + there) * MODELS)
    dot = np.int64(0)
    for k in range(MODELS):
        weight = np.int64(weights[first + np.uint64(k)]) + np.int64(weights[second + np.uint64(k)])
        dot += weight * np.int64(inputs[k])
    probability = np.int64(PROBABILITY[min(max(dot >> 16, -_LOGIT), _LOGIT) + _LOGIT])
    bit = _code_bit(bit, probability, encoding, state, words)
    used = np.int64(uses[np.uint64(here)])
    uses[np.uint64(here)] = np.int32(min(used + 1, 8191))
    error = ((bit << 16) - probability) * np.int64(RATE[used >> 3])
    for k in range(MODELS):
        inputs[k] = np.int32((np.int64(inputs[k]) * error + (1 << 21)) >> 22)
    for k in range(MODELS):
        weights[first + np.uint64(k)] += inputs[k]
    for k in range(MODELS):
        weights[second + np.uint64(k)] += inputs[k]
    for k in range(MODELS):
        _learn(slots, np.uint64(model[SLOT, k]), bit ^ (turned & model[MIRRORED, k]))
    return bit


@merged
def _learn(slots, at, bit):
    """Move the probability in slot ``at`` towards ``bit``."""
    slot = slots[at] ^ _EMPTY
    seen = np.int64(slot & np.uint32(1023))
    p = np.int64(slot >> np.uint32(10))
    target = np.int64(_SURE) if bit else np.int64(0)
    p += ((target - p) * np.int64(PACE[seen])) >> 16
    slots[at] = np.uint32((p << 10) | min(seen + 1, np.int64(_MOST_SEEN))) ^ _EMPTY


@merged
def code_flag(flag, context, flags, state, words, encoding):
    """Encode ``flag``, 0 or 1, or decode and return one, as its ``context`` alone says, and teach that."""
    p = np.int64((flags[context] ^ _EMPTY) >> np.uint32(16))
    flag = _code_bit(flag, min(max(p, np.int64(1)), np.int64(_ONE - 1)), encoding, state, words)
    _learn(flags, np.uint64(context), flag)
    return flag


@merged
def _context_of_looks(first, look):
    """What looks ``first`` and ``first`` + 1 expect of the next decision, and how often they were right."""
    one = look[AGREEING, first] * (1 + look[WANTED, first])
    two = look[AGREEING, first + 1] * (1 + look[WANTED, first + 1])
    return (one * 3 + two) * 64 + look[HISTORY, first] * 8 + look[HISTORY, first + 1]


@merged
def mix_code(code, start, activity, kind, model, inputs, look, slots, weights, uses, state, words, encoding):
    """Encode ``code`` (int32), or decode and return one. The search for its bit length begins at ``start``.

    ``activity`` and ``kind`` (below 8) select weights. The caller sets ``model[CONTEXT]``,
    ``model[MIRRORED]`` and ``look[EXPECTED]``; the rest of ``model`` (3, MODELS) and ``look`` (5, LOOKS),
    int64, and ``inputs`` (MODELS,), int32, are used here. The other arrays are a mixer's, one by one: out of
    a tuple they would be counted as references each time.
    """
    magnitude = np.int64(0) if code == OUTLIER else abs(np.int64(code))
    negative = np.int64(code != OUTLIER and code < 0)
    target = np.int64(_LONGEST) if code == OUTLIER else bit_length(magnitude)
    for k in range(LOOKS):
        look[AGREEING, k] = 1
        look[LENGTH, k] = bit_length(abs(look[EXPECTED, k]))
    length, direction, tree, below = start, np.int64(0), np.int64(0), np.int64(0)
    stage = 0  # 0: the bit length, 1: the sign, 2: bits below the highest
    while True:
        side = np.int64(0)
        if stage == 0:
            node = direction * 12 + min(length, np.int64(_LAST_LENGTH))
            bit = np.int64(target > length)
            for k in range(LOOKS):
                look[WANTED, k] = np.int64(look[LENGTH, k] > length)
        elif stage == 1:
            node = _SIGN + min(length, np.int64(7))
            bit = negative
            for k in range(LOOKS):
                look[WANTED, k] = np.int64(look[EXPECTED, k] < 0)
        else:
            place = _TREE[min(length, np.int64(6))] + tree - 1
            node = _BITS + (place if tree < 8 else _BELOW + min(below, np.int64(_LAST_BELOW)))
            side = np.int64(_BITS_OF_SIGN)
            bit = (magnitude >> below) & 1
            for k in range(LOOKS):
                look[WANTED, k] = (abs(look[EXPECTED, k]) >> below) & 1
        agreeing = look[AGREEING, 0] + look[AGREEING, 1] + look[AGREEING, 2] + look[AGREEING, 3]
        if tree >= 8 and agreeing == 0:
            bit = _code_bit(bit, _ONE >> 1, encoding, state, words)
        else:
            for k in range(SELECTED):
                slot = _STARTS[k] + model[CONTEXT, k] * _NODES + node
                model[SLOT, k] = slot + side * (negative ^ model[MIRRORED, k])
            for k in range(SELECTED, MODELS):
                seen = _context_of_looks(2 * (k - SELECTED), look)
                model[SLOT, k] = _STARTS[k] + seen * _NODES + node
            here = node * ACTIVITIES + activity
            first = stage == 0 and direction == 0
            there = node * ACTIVITIES + (8 + kind if first else agreeing)
            turned = np.int64(stage == 1)
            bit = _decide(
                bit, turned, here, there, model, inputs, slots, weights, uses, state, words, encoding
            )
        for k in range(LOOKS):
            look[AGREEING, k] &= np.int64(look[WANTED, k] == bit)
        if stage == 0:
            if bit == 1:
                length += 1
                found = direction == _DOWN or length == _LONGEST
                direction = np.int64(_UP)
            else:
                found = direction == _UP or length == 0
                length -= np.int64(not found)
                direction = np.int64(_DOWN)
            if found:
                if length == 0 or length == _LONGEST:
                    break
                stage = 1
        elif stage == 1:
            negative = bit
            if not encoding:
                magnitude = np.int64(1) << (length - 1)
            if length == 1:
                break
            stage, tree, below = 2, np.int64(1), length - 2
        else:
            if not encoding:
                magnitude |= bit << below
            tree = min(2 * tree + bit, np.int64(8))
            below -= 1
            if below < 0:
                break
    if not encoding:
        code = OUTLIER if length == _LONGEST else np.int32(-magnitude if negative == 1 else magnitude)
    for k in range(LOOKS):
        look[HISTORY, k] = ((look[HISTORY, k] << 1) | np.int64(look[EXPECTED, k] == code)) & 7
    return code
