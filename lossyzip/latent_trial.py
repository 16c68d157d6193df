"""A field compressed in trial with latents beside references: learned/autoencoder.py.

What latents say and references did not has to pay for itself: on samples of the field first, then in whole
frames. For the encoder alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lossyzip import trial
from lossyzip.bound import Bound, absolute
from lossyzip.decompressor import Frame
from lossyzip.effort import ROUGH
from lossyzip.field import Source
from lossyzip.grid import on_grid
from lossyzip.guide import FieldGuide
from lossyzip.learned.relations import blocks_of, cut
from lossyzip.scratch import Space
from lossyzip.trial import Told, Trial

_LEAST_BYTES = 16_000  # of a field: network and latents take 2 kB or more
_MOST_VALUES = 1 << 22  # of a field: latents are found for all of it at a time
_PATCHES, _PATCHES_OF_SAMPLE = 100_000, 20_000
_WAYS = (16, 4), (8, 4)  # latents at every so many places, channels of them
_SEEN = 0.2  # of the time, that a sample takes


def autoencoded(
    field: Source,
    bound: Bound,
    references: Sequence[Source],
    told: Told | None,
    least: int,
    seconds: float,
    seed: int,
    options: dict[str, Any],
    tell: Callable[[float], Any] | None = None,
) -> Trial | None:
    """With latents, and a network that sees them and the ``references``, the first of those ``told``.

    None for a field that cannot have latents, or is coded in ``least`` bytes without them, which are few; or
    where samples say that they would not pay.
    """
    if told is None or math.prod(field.shape) > _MOST_VALUES or least < _LEAST_BYTES:
        return None
    shape = told.target.shape
    blocks, share = blocks_of(shape, seed), 0.0
    if blocks is not None:
        share = _SEEN
        others = [cut(on_grid(one, shape), shape, blocks) for one in references]
        sample, times = cut(field, shape, blocks), math.prod(shape)
        about = share * seconds, seed, options
        if not _pays(sample, absolute(told.target.eps), others, times / sample.size, *about):
            return None
    best = None
    for number, way in enumerate(_WAYS):
        part = (1.0 - share) * seconds / len(_WAYS)
        heard = None if tell is None else partial(_part_of, tell, number)
        found = _in_way(field, bound, references, told, way, part, seed, options, _PATCHES, heard)
        if found is not None and (best is None or len(found.frame) < len(best.frame)):
            best = found
    return best


def _part_of(tell: Callable[[float], Any], number: int, part: float) -> None:
    tell((number + part) / len(_WAYS))


def _pays(
    sample: np.ndarray,
    bound: Bound,
    references: Sequence[np.ndarray],
    times: float,
    seconds: float,
    seed: int,
    options: dict[str, Any],
) -> bool:
    """Whether latents make a field smaller of which this is a ``sample``, and that has so many ``times`` the
    values."""
    options = {**options, "effort": replace(ROUGH, times=times)}
    told = trial.told_by(sample, bound, references, range(len(references)), options)
    if told is None:
        return False
    without = [trial.compressed(sample, bound, None, options), trial.tapped(sample, bound, told, options)]
    if references:
        learning: dict[str, Any] = {"patches": _PATCHES_OF_SAMPLE}
        seconds /= 2.0
        without.append(trial.guided(sample, bound, references, told, seconds, seed, options, **learning))
    least = min(_scaled(one.frame, times) for one in without if one is not None)
    about = bound, references, told, _WAYS[0], seconds, seed, options, _PATCHES_OF_SAMPLE
    found = _in_way(sample, *about)
    return found is not None and _scaled(found.frame, times) < least


def _scaled(frame: bytes, times: float) -> float:
    """About the bytes of a field with so many ``times`` the values, when this is its sample's frame."""
    opened = Frame.of_bytes(frame)
    growing = opened.tile_bytes + opened.latent_bytes
    return len(frame) - growing + times * growing


def _in_way(
    field: Source,
    bound: Bound,
    references: Sequence[Source],
    told: Told,
    way: tuple[int, int],
    seconds: float,
    seed: int,
    options: dict[str, Any],
    patches: int,
    tell: Callable[[float], Any] | None = None,
) -> Trial | None:
    """With one network and its latents; None where nothing was learned."""
    from lossyzip.learned import autoencoder
    from lossyzip.learned.training import Lesson, lesson_of

    rng, target = np.random.default_rng(seed), told.target
    others = [on_grid(one, target.shape) for one in references]
    lesson = lesson_of(target, others, target.eps, rng=rng, patches=patches)
    if not isinstance(lesson, Lesson):
        return None
    stride, channels = way
    made = autoencoder.train(lesson, (stride,) * 3, channels, seconds=seconds, rng=rng, tell=tell)
    if made is None:
        return None
    network, latents = made.network.to_bytes(), made.latents.to_bytes()
    about: dict[str, Any] = {"kept": Space(), "latents": latents}
    make = partial(FieldGuide, network, references, target.shape, target.dtype, **about)
    return trial.in_ways(make, field, bound, told, options)._replace(network=network)
