"""Why records failed: alike reasons together. Simple and deterministic: the same failures in the same order give the
same clusters.

Records are grouped by stage, kind and the evaluators they failed. Within a group, reasons that differ only in numbers
and quoted words are one text, and a text joins the first cluster with whose first text it shares half of its words
(Jaccard's index; leader clustering, Hartigan, Clustering Algorithms, 1975, chapter 3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Cluster", "Clusters", "Group"]

_ALIKE = 0.5
_CLUSTERS = 60  # of a group; what is like none of them is counted only
_TEXTS = 2_000  # of a group that are recognised without being compared
_EXAMPLES = 3
_LONGEST = 300
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """``text`` is the reason of its first record, word for word; ``ids`` are of its first records."""

    text: str
    words: frozenset[str] = frozenset()
    number: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, record_id: str) -> None:
        self.number += 1
        if len(self.ids) < _EXAMPLES:
            self.ids.append(record_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Records that failed at one ``stage`` for one ``cause``: a kind of error, or the evaluators they did not pass.
    ``others``: those that are like none of the clusters."""

    stage: str
    cause: str
    number: int
    clusters: Sequence[Cluster]
    others: int = 0


class Clusters:
    """Takes records one by one, in bounded memory."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Growing] = {}

    def add(self, record_id: str, stage: str, cause: str, text: str) -> None:
        self._groups.setdefault((stage, cause), _Growing()).add(record_id, text)

    def groups(self) -> list[Group]:
        """The largest first, and in each its largest cluster."""
        found = [
            Group(
                stage=stage,
                cause=cause,
                number=growing.others + sum(cluster.number for cluster in growing.clusters),
                clusters=sorted(growing.clusters, key=lambda cluster: -cluster.number),
                others=growing.others,
            )
            for (stage, cause), growing in self._groups.items()
        ]
        return sorted(found, key=lambda group: (-group.number, group.stage, group.cause))


class _Growing:
    def __init__(self) -> None:
        self.clusters: list[Cluster] = []
        self.others = 0
        self._known: dict[str, Cluster | None] = {}

    def add(self, record_id: str, text: str) -> None:
        key = _key(text)
        cluster = self._known[key] if key in self._known else self._found(key, text)
        if len(self._known) < _TEXTS:
            self._known.setdefault(key, cluster)
        if cluster is None:
            self.others += 1
        else:
            cluster.add(record_id)

    def _found(self, key: str, text: str) -> Cluster | None:
        words = frozenset(_WORD.findall(key))
        for cluster in self.clusters:
            if _alike(words, cluster.words):
                return cluster
        if len(self.clusters) == _CLUSTERS:
            return None
        self.clusters.append(Cluster(text=text[:_LONGEST], words=words))
        return self.clusters[-1]


def _alike(words: frozenset[str], others: frozenset[str]) -> bool:
    common = len(words & others)
    together = len(words) + len(others) - common
    return common >= _ALIKE * together  # two texts without a word are alike


def _key(text: str) -> str:
    plain = _NUMBER.sub("#", _QUOTED.sub("…", text[: 4 * _LONGEST].lower()))
    return " ".join(plain.split())[:_LONGEST]
