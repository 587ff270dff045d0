"""LDEnSF where the latent network is the truth: the parameter is found, and nothing is silent."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn import ETKF, Diagonal, EnSF, LDEnSF, ParticleFilter, Subset
from dalearn.methods import EncoderAlone
from dalearn.methods.latent.fitting import OutOfRange, Sensitive
from dalearn.neural import AtPoints, LDNet, Normalisation, RunsNet, seeded
from dalearn.neural.encoder import HistoryEncoder
from dalearn.neural.train import adam

SIDE, TIMES = 6, 7
POINTS = torch.cartesian_prod(*2 * (torch.linspace(-1, 1, SIDE),)).double()
N = 2 * len(POINTS)


@pytest.fixture(scope="module")
def net():
    made = seeded(0, lambda: LDNet(1, AtPoints(3, 2, 2, (16,)), (16,))).double()
    box = torch.tensor([[500.0], [1500.0]]).double()
    return made.scaled(box, POINTS, Normalisation(np.zeros(2), np.ones(2)))


def still(x):
    """A model of states that no latent method may call."""
    return x


@dataclass(frozen=True, eq=False)
class Wave:
    """Bends what is seen: an operator that picks and then squares."""

    def __call__(self, x):
        return x * x


def problem(net, u=(700.0, 1200.0), *, sigma=0.02, members=40, operator=None, dtype=float):
    """Twins whose truth is the network's own field, seen at every ninth number."""
    u = np.array(u)[:, None]
    with torch.no_grad():
        x = net(torch.from_numpy(u), POINTS, TIMES).movedim(-1, -2).flatten(-2).numpy()
    rng, H = np.random.default_rng(3), operator or Subset(np.arange(0, N, 9))
    y = H(np.concatenate((x, np.broadcast_to(u[:, None], (len(u), TIMES, 1))), -1))
    y = y + sigma * rng.normal(size=y.shape)
    E = np.concatenate(
        (np.zeros((len(u), members, N)), rng.uniform(500, 1500, (len(u), members, 1))), -1
    )
    truth = np.concatenate((x, np.broadcast_to(u[:, None], (len(u), TIMES, 1))), -1)
    m = y.shape[-1]
    return da.Problem(
        still,
        da.Observation(H, Diagonal(np.full(m, sigma**2, dtype))),
        da.Ensemble(E.astype(dtype)),
        y.astype(dtype),
        steps=[10, *[5] * (TIMES - 1)],
        truth=truth.astype(dtype),
    )


def latent(net, **settings):
    given = {"data": "raw", "method": ETKF(40), "first": 10, "every": 5}
    return LDEnSF(net, points=POINTS, **{**given, **settings})


def run(p, method):
    return da.assimilate(p, method, progress=False)


@pytest.mark.parametrize("method", [ETKF(40), ParticleFilter(40, regularization=0.3)], ids=repr)
def test_the_parameter_is_found_from_raw_data(net, method):
    """Within a twentieth of the prior's range."""
    p = problem(net)
    result = run(p, latent(net, method=method))
    u = result["mean"].sel(stage="analysis").isel(time=-1, x=-1).values
    assert abs(u - [700.0, 1200.0]).max() < 50.0
    state = da.rmse(result.isel(x=slice(0, N))).sel(stage="analysis").isel(time=-1)
    assert float(state.max()) < 0.03


def test_libraries_and_precisions_agree(net):
    p, ld = problem(net), latent(net)
    here = run(p, ld)["mean"].values
    there = run(p.to(torch.zeros(1, dtype=torch.float64)), ld)["mean"].values
    single = run(problem(net, dtype=np.float32), ld)["mean"].values
    assert np.allclose(here, there, atol=1e-9)
    assert abs(here - single)[..., -1].max() < 0.05


def test_sensors_are_decoded_alone_and_the_same(net):
    """What a sensor sees of a code is H of the whole decoded state, also of a bent operator."""
    from dalearn.methods.latent.dynamics import LatentCode

    code = LatentCode(net, POINTS)
    z = np.random.default_rng(0).normal(size=(5, code.r))
    picks = Subset([3, 40, 41, 3 + len(POINTS), 60])
    for H in (picks, da.Pointwise(Wave(), at=picks)):
        seen = code.observed(H, z)
        assert len(seen.at) == 4  # points, of five numbers
        assert np.allclose(seen(z), H(code.decode(z)), atol=1e-12)
    assert code.observed(Subset([N]), z) is None  # a parameter
    assert code.observed(np.sin, z) is None


class Encoder(torch.nn.Module):
    """The true codes of known truths, with errors; NaN where the data are missing."""

    def __init__(self, codes, error):
        super().__init__()
        g = torch.Generator().manual_seed(0)
        noise = torch.randn(codes.shape, generator=g, dtype=codes.dtype)
        self.codes = torch.nn.Parameter(codes + error * noise)

    def forward(self, y):
        gone = y.isnan().all(-1, keepdim=True)
        return torch.where(gone, float("nan"), self.codes)


def encoded(net, error=0.05, u=(700.0, 1200.0)):
    v = (torch.tensor(u)[:, None].double() - net.u_mean) / net.u_half
    with torch.no_grad():
        s = net.latents(torch.tensor(u)[:, None].double(), TIMES)
    codes = torch.cat((s, v[:, None].expand(-1, TIMES, -1)), -1)
    return Encoder(codes, error), np.full(codes.shape[-1], error**2)


def test_encoded_data_are_followed_and_averaged(net):
    """An ETKF on encoded data is better than the encoder alone, and its parameter too."""
    p = problem(net)
    encoder, noise = encoded(net)
    ld = latent(net, data="encoded", encoder=encoder, noise=noise)
    alone = run(p, replace(ld, method=EncoderAlone()))
    etkf = run(p, ld)
    late = {"stage": "analysis"}
    errors = [
        abs(r["mean"].sel(late).isel(x=-1, time=slice(3, None)) - r["truth"].isel(x=-1)).mean()
        for r in (alone, etkf)
    ]
    assert float(errors[1]) < 0.7 * float(errors[0])
    # the codes of the encoder come back as they are
    u = alone["mean"].sel(late).isel(x=-1).values
    with torch.no_grad():
        wanted = net.u_mean + net.u_half * encoder.codes[..., -1:]
    assert np.allclose(u, wanted[..., 0].numpy())


def test_the_rerun_model_follows_its_dynamics(net):
    """EncoderAlone(rerun=True): states of the latent model with the encoder's parameter."""
    encoder, noise = encoded(net)
    ld = latent(net, data="encoded", encoder=encoder, noise=noise)
    result = run(problem(net), replace(ld, method=EncoderAlone(rerun=True)))
    for k in (0, TIMES - 1):
        with torch.no_grad():
            u = net.u_mean + net.u_half * encoder.codes[:, k, -1:]
            x = net.reconstruct(net.latents(u, k + 1)[:, -1], POINTS).movedim(-1, -2).flatten(-2)
        assert np.allclose(result["mean"].sel(stage="analysis").values[:, k, :N], x.numpy())


def test_default_method_runs_on_encoded_data(net):
    encoder, noise = encoded(net, error=0.02)
    ld = LDEnSF(net, points=POINTS, encoder=encoder, noise=noise, first=10, every=5)
    result = run(problem(net, members=20), ld)
    u = result["mean"].sel(stage="analysis").isel(time=-1, x=-1).values
    assert abs(u - [700.0, 1200.0]).max() < 60.0
    assert not result["diverged"].values.any()


def test_times_without_data_are_forecasts(net):
    encoder, noise = encoded(net)
    p = problem(net, members=20)
    y = p.data.copy()
    y[:, 3] = np.nan
    ld = latent(net, data="encoded", encoder=encoder, noise=noise, method=EnSF(20))
    result = run(replace(p, data=y), ld)
    a, f = (result["mean"].sel(stage=s).values[:, 3] for s in ("analysis", "forecast"))
    assert np.array_equal(a, f)


def test_one_sample_scores_do_not_find_a_parameter_that_raw_data_do_not_show(net):
    """Without covariances between members the data move s, and u stays where it was drawn."""
    u = run(problem(net), latent(net, method=EnSF(40, eps_beta=0.1)))["mean"]
    u = u.sel(stage="analysis").isel(time=-1, x=-1).values
    assert abs(u - 1000.0).max() < 150.0


def test_codes_are_what_the_run_decodes_and_fields_lie_between_them(net):
    """`codes` are the analyses; a field half-way is that of the network with half a step."""
    p, ld = problem(net, sigma=1e-3).validated(), latent(net)
    codes = ld.codes(p).mean(-2)
    result = run(p, ld)
    late = result["mean"].sel(stage="analysis").values[:, -1, :N]
    fields = ld.fields(codes)[:, -1]  # (b, P, C); the mean of fields is not the field of the mean
    assert abs(np.moveaxis(fields, -1, -2).reshape(2, N) - late).max() < 1e-3
    middle = ld.fields(codes, [4.0, 4.5, 5.0], points=np.zeros((1, 2)))
    assert middle.shape == (2, 3, 1, 2)
    assert np.allclose(middle[:, 0], ld.fields(codes, points=np.zeros((1, 2)))[:, 4])
    t = np.linspace(0, TIMES - 1, 11)
    cubic = np.arange(TIMES)[:, None] ** 3 * np.ones((2, 1, 4))  # a cubic spline is a cubic
    assert np.allclose(ld.fields(cubic, t), ld.fields(t[:, None] ** 3 * np.ones((2, 1, 4))))
    with pytest.raises(ValueError, match="between 0 and 6"):
        ld.fields(codes, [6.5])


# --- training ------------------------------------------------------------------------------------


def waves(u):
    """A wave that runs at the speed u, `(S, T, P, 1)`: what the little network has to learn."""
    x, t = POINTS[:, 0], torch.arange(1.0, 7.0).double() / 5
    return torch.sin(2 * x - u[:, :, None] * t[:, None])[..., None]


def trained(folder=None, **settings):
    u = torch.linspace(0.5, 2.5, 24)[:, None].double()
    u_valid = torch.linspace(0.6, 2.4, 7)[:, None].double()
    net = seeded(1, lambda: LDNet(1, AtPoints(2, 2, 1, (24,)), (16,))).double()
    encoder = seeded(2, HistoryEncoder, 4, 3, 16, width=16).double()
    given = {
        "points": POINTS,
        "see": Subset([0, 13, 21, 35]),
        "unit": np.full(4, 0.7),
        "extra": 30,
        "dynamics": {"epochs": 150, "batch": 24, "optimiser": adam(1e-2)},
        "reading": {"epochs": 150, "batch": 24, "optimiser": adam(1e-2)},
        "checkpoint": folder,
        "progress": False,
    }
    runs = (u, waves(u)), (u_valid, waves(u_valid))
    return LDEnSF.fit(net, encoder, *runs, **{**given, **settings})


def wave_problem(u=((0.9,), (2.1,)), offset=0.0):
    u = torch.tensor(u).double()
    x = waves(u)[..., 0].numpy()
    rng, H = np.random.default_rng(5), Subset([0, 13, 21, 35])
    y = H(x) + 0.07 * rng.normal(size=(2, 6, 4)) + offset
    E = np.concatenate((np.zeros((2, 20, 36)), rng.uniform(0.5, 2.5, (2, 20, 1))), -1)
    truth = np.concatenate((x, np.broadcast_to(u.numpy()[:, None], (2, 6, 1))), -1)
    R = Diagonal(np.full(4, 0.07**2))
    return da.Problem(
        still, da.Observation(H, R), da.Ensemble(E), y, steps=[1, *[2] * 5], truth=truth
    )


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Sensitive)
        return trained(first=1, every=2)


def test_fit_makes_a_method_that_finds_the_speed_of_a_wave(fitted):
    """Encoded and raw: better than the prior's 0.58 by a factor of five, states within 15 %."""
    p = wave_problem()
    for ld in (fitted, replace(fitted, method=ETKF(20), data="raw")):
        result = run(p, ld).isel(time=-1).sel(stage="analysis")
        assert abs(result["mean"].values[:, -1] - [0.9, 2.1]).max() < 0.15
        gap = (result["mean"] - result["truth"]).values[:, :36]
        assert (gap**2).mean() ** 0.5 < 0.15 * 0.7


def test_interpolated_runs_stand_in_the_place_of_a_network():
    """The rival without training: an ETKF over the parameter of runs between known ones."""
    u = np.linspace(0.5, 2.5, 24)[:, None]
    runs = da.models.InterpolatedRuns(u, waves(torch.from_numpy(u))[..., 0].numpy())
    ld = LDEnSF(
        RunsNet(runs, POINTS), points=POINTS, data="raw", method=ETKF(20), first=1, every=2
    )
    result = run(wave_problem(), ld).isel(time=-1).sel(stage="analysis")
    assert abs(result["mean"].values[:, -1] - [0.9, 2.1]).max() < 0.1
    gap = (result["mean"] - result["truth"]).values[:, :36]
    assert (gap**2).mean() ** 0.5 < 0.07  # of data with errors of 0.07 at four of 36 points


def test_data_beyond_the_training_are_flagged(fitted):
    with pytest.warns(OutOfRange, match="observation 0.*100.0%"):
        result = run(wave_problem(offset=9.0), fitted)
    assert (result["outside"].values == 1).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (run(wave_problem(), fitted)["outside"].values == 0).all()


def test_a_sensitive_decoder_is_told():
    """With a ridge of 1e-14 the encoder's errors come out far larger than the decoder's own."""
    short = {"epochs": 20, "batch": 24, "optimiser": adam(1e-2)}
    with pytest.warns(Sensitive, match="the decoder turns"):
        trained(reading=short, level=0.3)


def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    few = {"epochs": 6, "batch": 24, "optimiser": adam(1e-2), "every": 0.0}

    class Killed(Exception):
        pass

    from dalearn.neural import checkpoint

    saved, count = checkpoint.Checkpoint.save, [0]

    def save(self, run):
        saved(self, run)
        count[0] += 1
        if count[0] == 9:  # in the middle of the encoder's
            raise Killed

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Sensitive)
        whole = trained(tmp_path / "whole", dynamics=few, reading=few)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint.Checkpoint, "save", save)
            count[0] = 0
            with pytest.raises(Killed):
                trained(tmp_path / "killed", dynamics=few, reading=few)
        again = trained(tmp_path / "killed", dynamics=few, reading=few)
    for part in ("net", "encoder"):
        for a, b in zip(
            getattr(whole, part).parameters(), getattr(again, part).parameters(), strict=True
        ):
            assert torch.equal(a, b)
    assert np.array_equal(whole.noise.variance(), again.noise.variance())


def test_what_does_not_fit_is_said(net):
    p = problem(net)
    with pytest.raises(ValueError, match=r"10, 12, .*met steps"):
        run(p, latent(net, every=2))
    with pytest.raises(ValueError, match="first="):
        run(p, latent(net, first=20))
    with pytest.raises(ValueError, match="35 points and 1 parameters, 71 numbers"):
        run(p, replace(latent(net), points=POINTS[:-1]))
    with pytest.raises(ValueError, match="encoder and the noise"):
        LDEnSF(net, points=POINTS)
    with pytest.raises(TypeError, match="LDNet"):
        LDEnSF(torch.nn.Linear(2, 2), points=POINTS, data="raw")
    with pytest.raises(TypeError, match="EnSF"):
        LDEnSF(net, points=POINTS, data="raw", method=ETKF)
