"""The lossless back end, against a slow twin that was written from the specification."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference.lossless import lossless_array

from lossyzip.entropy import lossless
from lossyzip.errors import DecodeError


@given(
    array=hnp.arrays(
        st.sampled_from(["u1", "f4", "f8"]), hnp.array_shapes(min_dims=0, max_dims=5, min_side=0)
    ),
    smooth=st.booleans(),
    large=st.booleans(),
)
def test_lossless_arrays_are_read_alike(array, smooth, large):
    if smooth:
        array = (np.arange(array.size) * 0.37 - 9.0).astype(array.dtype).reshape(array.shape)
    with pytest.MonkeyPatch.context() as patch:
        if large:
            for limit in ("_QUICK_SIZE", "_SAMPLE", "_FEWER"):
                patch.setattr(lossless, limit, 16)
        data = lossless.pack(array)
    for decoded in (
        lossless.unpack(data, array.shape, array.dtype),
        lossless_array(data, array.dtype, array.shape),
    ):
        assert decoded.shape == array.shape
        assert decoded.tobytes() == array.tobytes()


@given(
    array=hnp.arrays(
        np.uint8,
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=40),
        elements=st.integers(0, 3),
    ),
    damage=st.integers(0, 2**16),
)
def test_planes_of_bits(array, damage):
    packed = [lossless._packed(array, way, (), 9) for way in (lossless._ZSTD, lossless._PLANES)]
    for data in packed:
        assert np.array_equal(lossless.unpack(data, array.shape, array.dtype), array)
        assert np.array_equal(lossless_array(data, array.dtype, array.shape), array)
    planes = bytearray(packed[1])
    for bad in (bytes(planes[:1]), bytes(planes[: damage % len(planes)]), bytes([4, 0]) + planes[2:]):
        with pytest.raises(DecodeError):
            lossless.unpack(bad, array.shape, array.dtype)
    with pytest.raises(DecodeError):
        lossless.unpack(bytes([4, 9]) + planes[2:], array.shape, array.dtype)
    with pytest.raises(DecodeError):  # of bytes alone
        lossless.unpack(bytes(planes), array.shape, np.dtype(np.float32))


def test_a_mask_takes_less_in_planes():
    y, x = np.mgrid[:600, :700]
    mask = (np.sin(y / 9.0) * np.cos(x / 11.0) > 0.3).astype(np.uint8)
    planes, whole = (lossless._packed(mask, way, (), 9) for way in (lossless._PLANES, lossless._ZSTD))
    assert len(lossless.pack(mask)) <= len(planes) < 0.8 * len(whole)
