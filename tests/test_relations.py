"""The order of fields and their references, against all orders; samples; what a guide owes to a reference."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossyzip import grid
from lossyzip.learned import relations
from lossyzip.learned.relations import Given


def judge_of(alone, saves):
    """``saves[k][j]``: the share of field k that j saves; those of several multiply."""

    def judge(k, known):
        used = frozenset(j for j in known if saves[k][j] > 0.0)
        return Given(alone[k] * math.prod(1.0 - saves[k][j] for j in used), used)

    return judge


def total(judge, order):
    return sum(judge(k, frozenset(order[:place])).bytes for place, k in enumerate(order))


shares = st.sampled_from([0.0, 0.0, 0.1, 0.5, 0.9])


@given(st.lists(st.floats(1.0, 100.0), min_size=1, max_size=4), st.data())
def test_an_order_is_the_best_of_all_where_that_may_be_found_out(alone, data):
    count = len(alone)
    saves = data.draw(
        st.lists(st.lists(shares, min_size=count, max_size=count), min_size=count, max_size=count)
    )
    judge = judge_of(alone, saves)
    plan = relations.order_of(count, judge, 1000)
    order = [k for k, _ in plan]
    assert sorted(order) == list(range(count))
    for place, (k, references) in enumerate(plan):
        assert set(references) == judge(k, frozenset(order[:place])).used
    best = min(total(judge, other) for other in itertools.permutations(range(count)))
    assert total(judge, order) <= best * (1 + 1e-3)


def test_a_judge_is_asked_no_more_often_than_said():
    asked = []
    honest = judge_of([1.0] * 6, (np.random.default_rng(3).random((6, 6)) * 0.8).tolist())

    def judge(k, known):
        asked.append(known)
        return honest(k, known)

    for looks, times in ((0, 6), (6, 6), (10, 10)):
        asked.clear()
        relations.order_of(6, judge, looks)
        assert sum(bool(known) for known in asked) == times


def test_answers_hold_for_fewer_fields():
    """What was of no use need not be asked again."""
    asked = []

    def judge(k, known):
        asked.append(k)
        return Given(1.0, frozenset())

    assert [references for _, references in relations.order_of(5, judge, 1000)] == [()] * 5
    assert len(asked) == 5 + 5  # alone, and with all others


@pytest.mark.parametrize(
    "shape", [(1 << 20,), (1500, 1400), (100, 90, 80), (3, 70, 60, 90), (2, 1, 3, 500, 700), (1 << 19, 2)]
)
def test_samples(shape):
    blocks = relations.blocks_of(shape, 0)
    assert blocks == relations.blocks_of(shape, 0) != relations.blocks_of(shape, 1)
    field = np.arange(math.prod(shape)).reshape(shape)
    sample = relations.cut(field, shape, blocks)
    assert 1 << 15 <= sample.size <= 1 << 18
    assert len(sample) == relations.BLOCKS
    for block, where in zip(sample, blocks, strict=True):
        assert (block == field[where]).all()
    masked = relations.cut(np.ma.masked_less(field, 7), shape, blocks)
    assert np.ma.isMaskedArray(masked)
    assert (masked.data == sample).all()


def test_samples_of_a_staggered_grid():
    shape, faces = (100, 90, 80), (100, 91, 80)
    blocks = relations.blocks_of(shape, 0)
    at = np.indices(faces)[1] - 0.5
    sample = relations.cut(np.indices(shape)[1].astype(float), shape, blocks)
    assert (grid.onto(relations.cut(at, shape, blocks), sample.shape) == sample).all()


def test_small_fields_are_their_own_samples():
    field = np.zeros((64, 64))
    assert relations.cut(field, field.shape, relations.blocks_of(field.shape, 0)) is field


def test_many_fields_are_taken_in_groups_of_what_is_alike(rng):
    kinds = [rng.standard_normal((40, 41, 42)) for _ in range(3)]
    fields = [10.0 ** (k % 5) * kinds[k % 3] + 0.1 * rng.standard_normal((40, 41, 42)) for k in range(30)]
    fields[5] = np.ma.masked_less(fields[5], -2)
    fields[6] = np.where(fields[6] > 2, np.nan, fields[6])
    assert relations.MOST_TOGETHER == 10
    assert relations.clusters(fields, 0) == [list(range(k, 30, 3)) for k in range(3)]
    assert relations.clusters(fields[:10], 0) == [list(range(10))]


def test_what_a_guide_owes_to_its_references(rng):
    a, b, noise = (rng.standard_normal((20, 500)) for _ in range(3))
    target = a + 2 * b
    target[3] = np.nan
    found = relations.useful(lambda seen: seen[0] + 1e-9 * seen[1] + 2 * seen[2], target, [a, noise, b], 1e-2)
    assert found == [0, 2]
