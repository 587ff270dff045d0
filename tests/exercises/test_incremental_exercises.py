"""The published observing systems of neural incremental assimilation: tests among the training."""

from dalearn.exercises.incremental import PROCESSES, systems


def test_the_published_test_systems_are_those_of_the_training_in_another_order():
    train, test = (
        {frozenset(r) for r in part.tolist()} for part in (PROCESSES[:8], PROCESSES[8:])
    )
    assert train == test
    assert systems(PROCESSES) == 8
    assert systems(PROCESSES, ordered=True) == 16
