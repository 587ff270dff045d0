"""The graph autoencoder: order, place and number of points; the coder of flat states."""

import copy
import pickle

import numpy as np
import pod_networks
import pytest
import torch
from pod_networks import cloud

import dalearn as da
from dalearn.models import Untrained
from dalearn.neural import (
    VAE,
    Autoencoder,
    Card,
    FieldCoder,
    GraphAutoencoder,
    OnClouds,
    fit,
    load_weights,
    save_weights,
    seeded,
)
from dalearn.neural.clouds import graph_of
from dalearn.neural.train import adam

GRID = np.argwhere(np.ones((6, 7)))


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(points=None, channels=2, latent=3, **settings):
    points = cloud(40) if points is None else points
    return seeded(0, GraphAutoencoder, points, channels, latent, width=6, places=5, **settings)


def waves(points, S=60, seed=0):
    """Two channels of two waves of random size, `(S, 2 P)`."""
    a = np.random.default_rng(seed).normal(size=(S, 2, 1))
    x, y = np.asarray(points).T
    parts = a[:, 0] * np.sin(4 * x) + a[:, 1] * np.cos(3 * y), a[:, 0] * np.cos(4 * x + y)
    return torch.from_numpy(np.concatenate(parts, -1))


def shuffled(x, order):
    """States with their points in another order."""
    return x.unflatten(-1, (2, -1))[..., order].flatten(-2)


@pytest.mark.parametrize("rounds", [0, 1, 3])
@pytest.mark.parametrize(
    "points", [cloud(40), np.argwhere(np.ones((6, 7)))], ids=["cloud", "grid"]
)
def test_the_order_of_points_does_not_matter(points, rounds):
    """On a grid many neighbours are equally far: which of them come first must not matter."""
    net, x = made(points, rounds=rounds), waves(0.1 * points)
    order = np.random.default_rng(1).permutation(len(points))
    other = net.at(points[order])
    z = net.encode(x)
    assert torch.allclose(other.encode(shuffled(x, order)), z, rtol=0, atol=1e-12)  # sums of 40
    assert torch.allclose(other.decode(z), shuffled(net.decode(z), order), rtol=0, atol=1e-12)
    assert not torch.allclose(net.encode(shuffled(x, order)), z, rtol=0, atol=1e-3)  # place counts


def test_neighbours_matter_only_where_there_are_messages():
    points = cloud(40)
    x = waves(points)
    apart = x.clone()
    apart[:, 7] += 1.0
    for rounds, least, most in ((0, 0, 0), (1, 3, 8), (2, 6, 30)):
        net = made(points, rounds=rounds, neighbours=6)
        seen, h = net.graph, []
        for state in (x, apart):
            g = net.normal(state).mT
            g = net.activation(net.first(g) + net.where(net.read(seen.places)))
            for messages in net.rounds:
                g = messages(g, seen)
            h.append(g)
        changed = (h[0] != h[1]).any(-1)[0]
        changed[7] = False
        assert least <= int(changed.sum()) <= most, rounds


def test_units_and_origin_of_places_do_not_matter():
    points, x = cloud(40), waves(cloud(40))
    far = made(1e3 * points + 7e4)
    assert torch.allclose(far.encode(x), made(points).encode(x), rtol=0, atol=1e-9)
    moved = made(points).at(points + 0.1)  # but another place in the same box is another place
    assert not torch.allclose(moved.encode(x), made(points).encode(x), rtol=0, atol=1e-3)


def test_another_cloud_shares_the_weights_and_keeps_its_own():
    net = made()
    few = net.at(cloud(25, seed=3))
    assert (net.n, few.n, few.r) == (80, 50, 3)
    assert net.encode(waves(cloud(40))).shape == (60, 3)
    assert few.decode(torch.zeros(4, 2, 3)).shape == (4, 2, 50)
    with torch.no_grad():
        net.code.bias += 1.0
    assert few.code.bias is net.code.bias
    back = few.at(cloud(40))
    assert torch.equal(back.encode(waves(cloud(40))), net.encode(waves(cloud(40))))
    dense = made(cloud(4000))  # many points: the code tends to an integral
    points = cloud(4000, seed=1)
    gap = dense.at(points).encode(waves(points)) - dense.encode(waves(cloud(4000)))
    assert gap.norm() < 0.1 * dense.encode(waves(cloud(4000))).std(0).norm() * 60**0.5


def test_a_crowd_counts_as_the_space_it_fills():
    """Shares: ten times as many points in one half weigh little more than the half."""
    left = cloud(500) * [0.5, 1]
    points = np.concatenate((left, cloud(50, seed=1) * [0.5, 1] + [0.5, 0]))
    share = graph_of(points, 8, np.zeros(2), 1.0).share
    assert float(share.sum()) == pytest.approx(1)
    assert 0.35 < float(share[:500].sum()) < 0.65


def test_messages_and_codes_have_the_right_derivatives():
    net, x = made(rounds=2), waves(cloud(40), 2)
    for f, at in ((net.encode, x), (net.decode, net.encode(x).detach())):
        assert torch.autograd.gradcheck(f, (at.requires_grad_(),))
    J = torch.func.jacrev(net.encode)(x[0])
    D = da.finite_difference(FieldCoder(net).encode, x[0].detach().numpy())[1]
    assert np.allclose(J.detach(), D, rtol=0, atol=1e-7 * abs(D).max())


def test_many_clouds_at_once_are_one_by_one():
    clouds = np.stack([cloud(30, seed=s) for s in range(4)])
    net, run = made(clouds[0]), torch.tensor([2, 0, 3, 3])
    x = torch.cat([waves(clouds[i], 1, seed=k) for k, i in enumerate(run)])
    loss = OnClouds(clouds)
    each = [net.at(clouds[i])(s[None]) - s[None] for i, s in zip(run, x, strict=True)]
    assert float(loss(net, x, run).detach()) == pytest.approx(
        float(torch.cat(each).square().mean().detach()), rel=1e-12
    )
    rows = torch.stack([waves(clouds[i], 5, seed=i) for i in (1, 3)])  # five times of two runs
    each = [net.at(clouds[i])(s) - s for i, s in zip((1, 3), rows, strict=True)]
    assert float(loss(net, rows, torch.tensor([1, 3])).detach()) == pytest.approx(
        float(torch.stack(each).square().mean().detach()), rel=1e-12
    )


def test_it_learns_on_clouds_and_serves_one_that_it_has_not_seen(tmp_path):
    clouds = np.stack([cloud(30, seed=s) for s in range(60)])
    x = torch.cat([waves(c, 4, seed=s) for s, c in enumerate(clouds)])
    run = torch.arange(60).repeat_interleave(4)
    net = made(clouds[0], latent=2, gain=2.0).scaled(x)
    points = cloud(45, seed=99)
    test = waves(points, 200, seed=98)
    with pytest.warns(Untrained, match="deviation of the test states"):
        net.at(points).floor(test)
    fit(net, (x, run), loss=OnClouds(clouds), epochs=25, optimiser=adam(1e-2), progress=False)
    floor = net.at(points).floor(test)
    assert floor < 0.5 * float(test.std())  # two numbers of two
    save_weights(net, tmp_path / "graph.safetensors", Card("none", "none", 0, {}))
    other = made(points, latent=2)
    load_weights(other, tmp_path / "graph.safetensors")
    assert other.floor(test) == pytest.approx(floor, rel=1e-12)
    again = pickle.loads(pickle.dumps(net))
    for same in (again, copy.deepcopy(net)):
        assert torch.equal(same(x), net(x))
        assert same.at(points).floor(test) == pytest.approx(floor, rel=1e-12)


def test_one_nan_spoils_its_own_row_alone():
    net, x = made(), waves(cloud(40), 5)
    bad = x.clone()
    bad[2, 3] = torch.nan
    z = net.encode(bad)
    assert z[2].isnan().all()
    keep = [0, 1, 3, 4]
    assert torch.equal(z[keep], net.encode(x)[keep])


def test_missing_sensors_are_another_cloud():
    points, x = cloud(40), waves(cloud(40))
    seen = np.random.default_rng(0).random(40) < 0.7
    part = made(points).at(points[seen])
    z = part.encode(x.unflatten(-1, (2, -1))[..., seen].flatten(-2))
    assert made(points).decode(z).shape == x.shape
    # 30 % fewer points of smooth fields: an integral by fewer points
    assert (z - made(points).encode(x)).norm() < 0.5 * made(points).encode(x).std(
        0
    ).norm() * 60**0.5


BAD = torch.full((40, 2), torch.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda: made(cloud(8)),
            r"shape \(8, 2\), wanted \(\.\.\., P, d\) with P >= 9",
        ),
        (lambda: made().at(cloud(40, 3)), r"wanted \(\.\.\., P, 2\)"),
        (lambda: made().at(BAD), "40 of the points .* hold NaN"),
        (lambda: made(cloud(40)[None]), "one cloud"),
        (lambda: made().at(cloud(40)[None]), "one cloud"),
        (lambda: OnClouds(cloud(40)), "one cloud a run"),
        (lambda: made(np.repeat(cloud(5), 9, 0)), "more than 8 points stand at one place"),
        (lambda: made(np.zeros((40, 2))), "more than 8 points stand at one place"),
        (
            lambda: made().encode(torch.ones(3, 79)),
            r"states of GraphAut.* wants \(\.\.\., 80\)",
        ),
        (
            lambda: made().decode(torch.ones(3, 2)),
            r"codes of GraphAut.* wants \(\.\.\., 3\)",
        ),
        (lambda: FieldCoder(made(), [1.0, 0.0]), "unit must be finite and positive"),
        (lambda: FieldCoder(made(), np.ones(3)), r"unit has shape \(3,\), wanted \(c,\)"),
        (lambda: Autoencoder.dense(4, 2).on_shape((1, 8, 8)), "one size of field alone"),
        (
            lambda: Autoencoder.on_grid((2, 16, 16), 1, (4, 4)).on_shape((2, 16, 18)),
            r"a shape \(2, h, w\) with h and w divisible by 4, met \(2, 16, 18\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def test_two_points_at_one_place_share_it():
    points = np.concatenate((cloud(40), cloud(40)[:3]))
    net, x = made(points), waves(points)
    assert net.encode(x).isfinite().all()


# --- networks as coders of flat states ---------------------------------------------------------


def test_the_field_coder_knows_fields_units_and_libraries():
    net = seeded(0, Autoencoder.convolutional, (2, 8, 8), 3, (4, 4))
    coder = FieldCoder(net, [2.0, 0.5])
    assert (coder.n, coder.r) == (128, 3)
    x = torch.randn(5, 2, 8, 8)
    z = net.encode(x / torch.tensor([2.0, 0.5])[:, None, None])
    assert torch.allclose(coder.encode(x.flatten(1)), z)
    found = coder.encode(x.flatten(1).numpy().astype("float32"))
    assert found.dtype == np.float32
    assert np.allclose(found, z.detach(), atol=1e-6)
    with pytest.warns(Untrained):
        coder.floor(x.flatten(1).numpy())
    for other in (VAE.convolutional((1, 8, 8), 4, 3, (4,)), made()):
        one = FieldCoder(other)
        assert (one.n, one.r) == (other.n, other.r)
        rows = torch.randn(4, other.n)
        assert torch.equal(one.encode(rows), other.encode(rows))
    with pytest.raises(TypeError, match="a network such as"):
        FieldCoder(torch.nn.Linear(3, 3))


def test_a_pod_is_a_graph_autoencoder_but_not_on_another_cloud():
    rng = np.random.default_rng(0)
    points = cloud(12)
    pod = da.POD.fit(rng.normal(size=(40, 12)), 5)
    net = pod_networks.graph(pod, points)
    x = torch.from_numpy(rng.normal(size=(7, 12)))
    assert torch.allclose(net.encode(x), pod.encode(x), rtol=0, atol=1e-10)
    assert torch.allclose(net(x), pod.decode(pod.encode(x)), rtol=0, atol=1e-10)


def test_a_larger_field_has_the_same_weights():
    small = seeded(0, Autoencoder.on_grid, (2, 32, 32), 3, (4, 4))
    large = small.on_shape((2, 64, 48))
    assert (large.shape, large.latent, tuple(large.places.shape)) == ((2, 64, 48), 576, (576, 2))
    x = torch.randn(2, 64, 48)
    part = small.encode(x[:, 16:48, 8:40]).reshape(3, 8, 8)
    whole = large.encode(x).reshape(3, 16, 12)[:, 4:12, 2:10]
    assert torch.allclose(part[:, 3:5, 3:5], whole[:, 3:5, 3:5], atol=1e-12)
    with torch.no_grad():
        small.std += 1.0
        next(small.decoder.parameters()).add_(0.5)
    again = seeded(0, Autoencoder.on_grid, (2, 64, 48), 3, (4, 4))
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(x), large(x))
