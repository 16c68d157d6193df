"""Models and the bytes of networks: sections 10 and 5.2 of FORMAT.md."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import xxhash

from reference.readers import Bits, Bytes, opening, require

KINDS = 28  # of features


class Input(NamedTuple):
    reference: int
    curved: bool
    centre: float
    inverse: float
    gain: float


class Feature(NamedTuple):
    input: int
    kind: int
    exponent: int


class Layer(NamedTuple):
    weights: np.ndarray
    biases: np.ndarray
    shifts: np.ndarray


class Network(NamedTuple):
    inputs: list[Input]
    features: list[Feature]
    hidden: list[Layer]
    output: Layer
    activation_bits: int
    centre: float
    scale: float


def read_model(data: bytes) -> tuple[int, dict[str, dict[str, Any]]]:
    """(hash, {name of a target: what is said of it})"""
    reader = Bytes(data)
    sections = opening(reader, b"LsyM", 1, "TE")
    table = sections["T"]
    require(reader.rest() == b"", "bytes behind a model")
    targets, found = Bytes(table), {}
    while targets.at < len(table):
        name = targets.sized().data.decode()
        eps, count = targets.numbers("dB")
        references = [targets.sized().data.decode() for _ in range(count)]
        network = read_network(targets.sized().data)
        require(eps >= 0 and 0 < count == len(set(references)), "references of a target")
        require(name not in references and name not in found, "a target that is there already")
        require(all(item.reference < count for item in network.inputs), "a network of fewer references")
        found[name] = {"references": references, "relative_eps": eps, "network": network}
    names = list(found)
    for place, name in enumerate(names):
        require(not set(found[name]["references"]) & set(names[place:]), "a target that needs a later one")
    return xxhash.xxh3_64_intdigest(table + sections.get("E", b"")), found


def read_networks(data: bytes) -> list[Network]:
    return [said["network"] for said in read_model(data)[1].values()]


def read_enhancers(data: bytes) -> list[tuple[str, bytes]]:
    """[(name of a field, its enhancer)]"""
    table, found = Bytes(opening(Bytes(data), b"LsyM", 1, "TE").get("E", b"")), []
    while table.at < len(table.data):
        name, (eps,) = table.sized().data.decode(), table.numbers("d")
        found.append((name, table.sized().data))
        require(eps >= 0 and name not in [other for other, _ in found[:-1]], "an enhancer")
    return found


def read_network(data: bytes) -> Network:
    bits = Bits(data)
    require(bits.take(4) == 0, "version of a network")
    inputs, features = [], []
    for number in range(bits.take(10)):
        reference, curved = bits.take(8), bool(bits.take(1))
        inputs.append(Input(reference, curved, *(upper_half(bits.take(32)) for _ in range(3))))
        features += [Feature(number, kind, bits.take(4)) for kind in range(KINDS) if bits.take(1)]
    centre, scale = upper_half(bits.take(32)), upper_half(bits.take(32))
    activation_bits, layers = bits.take(5), bits.take(3)
    hidden, width = [], len(features)
    for _ in range(layers):
        shifts = [bits.take(6) for _ in range(bits.take(10))]
        hidden.append(rows(bits, width, shifts))
        width = len(shifts)
    output = rows(bits, width + len(features) if hidden else width, [0])
    require(len(data) == -(-bits.at // 8), "bytes behind a network")
    return Network(inputs, features, hidden, output, activation_bits, centre, scale)


def rows(bits: Bits, inputs: int, shifts: list[int]) -> Layer:
    size, biases, weights = bits.take(6), [], []
    for _ in shifts:
        bias = bits.take(size)
        biases.append(bias - (1 << size) if size and bias >> (size - 1) else bias)
        k = bits.take(5)
        weights.append([bits.signed(k) for _ in range(inputs)])
    table = np.array(weights, np.int64).reshape(len(shifts), inputs)
    return Layer(table, np.array(biases, np.int64), np.array(shifts, np.int64))


def upper_half(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits << 32))[0]
