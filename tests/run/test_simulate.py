"""Many trajectories: the bits of one step after another, whatever is in the way."""

import dataclasses
import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import dalearn as da
from dalearn.array import Purpose, Streams, is_array, uniform
from dalearn.files.fingerprint import describe
from dalearn.run import sidecar
from dalearn.run import simulate as run
from dalearn.run import trajectories as files

simulate = functools.partial(da.simulate, progress=False)
ENDS = ["npy", "zarr"]


@dataclasses.dataclass(frozen=True, eq=False)
class Decay:
    """A model of fields: each component decays, at its own speed and at that of the place."""

    rate: Any = 0.1
    scale: Any = 1.0
    shape: ClassVar = (3, 4, 5)

    def __call__(self, x):
        slow = self.rate[..., None, :, :] if is_array(self.rate) else self.rate
        return x - slow * self.scale * x


@dataclasses.dataclass(frozen=True, eq=False)
class Walk:
    """Each number goes up or down by chance."""

    size: Any = 0.5
    stochastic: ClassVar = True

    def __call__(self, x, rng):
        return x + self.size * (uniform(rng, x) - 0.5)


@dataclasses.dataclass(frozen=True, eq=False)
class Dying:
    """A model that is killed at its n-th call; what it is does not change."""

    model: Any
    calls: list = dataclasses.field(init=False, default_factory=list)
    stochastic: ClassVar = False

    def __call__(self, x, *rng):
        self.calls.append(1)
        if len(self.calls) in FATE.calls:
            raise KeyboardInterrupt
        return self.model(x, *rng)


class DyingWalk(Dying):
    stochastic = True


# a fingerprint of its own: what FATE holds does not make a model another one
FATE = types.SimpleNamespace(calls=(), fingerprint="fate")


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch):
    """Only a loss of power would tell the difference; the child processes do wait."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def waves(*lead, n=40):
    """Different initial states of Lorenz-96."""
    phase = np.arange(np.prod(lead, dtype=int)).reshape(*lead, 1)
    return 8 * np.sin(np.arange(float(n)) + phase)


def spots(*lead):
    """Different initial states of Decay."""
    return np.random.default_rng(0).normal(size=(*lead, *Decay.shape))


def by_hand(model, x, steps, axis):
    """The same by one call after another."""
    states = [x]
    for _ in range(steps):
        states.append(model(states[-1]))
    return np.stack(states, axis=axis)


# --- the bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (2, 1, 2), (0,)])
@pytest.mark.parametrize("rows", [None, 1, 4])
def test_equals_the_trajectory_to_the_bit(lead, rows):
    x = waves(*lead)
    expected = da.trajectory(da.Lorenz96(), x, 6)
    assert np.array_equal(simulate(da.Lorenz96(), x, 6, rows=rows), expected)
    every = simulate(da.Lorenz96(), x, 6, every=3, rows=rows)
    assert np.array_equal(every, expected[..., ::3, :])


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("end", ENDS)
def test_a_file_holds_what_memory_would(tmp_path, lead, end):
    x = spots(*lead)
    expected = by_hand(Decay(), x, 6, len(lead))[(slice(None),) * len(lead) + (slice(0, 7, 2),)]
    states = simulate(Decay(), x, 6, every=2, to=tmp_path / f"a.{end}", rows=3)
    assert states.shape == (*lead, 4, 3, 4, 5)
    assert np.array_equal(states[...], expected)
    short = simulate(Decay(), x, 6, every=2, to=tmp_path / f"b.{end}", dtype="float32")
    assert short.dtype == np.float32
    assert np.array_equal(short[...], expected.astype(np.float32))  # carried in full precision
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        name + more for name in (f"a.{end}", f"b.{end}") for more in ("", ".resume.npz")
    ]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("buffer", [1, 300, 2**24])  # a state has 160 bytes in single precision
def test_states_are_gathered_before_they_are_written(tmp_path, monkeypatch, end, buffer):
    monkeypatch.setattr(files, "BUFFER", buffer * 3)
    x = waves(7)
    states = simulate(da.Lorenz96(), x, 10, to=tmp_path / f"a.{end}", rows=3, dtype="float32")
    assert np.array_equal(states[...], simulate(da.Lorenz96(), x, 10).astype(np.float32))


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_the_dtype_is_that_of_x0_unless_told(kind):
    x = waves(2).astype(kind)
    assert simulate(da.Lorenz96(), x, 2).dtype == kind
    half = simulate(da.Lorenz96(), x, 2, dtype=np.float16)
    assert np.array_equal(half, da.trajectory(da.Lorenz96(), x, 2).astype(np.float16))


@pytest.mark.parametrize("model", [da.Lorenz96(), Walk()], ids=["noise", "stochastic"])
def test_a_trajectory_draws_the_same_numbers_in_any_block(model):
    x, Q = waves(2, 3), da.Diagonal(np.linspace(0, 1, 40))
    whole = simulate(model, x, 5, noise=Q, seed=7)
    for rows in (1, 4):
        assert np.array_equal(simulate(model, x, 5, noise=Q, seed=7, rows=rows), whole)
    assert np.array_equal(simulate(model, x[1, 1], 5, noise=Q, seed=7 + 4), whole[1, 1])
    given = simulate(model, x, 5, noise=Q, seed=[12, 11, 10, 9, 8, 7])
    assert np.array_equal(given[1, 2], simulate(model, x[1, 2], 5, noise=Q, seed=7))
    assert not np.array_equal(given[0, 0], whole[0, 0])


def test_noise_is_added_after_each_step():
    x, Q = waves(3), da.Dense(np.eye(40) + 0.5)
    rng = Streams(Purpose.SIMULATION, 0, (3,))
    for expected in simulate(da.Lorenz96(), x, 4, noise=Q).swapaxes(0, 1)[1:]:
        x = da.Lorenz96()(x) + Q.color(rng.normal((1, 40), x))[:, 0]
        assert np.array_equal(x, expected)


def test_noise_may_be_another_for_each_trajectory():
    x, variances = waves(3), np.array([0.0, 1.0, 2.0])[:, None] * np.ones(40)
    all_three = simulate(da.Lorenz96(), x, 3, noise=da.Diagonal(variances), rows=2)
    for b in range(3):
        alone = simulate(da.Lorenz96(), x[b], 3, noise=variances[b], seed=b)
        assert np.array_equal(all_three[b], alone)


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@pytest.mark.parametrize("rows", [None, 1, 3])
def test_parameters_go_with_their_trajectories(lead, rows):
    x, f = waves(*lead), np.linspace(6, 9, int(np.prod(lead))).reshape(*lead, 1)
    expected = da.trajectory(da.Lorenz96(forcing=f), x, 3)
    assert np.array_equal(simulate(da.Lorenz96(forcing=f), x, 3, rows=rows), expected)
    for part in (f[:1], f[0], f[:, :1]):  # what broadcasts to the leading axes
        model = da.Lorenz96(forcing=part)
        assert np.array_equal(simulate(model, x, 3, rows=rows), da.trajectory(model, x, 3))
    rate, y = 0.1 * f[..., None], spots(*lead)
    expected = by_hand(Decay(rate), y, 3, len(lead))
    assert np.array_equal(simulate(Decay(rate), y, 3, rows=rows), expected)
    wrapped = da.Subcycled(da.Lorenz96(forcing=f), 2)
    expected = da.trajectory(wrapped, x, 3)
    assert np.array_equal(simulate(wrapped, x, 3, rows=rows), expected)


def test_maps_go_with_their_trajectories_when_named():
    rate, x = np.random.default_rng(1).random((4, 4, 5)), spots(4)
    expected = by_hand(Decay(rate), x, 2, 1)
    assert np.array_equal(simulate(Decay(rate), x, 2, rows=2, swept=["rate"]), expected)
    assert np.array_equal(simulate(Decay(rate), x, 2), expected)  # all at once, as they are
    with pytest.raises(ValueError, match=r"on 2 of 4 trajectories.*named in swept"):
        simulate(Decay(rate), x, 2, rows=2)
    with pytest.raises(ValueError, match=r"on 1 of 4 trajectories.*named in swept"):
        simulate(Decay(rate), x, 2, rows=1)


def test_three_components_and_three_trajectories_are_told_apart():
    scale, x = np.array([1.0, 2.0, 3.0])[:, None, None], spots(3)
    with pytest.raises(ValueError, match=r"scale has shape .* for each component"):
        simulate(Decay(scale=scale), x, 2, rows=2)
    expected = by_hand(Decay(scale=scale), x, 2, 1)
    assert np.array_equal(simulate(Decay(scale=scale), x, 2, rows=2, swept=()), expected)
    assert np.array_equal(simulate(Decay(scale=scale), x, 2), expected)
    assert np.array_equal(simulate(Decay(scale=scale), x[:2], 2, rows=1), expected[:2])


# --- interruptions ------------------------------------------------------------------------------

CHILD = """
import sys
import numpy as np
import dalearn as da
x = 8 * np.sin(np.arange(40.0) + np.arange(8)[:, None])
f = np.linspace(7, 9, 8)[:, None]
da.simulate(da.Lorenz96(forcing=f), x, 60, every=4, to=sys.argv[1], noise=0.01 * np.ones(40),
            seed=3, dtype="float32", rows=2, checkpoint=0, progress=False)
"""


def told(path):
    """What the sidecar of `path` tells of the progress."""
    with np.load(f"{path}.resume.npz") as f:
        return json.loads(f["progress"].tobytes())


def test_a_killed_process_is_gone_on_with_to_the_same_bits(tmp_path, monkeypatch):
    path = tmp_path / "killed.npy"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)])
    try:
        for _ in range(60_000):  # a minute
            if Path(f"{path}.resume.npz").exists():
                far = told(path)
                if far["start"] >= 2 and far["step"] >= 5:
                    break
            assert child.poll() is None
            time.sleep(0.001)
    finally:
        child.kill()
        end = child.wait()
    assert end == -signal.SIGKILL
    far = told(path)
    assert not far["done"]
    model = da.Lorenz96(forcing=np.linspace(7, 9, 8)[:, None])
    given = {"noise": 0.01 * np.ones(40), "seed": 3, "dtype": "float32", "every": 4}
    calls, step = [], da.Lorenz96.__call__
    monkeypatch.setattr(da.Lorenz96, "__call__", lambda m, x: calls.append(1) or step(m, x))
    states = simulate(model, waves(8), 60, to=path, **given)
    assert len(calls) == 4 * 60 - far["start"] // 2 * 60 - far["step"]  # and not all of them
    simulate(model, waves(8), 60, to=tmp_path / "whole.npy", rows=2, **given)
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert np.array_equal(states, simulate(model, waves(8), 60, **given))


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("kind", "inner"), [(Dying, da.Lorenz96()), (DyingWalk, Walk())])
def test_interrupted_again_and_again(tmp_path, end, kind, inner):
    x = waves(5)
    settings = {"noise": np.ones(40), "every": 2, "rows": 3, "to": tmp_path / f"a.{end}"}
    deaths = 0
    for _ in range(20):
        FATE.calls = (4,)  # three steps, and then the end
        try:
            simulate(kind(inner), x, 6, checkpoint=0, **settings)
            break
        except KeyboardInterrupt:
            deaths += 1
        finally:
            FATE.calls = ()
    assert deaths == 3  # 12 steps of blocks, 3 at a time; then only the end is left to say
    whole = simulate(kind(inner), x, 6, noise=np.ones(40), every=2)
    assert np.array_equal(simulate(kind(inner), x, 6, **settings)[...], whole)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("where", ["write", "create", "replace"])
def test_a_death_while_writing_loses_nothing(tmp_path, monkeypatch, end, where):
    """At each write of states, at the making of the file, and at each change of the sidecar."""
    x, Q = waves(5), np.ones(40)
    whole = simulate(da.Lorenz96(), x, 4, noise=Q)
    target = {"npy": files.NpyFile, "zarr": files.ZarrFile}[end]
    write, create, replace = target.write, target.create, os.replace
    for n in itertools.count(1):
        to, calls = tmp_path / f"{n}.{end}", []

        def dies(calls=calls, n=n):
            calls.append(1)
            if len(calls) == n:
                raise MemoryError

        def half(self, start, t, values, dies=dies):
            write(self, start, t, values[: len(values) // 2])
            dies()
            write(self, start, t, values)

        def made(self, dies=dies):
            create(self)
            dies()

        def moved(a, b, dies=dies):
            if str(b).endswith(".npz"):
                dies()
            replace(a, b)

        with monkeypatch.context() as patch:
            if where == "replace":
                patch.setattr(os, "replace", moved)
            else:
                patch.setattr(target, where, half if where == "write" else made)
            patch.setattr(files, "BUFFER", 3 * 40 * 8 * 2)  # two times of three states
            try:
                simulate(da.Lorenz96(), x, 4, noise=Q, rows=3, to=to, checkpoint=0)
                break
            except MemoryError:
                simulate(da.Lorenz96(), x, 4, noise=Q, rows=3, to=to)
        assert np.array_equal(simulate(da.Lorenz96(), x, 4, noise=Q, to=to)[...], whole)
    assert n > {"write": 6, "create": 1, "replace": 12}[where]  # each was met


def test_states_are_on_the_disk_before_the_sidecar_tells_of_them(tmp_path, monkeypatch):
    """So that not even a loss of power leaves a file that claims more than it holds."""
    seen = []

    def spy(kind, name):
        kept = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *args: seen.append(name) or kept(*args))

    spy(files.NpyFile, "write")
    spy(files.NpyFile, "sync")
    spy(sidecar.Sidecar, "save")
    simulate(da.Lorenz96(), waves(3), 2, rows=2, to=tmp_path / "a.npy", checkpoint=0)
    block = ["sync", "save", "write", "sync", "save", "sync", "save"]  # two steps, and its end
    assert seen == ["save", *block, *block, "sync", "save"]


def test_a_complete_file_is_returned_at_once(tmp_path):
    first = simulate(Dying(da.Lorenz96()), waves(3), 4, to=tmp_path / "a.npy")
    model = Dying(da.Lorenz96())
    again = simulate(model, waves(3), 4, to=tmp_path / "a.npy", rows=1)
    assert not model.calls
    assert np.array_equal(first, again)
    assert not again.flags.writeable


# --- files of others ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 9}, r"steps \(the file has 6, this call 9\)"),
        ({"every": 2}, r"every \(the file has 3, this call 2\)"),
        ({"model": da.Lorenz96(forcing=7.5)}, r"model.forcing \(the file has 8.0, this call 7.5"),
        ({"model": da.Lorenz96(forcing=np.ones((3, 1)))}, r"model.forcing \(the file has 8.0"),
        ({"model": Walk()}, r"model \(the file has Lorenz96, this call Walk \w+\)"),
        ({"x0": waves(3) + 1e-16 + 1e-15}, r"x0 \(the file has \(3, 40\) float64"),
        ({"x0": waves(4)}, r"this call \(4, 40\)"),
        ({"x0": waves(3).astype(np.float32), "dtype": "float64"}, r"\(3, 40\) float32"),
        ({"dtype": "float32"}, r"dtype \(the file has float64, this call float32\)"),
        ({"noise": 2 * np.ones(40)}, r"noise.variances \(the file has float64"),
        ({"noise": None}, r"noise \(the file has Diagonal, this call None"),
        ({"seed": 1}, r"seed \(the file has 0, this call 1\)"),
    ],
)
def test_another_request_is_refused_and_the_file_left(tmp_path, change, words):
    given = {"model": da.Lorenz96(), "x0": waves(3), "steps": 6, "every": 3, "noise": np.ones(40)}
    path = tmp_path / "a.npy"
    simulate(to=path, **given)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=words):
        simulate(to=path, **{**given, **change})
    assert path.read_bytes() == before
    states = simulate(to=path, overwrite=True, **{**given, **change})
    assert np.array_equal(states, simulate(**{**given, **change}))


@pytest.mark.parametrize("end", ENDS)
def test_a_file_of_somebody_else_is_left_alone(tmp_path, end):
    path = tmp_path / f"a.{end}"
    simulate(da.Lorenz96(), waves(3), 4, to=path)
    Path(f"{path}.resume.npz").unlink()
    with pytest.raises(ValueError, match="exists, without the sidecar"):
        simulate(da.Lorenz96(), waves(3), 4, to=path)
    simulate(da.Lorenz96(), waves(3), 4, to=path, overwrite=True)
    simulate(da.Lorenz96(), waves(2), 4, to=tmp_path / f"b.{end}")
    Path(f"{path}.resume.npz").replace(tmp_path / f"b.{end}.resume.npz")
    with pytest.raises(ValueError, match=r"is not the file .* float64 \(3, 5, 40\)"):
        simulate(da.Lorenz96(), waves(3), 4, to=tmp_path / f"b.{end}")
    (tmp_path / f"b.{end}.resume.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(ValueError, match="cannot be read"):
        simulate(da.Lorenz96(), waves(3), 4, to=tmp_path / f"b.{end}")


def test_a_deleted_file_is_made_again_and_an_old_map_stays_valid(tmp_path):
    path = tmp_path / "a.npy"
    old = simulate(da.Lorenz96(), waves(3), 4, to=path)
    before = np.array(old)
    new = simulate(da.Lorenz96(), waves(3) + 1, 8, to=path, overwrite=True)
    assert np.array_equal(old, before)
    path.unlink()
    assert np.array_equal(simulate(da.Lorenz96(), waves(3) + 1, 8, to=path), new)


def test_a_block_is_finished_with_the_rows_it_began_with(tmp_path):
    path = tmp_path / "a.npy"
    FATE.calls = (2,)
    with pytest.raises(KeyboardInterrupt):
        simulate(Dying(da.Lorenz96()), waves(5), 4, to=path, rows=2, checkpoint=0)
    FATE.calls = ()
    with pytest.raises(ValueError, match="begun with rows=2, met rows=3"):
        simulate(Dying(da.Lorenz96()), waves(5), 4, to=path, rows=3)
    model = Dying(da.Lorenz96())
    states = simulate(model, waves(5), 4, to=path)
    assert len(model.calls) == 3 + 4 + 4  # blocks of 2, 2 and 1; the first had taken a step
    assert np.array_equal(states, simulate(da.Lorenz96(), waves(5), 4))


def helper(x):
    return x + OFFSET


OFFSET = 1.0


def test_what_a_model_is_does_not_depend_on_the_process():
    """Not on addresses, and not on the seed of hashes; but on what a function does and uses."""
    code = (
        "import functools, numpy as np\n"
        "from dalearn.files.fingerprint import describe\n"
        "A = np.arange(3.0)\n"
        "class Own:\n"
        "    def __init__(self): self.A, self.f, self.me = A, lambda x: x + A, self\n"
        "    def step(self, x): return x\n"
        "def near(x): return near(x) if x in {'a', 'b', 'c'} else 2 * x\n"
        "print(describe([near, Own(), Own().step, functools.partial(near, 1), {'k': np.sin}]))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert " at 0x" not in seen.pop()

    def closed(a, b=1.0):
        return lambda x, c=b: a * x + c

    kinds = [closed(1.0), closed(2.0), closed(1.0, 2.0), lambda x: x, lambda x: helper(x)]
    assert len({describe(k) for k in kinds}) == len(kinds)
    assert describe(closed(1.0)) == describe(closed(1.0))
    before = describe(helper)
    globals()["OFFSET"] = 2.0
    assert describe(helper) != before
    globals()["OFFSET"] = 1.0


def test_a_model_is_known_by_what_it_does():
    assert describe(lambda x: np.sin(x)) != describe(lambda x: np.cos(x))

    def made(base, times, rate=1.0):
        class Own(base):
            scale = rate

            @property
            def more(self):
                return times

            def forward(self, x):
                return x * self.more

        return Own()

    for base in (object, torch.nn.Module):
        assert describe(made(base, 3)) == describe(made(base, 3))
        assert describe(made(base, 3)) != describe(made(base, 2))
        assert describe(made(base, 3)) != describe(made(base, 3, rate=2.0))
    nets = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    pairs = ({"a": 1}, {"a": 2}), (da.Lorenz96(), da.Lorenz96(forcing=9.0)), ([1], [2]), nets
    for pair in pairs:  # what a function finds outside
        seen = set()
        for value in pair:
            globals()["OFFSET"] = value
            seen.add(describe(helper))
        assert len(seen) == 2
    globals()["OFFSET"] = 1.0


def test_a_network_is_known_by_its_weights():
    torch.manual_seed(0)
    a, b = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    assert describe(a) != describe(b)
    b.load_state_dict(a.state_dict())
    assert describe(a) == describe(b)
    assert describe(a.bfloat16()) != describe(b)


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("to", [None, "a.npy", "a.zarr"])
def test_a_trajectory_that_diverges_leaves_the_others(tmp_path, to):
    x = np.array([[0.5], [2.0], [0.1], [3.0]])
    to = to and tmp_path / to
    given = {"every": 2, "rows": 3, "to": to}
    with pytest.warns(RuntimeWarning, match=r"2 of 4 trajectories diverged, the first by step 10"):
        states = simulate(lambda x: x * x, x, 12, **given)[...]
    # 3^(2^10) and 2^(2^10) are above the largest double, 2^1024; 3^(2^8) is not
    assert np.isfinite(states[1::2, :5]).all()
    assert np.isnan(states[1::2, 5:]).all()
    assert np.array_equal(states[::2], simulate(lambda x: x * x, x[::2], 12, every=2))
    if to:
        with pytest.warns(RuntimeWarning, match="2 of 4"):  # said again, by the complete file
            simulate(lambda x: x * x, x, 12, **given)


def test_what_has_diverged_does_not_come_back():
    def reborn(x):
        return np.where(x < 3, x + 1, np.where(x == 3, np.inf, 0.0))

    with pytest.warns(RuntimeWarning, match="1 of 2 trajectories diverged, the first by step 2;"):
        states = simulate(reborn, np.array([[2.0], [-5.0]]), 5)
    assert np.array_equal(states[0, :, 0], [2, 3, np.nan, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(states[1, :, 0], [-5, -4, -3, -2, -1, 0])


def test_numbers_too_large_for_the_file_count_as_diverged():
    with pytest.warns(RuntimeWarning, match="1 of 2 trajectories diverged, the first by step 1;"):
        states = simulate(lambda x: 100 * x, np.array([[1.0], [1e3]]), 2, dtype="float16")
    assert np.array_equal(states[0, :, 0], np.array([1, 100, 10_000], np.float16))
    assert np.isnan(states[1, 1:]).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"steps": 0}, ValueError, "steps must be an integer >= 1, met 0"),
        ({"steps": 2.0}, ValueError, "steps must be an integer"),
        ({"every": 0}, ValueError, "every must be an integer >= 1, met 0"),
        ({"every": 4}, ValueError, "steps must be a multiple of every = 4, met 6"),
        ({"rows": 0}, ValueError, "rows must be an integer >= 1, met 0"),
        ({"checkpoint": -1}, ValueError, "checkpoint must be seconds, at least 0, met -1"),
        ({"checkpoint": None}, ValueError, "checkpoint must be a number, or infinity"),
        ({"x0": np.float64(1)}, ValueError, r"x0 has shape \(\), wanted \(..., n\)"),
        ({"x0": waves(3).astype(complex)}, TypeError, "real numbers"),
        ({"dtype": "int32"}, TypeError, "dtype must be float16, float32 or float64, met int32"),
        ({"model": Decay()}, ValueError, r"x0 has shape \(3, 40\), wanted \(..., 3, 4, 5\)"),
        ({"shape": (4, 10)}, ValueError, r"wanted \(..., 4, 10\)"),
        (
            {"model": da.Lorenz96},
            TypeError,
            r"model must be a function .*\(not a class\), such as Lorenz96\(\)",
        ),
        ({"model": torch.nn.Linear(40, 40)}, TypeError, r"Surrogate\(module\)"),
        ({"model": lambda x: x[:, :1]}, ValueError, r"returned ndarray \(3, 1\) on 3 of 3"),
        ({"model": lambda x: torch.as_tensor(x)}, ValueError, "returned Tensor"),
        ({"model": lambda x: x.astype("f4")}, TypeError, "made float64 into float32"),
        ({"model": da.Lorenz96(30)}, ValueError, r"the model failed on 3 .*Lorenz96\(n=30\)"),
        (
            {"model": da.Lorenz96(forcing=np.ones((2, 1)))},
            ValueError,
            r"one value for each has the shape \(3, 1\)",
        ),
        (
            {"model": da.Lorenz96(forcing=np.ones((3, 1, 1)))},
            ValueError,
            r"returned ndarray \(3, 3, 40\).* each has the shape \(3, 1\)",
        ),
        ({"noise": np.ones(39)}, ValueError, "noise has dimension 39 .* wanted 40"),
        ({"noise": da.Diagonal(np.ones((2, 40)))}, ValueError, r"batch axes \(2,\)"),
        ({"seed": -1, "noise": np.ones(40)}, ValueError, "non-negative"),
        ({"seed": 0.5}, ValueError, "seed must be an integer or a sequence of integers"),
        ({"seed": [1, 2]}, ValueError, "met 2 seeds, wanted 3: one per trajectory"),
        ({"swept": "forcing"}, ValueError, "swept names forcing, but the arrays .* are none"),
        (
            {"model": da.Lorenz96(forcing=np.ones((2, 1))), "swept": "forcing", "rows": 1},
            ValueError,
            r"forcing, named in swept, has shape \(2, 1\)",
        ),
        ({"to": "a.txt"}, ValueError, "ends in .npy or .zarr, met 'a.txt'"),
        ({"to": "nowhere/a.npy"}, FileNotFoundError, "no folder nowhere for a.npy"),
    ],
)
def test_what_is_wrong_is_refused_in_words(change, error, words):
    given = {"model": da.Lorenz96(), "x0": waves(3), "steps": 6}
    with pytest.raises(error, match=words):
        simulate(**{**given, **change})


def test_without_zarr_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install dalearn\[scale\]"):
        simulate(da.Lorenz96(), waves(3), 4, to=tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


# --- torch, fields, memory, the bar -------------------------------------------------------------


def test_torch_in_torch_out(tmp_path):
    x = torch.from_numpy(waves(3)).requires_grad_()
    states = simulate(da.Lorenz96(forcing=np.full((3, 1), 8.0)), x, 10, every=5, rows=2)
    assert isinstance(states, torch.Tensor)
    assert not states.requires_grad
    expected = simulate(da.Lorenz96(), waves(3), 10, every=5)
    assert np.allclose(states.numpy(), expected, rtol=1e-12, atol=1e-12)  # ten steps' round-off
    short = simulate(da.Lorenz96(), x, 10, every=5, dtype=torch.float32)
    assert short.dtype == torch.float32
    to = tmp_path / "a.npy"
    written = simulate(da.Lorenz96(), x, 10, every=5, noise=np.ones(40), to=to)
    expected = simulate(da.Lorenz96(), waves(3), 10, every=5, noise=np.ones(40))
    assert np.allclose(written, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path):
    x = torch.from_numpy(waves(5)).cuda()
    model = da.Lorenz96(forcing=np.linspace(7, 9, 5)[:, None])
    states = simulate(model, x, 10, noise=np.ones(40), rows=2)
    assert states.device == x.device
    expected = simulate(model, waves(5), 10, noise=np.ones(40))
    assert np.allclose(states.cpu().numpy(), expected, rtol=1e-11, atol=1e-11)
    written = simulate(model, x, 10, noise=np.ones(40), rows=2, to=tmp_path / "a.npy")
    assert np.array_equal(written, states.cpu().numpy())


def test_a_network_of_fields_runs_with_its_shape():
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular", dtype=torch.float64)
    x = torch.from_numpy(spots(4))
    states = simulate(net, x, 2, shape=(3, 4, 5))
    with torch.no_grad():
        assert torch.equal(states[:, 2], net(net(x)))
    wrapped = simulate(da.Surrogate(net), x.numpy(), 2, shape=(3, 4, 5))
    assert np.array_equal(wrapped, states.numpy())


def test_shallow_water_from_many_bumps(tmp_path):
    """The set-up of LD-EnSF, small: blocks of 2 change no bits."""
    sw = da.ShallowWater.ld_ensf(16)
    x0 = sw.bump(np.random.default_rng(0).uniform(0, 5e5, (5, 2)))
    states = simulate(sw, x0, 8, every=4, rows=2, to=tmp_path / "tsunami.npy")
    assert states.shape == (5, 3, 3, 16, 16)
    assert np.array_equal(states, by_hand(sw, x0, 8, 1)[:, ::4])


MEASURED = """
import sys
import numpy as np
import dalearn as da

def memory(name):  # of this process alone: getrusage would count what its parent had
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name)) * 1024

x0 = np.random.default_rng(0).random((64, 100_000))
da.simulate(lambda x: 0.5 * x, x0[:2, :10], 1, to=sys.argv[1] + "small.npy", progress=False)
before = memory("VmRSS")
da.simulate(lambda x: 0.5 * x, x0, 10, to=sys.argv[1] + "large.npy", dtype="float32", rows=2,
            progress=False)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    out = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path) + os.sep],
        capture_output=True,
        text=True,
        check=True,
    )
    large = tmp_path / "large.npy"
    assert large.stat().st_size > 64 * 11 * 4e5
    # held: the 11 saved states of 2 trajectories, 9 MB, and some copies of their 1.6 MB; 13 MB
    # were measured, and 290 MB for a run in memory
    assert int(out.stdout) < large.stat().st_size / 10
    large.unlink()


def test_the_bar_counts_steps_of_trajectories(tmp_path, monkeypatch):
    made = []

    class Bar:
        def __init__(self, **settings):
            self.settings, self.n = settings, settings["initial"]
            made.append(self)

        def update(self, n):
            self.n += n

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    monkeypatch.setattr("dalearn.files.progress.seen", lambda: True)
    FATE.calls = (6,)
    to = tmp_path / "a.npy"
    with pytest.raises(KeyboardInterrupt):
        simulate(Dying(da.Lorenz96()), waves(5), 4, rows=2, to=to, checkpoint=0)
    FATE.calls = ()
    da.simulate(Dying(da.Lorenz96()), waves(5), 4, to=to)
    first, second = made
    assert [b.settings["total"] for b in made] == [20, 20]
    assert (first.settings["initial"], first.n) == (0, 2 * 4 + 2)
    assert (second.settings["initial"], second.n) == (2 * 4 + 2, 20)
    assert [b.settings["disable"] for b in made] == [True, False]


def test_default_blocks_are_at_most_64_megabytes():
    def rows(*shape):
        x0 = np.broadcast_to(0.0, shape)
        return run.plan_of(lambda x: x, x0, 1, 1, shape[1:], None, 0, None).rows()

    assert rows(200, 3, 150, 150) == 100  # 124 would do; two blocks of the same size are better
    assert rows(200, 3, 1500, 1500) == 1
    assert rows(10_000, 3) == 3334  # three blocks of at most 4096
    assert rows(7, 3) == 7
