"""`python -m bench robustness`: what is judged, what a process that dies means, a small part of the table."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from bench import robustness, table
from bench.callers import CONTESTANTS
from bench.exact import outside
from bench.isolated import Isolated, Request
from bench.situations import SITUATIONS, Ask, absolute
from bench.verdict import judge, same

GOOD = {"kept", "detected", "same"}
MAY_REFUSE = {"eps above the range, infinite", "eps negative, NaN"}


@pytest.mark.parametrize(
    "situations", ["[Nen-]*", "half*", "float16", "compl*", "mask*", "HDF5: [Nh]*", "damage*"]
)
def test_ours_keeps_or_refuses_and_detects(situations):
    rows = robustness.run(situations, [CONTESTANTS["lossyzip"]], None, lambda text: None)
    assert rows
    for row in rows:
        refused = row["outcome"] == "refused" and row["situation"] in MAY_REFUSE
        assert refused or row["outcome"] in GOOD, row


@pytest.mark.parametrize("name", [name for name in CONTESTANTS if name != "lossyzip"])
def test_a_peer_keeps_what_is_ordinary(name):
    """A bound that a peer does not keep here would mean that it is called in a wrong way."""
    if CONTESTANTS[name] not in robustness.installed():
        pytest.skip(f"{' or '.join(CONTESTANTS[name].packages)} is not installed")
    rows = robustness.run("float64", [CONTESTANTS[name]], None, lambda text: None)
    assert {row["outcome"] for row in rows} == {"kept"}
    assert f"| float64 | {len(rows)} | kept |" in table.robustness_table(rows)


@pytest.mark.parametrize(
    ("program", "state"),
    [
        ("import os; os.abort()", "crash"),
        ("raise SystemExit(0)", "crash"),
        ("import time; time.sleep(60)", "hang"),
    ],
)
def test_a_process_that_dies_or_hangs_is_an_answer(program, state):
    process = Isolated("lossyzip", first_timeout=0.5 if state == "hang" else 30.0)
    process._command = [sys.executable, "-c", program]
    answer = process.ask(Request("array", absolute(1.0), array=np.ones((3, 4))))
    assert (answer.state, answer.decoded) == (state, None)


def test_what_a_cell_says():
    rows = [
        {"situation": "s", "compressor": "lossyzip", "case": str(k), "outcome": outcome, "detail": ""}
        for k, outcome in enumerate(["kept", "not offered", "crash", "kept"])
    ]
    assert table.robustness_table(rows).splitlines()[2] == "| s | 4 | crash 1, kept 2 |"
    assert table.robustness_table(rows[1:2]).splitlines()[2] == "| s | 1 | - |"


def changed(array: np.ndarray, index: int, value: float) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


FIELD = np.array([1.0, -0.0, np.nan, np.inf, -9999.0, 1e6], np.float32)


@pytest.mark.parametrize(
    ("index", "value", "outcome"),
    [
        (0, 1.0, "kept"),
        (0, 1.5, "kept"),
        (5, 1e6 + 0.5, "kept"),
        (5, 1e6 + 0.5625, "changed"),  # above by an ulp
        (0, 1.6, "changed"),
        (0, np.nan, "changed"),
        (1, 0.0, "inexact"),
        (1, 0.6, "changed"),
        (2, -np.float32(np.nan), "inexact"),
        (2, 0.0, "changed"),
        (3, -np.inf, "changed"),
        (4, -9999.25, "inexact"),
        (4, 0.0, "changed"),
    ],
)
def test_verdicts_on_floats(index, value, outcome):
    ask = absolute(0.5, -9999.0)
    assert judge(FIELD, changed(FIELD, index, value), ask)[0] == outcome


def test_what_rounding_adds_is_told_apart():
    """At most half an ulp above the bound: it may have been kept before it was rounded to float32."""
    values = np.array([2.0**20], np.float32)
    assert judge(values, values + np.float32(0.125), absolute(0.0625))[0] == "rounded"
    assert judge(values, values + np.float32(0.125), absolute(0.06))[0] == "changed"


def test_verdicts_on_other_arrays():
    assert judge(FIELD, FIELD.astype(np.float64), absolute(1.0))[0] == "changed"
    assert judge(FIELD, FIELD[None], absolute(1.0))[0] == "changed"
    assert judge(FIELD.astype(">f4"), FIELD, absolute(0.0))[0] == "kept"
    masked = np.ma.masked_greater(FIELD, 100.0)
    assert judge(masked, masked, absolute(1.0))[0] == "kept"
    assert judge(masked, masked.data, absolute(1.0))[0] == "changed"
    whole = np.array([1 + 2j], np.complex64)
    assert judge(whole, whole + 0.5j, absolute(0.5))[0] == "kept"
    assert judge(whole, whole + 0.75j, absolute(0.5))[0] == "changed"


def test_verdicts_on_other_bounds():
    values = np.array([0.0, 1.0, -100.0])
    for last, outcome in ((-99.0, "kept"), (-98.9999, "changed"), (-101.0, "kept")):
        assert judge(values, np.array([0.0, 1.0, last]), Ask("pointwise", 0.01))[0] == outcome
    assert judge(values, np.array([1e-300, 1.0, -100.0]), Ask("pointwise", 0.1))[0] == "changed"
    assert judge(values, -values, Ask("lossless"))[0] == "changed"
    assert judge(values, values, Ask("lossless"))[0] == "kept"
    near = values + np.array([0.0, 0.0, 0.101])
    assert judge(values, near, Ask("psnr", 64.76))[0] == "kept"
    assert judge(values, near, Ask("psnr", 64.78))[0] == "missed"


def test_differences_of_integers_do_not_wrap():
    limits = np.iinfo(np.int64)
    a = np.array([limits.min, limits.max, limits.min, 5])
    b = np.array([limits.max, limits.max - 3, limits.min + 4, 2])
    assert outside(a, b, 3.5).tolist() == [True, False, True, False]
    assert not outside(a, b, float(2**64)).any()
    c = np.array([0, 255, 7], np.uint8)
    assert outside(c, c[::-1], 247.0).tolist() == [False, False, False]
    assert outside(c, c[::-1], 6.0).tolist() == [True, False, True]


def test_an_infinite_eps_allows_all_that_is_finite():
    a = np.array([1e308, 1.0, 1.0])
    assert outside(a, np.array([-1e308, np.inf, np.nan]), np.inf).tolist() == [False, True, True]


def test_the_cases_are_what_their_names_say():
    """NaN with payloads survive numpy's copies; names are unique, as rows are found by them."""
    arrays = {
        situation.name: [case.array for case in situation.cases()]
        for situation in SITUATIONS
        if situation.route == "array"
    }
    assert len({situation.name for situation in SITUATIONS}) == len(SITUATIONS)
    for array in arrays["NaN with payloads"]:
        patterns = {value.tobytes() for value in array[np.isnan(array)]}
        assert len(patterns) == 3
    assert all(np.isinf(array).any() for array in arrays["infinities"])
    assert not any(array.flags.c_contiguous for array in arrays["strided, swapped, reversed, Fortran order"])
    assert same(arrays["big-endian"][0], arrays["big-endian"][0].astype("<f4"))
