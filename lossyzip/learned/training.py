"""Training: fields and an eps -> a network whose guide leaves little to code. For the encoder alone.

What is coded of target - guide is what its neighbours do not predict. So the loss is mostly on differences
between neighbouring points; an error that is alike all around costs almost nothing. Differences far below eps
cost nothing either.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossyzip.errors import InvalidArgumentError
from lossyzip.learned.network import Network
from lossyzip.learned.perceptron import Loss, Perceptron
from lossyzip.learned.rounding import to_integers
from lossyzip.learned.sampling import Patches, candidates, draw, inputs_for

STEPS_A_SECOND = 1000  # nominal: the same network on every machine, which may take longer or less
_PATCHES = 50_000
_BATCH = 128
_SELECTION = 8_000
_MOST_PAIRS = 24  # features along an axis
_WORTH = 0.01  # of what is left unexplained: a feature that takes off less stays away
_DIFFERENCES = 0.9  # of the loss
_ACTIVATION_BITS = 14
_WEIGHT_BITS = (8, 10, 12)


def train(
    target: np.ndarray,
    references: Sequence[np.ndarray],
    eps: float,
    *,
    valid: np.ndarray | None = None,
    seconds: float = 3.0,
    seed: int = 0,
    channels: int = 24,
    layers: int = 2,
    bits: int = 10,
    abits: int = 14,
) -> Network:
    """A network that makes a guide for ``target``, to be coded within ``eps``, of ``references``.

    All of one shape; ``references`` as the decoder will have them. ``valid`` (bool) leaves out values of the
    target; those that are not finite are left out anyhow. ``seconds`` stand for a number of steps, so that the
    same call gives the same network. References that have nothing to say give a guide next to constant.
    """
    if not references or any(r.shape != target.shape for r in references):
        raise InvalidArgumentError(
            f"references {[r.shape for r in references]} for a target {target.shape}: all must be of one shape"
        )
    if not 0 < eps < math.inf:
        raise InvalidArgumentError(f"a guide is trained for 0 < eps < inf, not {eps}")
    rng = np.random.default_rng(seed)
    usable = np.isfinite(target) if valid is None else np.isfinite(target) & valid
    inputs = inputs_for(references, usable.reshape(-1), rng)
    if not inputs or not usable.any():
        return constant(0.0)
    patches = draw(target, usable, inputs, references, _PATCHES, rng)
    values = patches.values
    centre = float(np.median(values[patches.valid]))
    scale = max(float(np.abs(values[patches.valid] - centre).mean()), eps)
    wanted = select(patches, len(inputs))
    features = patches.features(wanted)
    spread = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1.0)
    features /= spread.astype(np.float32)
    scaled = ((values - centre) / scale).astype(np.float32)
    net = Perceptron.fresh([len(wanted)] + [channels] * layers, rng)
    loss = roughness(patches, scaled, np.float32(eps / scale))
    net.learn(features, loss, max(int(seconds * STEPS_A_SECOND), 1), _BATCH, rng)
    return to_integers(net, inputs, wanted, spread, features, scale, centre, bits, abits)


def constant(value: float) -> Network:
    from lossyzip.learned.network import Layer

    none = np.zeros(1, np.int64)
    return Network((), (), (), Layer(np.zeros((1, 0), np.int64), none, none), 1, value, 0.0)


def select(patches: Patches, inputs: int) -> list[tuple[int, int]]:
    """The features of the network: of each input the point and shells around it, and pairs along an axis that
    help a linear fit of differences between neighbours."""
    every = candidates(inputs)
    few = _SELECTION // len(patches.boxes) + 1
    features = patches.features(every, few).astype(np.float64)
    counts = np.cumsum([0] + [len(index) for _, index in patches.boxes])
    kept = np.concatenate(
        [np.arange(a, min(b, a + few)) for a, b in zip(counts[:-1], counts[1:], strict=True)]
    )
    values, valid = patches.values[kept], patches.valid[kept]
    good = valid.all(axis=1)
    if good.sum() < 4 * len(every):
        return [(k, kind) for k, kind in every if kind < 4]
    features, values = features[good], values[good]
    x = np.concatenate([(features[:, j] - features[:, 0]) for j in _corners(patches.shape)])
    y = np.concatenate([(values[:, j] - values[:, 0]) for j in _corners(patches.shape)])
    most = np.quantile(np.abs(y), 0.99)
    y = np.clip(y, -most, most)
    scale = np.sqrt((x * x).mean(axis=0)) + 1e-9
    table = np.concatenate([x / scale, (y / (np.sqrt((y * y).mean()) + 1e-300))[:, None]], axis=1)
    gram = table.T @ table / len(table)
    chosen = [j for j, (_, kind) in enumerate(every) if kind < 4]
    for j in chosen:
        _take(gram, j)
    for _ in range(_MOST_PAIRS):
        diagonal = np.diagonal(gram)[:-1]
        gain = np.where(diagonal > 1e-6, gram[-1, :-1] ** 2 / np.maximum(diagonal, 1e-6), 0.0)
        best = int(gain.argmax())
        if gain[best] <= _WORTH * gram[-1, -1]:
            break
        chosen.append(best)
        _take(gram, best)
    return [every[j] for j in sorted(chosen)]


def _take(gram: np.ndarray, j: int) -> None:
    """Leave of all products what is orthogonal to feature ``j``."""
    if gram[j, j] > 1e-9:
        row = gram[j] / math.sqrt(gram[j, j])
        gram -= np.outer(row, row)


def _corners(shape: tuple[int, int, int]) -> list[int]:
    """Neighbours of a patch's first point."""
    nz, ny, nx = shape
    return [step for n, step in ((nz, ny * nx), (ny, nx), (nx, 1)) if n > 1]


def roughness(patches: Patches, target: np.ndarray, eps: np.float32) -> Loss:
    """Of a patch: magnitudes of errors' differences along edges, and a little of the errors themselves."""
    shape = patches.shape
    valid = patches.valid.astype(np.float32)
    everywhere = bool(patches.valid.all())
    edges = [axis for axis, n in enumerate(shape) if n > 1]
    own = np.float32((1.0 - _DIFFERENCES) / math.prod(shape)) if edges else np.float32(1.0)
    each = np.float32(_DIFFERENCES / max(sum(math.prod(shape) // 2 for _ in edges), 1))

    def slope(out: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        error = out - target[chosen]
        if not everywhere:
            error *= valid[chosen]
        total = own * _bent(error, eps)
        cube, into = error.reshape(-1, *shape), total.reshape(-1, *shape)
        for axis in edges:
            low, high = (slice(None),) * (axis + 1) + (0,), (slice(None),) * (axis + 1) + (1,)
            difference = each * _bent(cube[high] - cube[low], eps)
            if not everywhere:
                known = valid[chosen].reshape(cube.shape)
                difference *= known[high] * known[low]
            into[high] += difference
            into[low] -= difference
        return total / np.float32(len(chosen))

    return slope


def _bent(error: np.ndarray, eps: np.float32) -> np.ndarray:
    """The slope of sqrt(error ** 2 + eps ** 2)."""
    return error / np.sqrt(error * error + eps * eps)
