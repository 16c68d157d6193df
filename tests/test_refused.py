"""What is refused, and that it is said why."""

from __future__ import annotations

import numpy as np
import pytest
from round_trip import round_trip, wave

import lossyzip as lz

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5, np.longdouble),
        np.zeros(5, np.clongdouble),
        np.array([1.0, None], object),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(2, "M8[s]"),
        np.zeros(2, [("a", "f4")]),
        None,
        "text",
    ],
    ids=lambda array: str(getattr(array, "dtype", array)),
)
def test_other_data_types_are_refused(array):
    with pytest.raises(lz.UnsupportedDataError, match="is not supported"):
        lz.compress(array, lz.lossless())


def test_more_axes_than_the_format_has_are_refused():
    round_trip(np.zeros((1,) * 32, np.float32), lz.absolute(1.0))
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":  # before, arrays had no more than 32
        with pytest.raises(lz.UnsupportedDataError):
            lz.compress(np.zeros((1,) * 33, np.float32), lz.lossless())


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, -np.inf, "a", None, [1.0, 2.0], 1j])
@pytest.mark.parametrize("bound", [lz.absolute, lz.relative])
def test_bounds_without_meaning_are_refused(bound, value):
    with pytest.raises(lz.InvalidArgumentError):
        bound(value)


@pytest.mark.parametrize(
    "options",
    [
        {"effort": "extreme"},
        {"effort": None},
        {"threads": 0},
        {"threads": -3},
        {"threads": "two"},
        {"threads": 1.5},
        {"fill_value": "land"},
        {"fill_value": list(range(17))},
    ],
    ids=str,
)
def test_options_without_meaning_are_refused(options):
    with pytest.raises(lz.InvalidArgumentError):
        lz.compress(wave((5, 5)), lz.lossless(), **options)


@pytest.mark.parametrize("bound", [1e-3, "rel:1e-3", None])
def test_a_bound_must_be_a_bound(bound):
    with pytest.raises(lz.InvalidArgumentError, match="absolute"):
        lz.compress(wave((5, 5)), bound)


@pytest.mark.parametrize("blob", [None, "text", 5, [1, 2]])
def test_what_is_not_bytes_is_refused(blob):
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress(blob)
    with pytest.raises(lz.InvalidArgumentError):
        lz.decompress_fields(blob)


def test_any_buffer_of_bytes_is_read():
    array = wave((5, 5))
    blob = lz.compress(array, lz.lossless())
    archive = lz.compress_fields({"a": array}, {"*": lz.lossless()})
    for kind in (bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)):
        assert np.array_equal(lz.decompress(kind(blob)), array)
        assert np.array_equal(lz.decompress_fields(kind(archive))["a"], array)


def test_verify_refuses_another_array():
    array = wave((5, 5))
    blob = lz.compress(array, lz.lossless())
    for other in (array[:4], array.astype(">f4"), array.astype(np.float64)):
        with pytest.raises(lz.InvalidArgumentError):
            lz.verify(other, blob)
