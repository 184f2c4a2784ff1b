"""Tags, owners, group and kinds: every spelling, and what Dagster would refuse is refused with a line."""

from __future__ import annotations

import pytest

PIPELINE = (
    "name: x\nextract: {source: a}\ntransform: {prompt: p}\nload: {destination: b, schema: {c: string}}\n"
)


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ("nightly", {"nightly": ""}),
        ("[nightly, nlp]", {"nightly": "", "nlp": ""}),
        ("{team: reviews, tier: 1}", {"team": "reviews", "tier": "1"}),
        ("{acme.com/team: reviews}", {"acme.com/team": "reviews"}),
        ("{nightly: }", {"nightly": ""}),
    ],
)
def test_tags_are_a_list_or_a_mapping(spec_of, written, tags):
    assert spec_of(f"{PIPELINE}tags: {written}").tags == tags


def test_one_owner_and_one_kind_need_no_list(spec_of):
    spec = spec_of(f"{PIPELINE}owners: ann@example.org\nkinds: gold\ngroup: reviews")
    assert (spec.owners, spec.kinds, spec.group) == (("ann@example.org",), ("gold",), "reviews")
    assert (
        spec_of(f"{PIPELINE}owners: ['team:data platform', bob@example.org]").owners[0]
        == "team:data platform"
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("owners: reviews", "the owner `reviews` is neither an e-mail address nor `team:NAME`"),
        ("owners: ['team:']", "the owner `team:` is neither an e-mail address nor `team:NAME`"),
        ("tags: [two words]", "the tag `two words` is not made of letters, digits and _ . -"),
        ("tags: {team: a/b}", "the tag `team: a/b` is not made of letters, digits and _ . -"),
        ("tags: [loom/role]", "the tag `loom/role` is named like ours"),
        ("tags: [dagster/kind/x]", "the tag `dagster/kind/x` is named like ours"),
        ("group: our reviews", "the group `our reviews` is not made of letters, digits and _"),
        ("kinds: [a b]", "the kind `a b` is not made of letters, digits and _ . -"),
    ],
)
def test_what_dagster_would_refuse_is_a_problem_with_a_line(problems_of, written, said):
    [problem] = problems_of(f"{PIPELINE}{written}")
    assert said in problem
    assert ":5: " in problem
