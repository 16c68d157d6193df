"""Networks: the same bits whatever computes them, finite guides, bytes that are whole or refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference import networks as twin

from lossyzip.errors import CorruptError, DecodeError, InvalidArgumentError, MissingReferenceError
from lossyzip.learned.neighbourhood import FEATURES, Input, folded
from lossyzip.learned.network import Feature, Layer, Network

ROOT = Path(__file__).parents[1]
SHAPES = [(), (1,), (13,), (5, 9), (4, 5, 6), (2, 3, 4, 5), (3, 1, 4, 1, 6), (2, 2, 3, 3, 4)]


def layer(rng, channels, inputs, bits=8, shift=9):
    most = 1 << (bits - 1)
    weights = rng.integers(-most, most, (channels, inputs))
    weights[rng.random(weights.shape) < 0.2] = 0
    return Layer(weights, rng.integers(-(1 << 16), 1 << 16, channels), np.full(channels, shift))


def network(rng, references=3, hidden=(7, 5)):
    """Random, with inputs of both kinds and features of all."""
    inputs = [Input(k, k % 2 == 1, 0.25 * k, 1.5, 900.0) for k in range(references)]
    chosen = sorted(rng.choice(references * FEATURES, 11, replace=False).tolist())
    features = [Feature(c // FEATURES, c % FEATURES, int(rng.integers(4))) for c in chosen]
    layers, width = [], len(features)
    for channels in hidden:
        layers.append(layer(rng, channels, width))
        width = channels
    output = layer(rng, 1, width + len(features) if hidden else width, bits=12, shift=0)
    output = Layer(output.weights, np.zeros(1, np.int64), output.shifts)
    return Network(tuple(inputs), tuple(features), tuple(layers), output, 12, -2.5, 2.0**-20)


def hostile(rng, shape, dtype=np.float64):
    values = rng.standard_normal(shape).astype(dtype)
    odd = [np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324, -0.0, 1e-300]
    with np.errstate(over="ignore"):
        return np.where(rng.random(shape) < 0.2, rng.choice(odd, shape), values).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("hidden", [(), (6,), (7, 5), (3, 9, 4)])
def test_guide_equals_its_plain_twin(rng, shape, hidden):
    net = network(rng, hidden=hidden)
    references = [hostile(rng, shape), hostile(rng, shape, np.float32), rng.integers(-9, 9, shape)]
    guide = net.guide(references)
    assert guide.shape == shape
    assert np.isfinite(guide).all()
    assert np.array_equal(guide.view("u8"), twin.guide(net, references).view("u8"))


@pytest.mark.parametrize("shape", [(700,), (30, 40), (9, 20, 30), (3, 7, 8, 9), (2, 1, 5, 1, 6, 7)])
def test_parts_equal_the_whole(rng, shape, monkeypatch):
    net = network(rng)
    references = [hostile(rng, shape) for _ in range(3)]
    whole = net.guide(references)
    for _ in range(20):
        ends = [sorted(rng.integers(0, n + 1, 2).tolist()) for n in shape]
        where = tuple(slice(a, b) for a, b in ends)
        assert np.array_equal(net.guide(references, where), whole[where])
    monkeypatch.setattr("lossyzip.learned.network._SLAB", 1)
    assert np.array_equal(net.guide(references), whole)


def test_interpreted_kernels_give_the_same_bits(rng, tmp_path):
    net = network(rng)
    references = [hostile(rng, (6, 7, 9)) for _ in range(3)]
    np.savez(tmp_path / "in.npz", net=np.frombuffer(net.to_bytes(), np.uint8), r=np.stack(references))
    program = (
        "import numpy as np, sys; from lossyzip.learned.network import Network\n"
        "i = np.load(sys.argv[1]); n = Network.from_bytes(i['net'].tobytes())\n"
        "np.save(sys.argv[2], n.guide(list(i['r'])))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "in.npz"), str(tmp_path / "out.npy")]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(arguments, check=True, env=environment, cwd=tmp_path)
    assert np.array_equal(np.load(tmp_path / "out.npy"), net.guide(references))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_convolution_of_the_same_integers_gives_the_same_bits(rng, device):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU that torch can use")
    net = network(rng)
    shape = (6, 10, 12)
    references = [rng.standard_normal(shape) for _ in range(3)]
    reach = twin.REACH
    kernels = np.zeros((len(net.features), len(net.inputs), *[2 * reach + 1] * 3))
    for k, feature in enumerate(net.features):
        for (z, y, x), sign in twin.places(feature.kind):
            kernels[k, feature.input, z + reach, y + reach, x + reach] += sign * 2**feature.exponent
    inputs = [[twin.whole(i, v) for v in references[i.reference].reshape(-1)] for i in net.inputs]
    planes = np.array(inputs, np.float64).reshape(1, len(inputs), *shape)

    def tensor(array):
        return torch.from_numpy(np.array(array, np.float64)).to(device)

    padded = torch.nn.functional.pad(tensor(planes), (reach,) * 6, mode="replicate")
    seen = torch.nn.functional.conv3d(padded, tensor(kernels))
    now = seen
    for hidden in net.hidden:
        now = torch.nn.functional.conv3d(
            now, tensor(hidden.weights)[..., None, None, None], tensor(hidden.biases)
        )
        now = torch.floor(now * tensor(np.ldexp(1.0, -hidden.shifts))[:, None, None, None])
        now = now.clamp(0, 2**net.activation_bits - 1)
    weights = tensor(net.output.weights)[..., None, None, None]
    sums = torch.nn.functional.conv3d(torch.cat([now, seen], 1), weights)[0, 0].cpu().numpy()
    assert np.array_equal(net.centre + net.scale * sums, net.guide(references))


def test_bytes_bring_the_same_network_back(rng):
    for hidden in [(), (1,), (24, 24), (3, 2, 4, 5)]:
        net = network(rng, hidden=hidden)
        data = net.to_bytes()
        back = Network.from_bytes(data)
        assert back.to_bytes() == data
        assert (back.inputs, back.features, back.scale) == (net.inputs, net.features, net.scale)
        references = [rng.standard_normal((5, 6, 7)) for _ in range(3)]
        assert np.array_equal(back.guide(references), net.guide(references))
    assert (
        Network.from_bytes(Network.constant(1.5).to_bytes()).guide([np.zeros((2, 3))]).tolist()
        == [[1.5] * 3] * 2
    )


def test_damaged_bytes_raise_or_still_give_finite_guides(rng):
    data = network(rng).to_bytes()
    references = [hostile(rng, (3, 4, 5)) for _ in range(3)]
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            Network.from_bytes(data[:end])
    with pytest.raises(DecodeError):
        Network.from_bytes(data + b"\0")
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            guide = Network.from_bytes(bytes(damaged)).guide(references)
        except DecodeError:
            continue
        assert np.isfinite(guide).all()
    for _ in range(300):
        try:
            Network.from_bytes(rng.bytes(int(rng.integers(200))))
        except DecodeError:
            continue


def test_sums_that_may_not_be_exact_are_refused(rng):
    net = network(rng)
    heavy = replace_weights(net.output, 1 << 40)
    with pytest.raises(CorruptError, match="2\\*\\*53"):
        replace(net, output=heavy)
    first, *rest = net.hidden
    with pytest.raises(CorruptError, match="2\\*\\*53"):
        replace(net, hidden=(Layer(first.weights, first.biases + (1 << 53), first.shifts), *rest))
    for wrong in ({"scale": np.inf}, {"centre": np.nan}, {"scale": 1e300}, {"inputs": net.inputs[:1]}):
        with pytest.raises(CorruptError):
            replace(net, **wrong)


def replace_weights(of, weight):
    return Layer(np.full_like(of.weights, weight), of.biases, of.shifts)


def test_wrong_references_are_refused(rng):
    net = network(rng)
    with pytest.raises(MissingReferenceError, match="2 were given"):
        net.guide([np.zeros((2, 2))] * 2)
    with pytest.raises(InvalidArgumentError, match="shapes"):
        net.guide([np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 3))])
    assert net.guide([np.zeros((0, 4))] * 3).shape == (0, 4)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -np.inf, 1e300, -1e-300])
def test_constant_references_give_a_constant_finite_guide(rng, value):
    guide = network(rng).guide([np.full((4, 5, 6), value)] * 3)
    assert np.isfinite(guide).all()
    assert len(np.unique(guide)) == 1


def test_folding_keeps_the_last_three_long_axes():
    assert folded(()) == (1, 1, 1, 1)
    assert folded((5, 1, 2, 1, 3, 4, 6)) == (10, 3, 4, 6)
