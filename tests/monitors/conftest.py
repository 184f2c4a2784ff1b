from __future__ import annotations

import pytest

from loom_dagster.monitors import Facts, Scores


def scores(mean: float, *, n: int = 200, std: float = 0.1, kind: str = "semantic", errors: int = 0) -> Scores:
    return Scores(type=kind, n=n, errors=errors, mean=mean, std=std)


@pytest.fixture
def run():
    """A run by the mean of its one evaluator, or of several by name."""

    def make(mean: float | dict[str, float], *, failed: tuple[str, ...] = (), **how) -> Facts:
        means = mean if isinstance(mean, dict) else {"quality": mean}
        return Facts(
            extracted=200,
            scores={name: scores(value, **how) for name, value in means.items()},
            failed=frozenset(failed),
        )

    return make
