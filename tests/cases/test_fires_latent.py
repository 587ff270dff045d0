"""Latent assimilation of fires: what is seen, B of windows, and an analysis by hand."""

import numpy as np
import pytest

import dalearn as da
from dalearn.cases import wildfire
from dalearn.cases import wildfire_latent as latent
from dalearn.cases.wildfire_flags import filled, majority

FRAMES = 14
DAYS = (8, 13)


@pytest.fixture(scope="module")
def fires():
    return {p: wildfire.fires(p, n, frames=FRAMES) for p, n in (("train", 60), ("validation", 20))}


@pytest.fixture(scope="module", params=["burnt", "distance"])
def parts(request, fires):
    """View, coder, model and B, of few fires and numbers."""
    view = latent.View.of_fires(request.param, fires["train"])
    states = view.of(fires["train"].burnt)
    pod = da.POD.fit(states, 6, mean=False)
    known = pod.encode(view.of(fires["validation"].burnt))
    model = da.DMD.fit(pod.encode(states), 4, ridge=1e-3)
    return view, pod, model, latent.background(model, known)


def test_views_and_masks_are_inverse(fires, parts):
    view, burnt = parts[0], fires["validation"].burnt
    assert (view.mask(view.of(burnt)) == (burnt > 0.5)).all()
    assert np.abs(view.of(fires["train"].burnt[:, ::2]).mean((0, 1))).max() < 1e-5


def test_a_majority_of_known_flags_decides():
    flags = np.zeros((1, 64 * 64), np.float32)
    field = flags.reshape(64, 64)
    field[:, 30:] = 1
    noisy = wildfire.seen(flags, seed=1, cover=0.3)
    wrong = (noisy > 0.5) != (flags > 0.5)
    seen = ~np.isnan(noisy)
    found = majority(noisy)
    known = ~np.isnan(found)
    assert (wrong & seen).sum() > 100
    assert ((found > 0.5) != (flags > 0.5))[known & seen].sum() < (wrong & seen).sum() / 5
    full = filled(found)
    assert np.isfinite(full).all()
    assert (full[known] == found[known]).all()
    assert np.isnan(majority(np.full((1, 64), np.nan))).all()


def test_the_error_counts_cells():
    truth = np.array([[1, 1, 0, 0], [1, 0, 0, 0]])
    mask = np.array([[True, False, True, False], [True, False, False, False]])
    assert latent.error(latent.counts(mask, truth)) == pytest.approx((2 / 3) ** 0.5)


@pytest.mark.parametrize("cover", [0.0, 0.5])
def test_an_analysis_is_the_best_linear_estimate_of_the_whole_window(fires, parts, cover):
    (view, pod, model, B), some = parts, fires["validation"][:3]
    flags = wildfire.seen(some.burnt[:, list(DAYS)], seed=2, cover=cover)
    noise = latent.errors_of_data(view, pod, some.burnt[:, list(DAYS)], flags)
    problem = latent.problem_of(some, view, flags, noise, days=DAYS)
    solver = da.GaussNewton(jacobian=latent.one_matrix)
    method = da.Latent(
        da.Var3D(B, solver=solver), latent.coded(pod), model=model, steps=problem.steps
    )
    found = latent.analyses(problem, method, rows=2)
    z = latent.windows_of(pod.encode(view.of(some.burnt)), 3)
    H = np.concatenate((np.zeros((18, 4096)), pod.modes)).T
    for day, (before, after) in enumerate(found):
        for _ in range(problem.steps[day]):
            z = model(z)
        assert before == pytest.approx(z, abs=2e-3)
        data, z = view.data(flags)[:, day], z.copy()
        for i in range(3):
            seen = ~np.isnan(data[i])
            Hs = H[seen].astype(float)
            A = np.linalg.inv(np.linalg.inv(B.matrix()) + Hs.T @ Hs / noise)
            z[i] = z[i] + A @ Hs.T @ (data[i, seen] - Hs @ z[i]) / noise
        assert after == pytest.approx(z, abs=2e-3 * float(np.abs(z).max()))  # single precision


def test_assimilate_runs_the_same_and_gives_fields(fires, parts):
    (view, pod, model, B), some = parts, fires["validation"][:2]
    flags = wildfire.seen(some.burnt[:, list(DAYS)], seed=2)
    problem = latent.problem_of(some, view, flags, 0.08, days=DAYS)
    solver = da.GaussNewton(jacobian=latent.one_matrix)
    method = da.Latent(
        da.Var3D(B, solver=solver), latent.coded(pod), model=model, steps=problem.steps
    )
    result = da.assimilate(problem, method, progress=False)
    after = latent.analyses(problem, method)[-1][1]
    field = result["mean"].sel(stage="analysis")[:, -1].to_numpy()[:, -4096:]
    assert field == pytest.approx(latent.newest(pod, after), abs=1e-3)


def test_what_does_not_fit_is_refused(fires, parts):
    view, pod, model, B = parts
    some = fires["validation"][:2]
    flags = wildfire.seen(some.burnt[:, list(DAYS)], seed=2)
    problem = latent.problem_of(some, view, flags, 0.08, days=DAYS)
    small = da.POD.fit(np.random.default_rng(0).standard_normal((20, 1024)), 6, mean=False)
    method = da.Latent(da.Var3D(B), latent.coded(small), model=model, steps=problem.steps)
    with pytest.raises(ValueError, match="the coder takes states of 4096 numbers"):
        latent.analyses(problem, method)  # ground of another size
    other = da.POD(pod.modes[:4], pod.mean)
    method = da.Latent(da.Var3D(B), latent.coded(other), model=model, steps=problem.steps)
    with pytest.raises(ValueError, match="wanted"):
        latent.analyses(problem, method)  # a model of other codes


def test_the_shipped_coder_has_the_floor_of_its_card():
    from dalearn.cases import wildfire_networks
    from dalearn.neural import read_card, shipped

    card = read_card(shipped(wildfire_networks.NAME))
    coder, known = wildfire_networks.trained(), wildfire.fires("validation", 60)
    assert (coder.n, coder.r) == (4096, 64)
    found = wildfire_networks.floor(coder, known)
    assert found == pytest.approx(card.metric["burnt mask, validation"], abs=1e-3)
    train = wildfire.fires("train", 150)
    view = latent.View.of_fires("burnt", train)
    pod = da.POD.fit(view.of(train.burnt), 64, mean=False)
    x = view.of(known.burnt)
    linear = latent.error(latent.counts(view.mask(pod.decode(pod.encode(x))), known.burnt).sum(1))
    assert found < linear  # of as many numbers


def test_the_command_trains_a_coder(tmp_path):
    from dalearn.cases import wildfire_networks
    from dalearn.neural import read_card

    coder = wildfire_networks.train(tmp_path, epochs=1, fires=6, progress=False)
    card = read_card(tmp_path / f"{wildfire_networks.NAME}.safetensors")
    assert card.metric["burnt mask, validation"] > 0
    assert coder.decode(coder.encode(np.zeros((2, 4096), np.float32))).shape == (2, 4096)
