"""Recall gives what would be made again, and keeps a bounded part of it."""

import copy

import numpy as np
import pytest

from dalearn.array import Recall


class Made:
    """Counts how often it is asked."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return self.times


def test_the_same_bytes_and_the_same_objects_are_known():
    recall, make, a, b = Recall(), Made(), object(), object()
    X = np.arange(4.0)
    assert [recall(X, (a,), make), recall(X.copy(), (a,), make)] == [1, 1]
    assert recall(X, (b,), make) == 2
    assert recall(X.reshape(2, 2), (a,), make) == 3
    assert recall(X + 1, (a,), make) == 4
    assert copy.deepcopy(recall)(X, (a,), make) == 5  # a copy knows nothing


@pytest.mark.parametrize("large", [np.zeros(10_000), "torch"], ids=["numpy", "torch"])
def test_of_others_the_last_is_known_as_an_object(large):
    if isinstance(large, str):
        large = pytest.importorskip("torch").zeros(4)
    recall, make = Recall(), Made()
    assert [recall(large, (), make), recall(large, (), make)] == [1, 1]
    other = large + 0
    assert [recall(other, (), make), recall(large, (), make)] == [2, 3]
    assert len(recall.known) == 1


def test_what_is_kept_is_bounded():
    recall, make = Recall(), Made()
    for i in range(100):
        recall(np.full(3, i), (), make)
    assert len(recall.known) <= Recall.KEPT
