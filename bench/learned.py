"""Sets of fields with and without references, at the same bound: what fields tell of one another is worth.

All bytes count, networks too. Every value that comes back is checked; peers have the sizes of `bench ratio`.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.exact import outside
from bench.fields import Field, prepare
from bench.peer_cache import PeerCache
from bench.peers import PEERS
from bench.rows import Row, write
from lossyzip import Bound, decompress, relative
from lossyzip.container.frame import FrameReader
from lossyzip.container.header import Header
from lossyzip.dataset import Coded, Learning, compress_related
from lossyzip.grid import onto
from lossyzip.guide import checksum
from lossyzip.learned.latents import Latents
from lossyzip.learned.network import Network

COLUMNS = (
    *("file", "field", "shape", "rel", "raw_bytes", "plain_bytes", "tapped_bytes", "guided_bytes"),
    *(
        "learned_bytes",
        "latent_bytes",
        "network_bytes",
        "references",
        "gain",
        "peer_bytes",
        "search_seconds",
        "train_seconds",
        "compress_wall",
        "decompress_wall",
    ),
    *("values_a_second", "violations"),
)


def run(
    fields: list[Field],
    bounds: list[float],
    effort: str,
    learning: Learning,
    peers: PeerCache | None,
    output: Path | None,
    tell: Callable[[Row], None],
) -> list[Row]:
    """A row for each field of each file that has several, and each bound."""
    sets: dict[str, list[Field]] = defaultdict(list)
    for field in fields:
        sets[field.file].append(field)
    rows: list[Row] = []
    for together in sets.values():
        if len(together) < 2:
            continue
        for rel in bounds:
            for row in _rows_of(together, rel, effort, learning, peers):
                rows.append(row)
                tell(row)
    if output is not None:
        write(output, COLUMNS, rows)
    return rows


def _rows_of(
    fields: list[Field], rel: float, effort: str, learning: Learning, peers: PeerCache | None
) -> list[Row]:
    read = {field.name: field.read() for field in fields}
    arrays = {name: np.ascontiguousarray(values) for name, (values, _) in read.items()}
    fills = tuple(sorted({fill for _, fills in read.values() for fill in fills}))
    bounds: dict[str, Bound] = dict.fromkeys(arrays, relative(rel))
    walls: dict[str, float] = {}
    started = time.perf_counter()

    def done(coded: Coded) -> None:
        nonlocal started
        walls[coded.name] = time.perf_counter() - started
        started = time.perf_counter()

    coded = compress_related(arrays, bounds, learning, done, effort=effort, fill_values=fills)
    decoded: dict[str, np.ndarray] = {}
    rows = []
    by_name = {field.name: field for field in fields}
    for name, one in coded.items():
        started = time.perf_counter()
        decoded[name] = decompress(one.frame, references=[decoded[r] for r in one.references])
        wall = time.perf_counter() - started
        valid = np.isfinite(arrays[name]) & ~np.isin(arrays[name], np.array(fills, arrays[name].dtype))
        broken = outside(arrays[name][valid], decoded[name][valid], one.report.eps)
        row = {
            "file": by_name[name].file,
            "field": name,
            "shape": "x".join(map(str, arrays[name].shape)),
            "rel": f"{rel:g}",
            "raw_bytes": str(arrays[name].nbytes),
            "plain_bytes": str(one.plain_bytes),
            "tapped_bytes": str(min(one.tapped_bytes, one.plain_bytes)),
            "guided_bytes": str(one.guided_bytes),
            "learned_bytes": str(len(one.frame)),
            "latent_bytes": str(one.report.latent_bytes),
            "network_bytes": str(one.network_bytes),
            "references": " ".join(one.references),
            "gain": f"{one.plain_bytes / len(one.frame):.4f}",
            "peer_bytes": _best_peer(by_name[name], rel, peers),
            "search_seconds": f"{one.search_seconds:.1f}",
            "train_seconds": f"{one.train_seconds:.2f}",
            "compress_wall": f"{walls[name]:.2f}",
            "decompress_wall": f"{wall:.3f}",
            "values_a_second": _speed(one, [decoded[r] for r in one.references], arrays[name].shape),
            "violations": str(np.count_nonzero(broken)),
        }
        rows.append(row)
    return rows


def _speed(one: Coded, references: list[np.ndarray], shape: tuple[int, ...]) -> str:
    """Values a second that the network in a frame makes of its references, on one core."""
    reader = FrameReader(
        lambda at, size: one.frame[at : at + size],
        len(one.frame),
        lambda h: Header.from_bytes(h).tile_count(),
    )
    guided = Header.from_bytes(reader.header).guided
    if guided is None or not isinstance(guided.network, bytes) or not guided.network:
        return ""
    by_checksum = {checksum(array): array for array in references}
    network = Network.from_bytes(guided.network)
    seen = [onto(by_checksum[number], shape) for number in guided.references]
    latents = Latents.from_bytes(guided.latents, shape) if guided.latents else None
    walls = []
    for _ in range(2):
        started = time.perf_counter()
        network.guide(seen, latents=latents)
        walls.append(time.perf_counter() - started)
    return f"{math.prod(shape) / min(walls):.4g}"


def _best_peer(field: Field, rel: float, peers: PeerCache | None) -> str:
    prepared = None if peers is None else prepare(field)
    if peers is None or prepared is None:
        return ""
    (row,) = peers.rows(field, prepared, [rel])
    sizes = [int(row[f"{peer.name}_bytes"]) for peer in PEERS if row[f"{peer.name}_bytes"]]
    return str(min(sizes)) if sizes else ""
