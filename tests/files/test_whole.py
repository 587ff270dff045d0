"""A file or a folder appears whole, or not at all."""

import os

import pytest

from dalearn.files.whole import part_of, remove_parts, whole


def test_a_file_replaces_the_old_one_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.name.startswith("a.txt.")
        assert part.name.endswith(".part")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    with whole(tmp_path / "a") as part:
        part.mkdir()
        (part / "one").write_text("1")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "one").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("folder", [False, True])
def test_an_error_leaves_the_old_one_and_no_part(tmp_path, folder):
    path = tmp_path / "a"
    path.write_text("old")

    def fail():
        with whole(path) as part:
            part.mkdir() if folder else part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append("fsync") or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: seen.append("replace") or replace(a, b))
    with whole(tmp_path / "a") as part:
        part.write_text("new")
    assert seen == ["fsync", "replace"]


def test_an_error_of_the_system_names_the_file(tmp_path):
    """That of a full disk comes without a name."""

    def fail(error):
        with whole(tmp_path / "run.npz") as part:
            part.write_text("half")
            raise error

    with pytest.raises(OSError, match=r"No space left on device.*run\.npz'"):
        fail(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match=r"^in other words$"):
        fail(OSError("in other words"))
    assert not list(tmp_path.iterdir())


def test_the_place_to_write_may_be_another(tmp_path):
    with whole(tmp_path / "a", tmp_path / "elsewhere") as part:
        assert part == tmp_path / "elsewhere"
        part.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


def test_parts_are_known_by_their_names(tmp_path):
    """Two writers of one file have parts of their own; what others named so is left alone."""
    path = tmp_path / "a"
    left = [part_of(path) for _ in range(2)]
    assert left[0] != left[1]
    mine = [tmp_path / name for name in ("a.part", "a.0123.part", "b.0123456789ab.part")]
    for p in left[:1] + mine:
        p.write_text("text")
    left[1].mkdir()
    remove_parts(path)
    assert sorted(tmp_path.iterdir()) == sorted(mine)
