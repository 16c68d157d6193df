"""What the benchmarks compute themselves: searches, tables, ablations. No peer is needed."""

from __future__ import annotations

import importlib.util
import math
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import lossyzip as lz
from bench import (
    ablation,
    enhance,
    enhance_related,
    generations,
    lossless,
    previous_step,
    rate_distortion,
    table,
)
from bench import given as given_all
from bench.__main__ import main
from bench.fields import Field, find, prepare
from bench.options import exit_for
from bench.peer_curves import Point, psnr_at, psnr_of, quality_of, rel_of
from bench.rows import read
from lossyzip.dataset import Learning


@given(st.floats(1e-9, 1.0))
def test_qualities_and_bounds(rel):
    assert rel_of(quality_of(rel)) == pytest.approx(rel)


def test_the_quality_of_a_bound_is_the_psnr_of_even_errors():
    errors = np.linspace(-1e-3, 1e-3, 100_001)
    assert psnr_of(1.0, float(np.mean(errors**2))) == pytest.approx(quality_of(1e-3), abs=1e-3)


@given(st.floats(0.1, 12.0), st.floats(30.0, 90.0), st.floats(0.5, 2.0))
def test_a_search_finds_the_psnr_at_some_bits(bits, start, bend):
    """On a curve of 6.02 dB a bit that bends at low rates."""

    def measure(db: float) -> Point:
        return Point(math.log1p(math.exp(bend * (db - 40) / 6.02)) / bend, db)

    expected = 40 + 6.02 / bend * math.log(math.expm1(bits * bend))
    assert psnr_at(bits, start, measure) == pytest.approx(expected, abs=0.15)


def test_a_search_over_leaps():
    def measure(db: float) -> Point:
        return Point(float(math.floor(db / 6.02)), 6.02 * math.floor(db / 6.02))

    assert 30.0 <= psnr_at(5.5, 50.0, measure) <= 36.2
    assert psnr_at(1.0, 50.0, lambda db: None) == -math.inf


def small_field() -> Field:
    rng = np.random.default_rng(3)
    array = rng.standard_normal((40, 50, 60)).cumsum(0).cumsum(1).astype(np.float32)
    return Field("made", "walk", array.shape, array.dtype, partial(lambda a: (a, ()), array))


def test_enhancers():
    rows = enhance.run([small_field()], [1e-2, 1e-7], "balanced", ["offsets"], 1.0, None, lambda row: None)
    assert [row["violations"] for row in rows] == ["0", "0"]
    assert [row["kind"] for row in rows] == ["offsets", ""]
    assert int(rows[0]["enhanced_bytes"]) < int(rows[0]["equal_psnr_bytes"])
    assert float(rows[0]["gain_db"]) > 0.0
    assert "| 0.01 | offsets | 1 | 1 |" in enhance.table(rows)


def test_the_table_of_latents():
    about = {"file": "made", "field": "walk", "rel": "0.01", "references": "one other"}
    sizes = {"raw_bytes": "1000", "plain_bytes": "500", "guided_bytes": "400", "learned_bytes": "320"}
    with_some = {**about, **sizes, "latent_bytes": "20", "network_bytes": "30"}
    without = {**with_some, "field": "none", "learned_bytes": "400", "latent_bytes": "0"}
    text = table.latents_table([with_some, without])
    assert "| made | walk | 0.01 | one, other | 2.00 | 2.50 | 3.12 | 1.2500 | 20 | 30 |" in text
    assert "none" not in text
    assert "| all | 2 rows |  |  |  |  |  | 1.118 |" in text


def test_enhancers_that_see_references(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)  # offsets are quick
    one, rng = small_field(), np.random.default_rng(5)
    array = (one.read()[0] + rng.standard_normal(one.shape)).astype(np.float32)
    other = Field("made", "noisy", one.shape, one.dtype, partial(lambda a: (a, ()), array))
    rows = enhance_related.run([one, other], [1e-2], "balanced", Learning(0.0), None, lambda row: None)
    assert [row["sees"] for row in rows] == ["itself", "references"]
    assert [row["violations"] for row in rows] == ["0", "0"]
    assert rows[0]["plain_bytes"] == rows[1]["plain_bytes"]
    assert all(float(row["gain_db"]) > 0.5 for row in rows)
    assert "| 0.01 | references | 1 | 1 |" in enhance_related.table(rows)


def test_what_others_tell():
    one = small_field()
    array = np.square(one.read()[0])
    other = Field("made", "square", one.shape, one.dtype, partial(lambda a: (a, ()), array))
    rows = given_all.run([one, other], ["square"], [1e-2], 1e-3, "balanced", None, lambda row: None)
    assert [(row["field"], row["others_rel"]) for row in rows] == [("square", "0.001")]
    assert rows[0]["violations"] == "0"
    assert int(rows[0]["given_bytes"]) < 0.9 * int(rows[0]["plain_bytes"])
    assert "| made | square | 0.01 | 0.001 |" in table.given_table(rows)


def test_the_previous_step():
    steps = small_field().read()[0][:5]
    field = Field("made", "steps", steps.shape, steps.dtype, partial(lambda a: (a, ()), steps))
    rows = previous_step.run([field], [1e-2], "balanced", None, lambda row: None)
    assert [row["violations"] for row in rows] == ["0"]
    assert int(rows[0]["taps_bytes"]) < int(rows[0]["steps_bytes"])
    assert "| made | steps | 0.01 |" in table.previous_step_table(rows)


def test_ablation():
    rows = ablation.run([small_field()], [1e-2, 1e-4], None, lambda row: None)
    assert {row["variant"] for row in rows} == set(ablation.VARIANTS)
    sizes = {(row["variant"], row["rel"]): float(row["relative_size"]) for row in rows}
    for rel in ("0.01", "0.0001"):
        assert sizes["balanced", rel] == 1.0
        assert sizes["order-0", rel] > 0.99 * sizes["static", rel] >= 0.99
        assert min(sizes[family, rel] for family in ("multigrid", "raster", "wavelet")) > 0.95
    text = table.ablation_table(rows)
    assert all(variant in text for variant in ablation.VARIANTS)


def test_the_size_in_an_ablation_is_that_of_the_frame():
    prepared = prepare(small_field())
    assert prepared is not None
    eps = prepared.eps(1e-3)
    _, size, plan = next(ablation._variants(prepared, eps))
    blob = lz.compress(prepared.values, lz.absolute(eps))
    assert plan is not None
    assert lz.inspect(blob).families == (plan.name,)
    assert size == len(blob)


def test_lossless_beside_shuffle_and_zstd():
    fields = find(None, 1, "wave_3d*")
    rows = lossless.run(fields, None, lambda row: None)
    assert [row["problem"] for row in rows] == ["", ""]
    relative = {row["field"]: int(row["ours_bytes"]) / int(row["zstd9_bytes"]) for row in rows}
    assert relative["wave_3d"] < 0.98
    assert relative["wave_3d_f64"] < 1.001  # noise but for its upper half
    text = table.lossless_table(rows)
    assert all(field.name in text for field in fields)


def test_generations():
    """What is idempotent stays where it is; a compressor that rounds down does not."""

    def down(values: np.ndarray, eps: float) -> np.ndarray:
        return values - np.float32(eps)

    contestants = generations.lossyzips() | {"down": down}
    rows = generations.run(find(None, 1, "wave_2d"), 1e-2, contestants, None, lambda row: None)
    by_name = {row["compressor"]: row for row in rows}
    assert float(by_name["idempotent"]["after_16"]) <= 1.0
    assert by_name["idempotent"]["after_1"] == by_name["idempotent"]["after_16"]
    assert float(by_name["idempotent"]["in_parts_16"]) <= 1.0
    assert float(by_name["balanced"]["after_1"]) <= 1.0
    assert float(by_name["down"]["after_16"]) == pytest.approx(16, rel=1e-3)
    assert float(by_name["down"]["in_parts_16"]) > 2
    assert "| down |" in table.generations_table(rows)


def test_our_side_of_rate_and_distortion():
    prepared = prepare(small_field())
    assert prepared is not None
    row = rate_distortion._ours(prepared, 3.0, 50.0, "balanced")
    assert not row["problem"]
    psnr = float(row["ours_psnr"])
    blob = lz.compress(prepared.values, lz.psnr(psnr))
    assert 8 * len(blob) / prepared.values.size == pytest.approx(3.0, rel=0.03)
    assert float(row["gain"]) == pytest.approx(psnr - 50.0, abs=0.01)


def test_the_command_line(tmp_path):
    runner, output = CliRunner(), tmp_path / "rows.csv"
    for name in main.commands:
        assert runner.invoke(main, [name, "--help"]).exit_code == 0
    done = runner.invoke(main, ["lossless", "--fields", "wave_2d", "--csv", str(output)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("synthetic/wave_2d  raw 307200")
    assert [row["field"] for row in read(output)] == ["wave_2d"]


MEASURING = [
    name
    for name, command in main.commands.items()
    if any("--fields" in option.opts for option in command.params) and name != "peers"  # wants a file
]


@pytest.mark.parametrize("name", MEASURING)
def test_every_command_that_measures_fields_runs_with_none(name):
    done = CliRunner().invoke(main, [name, "--fields", "no such field"])
    if isinstance(done.exception, ModuleNotFoundError):
        pytest.skip(f"{done.exception}: peers are in the extra bench")
    assert done.exit_code == 0, done.output


def test_a_value_outside_its_bound_is_an_exit_code():
    exit_for([{"violations": "0", "problem": ""}, {}])
    for row in ({"violations": "1"}, {"problem": "x"}):
        with pytest.raises(SystemExit) as leaving:
            exit_for([{}, row])
        assert leaving.value.code == 1
