"""Training: fields and an eps -> a network whose guide leaves little to code. For the encoder alone.

What is coded of target - guide is what its neighbours do not predict. So the loss is mostly on differences
between neighbouring points: an error that is alike all around costs almost nothing, and neither does one that
is far below eps. The number of steps follows from the budget alone, and all numbers from the seed: on one
machine, the same call gives the same network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lossyzip.errors import InvalidArgumentError
from lossyzip.learned.device import require_torch
from lossyzip.learned.neighbourhood import Input, folded
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
CHANNELS = (24, 24)  # of hidden layers
_OWN = 0.08  # of the weight of a difference: that of an error as it is
WEIGHT_BITS = (8, 9, 10, 12)
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
    if not references:
        raise InvalidArgumentError(
            f"no references for a target {target.shape}: one shape is needed, of one or more"
        )
    require_torch()
    from lossyzip.learned.perceptron import learn

    rng = np.random.default_rng(seed)
    lesson = lesson_of(target, references, eps, stacked=stacked, rng=rng, patches=patches)
    if not isinstance(lesson, Lesson):
        return Network.constant(lesson)
    if not lesson.inputs:
        return Network.constant(lesson.middle)
    net = learn(
        lesson.features,
        lesson.goal,
        lesson.whole,
        lesson.terms.astype(np.float32),
        lesson.bends,
        hidden=CHANNELS,
        steps=max(round(seconds * STEPS_A_SECOND), _LEAST_STEPS),
        batch=_BATCH,
        rng=rng,
        tell=tell,
    )
    found = [Network.constant(lesson.middle)]
    for bits in WEIGHT_BITS:
        network = to_integers(
            net, lesson.inputs, lesson.wanted, lesson.spread, lesson.scale, lesson.middle, bits
        )
        found += [network] if network is not None else []
    return min(found, key=lambda network: size_of(network, lesson, lesson.sample))


class Lesson(NamedTuple):
    """What a network learns from, and is judged by."""

    full: tuple[int, int, int, int]  # the target's shape, (separate, z, y, x)
    eps: float
    inputs: list[Input]
    patches: Patches
    wanted: list[tuple[int, int]]  # (input, kind) of each feature
    middle: float  # the network's output is (the target - middle) / scale
    scale: float
    features: np.ndarray  # (patches, points, wanted) float32, over
    spread: np.ndarray  # (wanted,)
    judged: np.ndarray  # numbers of patches
    sample: np.ndarray  # (points of these, wanted) float64: features, integers
    terms: np.ndarray  # (terms, points): what counts of a patch's errors
    goal: np.ndarray  # (patches, terms) float32
    whole: np.ndarray | None  # (patches, terms) float32: 1 where all of a term is valid, if not everywhere

    @property
    def shares(self) -> np.ndarray:
        """(terms,) of each term in the loss."""
        return np.asarray(np.abs(self.terms).max(axis=1))

    @property
    def bends(self) -> np.ndarray:
        """(terms,) float32: eps in their units."""
        return (self.shares * max(self.eps / self.scale, _LEAST_EPS)).astype(np.float32)


def lesson_of(
    target: Source,
    references: Sequence[Source],
    eps: float,
    *,
    stacked: bool = False,
    rng: np.random.Generator,
    patches: int = PATCHES,
) -> Lesson | float:
    """See `train`. A number where there is nothing to learn: what is as good everywhere."""
    shape, shapes = tuple(target.shape), [tuple(reference.shape) for reference in references]
    if not set(shapes) <= {shape}:
        raise InvalidArgumentError(f"references {shapes} for a target {shape}: one shape is needed")
    if not 0 < eps < math.inf:
        raise InvalidArgumentError(f"a guide is trained for 0 < eps < inf, not {eps}")
    if 0 in shape:
        return 0.0
    inputs = inputs_for(references, target, rng)
    full = (shape[0], shape[1], shape[2], shape[3]) if stacked else folded(shape)
    drawn = draw(target, full, inputs, references, patches, rng)
    if not len(drawn.values):
        return 0.0
    middle = storable(float(np.median(drawn.values[drawn.valid])))
    magnitude = float(np.abs(drawn.values).max())
    if not 1e-250 < magnitude < 1e250:  # squares would leave the range of floats
        return middle
    wanted = select(drawn, len(inputs))
    scale = max(float(np.abs(drawn.values[drawn.valid] - middle).mean()), eps)
    features = drawn.features(wanted)
    judged = np.arange(0, len(features), _JUDGED)
    sample = features[judged].reshape(judged.size * features.shape[1], len(wanted)).astype(np.float64)
    spread = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1.0)
    features /= spread.astype(np.float32)
    terms = roughness(drawn.shape)
    whole = drawn.valid @ (terms != 0.0).T.astype(np.float32) == np.count_nonzero(terms, axis=1)
    goal = ((drawn.values - middle) / scale @ terms.T).astype(np.float32)
    return Lesson(
        full,
        eps,
        inputs,
        drawn,
        wanted,
        middle,
        scale,
        features,
        spread,
        judged,
        sample,
        terms,
        goal,
        None if whole.all() else whole.astype(np.float32),
    )


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


def size_of(network: Network, lesson: Lesson, sample: np.ndarray) -> float:
    """About how many bytes ``network``, which sees the features ``sample``, and what it leaves of the target
    take, up to a constant.

    Logarithms of what the loss is about. Entropies of codes would be nearer to real sizes, but do not see the
    noise of coarser weights below eps, that real coders do: they predict from many values.
    """
    guide = outputs(network, sample) if network.features else np.full(len(sample), network.centre)
    patches, judged, shares = lesson.patches, lesson.judged, lesson.shares
    left = patches.values[judged] - guide.reshape(len(judged), -1)
    whole = patches.valid[judged].all(axis=1)
    with np.errstate(over="ignore"):
        errors = np.abs(left[whole] @ (lesson.terms / shares[:, None]).T)
        bits = np.log2(1.0 + np.minimum(errors / (2.0 * lesson.eps), 1e300)) @ (shares / shares.sum())
    count = math.prod(lesson.full)
    return len(network.to_bytes()) + count / 8 * float(bits.mean() if bits.size else 0.0)
