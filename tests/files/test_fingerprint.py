"""Fingerprints are those of the bytes, whatever the library."""

import numpy as np
import torch

from dalearn.files.fingerprint import digest


def test_a_large_array_is_read_in_pieces_to_the_same_fingerprint(monkeypatch):
    x = np.arange(210.0).reshape(7, 5, 6)
    views = x, x.mT, torch.from_numpy(x), torch.from_numpy(x).mT, x[:, 0, 0]
    whole = [digest([v]) for v in views]
    monkeypatch.setattr("dalearn.files.fingerprint.LARGE", 500)  # two entries of 240 bytes
    assert [digest([v]) for v in views] == whole
    monkeypatch.setattr("dalearn.files.fingerprint.LARGE", 100)  # less than one
    assert [digest([v]) for v in views] == whole


def test_a_fingerprint_is_that_of_the_bytes():
    x = np.arange(6.0).reshape(2, 3)
    assert digest([x]) == digest([torch.from_numpy(x)]) == digest([np.asfortranarray(x)])
    assert digest([x.T]) == digest([torch.from_numpy(x).T])
    assert digest([x]) != digest([x.T])
    assert digest(["a", x]) != digest(["b", x])
    assert len(digest([x])) == 16
    assert digest([x], None).startswith(digest([x]))
    half = torch.ones(3, dtype=torch.bfloat16)  # a type that NumPy does not have
    assert digest([half]) != digest([2 * half])
