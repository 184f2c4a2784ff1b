"""Why records failed: alike reasons together. Simple and deterministic: the same failures give the same clusters.

Records are grouped by stage, kind and the evaluators they failed. Within a group, reasons that differ only in numbers and
quoted words are one text; texts that share most of their words (Jaccard) are one cluster, named by the most frequent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Cluster", "Clusters", "Group"]

_ALIKE = 0.6
_TEXTS = 500  # that are told apart in a group
_COMPARED = 100  # clusters that a text is compared with
_EXAMPLES = 3
_LONGEST = 300
_QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"|'[^']*'")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"\w+")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """``text`` is the reason of its first record, word for word; ``ids`` are of some of its records."""

    text: str
    number: int = 0
    ids: list[str] = field(default_factory=list)

    def add(self, record_id: str, number: int = 1) -> None:
        self.number += number
        if len(self.ids) < _EXAMPLES:
            self.ids.append(record_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Records that failed at one ``stage`` for one ``cause``: a kind of error, or the evaluators they did not pass."""

    stage: str
    cause: str
    number: int
    clusters: Sequence[Cluster]


class Clusters:
    """Takes records one by one, in bounded memory."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], dict[str, Cluster]] = {}

    def add(self, record_id: str, stage: str, cause: str, text: str) -> None:
        texts = self._groups.setdefault((stage, cause), {})
        key = _key(text)
        if key not in texts and len(texts) >= _TEXTS:
            key = ""
        texts.setdefault(key, Cluster(text=text[:_LONGEST] if key else "other reasons")).add(record_id)

    def groups(self) -> list[Group]:
        """The largest first, and in each its largest cluster."""
        found = [
            Group(
                stage=stage,
                cause=cause,
                number=sum(c.number for c in texts.values()),
                clusters=_merged(texts),
            )
            for (stage, cause), texts in self._groups.items()
        ]
        return sorted(found, key=lambda group: (-group.number, group.stage, group.cause))


def _merged(texts: dict[str, Cluster]) -> list[Cluster]:
    """Each text joins the first cluster it is like; the most frequent come first and begin one."""
    kept: list[tuple[frozenset[str], Cluster]] = []
    for key, cluster in sorted(texts.items(), key=lambda item: (-item[1].number, item[0])):
        words = frozenset(_WORD.findall(key))
        like = next((c for w, c in kept[:_COMPARED] if _alike(words, w)), None)
        if like is None:
            kept.append((words, Cluster(text=cluster.text, number=cluster.number, ids=list(cluster.ids))))
        else:
            like.number += cluster.number
            like.ids = (like.ids + cluster.ids)[:_EXAMPLES]
    return sorted((cluster for _, cluster in kept), key=lambda c: -c.number)


def _alike(words: frozenset[str], others: frozenset[str]) -> bool:
    together = len(words | others)
    return bool(together) and len(words & others) / together >= _ALIKE


def _key(text: str) -> str:
    plain = _NUMBER.sub("#", _QUOTED.sub("…", text[: 4 * _LONGEST].lower()))
    return " ".join(plain.split())[:_LONGEST]
