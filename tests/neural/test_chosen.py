"""Bases that say much with few numbers: exact on what they hold, and on nothing else."""

import pytest
import torch

from dalearn.neural import Chosen, Harmonics, Solenoidal

LINE = (torch.arange(12, dtype=torch.float64) + 0.5) / 6 - 1
GRID = torch.cartesian_prod(LINE, LINE)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["chosen", "solenoidal"])
def basis(request):
    if request.param == "solenoidal":
        return Solenoidal((7, 5))
    made = Chosen(Harmonics((4, 5), 2), 9).double()
    made.index.copy_(torch.tensor([0, 1, 5, 8, 13, 20, 21, 30, 39]))
    return made


def test_coefficients_come_back(basis):
    c = draw(3, 2, basis.count)
    fields = basis(c, GRID)
    assert fields.shape == (3, 2, 144, 2)
    assert torch.allclose(basis.project(fields, GRID), c, rtol=0, atol=1e-10)
    assert basis.floor(fields, GRID) < 1e-10
    assert basis.floor(draw(3, 144, 2), GRID) > 0.3


def test_functions_have_mean_square_one_and_do_not_overlap(basis):
    """On a grid of midpoints, of both components together: Chosen's have one component each."""
    Phi = basis.values(GRID)
    G = Phi @ Phi.mT / 144
    assert torch.allclose(G, torch.eye(basis.count).double(), rtol=0, atol=1e-10)


def test_other_points_are_not_mixed_up(basis):
    c, few = draw(basis.count), GRID[[3, 70]] + 0.01
    whole = basis(c, GRID)
    assert basis(c, few).shape == (2, 2)
    assert torch.equal(basis(c, GRID), whole)
    moved = basis(c, GRID + 0.01)[[3, 70]]
    assert torch.allclose(basis(c, few), moved, rtol=0, atol=1e-12)
    single = basis.float()(c.float(), GRID.float())
    assert torch.allclose(single.double(), whole, rtol=0, atol=1e-5)  # float32 of numbers near 10


def test_few_points_do_not_say_all_coefficients(basis):
    with pytest.raises(ValueError, match="do not say"):
        basis.project(draw(4, 2), GRID[:4])
    with pytest.raises(ValueError, match="wants"):
        basis(draw(3), GRID)


def test_flows_have_no_divergence_and_no_mean():
    basis = Solenoidal((7, 5))
    c = draw(basis.count)

    def at(x):
        return basis.at(x[None]).flatten(1).mT @ c

    J = torch.func.vmap(torch.func.jacrev(at))(GRID)
    assert J.abs().max() > 1
    assert torch.allclose(J[:, 0, 0], -J[:, 1, 1], rtol=0, atol=1e-9)
    assert torch.allclose(basis(c, GRID).mean(0), torch.zeros(2).double(), rtol=0, atol=1e-10)


def test_flows_on_a_torus_are_those_of_a_model():
    """All dealiased flows of 24^2 points: 15^2 - 1 numbers, and nothing is lost."""
    import numpy as np

    import dalearn as da

    model = da.Kolmogorov(24, wavenumber=2)
    x = model(model.random_flow(np.random.default_rng(0), (3,)))
    line = (torch.arange(24, dtype=torch.float64) + 0.5) / 12 - 1
    y, along = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack((along, y), -1).reshape(-1, 2)
    basis, fields = Solenoidal((15, 15)), torch.from_numpy(x).flatten(-2).mT
    assert basis.count == 224
    assert basis.floor(fields, points) < 1e-12
    assert Solenoidal((13, 13)).floor(fields, points) > 1e-6


def test_the_largest_are_chosen():
    harmonics = Harmonics((4, 5), 2)
    c = 0.01 * draw(6, 40)
    c[:, [2, 17, 30]] += draw(6, 3)
    made = Chosen.fit(harmonics(c, GRID), GRID, harmonics, 3)
    assert made.index.tolist() == [2, 17, 30]
    found = made.project(harmonics(c, GRID), GRID)
    assert torch.allclose(found, c[:, [2, 17, 30]], rtol=0, atol=1e-10)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="Solenoidal must be two numbers"):
        Solenoidal((3,))
    with pytest.raises(ValueError, match="count of Chosen must be an integer <= 40"):
        Chosen(Harmonics((4, 5), 2), 41)
