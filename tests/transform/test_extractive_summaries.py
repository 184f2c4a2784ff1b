from __future__ import annotations

import pytest

from loom_dagster.errors import Permanent
from loom_dagster.transform import extractive_summary

TEXT = (
    "The reactor was shut down on Monday after a leak. It rained in the valley. The leak in the reactor came from a "
    "valve. Lunch was served at noon. Engineers replaced the valve of the reactor on Tuesday. A dog barked."
)


def test_the_sentences_that_say_most_in_their_order():
    summary = extractive_summary(2)(TEXT)
    assert (
        summary
        == "The leak in the reactor came from a valve. Engineers replaced the valve of the reactor on Tuesday."
    )
    assert extractive_summary(2)(TEXT) == summary
    assert extractive_summary(50)(TEXT) == TEXT


@pytest.mark.parametrize(
    "text",
    ["word " * 5000, "line without end\n" * 900, "猫在垫子上。" * 500, "x" * 100_000, "A. B. C. D. " * 2000],
)
def test_texts_without_sentences_and_very_long_ones(text):
    summary = extractive_summary(3)(text)
    assert summary and (len(summary) < 2000 or " " not in summary)


def test_headings_and_lists_lose_their_marks():
    assert (
        extractive_summary(5)("# Title\n\n- first point\n* second, e.g. this\n---\n")
        == "Title first point second, e.g. this"
    )


@pytest.mark.parametrize("text", ["", " \n\t", "...", "!!! — ???"])
def test_nothing_to_summarise(text):
    with pytest.raises(Permanent, match="no text to summarise"):
        extractive_summary(3)(text)
