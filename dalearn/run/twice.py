"""Each observation time twice: a filter shows its forecast before it is given the data.

First nothing is seen, so that the analysis is the forecast; then, no step later, what was judged
good. Nothing else changes for the filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..array import Array, array_namespace
from ..problem.observe import Moving, Observation
from ..problem.problem import Problem


@dataclass(frozen=True, eq=False)
class Twice(Problem):
    """Each time of a problem twice: without data, and with those that were judged good."""

    judged: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem) -> Twice:
        """The doubled problem; data get the batch axes, since each experiment is judged alone."""
        xp, K = array_namespace(problem.data), len(problem)
        shape = (*problem.batch, K, problem.data.shape[-1])
        y = xp.broadcast_to(problem.data, shape)
        both = xp.stack([xp.full_like(y, float("nan")), y], axis=-2)
        steps = [s for k in range(K) for s in (problem.steps_to(k), 0)]
        see, Q = problem.observation, problem.noise
        if not isinstance(see, Observation):
            see = Moving([o for o in see.observations for _ in range(2)])
        truth = problem.truth
        truth = None if truth is None else xp.repeat(truth, 2, axis=-2)
        return cls(
            *(problem.model, see, problem.prior),
            xp.reshape(both, (*problem.batch, 2 * K, shape[-1])),
            steps,
            [q for q in Q for _ in range(2)] if isinstance(Q, tuple) else Q,
            problem.shape,
            truth,
            inputs=problem.inputs,
            failures=problem.failures,
            angles=problem.angles,
        )

    def judge(self, k: int, good: Array) -> None:
        """Say which data of time k are good, `(..., m)`."""
        xp, i = array_namespace(self.data), 2 * k + 1
        self._seen[..., i, : good.shape[-1]] &= good
        self._complete[i] = bool(xp.all(self._seen[..., i, :]))
        self.judged.append(k)

    def at(self, k: int) -> tuple[Observation, Array]:
        """As of a Problem; TypeError for data that are not judged yet."""
        if k % 2 and k // 2 not in self.judged:
            raise TypeError(
                "screen wants a filter, which takes the data of one time after those of another, "
                "met a method that looks ahead: screen with ETKF(20) or KF(), say, and give the "
                "result to the smoother"
            )
        return super().at(k)
