"""The neural wing: shapes, splits without leaks, training that survives a kill, safe weights."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import dalearn as da
from dalearn.files.lock import one_writer
from dalearn.files.sealed import seal
from dalearn.neural import (
    CNN,
    LSTM,
    MLP,
    Autoencoder,
    Card,
    Normalisation,
    Normalised,
    fit,
    load_weights,
    pairs,
    parameters,
    read_card,
    save_weights,
    seeded,
    shipped,
    split,
    windows,
)
from dalearn.neural.train import adam, cosine

CARD = Card("python -m nowhere", "none", 0, {"error": 1.0})


# --- nets ---------------------------------------------------------------------------------------


def test_the_mlp_is_its_formula():
    net = seeded(0, MLP, 3, 2, (5,)).double()
    x = torch.randn(4, 7, 3, dtype=torch.float64)
    (first, _, last) = net.layers
    wanted = torch.tanh(x @ first.weight.mT + first.bias) @ last.weight.mT + last.bias
    assert torch.allclose(net(x), wanted, rtol=0, atol=1e-14)
    assert parameters(net) == 3 * 5 + 5 + 5 * 2 + 2
    still = MLP(3, 3, (4,), residual=True)
    with torch.no_grad():
        for p in still.layers[-1].parameters():
            p.zero_()
    assert torch.equal(still(x.float()), x.float())


@pytest.mark.parametrize("axes", [1, 2])
def test_a_periodic_cnn_commutes_with_turning_the_ring(axes):
    net = seeded(0, CNN, 2, 2, (4,), axes=axes, residual=True).double()
    x = torch.randn(3, 2, *(12, 16)[:axes], dtype=torch.float64)
    turned = torch.roll(x, 5, dims=-1)
    assert net(x).shape == x.shape
    # the same sums in another order
    assert torch.allclose(net(turned), torch.roll(net(x), 5, dims=-1), rtol=0, atol=1e-13)


def test_a_valid_cnn_knows_nothing_of_the_rim():
    net = seeded(0, CNN, 1, 3, (4, 4), kernel=3, periodic=False)
    x = torch.randn(2, 1, 16, 12)
    assert net(x).shape == (2, 3, 10, 6)  # three layers take two points each
    assert torch.allclose(net(x[..., 2:-2, 1:-1]), net(x)[..., 2:-2, 1:-1], atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "convolutional", "on_grid"])
def test_an_autoencoder_takes_any_leading_axes(kind):
    if kind == "dense":
        coder = seeded(0, Autoencoder.dense, 20, 4, (8,))
        x = torch.randn(2, 3, 20)
    else:
        coder = seeded(0, getattr(Autoencoder, kind), (2, 16, 8), 4, (3, 5))
        x = torch.randn(2, 3, 2, 16, 8)
    z = coder.encode(x)
    r = 4 * 4 * 2 if kind == "on_grid" else 4
    assert z.shape == (2, 3, r)
    assert coder.decode(z).shape == x.shape
    assert torch.allclose(coder(x), coder.decode(z))
    assert torch.allclose(coder.encode(x[1, 2]), z[1, 2], atol=1e-6)
    # the scaling: a shifted and stretched field has the latents that the field had
    stretched = seeded(0, lambda: coder).scaled(3 * x + 5)
    with torch.no_grad():
        unit = (3 * x + 5 - (3 * x + 5).mean()) / (3 * x + 5).std()
        coder_z = stretched.encoder(unit.reshape(-1, *coder.shape)).reshape(2, 3, r)
    assert torch.allclose(stretched.encode(3 * x + 5), coder_z, atol=1e-5)


def test_an_lstm_works_inside_history():
    net = seeded(0, LSTM, 3, 8).double()
    model = da.History(net, 4)
    x = torch.randn(5, 2, 12, dtype=torch.float64)
    out = model(x)
    assert out.shape == x.shape
    assert torch.equal(out[..., :9], x[..., 3:])
    window = x.reshape(10, 4, 3)
    assert torch.allclose(out[..., 9:].reshape(10, 3), net(window))
    plain = LSTM(3, 8, residual=False)
    assert plain(torch.randn(2, 1, 3)).shape == (2, 3)


def test_a_normalised_network_learns_and_answers_in_the_units_of_the_data():
    scale = Normalisation(np.array([10.0, 0.0]), np.array([2.0, 0.5]))
    net = Normalised(nn.Identity(), scale).double()
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.allclose(net(x), x, atol=1e-14)
    assert set(net.state_dict()) == {"before_mean", "before_std", "after_mean", "after_std"}
    other = net.scaled(scale, Normalisation(np.zeros(2), np.ones(2)))
    assert torch.allclose(other(x), (x - torch.tensor([10.0, 0.0])) / torch.tensor([2.0, 0.5]))


def test_seeded_leaves_the_shared_random_state_alone():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    a, b, c = (seeded(s, MLP, 3, 3) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a.layers[0].weight, b.layers[0].weight)
    assert not torch.equal(a.layers[0].weight, c.layers[0].weight)


BAD_NETS = {
    "width": (lambda: MLP(0, 3), "inputs of MLP must be an integer >= 1"),
    "residual": (lambda: MLP(2, 3, residual=True), r"outputs = inputs, met 2 -> 3"),
    "input": (lambda: MLP(3, 3)(torch.zeros(4, 2)), r"\(\.\.\., 3\), met shape \(4, 2\)"),
    "kernel": (lambda: CNN(1, 1, kernel=4), "odd kernel"),
    "axes": (lambda: CNN(1, 1, axes=3), "axes 1 or 2"),
    "rim": (lambda: CNN(1, 1, periodic=False, residual=True), "periodic=True"),
    "channels": (lambda: CNN(2, 2)(torch.zeros(1, 3, 8, 8)), r"\(b, 2, h, w\)"),
    "small": (lambda: CNN(1, 1, periodic=False)(torch.zeros(1, 1, 8, 12)), "at least 13 points"),
    "grid": (lambda: Autoencoder.convolutional((1, 12, 16), 4), "divisible by 8"),
    "codes": (lambda: Autoencoder.on_grid((1, 12, 16), 4), r"divisible by 8, met \(1, 12, 16\)"),
    "flat": (lambda: Autoencoder.on_grid((1, 12), 4), r"\(c, h, w\)"),
    "places": (lambda: Autoencoder.dense(6, 2).places, "wanted Autoencoder.on_grid"),
    "field": (
        lambda: Autoencoder.dense(6, 2).encode(torch.zeros(5)),
        r"\(\.\.\., 6\), met shape \(5,\)",
    ),
    "latent": (lambda: Autoencoder.dense(6, 2).decode(torch.zeros(4, 3)), r"\(\.\.\., 2\)"),
    "window": (lambda: LSTM(3)(torch.zeros(4, 3)), r"windows \(b, L, 3\)"),
}


@pytest.mark.parametrize("case", BAD_NETS.values(), ids=BAD_NETS)
def test_sizes_that_do_not_fit_say_so(case):
    act, words = case
    with pytest.raises(ValueError, match=words):
        act()


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 7, 20, 101])
@pytest.mark.parametrize("fractions", [(0.7, 0.15, 0.15), (0.5, 0.5, 0.0), (0.1, 0.45, 0.45)])
def test_a_split_deals_each_trajectory_once(count, fractions):
    parts = split(count, fractions, seed=3)
    dealt = np.concatenate(parts)
    assert sorted(dealt) == list(range(count))
    assert len(parts.train) >= 1
    for part, share in zip(parts, fractions, strict=True):
        assert (len(part) > 0) == (share > 0)
        assert abs(len(part) - share * count) <= 2
    again, other = split(count, fractions, seed=3), split(count, fractions, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    if count > 20:
        assert not np.array_equal(parts.train, other.train)


def test_no_time_of_a_trajectory_is_in_two_sets():
    """Each number carries the name of its trajectory: windows are followed through the split."""
    S, T = 12, 9
    states = (
        np.broadcast_to(np.arange(S)[:, None, None] * 100.0, (S, T, 1)) + np.arange(T)[:, None]
    )
    parts = split(S, (0.5, 0.25, 0.25), seed=0)
    seen = []
    for part in parts:
        inputs, targets = windows(states[part], 3)
        names = {int(v) // 100 for v in np.concatenate([inputs.ravel(), targets.ravel()])}
        assert names == set(part.tolist())
        seen.append(names)
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_windows_stay_inside_their_trajectory(kind):
    states = 100.0 * np.arange(3)[:, None, None] + np.arange(6.0)[:, None]
    states = torch.from_numpy(states) if kind == "torch" else states
    now, later = pairs(states, step=2)
    assert now.shape == later.shape == (3 * 4, 1)
    assert ((later - now) == 2).all()
    before, after = windows(states, 3, step=2)
    assert before.shape == (3 * 2, 3, 1)
    assert (after == before[:, -1] + 2).all()
    before, after = windows(states, 2, ahead=3)
    assert after.shape == (3 * 2, 3, 1)
    assert ((after - before[:, -1:])[..., 0] == states[0, 1:4, 0]).all()
    fields = np.zeros((2, 5, 3, 4, 4))
    assert windows(fields, 2)[0].shape == (2 * 3, 2, 3, 4, 4)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_normalisation_knows_the_training_data_only(kind):
    rng = np.random.default_rng(0)
    states = 5 + 3 * rng.standard_normal((10, 20, 2))
    states[8:] = 1e6  # what validation and test hold must not be felt
    states = torch.from_numpy(states) if kind == "torch" else states
    scale = Normalisation.fit(states[:8])
    # 160 numbers: the mean is known to 3 / sqrt(160) = 0.24, the spread to 6 %
    assert (abs(scale.mean - 5) < 1).all()
    assert (abs(scale.std / 3 - 1) < 0.25).all()
    z = scale(states[:8])
    assert type(z) is type(states)
    assert (abs(z.reshape(-1, 2).mean(0)) < 1e-12).all()
    assert (abs(scale.inverse(z) - states[:8]) < 1e-12).all()


def test_normalisation_of_fields_and_of_constants():
    rng = np.random.default_rng(0)
    fields = rng.standard_normal((4, 5, 2, 6, 6)) * np.array([1.0, 7.0])[:, None, None]
    scale = Normalisation.fit(fields, per=(-3,))
    assert scale.std.shape == (2, 1, 1)
    assert np.allclose(scale(fields).std((0, 1, 3, 4)), 1)
    assert Normalisation.fit(fields, per=()).mean.shape == ()
    still = np.concatenate([rng.standard_normal((50, 1)), np.full((50, 1), 273.15)], axis=1)
    scale = Normalisation.fit(still)
    assert scale.std[1] == 1
    assert np.allclose(scale(still)[:, 1], 0, atol=1e-12)


BAD_DATA = {
    "fractions": (lambda: split(10, (0.5, 0.4, 0.2)), "sum to 1"),
    "no training": (lambda: split(10, (0.0, 0.5, 0.5)), "not 0"),
    "one run": (lambda: split(1), "whole trajectories.*cut into stretches"),
    "short": (lambda: windows(np.zeros((2, 4, 1)), 4), "at least 5 times"),
    "one trajectory": (lambda: windows(np.zeros((4, 1)), 2), r"states\[None\]"),
    "length": (lambda: windows(np.zeros((2, 4, 1)), 0), "length"),
    "nan": (lambda: Normalisation.fit(np.array([[1.0], [np.nan]])), "NaN"),
    "axes": (lambda: Normalisation.fit(np.ones((4, 2)), per=(1,)), "axes from -1"),
    "std": (lambda: Normalisation(np.zeros(2), np.array([1.0, 0.0])), "positive"),
}


@pytest.mark.parametrize("case", BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_do_not_fit_say_so(case):
    act, words = case
    with pytest.raises(ValueError, match=words):
        act()


# --- training -----------------------------------------------------------------------------------


def task(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((n, 2)))
    return x, torch.stack((torch.sin(x[:, 0]), x[:, 0] * x[:, 1]), dim=-1)


def small(seed=0):
    return seeded(seed, MLP, 2, 2, (16,)).double()


def test_fit_learns_a_linear_map_exactly():
    A = torch.tensor([[1.0, 2.0], [-0.5, 0.3]], dtype=torch.float64)
    x = task()[0]
    net = seeded(0, nn.Linear, 2, 2).double()
    lbfgs = torch.optim.LBFGS
    record = fit(net, (x, x @ A), epochs=20, batch=200, optimiser=lbfgs, progress=False)
    assert record.train[-1] < 1e-8  # LBFGS stops where the loss changes by less than 1e-9
    assert torch.allclose(net.weight.mT, A, atol=1e-4)
    assert record.ended == "epochs"


def test_fit_keeps_the_best_weights_and_stops_early():
    data, valid = task(20), task(100, seed=1)
    net = small()
    record = fit(net, data, valid, epochs=1500, optimiser=adam(2e-2), patience=15, progress=False)
    assert record.ended == "patience"
    assert len(record.validation) == record.best + 16
    assert record.validation[record.best] == min(record.validation)
    with torch.no_grad():
        now = float(((net(valid[0]) - valid[1]) ** 2).mean())
    assert now == pytest.approx(min(record.validation), rel=1e-12)
    assert not net.training
    assert "best" in repr(record)


def test_fit_is_its_seed_and_leaves_the_shared_random_state_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    made = []
    for seed in (0, 0, 1):
        net = nn.Sequential(small(), nn.Dropout(0.3))
        fit(net, task(), epochs=3, seed=seed, progress=False)
        made.append(net[0].layers[0].weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("bad", ["nan data", "rate"])
def test_a_loss_that_is_not_finite_stops_the_run(bad, tmp_path):
    x, y = task()
    path = tmp_path / "run"
    if bad == "nan data":
        y = y.clone()
        y[7] = np.nan
    settings = {"optimiser": lambda p: torch.optim.SGD(p, lr=1e3)} if bad == "rate" else {}
    with pytest.raises(FloatingPointError, match=r"loss is (nan|inf) in epoch.*lower rate"):
        fit(
            MLP(2, 2, (8,), activation=nn.Identity).double(),
            (x, y),
            epochs=50,
            checkpoint=path,
            every=0,
            progress=False,
            **settings,
        )
    if path.exists():  # what is there is from before
        state = torch.load(path, weights_only=True)
        assert all(torch.isfinite(v).all() for v in state["module"].values())


class Slow(nn.Module):
    """A network with dropout, whose random state a resumed run has to find again."""

    fingerprint = "Slow"  # whatever the pause

    def __init__(self, pause):
        super().__init__()
        self.inner, self.drop, self.pause = small(), nn.Dropout(0.2), pause

    def forward(self, x):
        time.sleep(self.pause)
        return self.drop(self.inner(x))


def slowly(path, pause=0.0):
    net, threads = Slow(pause), torch.get_num_threads()
    torch.set_num_threads(1)  # sums in the same order, wherever this runs
    record = fit(
        net,
        task(),
        task(50, seed=1),
        epochs=12,
        batch=32,
        optimiser=adam(1e-2),
        schedule=cosine(12),
        seed=5,
        checkpoint=path,
        every=0,
        progress=False,
    )
    torch.set_num_threads(threads)
    return net.state_dict(), (record.train, record.validation, record.best)


def test_a_run_killed_half_way_goes_on_to_the_same_bits(tmp_path):
    path, here = tmp_path / "killed", [str(Path(__file__).parents[i]) for i in (0, 1)]
    code = f"import sys; sys.path[:0] = {here!r}\n"
    code += f"import test_neural\ntest_neural.slowly({str(path)!r}, 0.03)"
    killed = subprocess.Popen([sys.executable, "-c", code])
    deadline, epoch = time.monotonic() + 600, 0  # PyTorch starts slowly on a busy machine
    while killed.poll() is None and epoch < 4:  # some epochs are done, more are to come
        assert time.monotonic() < deadline
        time.sleep(0.05)
        if path.exists():
            epoch = torch.load(path, weights_only=True)["epoch"]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert 4 <= torch.load(path, weights_only=True)["epoch"] < 12
    weights, told = slowly(path)
    whole, wanted = slowly(tmp_path / "whole")
    assert told == wanted
    assert all(torch.equal(weights[k], whole[k]) for k in whole)


def test_a_finished_run_returns_at_once_and_another_is_refused(tmp_path):
    path, settings = tmp_path / "run", {"epochs": 3, "progress": False, "batch": 50}
    first, again = small(), small(seed=9)
    record = fit(first, task(), checkpoint=path, **settings)
    stamp = path.stat().st_mtime_ns
    known = fit(again, task(), checkpoint=path, **settings)
    assert known.train == record.train
    assert path.stat().st_mtime_ns == stamp
    assert torch.equal(first.layers[0].weight, again.layers[0].weight)
    others = {
        "seed": {"seed": 1},
        "epochs": {"epochs": 4},
        "batch": {"batch": 51},
        "optimiser": {"optimiser": adam(1e-2)},
        "schedule": {"schedule": cosine(3)},
        "data": {"data": task(seed=2)},
        "module": {"module": seeded(0, MLP, 2, 2, (17,)).double()},
        "weights": {"module": seeded(0, MLP, 2, 2, (16,))},
        "clip": {"clip": 1.0},
    }
    for name, change in others.items():
        given = {"module": small(), "data": task(), "checkpoint": path, **settings, **change}
        with pytest.raises(ValueError, match=rf"another run.*{name}"):
            fit(**given)


def test_a_damaged_checkpoint_says_so(tmp_path):
    path = tmp_path / "run"
    fit(small(), task(), epochs=1, checkpoint=path, progress=False)
    whole = path.read_bytes()
    for broken in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged"):
            fit(small(), task(), epochs=1, checkpoint=path, progress=False)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_no_file_is_unpickled(tmp_path, monkeypatch):
    """A checkpoint or a file of weights that is a pickle bomb does not go off."""
    monkeypatch.chdir(tmp_path)
    torch.save({"request": Trap()}, tmp_path / "run")
    seal(tmp_path / "run")
    with pytest.raises(ValueError, match="damaged"):
        fit(small(), task(), epochs=1, checkpoint=tmp_path / "run", progress=False)
    with pytest.raises(ValueError, match="damaged"):
        load_weights(small(), tmp_path / "run")
    assert not (tmp_path / "sprung").exists()


BAD_FITS = {
    "lengths": (lambda: fit(small(), (torch.zeros(3, 2), torch.zeros(4, 2))), "one length"),
    "empty": (lambda: fit(small(), (torch.zeros(0, 2), torch.zeros(0, 2))), "one length"),
    "epochs": (lambda: fit(small(), task(), epochs=0), "epochs must be an integer"),
    "patience": (lambda: fit(small(), task(), patience=3), "needs validation data"),
    "frozen": (
        lambda: fit(small().requires_grad_(False), task(), progress=False),
        "no parameters to learn",
    ),
    "broadcast": (
        lambda: fit(MLP(2, 1).double(), task(), progress=False),
        r"returned \(64, 1\) for targets \(64, 2\)",
    ),
}


@pytest.mark.parametrize("case", BAD_FITS.values(), ids=BAD_FITS)
def test_what_cannot_be_trained_says_so(case):
    act, words = case
    with pytest.raises(ValueError, match=words):
        act()


# --- weights ------------------------------------------------------------------------------------


def test_weights_come_back_with_their_card(tmp_path):
    path, net = tmp_path / "w.safetensors", small(seed=4)
    card = save_weights(net, path, CARD)
    other = small(seed=5).train()
    assert load_weights(other, path) == card == read_card(path)
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True)
    )
    assert not other.training
    assert card.command == CARD.command
    assert card.versions["torch"] == torch.__version__
    assert "Linear" in card.network
    assert len(card.sha256) == 64
    raw = path.read_bytes()
    save_weights(net, path, CARD)
    assert path.read_bytes() == raw  # the same weights, the same file
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            lambda: seeded(0, MLP, 2, 2, (17,)).double(),
            r"layers.0.bias is \(16,\), wanted \(17,\)",
        ),
        (lambda: seeded(0, MLP, 2, 2, (16, 16)).double(), "lacks.*layers.4"),
        (lambda: seeded(0, nn.Linear, 2, 2).double(), "unknown to the module"),
        (lambda: seeded(0, MLP, 2, 2, (16,)), "torch.float64, wanted torch.float32"),
    ],
    ids=["shape", "missing", "names", "dtype"],
)
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, other, words):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path, CARD)
    net = other()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(ValueError, match=words):
        load_weights(net, path)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_damaged_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path, CARD)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1  # one bit of one number
    header = json.loads(whole[8 : 8 + struct.unpack("<Q", whole[:8])[0]])
    del header["__metadata__"]
    bare = json.dumps(header).encode()
    bare = struct.pack("<Q", len(bare)) + bare + whole[8 + struct.unpack("<Q", whole[:8])[0] :]
    for broken in (b"", whole[:6], whole[:-8], bytes(flipped), bare, b"\xff" * 100):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"not a file of weights.*or it is damaged"):
            load_weights(small(), path)
    with pytest.raises(FileNotFoundError):
        load_weights(small(), tmp_path / "nowhere")


def test_the_card_is_sealed_and_old_cards_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path, CARD)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"nowhere", b"nowhare"))
    for read in (read_card, lambda p: load_weights(small(), p)):
        with pytest.raises(ValueError, match="the card is not as it was sealed"):
            read(path)
    size = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + size])
    card = json.loads(header["__metadata__"]["card"])
    del card["seal"]
    header["__metadata__"]["card"] = json.dumps(card)
    old = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(old)) + old + whole[8 + size :])
    with pytest.raises(ValueError, match=r"earlier version.*did not seal the card"):
        load_weights(small(), path)


@pytest.mark.parametrize("name", ["../weights/lorenz63-lstm", "/etc/hosts", "", "."])
def test_shipped_weights_are_those_of_the_package(name):
    with pytest.raises(ValueError, match="lorenz63-lstm"):
        shipped(name)


def test_one_writer_of_weights_and_of_a_checkpoint(tmp_path):
    path = tmp_path / "run"
    with one_writer(path):
        for write in (
            lambda: save_weights(small(), path, CARD),
            lambda: fit(small(), task(), epochs=1, checkpoint=path, progress=False),
        ):
            with pytest.raises(ValueError, match=rf"being written by .*{os.getpid()}"):
                write()
    record = fit(small(), task(), epochs=1, checkpoint=path, progress=False)
    with one_writer(path):  # a run that has ended is only read
        again = fit(small(), task(), epochs=1, checkpoint=path, progress=False)
    assert again.train == record.train
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    net = small()
    with torch.no_grad():
        net.layers[0].weight[0, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        save_weights(net, tmp_path / "w", CARD)
    assert not (tmp_path / "w").exists()


def test_weights_that_share_memory_and_numbers_of_any_library_in_a_card(tmp_path):
    net = seeded(0, nn.Linear, 3, 3)
    tied = nn.ModuleList([net, net])
    metric = {"rmse": np.float32(0.5), "each": np.arange(2), "loss": torch.tensor(1.5)}
    card = save_weights(tied, tmp_path / "w", Card("make", "none", 0, metric))
    assert card.metric == {"rmse": 0.5, "each": [0, 1], "loss": 1.5}
    other = nn.ModuleList([seeded(1, nn.Linear, 3, 3)] * 2)
    assert load_weights(other, tmp_path / "w") == card
    assert torch.equal(other[1].weight, net.weight)
    with pytest.raises(TypeError, match=r"card must hold text and numbers, met Linear"):
        save_weights(net, tmp_path / "v", Card("make", "none", 0, {"net": net}))
    with pytest.raises(ValueError, match=r"weights \['weight', 'bias'\] are on the device meta"):
        save_weights(nn.Linear(2, 2, device="meta"), tmp_path / "v", CARD)
    assert not (tmp_path / "v").exists()


def test_shipped_weights_load_and_say_where_they_are_from():
    from dalearn.cases import lorenz63, shallow_water

    with pytest.raises(ValueError, match="lorenz63-lstm"):
        shipped("nothing")
    total = 0
    for path in shipped("lorenz63-lstm").parent.glob("*.safetensors"):
        card, size = read_card(path), path.stat().st_size
        total += size
        assert card.command.startswith("python -m dalearn.cases.")
        assert card.data
        assert card.metric
        assert size < 2**20
    assert total < 13 * 2**20  # latent dynamics, latent assimilation, learned inversion
    for name in ("perceptron", "lstm"):
        assert not lorenz63.trained(name).training
    with pytest.raises(ValueError, match="perceptron"):
        lorenz63.trained("transformer")
    nets = shallow_water.trained().double()
    assert nets.see_height(torch.zeros(3, 16, dtype=torch.float64)).shape == (3, 1024)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lorenz63", "shallow_water"])
def test_the_commands_of_the_cards_work(tmp_path, monkeypatch, name):
    from dalearn.cases import lorenz63, shallow_water

    if name == "lorenz63":
        monkeypatch.setattr(lorenz63.states, "__defaults__", (6, 12))
        lorenz63.train(tmp_path, epochs=1, progress=False)
    else:
        monkeypatch.setattr(shallow_water.states, "__defaults__", (6,))
        monkeypatch.setattr(shallow_water, "STEPS", 32)
        monkeypatch.setattr(shallow_water, "FIRST", 2)
        shallow_water.train(tmp_path, epochs=1, progress=False)
    assert len(list(tmp_path.glob("*.safetensors"))) == {"lorenz63": 2, "shallow_water": 4}[name]
