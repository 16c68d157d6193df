"""Training of a network together with the latents that it sees. For the encoder alone; imports torch.

The decoder is a network (network.py) of latents (latents.py) and references. There is no encoder network:
latents are what descent on the field itself leads to, as in auto-decoders (Park et al. 2019, DeepSDF), with
noise in the place of rounding (Balle et al. 2017) and what their differences about take as a price.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from lossyzip.learned.descent import Schedule, descend, in_one_thread
from lossyzip.learned.latents import Latents, corners_of, grid_of
from lossyzip.learned.neighbourhood import FIRST_LATENT, LARGEST_INPUT, Input, rounded
from lossyzip.learned.network import Network
from lossyzip.learned.perceptron import Perceptron, batches, cost_of, trained
from lossyzip.learned.rounding import to_integers
from lossyzip.learned.training import CHANNELS, WEIGHT_BITS, Lesson, size_of

STEPS_A_SECOND = 400  # nominal
_LEAST_STEPS = 200
_BATCH = 256  # patches
_SCHEDULE = Schedule(1e-2, (0.9, 0.99), {"pct_start": 0.15, "cycle_momentum": False}, fused=True)
_STEPS_OF_LATENTS = 10.0  # that are as much larger
_STEP = 0.25  # of a latent, as the network is trained to see it
_ROUNDED = 0.8  # of the steps, after which latents are rounded, no more noisy


class Autoencoder(NamedTuple):
    network: Network
    latents: Latents


def train(
    lesson: Lesson,
    strides: tuple[int, int, int],
    channels: int,
    *,
    seconds: float,
    rng: np.random.Generator,
    tell: Callable[[float], Any] | None = None,
) -> Autoencoder | None:
    """The network and latents, so many ``channels`` at every ``strides`` places, that leave little to code of
    the lesson's field; None where latents seem to be of no use. ``seconds`` are nominal."""
    grid = grid_of(lesson.full, strides)
    points = lesson.patches.points().reshape(-1, 4)
    net, values = _descend(lesson, points, grid, strides, channels, seconds, rng, tell)
    if values is None:
        return None
    latents = Latents(values, strides, lesson.full)
    inputs, wanted, spread = list(lesson.inputs), list(lesson.wanted), list(lesson.spread)
    unit = 2.0 ** math.floor(math.log2(LARGEST_INPUT / max(latents.largest, 1)))
    of_strides = 1.0 / math.prod(strides)
    columns = [lesson.sample]
    seen = points.reshape(len(lesson.features), -1, 4)[lesson.judged].reshape(-1, 4)
    for k in range(channels):
        wanted.append((len(inputs), 0))
        inputs.append(Input(FIRST_LATENT + k, False, 0.0, of_strides, unit))
        spread.append(unit / _STEP)
        columns.append(rounded(inputs[-1], latents.at(k, seen))[:, None])
    sample = np.concatenate(columns, axis=1)
    found = [Network.constant(lesson.middle)]
    for bits in WEIGHT_BITS:
        network = to_integers(net, inputs, wanted, np.array(spread), lesson.scale, lesson.middle, bits)
        found += [network] if network is not None else []
    best = min(found, key=lambda network: size_of(network, lesson, sample))
    return Autoencoder(best, latents) if best.latents else None


@in_one_thread()
def _descend(
    lesson: Lesson,
    points: np.ndarray,
    grid: tuple[int, ...],
    strides: tuple[int, int, int],
    channels: int,
    seconds: float,
    rng: np.random.Generator,
    tell: Callable[[float], Any] | None,
) -> tuple[Any, np.ndarray | None]:
    """(the perceptron, latents as int16)"""
    numbers, weights = corners_of(points, grid, strides)
    index = torch.from_numpy(numbers)
    weight = torch.from_numpy((weights / math.prod(strides)).astype(np.float32))
    of_patch = len(points) // len(lesson.features)
    index, weight = (a.view(len(lesson.features), of_patch, -1) for a in (index, weight))
    x, goal = torch.from_numpy(lesson.features), torch.from_numpy(lesson.goal)
    counts = None if lesson.whole is None else torch.from_numpy(lesson.whole)
    matrix, bends = torch.from_numpy(lesson.terms.T.astype(np.float32)), torch.from_numpy(lesson.bends)
    shares = torch.from_numpy((lesson.shares / lesson.shares.sum()).astype(np.float32))
    price = math.prod(grid) * channels / math.prod(lesson.full)
    steps = max(round(seconds * STEPS_A_SECOND), _LEAST_STEPS)
    net = Perceptron(x.shape[2] + channels, CHANNELS, rng)
    start = 0.5 / _STEPS_OF_LATENTS * rng.standard_normal((math.prod(grid), channels)).astype(np.float32)
    small = torch.nn.Parameter(torch.from_numpy(start))
    noise = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
    taken = itertools.count(1)

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        near = _STEPS_OF_LATENTS * small.index_select(0, index.index_select(0, chosen).view(-1))
        if next(taken) < _ROUNDED * steps:
            near = near + (torch.rand(near.shape, generator=noise) - 0.5)
        else:
            near = near + (near.round() - near).detach()
        near = near.view(-1, index.shape[2], channels)
        between = (near * weight.index_select(0, chosen).view(-1, index.shape[2], 1)).sum(dim=1)
        seen = torch.cat([x.index_select(0, chosen).view(len(between), x.shape[2]), _STEP * between], dim=1)
        errors = net(seen).view(len(chosen), -1) @ matrix - goal.index_select(0, chosen)
        bits = cost_of(errors, bends)
        if counts is not None:
            bits = bits * counts.index_select(0, chosen)
        return (bits @ shares).mean() + price * _rate(near)

    descend([*net.parameters(), small], loss, batches(len(x), _BATCH, rng), steps, _SCHEDULE, tell)
    with torch.no_grad():
        latents = (_STEPS_OF_LATENTS * small).round()
        if not bool((latents.abs() <= LARGEST_INPUT).all()):
            return None, None
        between = (latents[index.view(-1)].view(*index.shape, channels) * weight[..., None]).sum(dim=2)
        features = torch.cat([x, _STEP * between], dim=2)
        return trained(net, features), latents.T.reshape(channels, *grid).numpy().astype(np.int16)


def _rate(near: torch.Tensor) -> torch.Tensor:
    """About the bits of a latent, by differences along the edges of cells; ``near``: (points, corners,
    channels)."""
    cube = near.view(-1, *[2] * int(math.log2(near.shape[1])), near.shape[2])
    along = [cube.diff(dim=axis) for axis in range(1, cube.ndim - 1)]
    if not along:  # a single latent
        return torch.zeros(())
    return torch.stack([torch.log2(1.0 + steps.abs()).mean() for steps in along]).mean()
