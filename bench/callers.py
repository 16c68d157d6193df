"""How each compressor is called for any array: by its own interface, and through HDF5.

Knows nothing of what is judged. A caller gives the compressor the array as it is and asks for what its
documentation offers; `NotOffered` where it offers no such thing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.situations import Ask
from bench.worker import CODERS


class NotOffered(Exception):
    """The compressor has no such bound, or no such interface."""


@dataclass(frozen=True)
class Caller:
    encode: Callable[[np.ndarray, Ask], bytes]
    decode: Callable[[bytes, np.ndarray, Ask], np.ndarray]
    """(bytes, the original, ask): of the original only dtype and shape, which some must be told."""


def lossyzip_array() -> Caller:
    import lossyzip

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        fills = ask.fills or None
        return lossyzip.compress(array, lossyzip_bound(ask), fill_value=fills, threads=1, **ask.options)

    return Caller(encode, lambda encoded, like, ask: lossyzip.decompress(encoded, threads=1))


def lossyzip_bound(ask: Ask) -> Any:
    import lossyzip

    if ask.kind == "lossless":
        return lossyzip.lossless()
    kinds = {"absolute": "absolute", "pointwise": "pointwise_relative", "psnr": "psnr"}
    return getattr(lossyzip, kinds[ask.kind])(ask.value)


def sz3_array() -> Caller:
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    encode_absolute, decode = CODERS["sz3"]()

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        _only(ask, "absolute", "psnr", "lossless")
        if ask.kind == "absolute":
            return encode_absolute(array, "interp_lorenzo", ask.value, 1)[0].tobytes()
        config = szConfig()
        if ask.kind == "psnr":
            config.errorBoundMode = szErrorBoundMode.PSNR
            config.psnrErrorBound = ask.value
        else:
            config.cmprAlgo = szAlgorithm.LOSSLESS
        return sz.compress(array, config)[0].tobytes()

    return Caller(encode, lambda encoded, like, ask: decode(np.frombuffer(encoded, np.uint8), like, 1))


def sperr_array() -> Caller:
    encode_any, decode = CODERS["sperr"]()

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        _only(ask, "absolute", "psnr")
        return bytes(encode_any(array, {"absolute": "pwe", "psnr": "psnr"}[ask.kind], ask.value, 1)[0])

    return Caller(encode, lambda encoded, like, ask: decode(encoded, like, 1))


def zfp_array() -> Caller:
    from zfpy import compress_numpy

    encode_absolute, decode = CODERS["zfp"]()

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        _only(ask, "absolute", "lossless")
        if ask.kind == "lossless":
            return compress_numpy(array)
        return encode_absolute(array, "tolerance", ask.value, 1)[0]

    return Caller(encode, lambda encoded, like, ask: decode(encoded, like, 1))


def sz3_2022_array() -> Caller:
    """The stream is that of the only chunk of a dataset."""
    import h5py

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        options = _sz3_filter(array, ask)
        with _folder() as folder, h5py.File(folder / "a.h5", "w") as file:
            # a dataset without axes has no chunks, and no filter
            dataset = file.create_dataset("field", data=array, chunks=array.shape or None, **options)
            mask, chunk = dataset.id.read_direct_chunk((0,) * array.ndim)
            assert mask == 0, "the filter was left out"
            return chunk

    def decode(encoded: bytes, like: np.ndarray, ask: Ask) -> np.ndarray:
        with _folder() as folder:
            with h5py.File(folder / "a.h5", "w") as file:
                dataset = file.create_dataset(
                    "field", like.shape, like.dtype, chunks=like.shape or None, **_sz3_filter(like, ask)
                )
                dataset.id.write_direct_chunk((0,) * like.ndim, encoded)
            with h5py.File(folder / "a.h5") as file:
                return file["field"][...]

    return Caller(encode, decode)


def lossyzip_hdf5() -> Caller:
    import h5py

    import lossyzip

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        with _folder() as folder:
            with h5py.File(folder / "a.h5", "w") as file:
                _write(file, array, ask, {})
            lossyzip.compress_file(
                folder / "a.h5", folder / "b.h5", {"field": lossyzip_bound(ask)}, threads=1, **ask.options
            )
            return (folder / "b.h5").read_bytes()

    def decode(encoded: bytes, like: np.ndarray, ask: Ask) -> np.ndarray:
        with _folder() as folder:
            (folder / "b.h5").write_bytes(encoded)
            lossyzip.decompress_file(folder / "b.h5", folder / "c.h5", threads=1)
            with h5py.File(folder / "c.h5") as file:
                return file["field"][...]

    return Caller(encode, decode)


def _filter_hdf5(options: Callable[[np.ndarray, Ask], Any]) -> Caller:
    """A dataset behind one of hdf5plugin's filters."""
    import h5py

    def encode(array: np.ndarray, ask: Ask) -> bytes:
        with _folder() as folder:
            with h5py.File(folder / "a.h5", "w") as file:
                _write(file, array, ask, options(array, ask))
            return (folder / "a.h5").read_bytes()

    def decode(encoded: bytes, like: np.ndarray, ask: Ask) -> np.ndarray:
        with _folder() as folder:
            (folder / "a.h5").write_bytes(encoded)
            with h5py.File(folder / "a.h5") as file:
                return file["field"][...]

    return Caller(encode, decode)


def sz3_2022_hdf5() -> Caller:
    return _filter_hdf5(_sz3_filter)


def zfp_hdf5() -> Caller:
    return _filter_hdf5(_zfp_filter)


def sperr_hdf5() -> Caller:
    return _filter_hdf5(_sperr_filter)


def _write(file: Any, array: np.ndarray, ask: Ask, options: Any) -> None:
    """Two chunks along the first axis; fills are declared, as the conventions for NetCDF files say."""
    chunks = (-(-array.shape[0] // 2), *array.shape[1:])
    dataset = file.create_dataset("field", data=array, chunks=chunks, **options)
    if ask.fills:
        dataset.attrs["_FillValue"] = np.array(ask.fills[:1], array.dtype)


def _sz3_filter(array: np.ndarray, ask: Ask) -> Any:
    from hdf5plugin import SZ3

    _only(ask, "absolute", "psnr")
    return SZ3(absolute=ask.value) if ask.kind == "absolute" else SZ3(peak_signal_to_noise_ratio=ask.value)


def _zfp_filter(array: np.ndarray, ask: Ask) -> Any:
    from hdf5plugin import Zfp

    _only(ask, "absolute", "lossless")
    return Zfp(accuracy=ask.value) if ask.kind == "absolute" else Zfp(reversible=True)


def _sperr_filter(array: np.ndarray, ask: Ask) -> Any:
    """Told of missing values where they are NaN; of others it knows but 1e35."""
    from hdf5plugin import Sperr

    _only(ask, "absolute")
    mode = Sperr.MISSING_NAN if np.isnan(array).any() else Sperr.NO_MISSING
    return Sperr(absolute=ask.value, missing_value_mode=mode)


def _only(ask: Ask, *kinds: str) -> None:
    if ask.kind not in kinds or ask.options:
        raise NotOffered


def _nothing() -> Caller:
    raise NotOffered


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lossyzip-bench-") as folder:
        yield Path(folder)


@dataclass(frozen=True)
class Contestant:
    name: str
    title: str
    packages: tuple[str, ...]
    array: Callable[[], Caller]
    hdf5: Callable[[], Caller]
    min_axes: int = 0
    max_axes: int = 32
    """What it is documented to take; other arrays have their axes merged."""


CONTESTANTS = {
    "lossyzip": Contestant("lossyzip", "lossyzip", (), lossyzip_array, lossyzip_hdf5),
    "sz3": Contestant("sz3", "SZ3 3.4", ("pysz",), sz3_array, _nothing, 1, 4),
    "sz3_2022": Contestant("sz3_2022", "SZ3 2022", ("hdf5plugin",), sz3_2022_array, sz3_2022_hdf5, 1, 4),
    "zfp": Contestant("zfp", "ZFP", ("zfpy", "hdf5plugin"), zfp_array, zfp_hdf5, 1, 4),
    "sperr": Contestant("sperr", "SPERR", ("imagecodecs", "hdf5plugin"), sperr_array, sperr_hdf5, 2, 3),
}
