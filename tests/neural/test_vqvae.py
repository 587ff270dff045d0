"""Codebook, VQ-VAE and prior: against k-means, a known chain, and what must be refused."""

import math

import numpy as np
import pytest
import torch

from dalearn.array import Purpose, generator, streams
from dalearn.models.coders import check_coder
from dalearn.neural import (
    VQVAE,
    Card,
    Codebook,
    CodePrior,
    Committed,
    fit,
    load_weights,
    save_weights,
    seeded,
)
from dalearn.neural.train import Training, adam

CENTRES = torch.tensor([[-4.0, 0.0], [0.0, 3.0], [4.0, 0.0], [0.0, -5.0]])


def clouds(count=800, seed=0):
    """Vectors around four centres, and which."""
    rng = np.random.default_rng(seed)
    which = torch.from_numpy(rng.integers(4, size=count))
    return CENTRES[which] + 0.4 * torch.from_numpy(rng.normal(size=(count, 2))).float(), which


def discs(count=64, side=16, seed=0):
    """Fields `(count, 1, side, side)`: discs of one size at random places."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(4, side - 4, (count, 2, 1, 1))
    line = np.arange(side)
    far = (line[:, None] - at[:, 0]) ** 2 + (line - at[:, 1]) ** 2
    return torch.from_numpy((far < 9).astype("float32"))[:, None]


# --- the codebook -------------------------------------------------------------------------------


def test_the_nearest_code_is_the_nearest():
    book = seeded(0, Codebook, 7, 3).double()
    rng = np.random.default_rng(0)
    book.vectors.copy_(torch.from_numpy(rng.normal(size=(7, 3))))
    z = torch.from_numpy(rng.normal(size=(5, 4, 3)))
    wanted = torch.cdist(z.reshape(-1, 3), book.vectors).argmin(-1).reshape(5, 4)
    assert torch.equal(book.nearest(z), wanted)
    q, cost = book.eval()(z)
    assert torch.allclose(q, book.vectors[wanted], rtol=0, atol=1e-15)
    assert float(cost) == pytest.approx(float(((z - q) ** 2).mean()))


def test_the_derivative_goes_straight_through():
    book = seeded(0, Codebook, 4, 2).eval()
    book.vectors.copy_(CENTRES)
    z = clouds(20)[0].requires_grad_(True)
    weights = torch.randn(20, 2)
    (gradient,) = torch.autograd.grad((book(z)[0] * weights).sum(), z)
    assert torch.equal(gradient, weights)
    (pull,) = torch.autograd.grad(book(z)[1], z)  # towards the code, which is held fixed
    assert torch.allclose(pull, 2 * (z - book(z)[0]).detach() / z.numel())


def test_running_means_are_k_means():
    """With enough batches the codes are the means of what falls to them, and all are used."""
    z, which = clouds()
    book = seeded(1, Codebook, 4, 2, decay=0.9)
    torch.manual_seed(3)
    for _ in range(150):
        book(z)
    near = book.eval().nearest(z)
    means = torch.stack([z[near == k].mean(0) for k in range(4)])
    assert torch.allclose(book.vectors, means, atol=1e-5)
    # the four clouds are apart: k-means without a dead code finds each of them
    own = torch.stack([z[which == k].mean(0) for k in range(4)])
    assert torch.cdist(own, book.vectors).amin(1).max() < 1e-4


def test_a_dead_code_is_put_where_vectors_are():
    z = clouds()[0]
    for least, alive in ((0.05, True), (0.0, False)):
        book = seeded(1, Codebook, 4, 2, decay=0.9, least=least)
        torch.manual_seed(0)
        book(z)
        book.vectors[2] = book.sums[2] = 1e3  # far from everything
        book.sums[2] *= book.uses[2]
        for _ in range(100):
            book(z)
        assert (len(book.nearest(z).unique()) == 4) == alive


def test_nan_teaches_nothing_and_stays():
    z = clouds()[0]
    clean, dirty = (seeded(1, Codebook, 4, 2) for _ in range(2))
    bad = torch.cat((z, torch.full((3, 2), math.nan)))
    for book, data in ((clean, z), (dirty, bad)):
        torch.manual_seed(0)
        q, cost = book(data)
    assert torch.equal(clean.vectors, dirty.vectors)
    assert torch.isnan(q[-3:]).all()
    assert torch.isfinite(q[:-3]).all()
    assert torch.isnan(cost)


# --- the autoencoder ----------------------------------------------------------------------------


def trained(epochs=12, **settings):
    net = seeded(0, VQVAE, (1, 16, 16), 16, 8, (8, 16))
    x = discs(256)
    record = fit(
        net, (x,), loss=Committed(), epochs=epochs, batch=32, optimiser=adam(5e-3),
        progress=False, **settings,
    )  # fmt: skip
    return net, record


def test_it_learns_uses_its_letters_and_is_a_coder():
    net, record = trained(15)
    assert record.train[-1] < record.train[0] / 3
    check_coder(net)
    test = discs(60, seed=9).flatten(1)
    codes = net.codes(test)
    assert codes.shape == (60, 4, 4)
    assert len(net.codes(discs(256).flatten(1)).unique()) == 16
    z = net.encode(test)
    assert z.shape == (60, net.r)
    assert torch.allclose(net.embed(codes), z, atol=1e-5)  # straight through: z + (q - z)
    assert torch.equal(net.codes(test[None, :5]), codes[None, :5])
    with torch.no_grad():
        gap = net.decode(net.embed(codes)) - test
    assert net.floor(test) == pytest.approx(float(gap.square().mean().sqrt()), rel=1e-4)
    blank = float(test.std())
    assert net.floor(test) < blank / 2
    nan = test.clone()
    nan[0, 0] = math.nan
    z = net.encode(nan)
    assert torch.isnan(z[0]).any()
    assert torch.equal(z[1:], net.encode(test)[1:])


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """The running means and replaced codes too."""

    class Killed(Exception):
        pass

    def run(path, state):
        net = seeded(0, VQVAE, (1, 16, 16), 16, 8, (8, 16))
        torch.manual_seed(state)  # the process's own state does not matter
        fit(
            net, (discs(256),), loss=Committed(), epochs=10, batch=32, checkpoint=path, every=0,
            progress=False,
        )  # fmt: skip
        return net.state_dict()

    whole, train = run(tmp_path / "whole", 0), Training.train

    def dies(self, task):
        if self.epoch == 6:
            raise Killed
        return train(self, task)

    monkeypatch.setattr(Training, "train", dies)
    with pytest.raises(Killed):
        run(tmp_path / "part", 1)
    monkeypatch.undo()
    again = run(tmp_path / "part", 2)
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    assert whole["codebook.uses"].sum() > 0


def test_maps_reach_encoder_and_decoder(tmp_path):
    net = seeded(0, VQVAE, (2, 16, 16), 8, 4, (8, 8), maps=3, outputs=1)
    x, maps = torch.randn(6, 2, 16, 16), torch.randn(6, 3, 16, 16)
    net.train()
    found, _ = net(x, maps)
    assert found.shape == (6, 1, 16, 16)
    net.eval()
    z = net.encode(x.flatten(1), maps)
    assert not torch.equal(net.decode(z, maps), net.decode(z, maps.flip(0)))
    assert not torch.equal(
        net.down[0](torch.cat((x, maps), 1)), net.down[0](torch.cat((x, maps * 0), 1))
    )
    one = net.at(maps[2])
    check_coder(one)
    assert torch.allclose(one.decode(z[2]), net.decode(z, maps)[2], atol=1e-6)
    assert torch.allclose(one.encode(x[2].flatten()), z[2], atol=1e-6)
    save_weights(net, tmp_path / "v.safetensors", Card("make", "none", 0, {"x": 1}))
    other = seeded(1, VQVAE, (2, 16, 16), 8, 4, (8, 8), maps=3, outputs=1)
    load_weights(other, tmp_path / "v.safetensors")
    assert torch.equal(other.codes(x.flatten(1), maps), net.codes(x.flatten(1), maps))


# --- the prior ----------------------------------------------------------------------------------

CHAIN = np.array([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])


def chain(count, length=12, seed=0):
    """Words of a Markov chain that starts from its stationary law, and nats a letter."""
    rng = np.random.default_rng(seed)
    values, vectors = np.linalg.eig(CHAIN.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    law = law / law.sum()
    word = [rng.choice(3, size=count, p=law)]
    for _ in range(length - 1):
        u = rng.random(count)[:, None]
        word.append((CHAIN[word[-1]].cumsum(1) < u).sum(1).clip(max=2))
    first = -(law * np.log(law)).sum()
    later = -(law[:, None] * CHAIN * np.log(CHAIN)).sum()
    words = torch.from_numpy(np.stack(word, 1)).reshape(count, 3, length // 3)
    return words, (first + (length - 1) * later) / length


def test_it_finds_the_entropy_and_the_transitions_of_a_chain():
    prior = seeded(0, CodePrior, (3, 4), 3, 16, 1, 2)
    train, nats = chain(3000)
    fit(prior, (train,), loss=CodePrior.nats, epochs=6, optimiser=adam(5e-3), progress=False)
    test, _ = chain(4000, seed=1)
    with torch.no_grad():
        met = float(prior.nats(test))
        logs = prior(test)
    # a mean over 48 000 letters has a standard error of .004; the fit adds some thousandths
    assert met == pytest.approx(nats, abs=0.02)
    assert float(-logs.mean() / 12) == pytest.approx(met, rel=1e-5)
    words = prior.sample(4000, generator(Purpose.TEST, 0)).flatten(1)
    for k in range(3):
        after = words[:, 1:][words[:, :-1] == k]
        share = torch.bincount(after, minlength=3) / len(after)
        assert np.abs(share.numpy() - CHAIN[k]).max() < 0.03


def test_a_letter_does_not_know_what_comes_after_it():
    prior = seeded(0, CodePrior, (3, 4), 5, 16, 2, 2)
    words = torch.randint(5, (1, 3, 4))
    changed = words.clone()
    changed[0, 1, 2] = (words[0, 1, 2] + 1) % 5
    a, b = prior.logits(words)[0], prior.logits(changed)[0]
    assert torch.allclose(a[:7], b[:7], atol=1e-6)  # the seventh predicts the changed one
    assert not torch.allclose(a[7:], b[7:], atol=1e-3)
    log = prior.logits(words).log_softmax(-1).gather(-1, words.reshape(1, 12, 1)).sum()
    assert prior(words).item() == pytest.approx(log.item(), rel=1e-5)
    # letter by letter it is the same law: at a low temperature the likeliest letter comes
    drawn = prior.sample(3, generator(Purpose.TEST, 0), temperature=1e-6)
    assert torch.equal(prior.logits(drawn).argmax(-1), drawn.flatten(1))
    every = torch.cartesian_prod(*[torch.arange(2)] * 4).reshape(-1, 2, 2)
    small = seeded(0, CodePrior, (2, 2), 2, 8, 1, 2)
    assert small(every).exp().sum().item() == pytest.approx(1, abs=1e-5)  # a law


def test_the_draws_belong_to_the_seed_and_follow_maps():
    prior = seeded(0, CodePrior, (2, 2), 4, 8, 1, 2, maps=1, times=4)
    maps = torch.randn(5, 1, 8, 8)
    a, b = (prior.sample(5, streams(Purpose.SIMULATION, 3), maps) for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, prior.sample(5, streams(Purpose.SIMULATION, 4), maps))
    # learned: bright maps have letter 3, dark ones 0, at each place of the grid
    bright = torch.from_numpy(np.random.default_rng(0).integers(2, size=(400, 1, 2, 2))).float()
    seen = bright.repeat_interleave(4, 2).repeat_interleave(4, 3)
    words = (3 * bright[:, 0]).long()
    fit(prior, (words, seen), loss=CodePrior.nats, epochs=12, optimiser=adam(1e-2), progress=False)
    drawn = prior.sample(400, streams(Purpose.SIMULATION, 0), seen)
    assert (drawn == words).float().mean() > 0.98
    one = prior.sample(3, streams(Purpose.SIMULATION, 0), seen[0])
    assert (one == words[0]).float().mean() > 0.9


def test_what_is_wrong_is_named():
    net, _ = trained(1)
    raw = VQVAE((1, 16, 16), 16, 8, (8, 16)).eval()
    told = VQVAE((1, 16, 16), 16, 8, (8, 16), maps=2)
    x = discs(3).flatten(1)
    nan = x.clone()
    nan[1, 4] = math.nan
    prior = CodePrior((4, 4), 16, 8, 1, 2)
    place = CodePrior((4, 4), 16, 8, 1, 2, maps=2, times=4)
    words, rng = torch.zeros(2, 4, 4, dtype=torch.long), generator(Purpose.TEST, 0)
    for wrong, message in (
        (lambda: raw.codes(x), "not trained"),
        (lambda: raw.encode(x), "not trained"),
        (lambda: raw.embed(words), "not trained"),
        (lambda: net.codes(nan), "NaN"),
        (lambda: net.codes(x[:, :-1]), r"wants \(\.\.\., 256\), met shape \(3, 255\)"),
        (lambda: net.decode(torch.zeros(2, 9)), r"\(\.\.\., 128\)"),
        (lambda: net.embed(words + 16), "from 0 to 15, met 16 to 16"),
        (lambda: net.embed(words - 1), "met -1 to -1"),
        (lambda: net.embed(words.float()), "integers"),
        (lambda: net.embed(words[:, :3]), r"\(\.\.\., 4, 4\), met shape \(2, 3, 4\)"),
        (lambda: net.encode(x, torch.zeros(1, 16, 16)), "has 0 maps"),
        (lambda: told.encode(x), "has 2 maps"),
        (lambda: told.encode(x, torch.zeros(2, 32, 32)), r"maps of VQVAE wants .*2, 16, 16"),
        (lambda: told(discs(3)), "has 2 maps"),
        (lambda: VQVAE((1, 12, 16), 8), "divisible by 8"),
        (lambda: VQVAE((16, 16), 8), r"\(c, h, w\)"),
        (lambda: Committed(-1.0), "weight must be >= 0"),
        (lambda: prior.logits(words + 16), "from 0 to 15"),
        (lambda: prior.sample(0, rng), "count"),
        (lambda: prior.sample(2, rng, temperature=0.0), "temperature"),
        (lambda: place.sample(2, rng), "has 2 maps"),
        (lambda: place.sample(2, rng, torch.zeros(2, 8, 8)), r"maps of CodePrior wants"),
        (lambda: CodePrior((4, 4), 8, 10, 1, 4), "heads divide"),
        (lambda: CodePrior((4, 4), 8, times=3), "power of two"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(FloatingPointError, match="loss is nan"):
        fit(net, (nan.reshape(3, 1, 16, 16),), loss=Committed(), epochs=1, progress=False)
