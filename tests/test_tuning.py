"""What is chosen on samples of a field, against what codes all of it in the fewest bytes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import lossyzip as lz
from datasets import varied
from datasets.synthetic import waves
from lossyzip import shortlist, tuning
from lossyzip.blocks import Block, middle_of, sample_blocks
from lossyzip.compressor import compress_field
from lossyzip.container.header import Header
from lossyzip.decompose.families import Plan, plan_of, write_plan
from lossyzip.decompose.fold import Fold
from lossyzip.decompose.wavelet import Wavelet
from lossyzip.decompressor import Frame
from lossyzip.effort import EFFORTS
from lossyzip.field import summarize, tile_shape
from lossyzip.preview import Preview
from lossyzip.tile import encode_tile
from lossyzip.tuning import best_of_each_kind, choose_plan

BALANCED = EFFORTS["balanced"]


@pytest.fixture(scope="module")
def fields():
    return varied.fields()


def _header(values: np.ndarray, rel: float) -> Header:
    summary = summarize(iter([values]), values.dtype, ())
    eps = rel * (float(summary.high) - float(summary.low))
    bound, span = lz.absolute(eps), (summary.coded_low, summary.coded_high)
    tile = tile_shape(values.shape)
    return Header(
        *(values.dtype, values.shape, tile, bound, eps, *span, summary.specials, "lossless", b"", (0, 1, 0))
    )


def _size(values: np.ndarray, header: Header, plan: Plan) -> int:
    header = replace(header, family=plan.name, plan=write_plan(plan))
    tiles = (np.ascontiguousarray(values[where]) for where in header.tile_slices())
    return len(header.plan) + sum(len(encode_tile(tile, header, plan)) for tile in tiles)


@pytest.mark.parametrize("name", ["shells", "orbitals", "front", "interface_f64", "drifting"])
@pytest.mark.parametrize("rel", [1e-2, 1e-4])
def test_what_balanced_chooses_on_samples_is_about_as_small_as_the_best_family(fields, name, rel):
    values = fields[name]
    header = _header(values, rel)
    chosen = choose_plan(values, header, BALANCED)
    assert chosen is not None
    best = min(_size(values, header, plan) for plan in best_of_each_kind(values, header, BALANCED))
    assert _size(values, header, chosen) <= 1.05 * best


@pytest.mark.parametrize("rel", [1e-3, 1e-4, 1e-5])
def test_a_sample_of_a_rough_place_does_not_say_what_is_best_elsewhere(fields, rel):
    """The middle of the field has the front, whose values a raster predicts best; most of it is smooth."""
    values = fields["shock"]
    header = _header(values, rel)
    chosen = choose_plan(values, header, BALANCED)
    assert chosen is not None
    best = min(_size(values, header, plan) for plan in best_of_each_kind(values, header, BALANCED))
    assert _size(values, header, chosen) <= 1.1 * best


def test_a_row_of_few_bits_is_mixed():
    """Particles in clusters, one after the other: no row beside it says where a cluster is wide."""
    rng, centres, members = np.random.default_rng(3), [], []
    while sum(map(len, members)) < 1 << 19:
        centres.append(rng.uniform(0.0, 256.0))
        members.append(rng.normal(centres[-1], rng.exponential(1.0), rng.geometric(1 / 260)))
    values = np.concatenate(members).astype("<f4")
    blob = lz.compress(values, lz.relative(1e-2))
    static = replace(BALANCED, mixed_if_few=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "balanced", static)
        assert len(blob) < 0.85 * len(lz.compress(values, lz.relative(1e-2)))


def test_next_to_nothing_on_a_sample_says_nothing():
    """Years of a climate, of which so little is coded that no kind of plan can be told to be far behind."""
    values = ensemble((8, 110, 64, 128))
    balanced, mixed = (lz.compress(values, lz.relative(0.2), effort=e) for e in ("balanced", "max"))
    assert len(mixed) < len(balanced) < 5000


def test_a_tile_says_whether_levels_are_better_where_blocks_have_too_many_edges():
    """Interfaces, where a lattice with contexts of levels seems smaller on blocks; a front, where it is."""
    for seed in (2, 3):
        values = varied.interface((72, 112, 144), np.random.default_rng(seed))
        assert lz.inspect(lz.compress(values, lz.relative(1e-2))).families == ("multigrid",)
    values = varied.front((80, 112, 128), np.random.default_rng(1))
    assert lz.inspect(lz.compress(values, lz.relative(1e-2))).families == ("lattice",)


def test_a_lattice_that_is_small_does_not_keep_others_from_being_mixed(fields):
    balanced, mixed = (lz.compress(fields["front"], lz.relative(1e-2), effort=e) for e in ("balanced", "max"))
    assert len(mixed) < 0.995 * len(balanced)


def test_where_a_wavelet_comes_close_max_judges_all_its_steps_on_larger_blocks(monkeypatch):
    axes = np.meshgrid(*(np.arange(n) for n in (16, 64, 64)), indexing="ij")
    values = sum(np.sin(0.2 * (k + 1) * axis) for k, axis in enumerate(axes)).astype("<f4")
    effort = replace(EFFORTS["max"], scouted=1 << 10, block=1 << 12, leeway=10.0)
    steps, judge_all = [], tuning.judge_all

    def judged(candidates, *rest):
        steps.append(tuple(one.keywords["step"] for one in candidates if "step" in one.keywords))
        return judge_all(candidates, *rest)

    for module in (shortlist, tuning):
        monkeypatch.setattr(module, "judge_all", judged)
    choose_plan(values, _header(values, 1e-2), effort)
    assert steps == [effort.steps, effort.steps]


def test_fields_of_many_values_are_the_same_every_time_and_of_the_kinds_they_are_named_for(fields):
    again = varied.fields()
    for name, values in fields.items():
        assert values.size > 1 << 20
        assert values.dtype == (np.float64 if name.endswith("_f64") else np.float32)
        assert np.isfinite(values).all()
        assert np.array_equal(values, again[name])
    assert 0.2 < (fields["shells"] == 0).mean() < 0.99
    assert (fields["counts"] == np.rint(fields["counts"])).all()
    assert np.unique(fields["degrees"]).size < 1000
    assert {0.0, 1.0} <= set(np.unique(fields["clouds"]))


def test_blocks_of_four_axes_keep_volumes_longer_than_their_number():
    (block,) = sample_blocks((32, 40, 40, 40), replace(BALANCED, blocks=1))
    assert [s.stop - s.start for s in block] == [8, 20, 20, 20]
    block = middle_of(Block(np.zeros((1, 2, 40, 40), np.float32)), 800)
    assert block.shape == (1, 2, 20, 20)


def ensemble(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Temperatures: zones, continents, and a weather that has nothing to do with that of the year before."""
    rng = np.random.default_rng(4)
    zones = 30 * np.cos(np.linspace(-1.5, 1.5, shape[2]))[:, None] + 4 * varied.noise(shape[2:], 3.5, rng)
    weather = np.stack([varied.noise(shape[2:], 3.0, rng) for _ in range(shape[0] * shape[1])])
    return (zones + 0.6 * weather.reshape(shape)).astype(np.float32)


def wake(nt: int, ny: int, nx: int) -> np.ndarray:
    """Vortices behind a cylinder, about: so smooth that edges of blocks and tiles take most bytes."""
    t, (y, x) = np.arange(nt)[:, None, None], np.mgrid[:ny, :nx]
    across = (y - ny / 2) / 20
    return np.exp(-(across**2)) * np.sin(x / 12 - t / 5) * np.exp(-x / 200) + 0.1 * np.exp(-(across**2) / 4)


def test_kinds_that_small_blocks_have_far_behind_are_judged_by_large_ones_at_low_rates():
    """On the first sample a raster takes two thirds of the wavelet's bytes, in the end twice as many."""
    values = wake(64, 128, 300)
    header = _header(values, 1e-3)
    chosen = choose_plan(values, header, BALANCED)
    assert isinstance(chosen, Wavelet)
    kinds = best_of_each_kind(values, header, BALANCED)
    others = [_size(values, header, plan) for plan in kinds if not isinstance(plan, Wavelet)]
    assert _size(values, header, chosen) < 0.7 * min(others)


def test_tiles_are_larger_at_low_rates_and_two_at_least():
    values = wake(64, 128, 300)
    tiles = {rel: lz.inspect(lz.compress(values, lz.relative(rel))) for rel in (1e-3, 1e-9)}
    assert math.prod(tiles[1e-3].tile_shape) > math.prod(tiles[1e-9].tile_shape)
    assert (tiles[1e-3].tile_count, tiles[1e-9].tile_count) == (2, 4)
    fast = lz.inspect(lz.compress(values, lz.relative(1e-3), effort="fast"))
    assert fast.tile_count == 4  # whatever is in other tiles, a lattice's values are the same


def test_balanced_mixes_fields_of_one_tile_at_low_rates():
    """Where next to nothing is coded, few contexts say where."""
    values = wake(16, 128, 300)
    assert values.size > BALANCED.mixed
    for rel, fewer in ((1e-3, True), (1e-9, False)):
        mixed, static = [], []
        compress_field(values, lz.relative(rel), mixed.append)
        compress_field(values, lz.relative(rel), static.append, effort=replace(BALANCED, mixed_if_few=0))
        sizes = len(b"".join(mixed)), len(b"".join(static))
        assert sizes[0] < 0.85 * sizes[1] if fewer else sizes[0] == sizes[1]
        assert np.abs(lz.decompress(b"".join(mixed)) - values).max() <= rel * (values.max() - values.min())


def test_tiles_of_hardly_anything_but_zeros_are_mixed_with_flags():
    """Static contexts take twice as much of them. Where more is not 0, that would take too long."""
    values = wake(40, 256, 300)
    for rel, rare in ((0.03, True), (1e-3, False)):
        mixed, static = lz.compress(values, lz.relative(rel)), []
        assert lz.inspect(mixed).tile_count > 1
        compress_field(values, lz.relative(rel), static.append, effort=replace(BALANCED, mixed_if_rare=0.0))
        size = len(b"".join(static))
        assert len(mixed) < 0.6 * size if rare else len(mixed) == size
        assert np.abs(lz.decompress(mixed) - values).max() <= rel * (values.max() - values.min())


def test_samples_tell_what_mixing_saves():
    """At low rates tiles are mixed where others are not."""
    values = waves((16, 128, 300), np.random.default_rng(1), 5)
    summary, real = summarize(iter([values]), values.dtype, ()), []
    eps = 0.03 * (float(summary.high) - float(summary.low))
    compress_field(values, lz.absolute(eps), real.append)
    ratio = values.nbytes / len(b"".join(real))
    static = replace(BALANCED, mixed_if_few=0, mixed_if_rare=0.0)
    told, before = (Preview(values, summary, (), e, 1).look(eps).ratio for e in (BALANCED, static))
    assert before < told
    assert abs(math.log(ratio / told)) < 0.7 * abs(math.log(ratio / before))


@pytest.mark.parametrize("effort", ["fast", "balanced"])
def test_components_side_by_side_are_coded_as_fields_one_after_the_other(effort):
    """Vectors, and positions: those of neighbours are alike, those of one point are not."""
    fields = [varied.noise((48, 48, 48), 3.5, np.random.default_rng(seed)) for seed in range(3)]
    for apart in (np.stack(fields), np.stack(fields).reshape(3, -1).cumsum(axis=1)):
        apart = apart.astype("<f4")
        beside = np.ascontiguousarray(np.moveaxis(apart, 0, -1))
        blob, moved = (lz.compress(values, lz.relative(1e-3), effort=effort) for values in (beside, apart))
        header = Frame.of_bytes(blob)._header
        assert plan_of(header.family, header.plan).fold == Fold.COMPONENTS
        assert len(blob) <= 1.02 * len(moved)


def test_a_short_axis_of_more_than_components_is_one_like_others():
    values = varied.noise((64, 64, 12), 3.5, np.random.default_rng(1)).astype("<f4")
    header = Frame.of_bytes(lz.compress(values, lz.relative(1e-3)))._header
    assert plan_of(header.family, header.plan).fold != Fold.COMPONENTS
