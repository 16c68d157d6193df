"""A network that estimates the errors that a linear function leaves, and how torch teaches it.

Knows no integers. Imported by training alone: decoding needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from lossyzip.learned.descent import Schedule, descend
from lossyzip.learned.device import training_device
from lossyzip.learned.terms import LIMITS

_UNIT = 64.0  # of features
_BATCH = 1024  # points
_SCHEDULE = Schedule(5e-3, (0.9, 0.999), {"pct_start": 0.15}, fused=False)


class Taught(NamedTuple):
    """In float64."""

    hidden: list[tuple[np.ndarray, np.ndarray]]  # (weights (inputs, channels), biases); they see features
    weights: np.ndarray  # of the output: of activations, then of terms
    bias: float


def teach(
    terms: np.ndarray, errors: np.ndarray, channels: Sequence[int], start: np.ndarray, steps: int, seed: int
) -> Taught:
    """A network beside the linear function, whose first weights are ``start``.

    It estimates ``errors`` (points,) in eps from ``terms`` (points, limits x features), both float32.
    """
    device, random = training_device(), torch.Generator().manual_seed(seed)
    features = terms.shape[1] // len(LIMITS)
    inputs = torch.from_numpy(terms / np.float32(_UNIT)).to(device)
    wanted = torch.from_numpy(errors)[:, None].to(device)

    def uniform(shape: tuple[int, ...], reach: float) -> torch.Tensor:
        return (2.0 * torch.rand(shape, generator=random) - 1.0) * reach

    hidden = []
    for before, after in pairwise([features, *channels]):
        pair = [uniform(shape, before**-0.5).to(device) for shape in ((before, after), (after,))]
        hidden.append((pair[0].requires_grad_(), pair[1].requires_grad_()))
    linear = torch.from_numpy((start * _UNIT).astype(np.float32))[:, None]
    last = torch.cat([uniform((channels[-1], 1), 0.3 * channels[-1] ** -0.5), linear]).to(device)
    last.requires_grad_()
    bias = torch.zeros(1, device=device, requires_grad=True)

    def loss(chosen: torch.Tensor) -> torch.Tensor:
        seen = inputs.index_select(0, chosen)
        now = seen[:, :features]
        for w, b in hidden:
            now = torch.relu(now @ w + b)
        out = torch.cat([now, seen], 1) @ last + bias
        return ((out - wanted.index_select(0, chosen)) ** 2).mean()

    parameters = [*(part for pair in hidden for part in pair), last, bias]
    descend(parameters, loss, _batches(len(inputs), random), steps, _SCHEDULE)
    (w, b), *others = [(_plain(w), _plain(b)) for w, b in hidden]
    weights = _plain(last)[:, 0]
    weights[channels[-1] :] /= _UNIT
    return Taught([(w / _UNIT, b), *others], weights, float(bias.detach()[0]))


def _batches(count: int, random: torch.Generator) -> Iterator[torch.Tensor]:
    while True:
        yield torch.randint(0, count, (min(_BATCH, count),), generator=random)


def _plain(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy().astype(np.float64)
    return array
