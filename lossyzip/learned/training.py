"""Training: fields and an eps -> a network whose guide leaves little to code. For the encoder alone.

What is coded of target - guide is what its neighbours do not predict. So the loss is mostly on differences
between neighbouring points: an error that is alike all around costs almost nothing, and neither does one that
is far below eps. The number of steps follows from the budget alone, and all numbers from the seed: on one
machine, the same call gives the same network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lossyzip.errors import InvalidArgumentError
from lossyzip.learned.device import require_torch
from lossyzip.learned.neighbourhood import folded
from lossyzip.learned.network import Network
from lossyzip.learned.network_bytes import storable
from lossyzip.learned.rounding import outputs, to_integers
from lossyzip.learned.sampling import Patches, draw, inputs_for
from lossyzip.learned.selection import select

if TYPE_CHECKING:
    from lossyzip.field import Source

STEPS_A_SECOND = 1500  # nominal: a slower machine takes longer, and finds the same
_LEAST_STEPS = 200
PATCHES = 50_000
_BATCH = 256  # patches
_CHANNELS = (24, 24)  # of hidden layers
_OWN = 0.08  # of the weight of a difference: that of an error as it is
_WEIGHT_BITS = (8, 9, 10, 12)
_LEAST_EPS = 1e-6  # of a target's scale: float32 has no more
_JUDGED = 8  # one patch in so many: by these one of them is chosen


def train(
    target: Source,
    references: Sequence[Source],
    eps: float,
    *,
    stacked: bool = False,
    seconds: float = 5.0,
    seed: int = 0,
    patches: int = PATCHES,
    tell: Callable[[float], Any] | None = None,
) -> Network:
    """A network that makes a guide for ``target``, to be coded within ``eps``, of ``references``.

    All are of one shape, and read in parts; ``references`` as the decoder will have them, and NaN where they
    mean nothing. Values of the target that are not finite are left out.
    ``stacked``: they are (separate, z, y, x), and nothing looks across the first axis: that of snapshots.
    ``seconds`` are nominal; about so many ``patches`` are learned from. References that have nothing to say
    give a guide next to constant. ``tell`` is told now and then what part is done. Raises
    MissingDependencyError without torch.
    """
    shape, shapes = tuple(target.shape), [tuple(reference.shape) for reference in references]
    if set(shapes) != {shape}:
        raise InvalidArgumentError(f"references {shapes} for a target {shape}: one shape is needed")
    if not 0 < eps < math.inf:
        raise InvalidArgumentError(f"a guide is trained for 0 < eps < inf, not {eps}")
    require_torch()
    from lossyzip.learned.perceptron import learn

    rng = np.random.default_rng(seed)
    if 0 in shape:
        return Network.constant(0.0)
    inputs = inputs_for(references, target, rng)
    full = (shape[0], shape[1], shape[2], shape[3]) if stacked else folded(shape)
    drawn = draw(target, full, inputs, references, patches, rng)
    if not len(drawn.values):
        return Network.constant(0.0)
    middle = storable(float(np.median(drawn.values[drawn.valid])))
    if not inputs:
        return Network.constant(middle)
    magnitude = float(np.abs(drawn.values).max())
    if not 1e-250 < magnitude < 1e250:  # squares would leave the range of floats
        return Network.constant(middle)
    wanted = select(drawn, len(inputs))
    scale = max(float(np.abs(drawn.values[drawn.valid] - middle).mean()), eps)
    features = drawn.features(wanted)
    judged = np.arange(0, len(features), _JUDGED)
    sample = features[judged].reshape(-1, len(wanted)).astype(np.float64)
    spread = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1.0)
    features /= spread.astype(np.float32)
    terms = roughness(drawn.shape)
    whole = drawn.valid @ (terms != 0.0).T.astype(np.float32) == np.count_nonzero(terms, axis=1)
    net = learn(
        features,
        ((drawn.values - middle) / scale @ terms.T).astype(np.float32),
        None if whole.all() else whole.astype(np.float32),
        terms.astype(np.float32),
        (np.abs(terms).max(axis=1) * max(eps / scale, _LEAST_EPS)).astype(np.float32),
        hidden=_CHANNELS,
        steps=max(round(seconds * STEPS_A_SECOND), _LEAST_STEPS),
        batch=_BATCH,
        rng=rng,
        tell=tell,
    )
    found = [Network.constant(middle)]
    for bits in _WEIGHT_BITS:
        network = to_integers(net, inputs, wanted, spread, scale, middle, bits)
        found += [network] if network is not None else []
    return min(found, key=lambda network: _size(network, drawn, judged, sample, terms, eps, math.prod(shape)))


def roughness(shape: tuple[int, ...]) -> np.ndarray:
    """(terms, points): what of the errors of a patch of this ``shape`` is coded, differences along its edges;
    and, if it has edges, a little of the errors themselves."""
    points = math.prod(shape)
    each = np.eye(points)
    numbers = np.arange(points).reshape(shape)
    edges = [axis for axis, n in enumerate(shape) if n > 1]
    ends = [(numbers.take(k, axis).reshape(-1) for k in (0, 1)) for axis in edges]
    differences = [each[high] - each[low] for low, high in ends]
    return np.concatenate([*differences, _OWN * each]) if edges else each


def _size(
    network: Network,
    patches: Patches,
    judged: np.ndarray,
    sample: np.ndarray,
    terms: np.ndarray,
    eps: float,
    count: int,
) -> float:
    """About how many bytes ``network`` and what it leaves of ``count`` values take, up to a constant.

    Logarithms of what the loss is about. Entropies of codes would be nearer to real sizes, but do not see the
    noise of coarser weights below eps, that real coders do: they predict from many values.
    """
    guide = outputs(network, sample) if network.features else np.full(len(sample), network.centre)
    left = patches.values[judged] - guide.reshape(len(judged), -1)
    whole = patches.valid[judged].all(axis=1)
    shares = np.abs(terms).max(axis=1)
    with np.errstate(over="ignore"):
        errors = np.abs(left[whole] @ (terms / shares[:, None]).T)
        bits = np.log2(1.0 + np.minimum(errors / (2.0 * eps), 1e300)) @ (shares / shares.sum())
    return len(network.to_bytes()) + count / 8 * float(bits.mean() if bits.size else 0.0)
