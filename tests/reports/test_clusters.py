"""Failure reasons that are alike, and answers against what was expected."""

from __future__ import annotations

import random

from loom_dagster.reports.clusters import Clusters
from loom_dagster.reports.confusion import Confusion


def clustered(*texts):
    clusters = Clusters()
    for number, text in enumerate(texts):
        clusters.add(f"r{number}", "evaluate", "quality", text)
    [group] = clusters.groups()
    return group


def test_numbers_and_quoted_words_do_not_tell_reasons_apart():
    group = clustered("row 12 of `a` failed", "row 977 of `b` failed", "Row 3 of 'c' failed")
    [one] = group.clusters
    assert (one.text, one.number, one.ids) == ("row 12 of `a` failed", 3, ["r0", "r1", "r2"])


def test_texts_that_share_half_of_their_words_are_one_cluster():
    group = clustered(
        "the answer does not name the product",
        "the answer does not mention the product at all",
        "rude and unfriendly in tone",
    )
    assert [(c.number, c.text.split()[0]) for c in group.clusters] == [(2, "the"), (1, "rude")]


def test_the_most_frequent_comes_first_and_groups_are_by_stage_and_cause():
    clusters = Clusters()
    for number, (stage, cause, text) in enumerate(
        [
            ("extract", "null_key", "x"),
            ("evaluate", "tone", "a b"),
            ("evaluate", "tone", "c d"),
            ("evaluate", "tone", "c d"),
        ]
    ):
        clusters.add(str(number), stage, cause, text)
    tone, null_key = clusters.groups()
    assert (tone.stage, tone.cause, tone.number, [c.text for c in tone.clusters]) == (
        "evaluate",
        "tone",
        3,
        ["c d", "a b"],
    )
    assert null_key.number == 1


def test_memory_is_bounded_and_nothing_is_lost():
    luck = random.Random(3)
    words = [f"word{chr(97 + a)}{chr(97 + b)}" for a in range(26) for b in range(26)]
    group = clustered(*(" ".join(luck.sample(words, 6)) for _ in range(3000)))
    assert len(group.clusters) <= 60
    assert group.others + sum(c.number for c in group.clusters) == group.number == 3000


def test_reasons_without_words_are_alike():
    assert len(clustered("!!!", "???", "").clusters) == 1


def test_rare_labels_share_a_row_and_what_is_wrong_in_it_stays_wrong():
    confusion = Confusion("x", "expected_x")
    for label in range(20):
        for _ in range(20 - label):
            confusion.add(f"l{label:02}", f"l{label:02}")
    confusion.add("l18", "l19")
    matrix = confusion.matrix()
    assert len(matrix.labels) == 12 and matrix.labels[-1] == "(other)"
    assert sum(map(sum, matrix.counts)) == matrix.compared == 211
    assert matrix.agreed == 210
    assert matrix.recalls[-1] == 45 / 46 and matrix.precisions[-1] == 45 / 46


def test_values_are_compared_as_they_are_read():
    confusion = Confusion("x", "expected_x")
    for expected, answered in ((True, True), (1, "1"), ("a ", "a"), ("a", None), (None, "a"), ("A", "a")):
        confusion.add(expected, answered)
    matrix = confusion.matrix()
    assert (matrix.agreed, matrix.compared) == (3, 5)
    assert "(none)" in matrix.labels


def test_without_a_reference_there_is_no_matrix():
    confusion = Confusion("x", "expected_x")
    confusion.add(None, "a")
    assert confusion.matrix() is None
