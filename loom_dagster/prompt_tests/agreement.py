"""How well a field of the output agrees with a reference: accuracy, macro F1, Cohen's kappa and the like, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loom_dagster.prompt_tests.beta import normal_cdf, normal_quantile
from loom_dagster.prompt_tests.intervals import fraction

__all__ = [
    "Confusion",
    "accuracy",
    "agreement_interval",
    "confusion",
    "kappa",
    "macro_f1",
    "macro_precision",
    "macro_recall",
]

Numbers = npt.NDArray[np.float64]
Measure = Callable[[Numbers], Numbers]

_RESAMPLES = 4_000
_FEW = 30  # disagreements: resampling says nothing of what was hardly ever seen


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each class (row) was called what (column)."""

    classes: tuple[str, ...]
    counts: Numbers

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def agreed(self) -> int:
        return int(np.trace(self.counts))


def confusion(truth: Sequence[str], said: Sequence[str]) -> Confusion:
    """The classes are all that occur on either side, sorted."""
    classes = tuple(sorted({*truth, *said}))
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    np.add.at(counts, ([place[t] for t in truth], [place[s] for s in said]), 1.0)
    return Confusion(classes, counts)


def accuracy(counts: Numbers) -> Numbers:
    """The share on the diagonal. ``counts``: (.., classes, classes), as for all measures here."""
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum(axis=(-2, -1)))


def macro_f1(counts: Numbers) -> Numbers:
    """The mean over the classes of the truth of 2 TP / (2 TP + FP + FN) (Sokolova and Lapalme, IPM 45, 2009). What is
    only ever said counts against the classes that it was said of."""
    truth = counts.sum(axis=-1)
    both = np.where(truth > 0, truth + counts.sum(axis=-2), 1.0)
    of_class = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / both
    return np.asarray(of_class.sum(axis=-1) / (truth > 0).sum(axis=-1))


def macro_precision(counts: Numbers) -> Numbers:
    """The mean over the classes of the truth of TP / (TP + FP), 0 for one that was never said."""
    return _over_truth(counts, counts.sum(axis=-2))


def macro_recall(counts: Numbers) -> Numbers:
    """The mean over the classes of the truth of TP / (TP + FN)."""
    return _over_truth(counts, counts.sum(axis=-1))


def _over_truth(counts: Numbers, of: Numbers) -> Numbers:
    occurs = counts.sum(axis=-1) > 0
    shares = np.diagonal(counts, axis1=-2, axis2=-1) / np.where(of > 0, of, 1.0)
    return np.asarray(np.where(occurs, shares, 0.0).sum(axis=-1) / occurs.sum(axis=-1))


def kappa(counts: Numbers) -> Numbers:
    """Cohen, Educ. Psychol. Meas. 20 (1960); 1 where there is one class and nothing to disagree about."""
    shares = counts / counts.sum(axis=(-2, -1), keepdims=True)
    observed = np.trace(shares, axis1=-2, axis2=-1)
    chance = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    sure = chance >= 1.0 - 1e-12
    return np.asarray(np.where(sure, observed, (observed - chance) / np.where(sure, 1.0, 1.0 - chance)))


def agreement_interval(
    found: Confusion, measure: Measure, alpha: float, *, seed: int = 0
) -> tuple[float, float]:
    """Of any measure but accuracy. The BCa bootstrap (Efron, JASA 82, 1987), its acceleration from the jackknife, both over
    cells instead of records: every record of a cell is worth the same. With fewer than 30 disagreements the
    ends are the values at the most and the fewest errors that Clopper and Pearson allow, in the rarest classes first."""
    value = float(measure(found.counts))
    if found.n < 2:
        return -1.0, 1.0
    wrong = found.n - found.agreed
    if wrong < _FEW:
        least, most = fraction(wrong, found.n, alpha)
        low, high = (float(measure(_with_errors(found, share))) for share in (most, least))
        return min(low, value), max(high, value)
    draws = np.random.default_rng(seed).multinomial(found.n, found.counts.ravel() / found.n, size=_RESAMPLES)
    drawn = np.sort(measure(draws.reshape(-1, *found.counts.shape).astype(np.float64)))
    below = (np.searchsorted(drawn, value, "left") + np.searchsorted(drawn, value, "right")) / 2 / _RESAMPLES
    shift = normal_quantile(min(max(below, 1 / _RESAMPLES), 1 - 1 / _RESAMPLES))
    skew = _acceleration(found, measure)
    ends = [_corrected(p, shift, skew) for p in (alpha / 2, 1 - alpha / 2)]
    low, high = (float(drawn[min(max(round(p * _RESAMPLES), 0), _RESAMPLES - 1)]) for p in ends)
    return min(low, value), max(high, value)


def _corrected(p: float, shift: float, skew: float) -> float:
    z = shift + normal_quantile(p)
    return normal_cdf(shift + z / (1 - skew * z))


def _acceleration(found: Confusion, measure: Measure) -> float:
    """From leaving each record out once."""
    rows, columns = np.nonzero(found.counts)
    weights = found.counts[rows, columns]
    without = np.repeat(found.counts[None], len(rows), axis=0)
    without[np.arange(len(rows)), rows, columns] -= 1
    values = measure(without)
    off = np.average(values, weights=weights) - values
    square = float((weights * off**2).sum())
    return float((weights * off**3).sum()) / (6 * square**1.5) if square > 0 else 0.0


def _with_errors(found: Confusion, share: float) -> Numbers:
    """The same sample with a ``share`` of errors in all: what is too few or too many is moved in the rarest classes first,
    to and from the most frequent one."""
    counts = found.counts.copy()
    left = share * found.n - (found.n - found.agreed)
    order = np.argsort(counts.sum(axis=1), kind="stable")
    for row in order:
        column = order[-1] if row != order[-1] else order[0]
        if row == column:
            break
        if left > 0:
            moved = min(left, counts[row, row])
            counts[row, row] -= moved
            counts[row, column] += moved
        else:
            off = counts[row].sum() - counts[row, row]
            moved = -min(-left, off)
            counts[row] *= np.where(np.arange(len(order)) == row, 1.0, 1 + moved / off if off else 1.0)
            counts[row, row] -= moved
        left -= moved
    return counts
