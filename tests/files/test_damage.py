"""Damaged files: each is refused by name, made again with a warning, or read to the same numbers.

Stored results of every kind, finished and half way, are damaged at random: a bit flipped, the end
cut off or added to, a piece removed, doubled, or in the place of another. 2000 in `make proofs`,
of which 200 run in `make test`.
"""

import functools
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from lengths import full

import dalearn as da
from dalearn.files.sealed import seal
from dalearn.neural import MLP, Card, fit, load_weights, mean_square, save_weights, seeded

CALLS = {"left": 10**9, "made": 0}


class Stops:
    """A model that is interrupted when its calls are spent."""

    fingerprint = "halves, with a twist"

    def __call__(self, x):
        CALLS["left"] -= 1
        CALLS["made"] += 1
        if CALLS["left"] < 0:
            raise KeyboardInterrupt
        return 0.5 * x + np.sin(x[..., ::-1])


def stops(module, *rows):
    CALLS["left"] -= 1
    if CALLS["left"] < 0:
        raise KeyboardInterrupt
    return mean_square(module, *rows)


stops.fingerprint = "mean square"


X0 = np.random.default_rng(0).normal(size=(7, 3))
DATA = tuple(torch.from_numpy(np.random.default_rng(i).normal(size=(24, 3))) for i in (0, 1))
CARD = Card("python -m nowhere", "none", 0, {"error": 1.0}, hardware="a CPU")


def states(path):
    given = {"to": path, "rows": 2, "checkpoint": 0.0, "noise": np.ones(3), "progress": False}
    found = da.simulate(Stops(), X0, 6, **given)
    return [np.array(found[...])]


@functools.cache
def problem():
    seen = da.Observation(da.identity, np.ones(3))
    return da.twin(da.Lorenz63(), seen, da.Gaussian(np.ones(3), np.ones(3)), cycles=2)


def sweep(path):
    methods = {"a": da.ETKF(4), "b": da.EnKF(4)}
    result = da.compare(problem(), methods, 2, to=path, progress=False).load()
    return [result.drop_vars("seconds")]


def trained(path):
    net = seeded(0, MLP, 3, 3, (4,)).double()
    given = {"checkpoint": path, "every": 0.0, "batch": 12, "progress": False}
    record = fit(net, DATA, epochs=3, loss=stops, **given)
    return [record.train, *(v.numpy() for v in net.state_dict().values())]


def weights(path):
    net = seeded(1, MLP, 3, 3, (4,)).double()
    card = load_weights(net, path)
    return [card, *(v.numpy() for v in net.state_dict().values())]


def saved(path):
    save_weights(seeded(0, MLP, 3, 3, (4,)).double(), path, CARD)


KINDS = {  # what reads it, its name, after how many calls it was interrupted, and how many trials
    "states": (states, "s.npy", None, 40),
    "states half way": (states, "s.npy", 15, 30),
    "states in zarr": (states, "s.zarr", None, 20),
    "states in zarr half way": (states, "s.zarr", 15, 15),
    "sweep": (sweep, "s.zarr", None, 8),
    "training": (trained, "net", None, 29),
    "training half way": (trained, "net", 5, 18),
    "weights": (weights, "w.safetensors", None, 40),
}


def pristine(folder, kind):
    """A store of this kind, and what is read from it when it is whole."""
    read, name, calls, _ = KINDS[kind]
    path = folder / "whole" / name
    path.parent.mkdir()
    if read is weights:
        saved(path)
    else:
        CALLS["left"] = calls or 10**9
        with pytest.raises(KeyboardInterrupt) if calls else warnings.catch_warnings():
            read(path)
    CALLS["left"] = 10**9
    other = folder / "elsewhere"
    other.mkdir()
    if read is weights:
        return path, weights(path)
    return path, read(other / name)


def hurt(folder, rng):
    """Damage one file in a folder at random; in words."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    sizes = np.array([p.stat().st_size for p in files], float)
    odds = sizes / sizes.sum() / 2 + 0.5 / len(files)  # half by bytes, half by pieces
    path = files[rng.choice(len(files), p=odds)]
    name, raw = path.relative_to(folder), bytearray(path.read_bytes())
    what = rng.choice(["flip", "cut", "more", "gone", "zeros", "copy"], p=[0.6, *[0.08] * 5])
    at = int(rng.integers(len(raw))) if raw else 0
    if what == "gone":
        path.unlink()
        return f"{name} gone"
    if what == "copy":  # of another piece
        other = files[rng.integers(len(files))]
        path.write_bytes(other.read_bytes())
        return f"{name} in place of {other.relative_to(folder)}"
    if what == "flip" and raw:
        raw[at] ^= 1 << int(rng.integers(8))
    elif what == "cut":
        raw = raw[:at]
    elif what == "zeros":
        raw[at : at + 512] = bytes(len(raw[at : at + 512]))
    else:
        raw += b"\0" * int(rng.integers(1, 9))
    path.write_bytes(raw)
    return f"{what} of {name} at {at}"


def same(a, b):
    if isinstance(a, xr.Dataset):
        return a.identical(b)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


@pytest.mark.proof
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_is_silent_and_none_is_raw(tmp_path, kind):
    whole, wanted = pristine(tmp_path, kind)
    read, count = KINDS[kind][0], full(1, 10) * KINDS[kind][3]
    folder, found = tmp_path / "hurt", {"refused": 0, "made again": 0, "equal": 0}
    for trial in range(count):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole.parent, folder)
        what = f"trial {trial}: {hurt(folder, np.random.default_rng([trial, len(kind)]))}"
        met = None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                met = read(folder / whole.name)
            except (ValueError, OSError) as error:
                refused = error
        if met is None:
            assert type(refused).__module__.partition(".")[0] in ("builtins", "dalearn"), what
            assert whole.name in str(refused), f"{what}: {refused}"
            found["refused"] += 1
            continue
        assert all(map(same, met, wanted)), what
        for w in told:
            assert "is damaged, and what is not as it was written is made again" in str(w.message)
        found["made again" if told else "equal"] += 1
    assert sum(found.values()) == count
    assert found["refused"] + found["made again"] >= 0.6 * count, found  # the rest did no harm


def test_the_damaged_case_is_named_and_run_again(tmp_path):
    path = tmp_path / "s.zarr"
    (wanted,) = sweep(path)
    chunk = path / "case-000001" / "mean" / "c" / "0" / "0" / "0" / "0"
    for damage in full(("flip", "moved"), ("flip", "cut", "gone", "head", "more", "moved")):
        if damage == "flip":
            raw = bytearray(chunk.read_bytes())
            raw[len(raw) // 2] ^= 4
            chunk.write_bytes(raw)
        elif damage == "cut":
            chunk.write_bytes(chunk.read_bytes()[:-1])
        elif damage == "more":
            shutil.copy(chunk, chunk.with_name("1"))
        elif damage == "moved":
            shutil.rmtree(path / "case-000001")
            shutil.copytree(path / "case-000000", path / "case-000001")
        else:
            (chunk if damage == "gone" else path / "case-000001" / "zarr.json").unlink()
        words = r"s\.zarr is damaged, .* made again: case-000001 of b \(seeds 0, 1\): "
        with pytest.warns(RuntimeWarning, match=words) as told:
            (met,) = sweep(path)
        assert told[0].filename == __file__
        assert met.identical(wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert sweep(path)[0].identical(wanted)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr"]


def test_nothing_of_somebody_else_is_removed_with_a_damaged_case(tmp_path):
    path = tmp_path / "s.zarr"
    sweep(path)
    (path / "case-000000" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"case-000000 holds what is not dalearn's, thesis\.tex"):
        sweep(path)
    assert (path / "case-000000" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["s.npy", "s.zarr"])
def test_a_damaged_file_of_states_names_its_trajectories(tmp_path, monkeypatch, name):
    monkeypatch.setattr("dalearn.run.checksums.GROUP", 1)  # a chain for each block
    path = tmp_path / name
    states(path)
    where = path if name == "s.npy" else next(p for p in path.glob("c/5/*/*"))
    raw = bytearray(where.read_bytes())
    raw[-30] ^= 1  # of the last trajectory; in zarr of one before it
    where.write_bytes(raw)
    which = "6 to 6" if name == "s.npy" else "4 to 5"
    with pytest.raises(ValueError, match=rf"{name} is damaged: trajectories {which} "):
        states(path)


@pytest.mark.parametrize("name", ["s.npy", "s.zarr"])
def test_what_is_skipped_is_compared_first(tmp_path, name):
    """A resumed run does not build on a block that has been damaged."""
    path = tmp_path / name
    CALLS["left"] = 20
    with pytest.raises(KeyboardInterrupt):
        states(path)
    CALLS["left"] = 10**9
    where = path if name == "s.npy" else next(p for p in path.glob("c/1/*/*"))
    whole = where.read_bytes()
    raw = bytearray(whole)
    raw[-30 if name == "s.zarr" else 200] ^= 1
    where.write_bytes(raw)
    before = CALLS["made"]
    with pytest.raises(ValueError, match="is damaged: trajectories"):
        states(path)
    assert CALLS["made"] == before
    where.write_bytes(whole)
    assert np.array_equal(states(path)[0], states(tmp_path / f"other-{name}")[0])


def test_files_of_an_earlier_version_say_so(tmp_path):
    sweep(tmp_path / "s.zarr")
    head = tmp_path / "s.zarr" / "zarr.json"
    text = json.loads(head.read_bytes())
    del text["attributes"]["seal"], text["attributes"]["sealed"]
    head.write_text(json.dumps(text))
    with pytest.raises(ValueError, match=r"earlier version .* no checksums"):
        sweep(tmp_path / "s.zarr")
    states(tmp_path / "s.npy")
    side = tmp_path / "s.npy.resume.npz"
    side.write_bytes(side.read_bytes()[:-80])
    with pytest.raises(ValueError, match=r"resume\.npz cannot be read .* earlier version"):
        states(tmp_path / "s.npy")
    trained(tmp_path / "net")
    Path(tmp_path / "net").write_bytes((tmp_path / "net").read_bytes()[:-80])
    with pytest.raises(ValueError, match=r"net has no checksum .* earlier version"):
        trained(tmp_path / "net")


def with_entries(values, change):
    """One entry more, or one less."""
    return {**values, "more": 1} if change == "more" else dict(list(values.items())[1:])


@pytest.mark.parametrize("change", ["more", "less"])
def test_whole_files_of_another_version_say_so(tmp_path, change):
    """Of a later one, which knows more, or an earlier one: sealed, and with other entries."""
    states(tmp_path / "s.npy")
    side = tmp_path / "s.npy.resume.npz"
    held = dict(np.load(side))
    progress = with_entries(json.loads(held["progress"].tobytes()), change)
    held["progress"] = np.frombuffer(json.dumps(progress).encode(), np.uint8)
    with open(side, "wb") as f:
        np.savez(f, **held)
    seal(side)
    with pytest.raises(ValueError, match=r"resume\.npz cannot be read \(another version"):
        states(tmp_path / "s.npy")
    trained(tmp_path / "net")
    whole = torch.load(tmp_path / "net", weights_only=True)
    for state in (
        with_entries(whole, change),
        {**whole, "record": with_entries(whole["record"], change)},
    ):
        torch.save(state, tmp_path / "net")
        seal(tmp_path / "net")
        with pytest.raises(ValueError, match=r"net is not a checkpoint .*another version"):
            trained(tmp_path / "net")


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dalearn.run.trajectories.NpyFile.write", full_disk)
    with pytest.raises(OSError, match=r"No space left .*s\.npy'"):
        states(tmp_path / "s.npy")
    monkeypatch.undo()
    assert np.isfinite(states(tmp_path / "s.npy")[0]).all()  # it goes on, once there is room

    def torch_on_a_full_disk(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos")

    monkeypatch.setattr(torch, "save", torch_on_a_full_disk)
    with pytest.raises(OSError, match=r"net cannot be written \(.*unexpected pos"):
        trained(tmp_path / "net")
    assert not (tmp_path / "net").exists()


# --- whose is it --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.zarr", "a.npy"])
@pytest.mark.parametrize("thing", ["folder", "text", "group"])
def test_overwrite_takes_the_place_of_arrays_only(tmp_path, name, thing):
    path = tmp_path / name
    if thing == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("years of work")
    elif thing == "text":
        path.write_text("years of work")
    else:
        sweep(tmp_path / "b.zarr")
        (tmp_path / "b.zarr").rename(path)
    before = {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")}
    with pytest.raises(ValueError, match=rf"{name} is somebody else's: .*Move it away"):
        da.simulate(da.Lorenz63(), X0, 2, to=path, overwrite=True, progress=False)
    assert {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["a.zarr", "a.npy"])
def test_overwrite_replaces_arrays_of_anybody(tmp_path, name):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, np.ones(3))
    else:
        import zarr

        zarr.save_array(str(path), np.ones(3), zarr_format=3)
    da.simulate(da.Lorenz63(), X0, 2, to=path, overwrite=True, progress=False)
    if name == "a.zarr":
        (path / "mine.txt").write_text("notes")
        with pytest.raises(ValueError, match=r"it holds mine\.txt"):
            da.simulate(da.Lorenz63(), X0, 2, to=path, overwrite=True, progress=False)
        (path / "mine.txt").unlink()
        (path / "zarr.json").write_text("damaged")  # the remedy that the error names
    else:
        path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="overwrite=True"):
        da.simulate(da.Lorenz63(), X0, 2, to=path, progress=False)
    found = da.simulate(da.Lorenz63(), X0, 2, to=path, overwrite=True, progress=False)
    assert np.array_equal(found[...], da.simulate(da.Lorenz63(), X0, 2, progress=False))


def test_parts_of_others_are_left_alone(tmp_path):
    mine = tmp_path / "s.zarr.part"
    mine.mkdir()
    (mine / "mine.txt").write_text("years of work")
    for name in ("w.part", "net.part", "s.npy.resume.npz.part"):
        (tmp_path / name).write_text("years of work")
    sweep(tmp_path / "s.zarr")
    saved(tmp_path / "w")
    trained(tmp_path / "net")
    states(tmp_path / "s.npy")
    assert (mine / "mine.txt").read_text() == "years of work"
    assert all(p.read_text() == "years of work" for p in tmp_path.glob("*.part") if p.is_file())
    assert len(list(tmp_path.glob("*.part"))) == 4
