from __future__ import annotations

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loom_dagster.errors import Misconfigured
from loom_dagster.spec import parse_pipeline

WORDS = (
    "name extract transform evaluate load source prompt destination schema evaluators type config key semantic "
    "quality_gate fields items enum upsert 85 null 2.10 {{x}} monitoring cache ttl"
)
words = st.sampled_from(WORDS.split())
trees = st.recursive(
    words | st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=25,
)


def problems(text):
    try:
        parse_pipeline(text)
    except Misconfigured as error:
        return error.problems
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(words, trees, max_size=6))
def test_whatever_is_written_gives_problems_and_never_a_traceback(tree):
    found = problems(yaml.safe_dump(tree, allow_unicode=True))
    assert found is None or (found and all(p.where for p in found))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@\t\n ,?~", max_size=40))
def test_any_text_is_read_or_refused(text):
    assert problems(text)
