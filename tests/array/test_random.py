"""No number that dalearn draws is one that a user's own generator gives."""

import re
from pathlib import Path

import numpy as np
import torch

import dalearn as da
from dalearn.array import Purpose, Streams, generator, torch_seed

SEEDS, NUMBERS = range(100), 20
SOURCE = Path(da.__file__).parent


def test_no_stream_shares_a_number_with_a_users_generator():
    """The chance that any of 53 bits agree by accident is 1e-9."""
    theirs, ours = set(), set()
    for s in SEEDS:
        for rng in (np.random.default_rng(s), np.random.RandomState(s)):
            theirs |= {*rng.standard_normal(NUMBERS), *rng.random(NUMBERS)}
        theirs |= {*np.random.default_rng(s).random(NUMBERS)}
        theirs |= {*np.random.RandomState(s).random_sample(NUMBERS)}
    for p in Purpose:
        for s in SEEDS:
            ours |= {*generator(p, s).standard_normal(NUMBERS), *generator(p, s).random(NUMBERS)}
    assert len(ours) == 2 * NUMBERS * len(SEEDS) * len(Purpose)  # no two uses share one either
    assert not ours & theirs


def test_a_users_pair_of_numbers_is_no_stream():
    """`default_rng([1, s])` was once the stream of the assimilation."""
    own = {float(generator(p, s).random()) for p in Purpose for s in range(10)}
    assert not own & {
        float(np.random.default_rng([p, s]).random()) for p in range(13) for s in range(10)
    }


def test_seeds_of_torch_are_none_that_a_user_writes():
    seeds = [
        torch_seed(p, s) % 2**32
        for p in (Purpose.WEIGHTS, Purpose.TRAINING, Purpose.TWIN)
        for s in SEEDS
    ]
    assert min(seeds) > 2**16
    assert len(set(seeds)) == len(seeds)
    first = {float(torch.rand(1, generator=torch.Generator().manual_seed(s))) for s in SEEDS}
    net = da.neural.seeded(0, torch.nn.Linear, 1, 1)
    assert not {(float(w) + 1) / 2 for w in torch.cat([net.weight[0], net.bias]).tolist()} & first


def test_only_one_file_makes_generators():
    """A generator made elsewhere would have a seed that a user may write too.

    `neural/draws.py` starts the shared generators from the seeds of `torch_seed` that it is given.
    The flow from which all runs of `cases/ld_ensf.py` start is known to everybody: no draw of it
    is hidden from anybody.
    """
    made = re.compile(
        r"default_rng\(|RandomState\(|np\.random\.(seed|normal|rand)|manual_seed\((?!torch_seed)"
    )
    found = [
        f"{path.relative_to(SOURCE)}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        for line in path.read_text("utf8").splitlines()
        if made.search(line)
    ]
    known = "array/random.py", "neural/draws.py", "cases/ld_ensf.py"
    assert all(line.startswith(known) for line in found), found


def test_a_truth_drawn_by_the_user_is_no_member():
    """A truth from default_rng(1), a particle filter with its default seed: once an error of 0."""
    rng = np.random.default_rng(1)
    x, truth, data = rng.standard_normal(1), [], []
    for _ in range(20):
        x = 0.9 * x + rng.standard_normal(1)
        truth.append(x)
        data.append(x + np.random.default_rng(len(truth)).standard_normal(1))
    problem = da.Problem(
        da.Linear(np.array([[0.9]])), da.Observation(da.identity, [1.0]),
        da.Gaussian(np.zeros(1), [1.0]), np.array(data), noise=[1.0], truth=np.array(truth),
    )  # fmt: skip
    result = da.assimilate(problem, da.ParticleFilter(200), progress=False, keep=("members",))
    assert float(da.rmse(result).sel(stage="analysis").mean()) > 0.3  # the Kalman filter's is 0.7
    assert not np.isin(np.array(truth), result["members"].values).any()


def test_streams_are_one_generator_an_experiment():
    like = np.zeros((3, 4))
    rows = Streams(Purpose.TWIN, 5, (3,)).normal((4,), like)
    assert np.array_equal(
        rows, [generator(Purpose.TWIN, 5 + b).standard_normal(4) for b in range(3)]
    )
