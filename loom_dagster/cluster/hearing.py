"""What workers tell between their results, and what is shown of it to those who watch the run."""

from __future__ import annotations

from collections import Counter

from loom_dagster.cluster.hands import Hand
from loom_dagster.cluster.news import News
from loom_dagster.cluster.reading import Reading
from loom_dagster.errors import OverBudget
from loom_dagster.pipeline import Work

__all__ = ["Hearing"]


class Hearing:
    """``over_budget``: the last call for which there was no money, of any worker."""

    def __init__(self, work: Work, reading: Reading) -> None:
        self._work, self._reading = work, reading
        self._settled: dict[Hand, Counter[str]] = {}
        self.over_budget: OverBudget | None = None

    def hear(self, hand: Hand, news: News) -> None:
        self._work.tally.merge(news.counted)
        self._settled[hand] = Counter(news.settled)
        for text in news.notes:
            self._work.note(text)
        self.over_budget = news.over_budget or self.over_budget

    def forget(self, hand: Hand) -> None:
        """One of its results is counted, or it is gone: what it told before is no more."""
        self._settled.pop(hand, None)

    async def tell(self) -> None:
        """Show how far the run is, again and again."""
        work, shown = self._work, Counter[str]()
        while True:
            await work.clock.sleep(work.plan.pace.tick)
            ahead = sum(self._settled.values(), Counter[str]())
            for what in ("passed", "quarantined", "deferred"):  # nobody is shown less than before
                counted = getattr(work.tally, what)
                shown[what] = max(shown[what], counted + ahead[what])
                ahead[what] = shown[what] - counted
            ahead["extracted"] = self._reading.records - work.tally.extracted
            work.tally.ahead = ahead
            work.tick()

    def close(self) -> None:
        """All is counted now."""
        self._work.tally.ahead = {}
