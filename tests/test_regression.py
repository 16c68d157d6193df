"""Raster stencils: which taps their weights are for."""

from __future__ import annotations

import numpy as np

from datasets.varied import noise
from lossyzip.decompose.fitting import fit_raster
from lossyzip.decompose.fold import Fold, Shape4
from lossyzip.decompose.regression import CLASSES, class_taps


def parameters(array: np.ndarray, how: Fold = Fold.VOLUMES) -> list[int]:
    """How many each class of rows has, fitted to the whole of ``array``."""
    plan = fit_raster([array], how, 0.01, 1.0, 20_000)
    return [0 if weights is None else len(weights.parameters) + 1 for weights in plan.weights]


def test_more_of_the_volume_before_is_seen_where_it_tells():
    """What is rough stays, what changes is smooth: neighbours tell it, less what stays of each."""
    rng = np.random.default_rng(0)
    stays = rng.standard_normal((10, 16, 20))
    changes = np.stack([noise((10, 16, 20), 5, rng) for _ in range(6)])
    usual, edges, corners = (len(taps.offsets) for taps in class_taps(0, Shape4(*changes.shape)))
    assert usual < edges < corners
    assert parameters(stays + changes)[0] in (edges, corners)
    assert parameters(rng.standard_normal(changes.shape))[0] in (0, usual)


def test_no_more_is_seen_where_there_is_no_volume_before():
    of_planes, of_volumes = Shape4(9, 1, 9, 9), Shape4(9, 9, 9, 9)
    assert [len(class_taps(row_class, of_planes)) for row_class in range(CLASSES)] == [1] * 8
    assert [len(class_taps(row_class, of_volumes)) for row_class in range(CLASSES)] == [3] * 4 + [1] * 4


def test_lengths_of_stencils_tell_them_apart():
    """Up to 64 taps, the number of which is written in six bits."""
    for row_class in range(CLASSES):
        lengths = [len(taps.offsets) for taps in class_taps(row_class, Shape4(2, 2, 2, 2))]
        assert len(set(lengths)) == len(lengths)
        assert max(lengths) <= 64
