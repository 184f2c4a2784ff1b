"""The report of a run as one HTML page that needs nothing but itself: no script, no font, no address outside.

Rendered by Jinja2 with autoescape, so that whatever a record says is shown and never obeyed; the page's own policy
(Content-Security-Policy) allows nothing but its inline styles.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound

from loom_dagster.records import dollars, seconds, share, to_json, utf8
from loom_dagster.reports.comparison import Numbers, compared
from loom_dagster.reports.facts import RunFacts
from loom_dagster.reports.trends import Trend, evaluator_trends, figure, run_trends

__all__ = ["render"]

_FIELDS = 12  # of a record
_TEXT = 400  # characters of a field
_MODELS = 12
_GROUPS, _CLUSTERS = 12, 4
_WIDTH, _HEIGHT = 220, 44  # of a trend, in pixels


def render(facts: RunFacts) -> str:
    """The page."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            facts=facts,
            run=facts.run,
            outcome=facts.outcome,
            evaluators=_evaluators(facts),
            matrices=[m for c in facts.survey.confusions if (m := c.matrix())] if facts.survey else [],
            worst=facts.worst,
            groups=_groups(facts),
            models=_models(facts),
            stages=(facts.outcome.get("spending") or {}).get("cost") or {},
            versions=_versions(facts),
            rows=_compared(facts),
            trends=_trends(facts),
        )
    )


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=_Files(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "usd": dollars,
        "took": seconds,
        "share": share,
        "moment": _moment,
        "cut": _cut,
        "fields": _fields,
        "points": _points,
        "figure": figure,
    }
    return made


class _Files(BaseLoader):
    """The templates beside this module, also from within a zip."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, None]:
        if template not in ("page.html", "page.css"):
            raise TemplateNotFound(template)
        return resources.files("loom_dagster.reports").joinpath(template).read_text("utf-8"), None, None


def _evaluators(facts: RunFacts) -> list[dict[str, Any]]:
    """Each with its scores in bins: of the tables where they are there (after records were tried again they hold the
    whole batch), else as the ledger keeps them, in ten."""
    found = []
    for score in facts.outcome.get("scores") or ():
        judged = facts.survey.judged[score["name"]] if facts.survey else None
        one = {
            **score,
            "n": score["passed"] + score["failed"] if judged is None else judged.n,
            "bins": list(score["histogram"]) if judged is None else judged.bins,
        }
        if judged is not None:
            one |= {"mean": judged.mean, "std": judged.std, "failed": judged.failed, "errors": judged.missing}
        found.append({**one, "top": max(one["bins"], default=0), "count": len(one["bins"])})
    return found


def _groups(facts: RunFacts) -> list[dict[str, Any]]:
    if facts.survey is None:
        reasons = facts.outcome.get("reasons") or {}
        parts = [(*reason.partition(": ")[::2], number) for reason, number in reasons.items()]
        return [
            {"stage": s, "cause": c, "number": n, "clusters": [], "more": 0} for s, c, n in parts[:_GROUPS]
        ]
    return [
        {
            "stage": group.stage,
            "cause": group.cause,
            "number": group.number,
            "clusters": group.clusters[:_CLUSTERS],
            "more": group.others + sum(cluster.number for cluster in group.clusters[_CLUSTERS:]),
        }
        for group in facts.survey.clusters.groups()[:_GROUPS]
    ]


def _models(facts: RunFacts) -> list[dict[str, Any]]:
    used = {} if facts.survey is None else facts.survey.models
    ranked = sorted(used.items(), key=lambda item: (-item[1].records, item[0]))[:_MODELS]
    return [
        {
            "name": name,
            "records": use.records,
            "cost": use.cost,
            "unpriced": use.unpriced,
            "latencies": [use.latencies.percentile(p) for p in (0.5, 0.95, 0.99)],
        }
        for name, use in ranked
    ]


def _versions(facts: RunFacts) -> list[tuple[str, str, str]]:
    """What it is of, its version, and the one of the run before where that was another."""
    now = _flat(facts.outcome.get("versions") or {})
    before = _flat(facts.previous.versions) if facts.previous else {}
    return [
        (name, text, before.get(name, "-") if before and before.get(name) != text else "")
        for name, text in now.items()
    ]


def _flat(versions: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    prompt = versions.get("prompt")
    if prompt:
        found[f"prompt {prompt['name']}"] = f"{prompt['version']} (sha256 {prompt['sha256'][:12]})"
    for name, version in (versions.get("contexts") or {}).items():
        found[f"context {name}"] = str(version)
    for name in ("model", "judge", "pipeline", "loom_dagster"):
        if versions.get(name) is not None:
            found[name] = str(versions[name])
    if versions.get("models_used"):
        found["models used"] = ", ".join(versions["models_used"])
    return found


def _compared(facts: RunFacts) -> Sequence[Any]:
    if facts.previous is None or not facts.run.metrics:
        return []
    now = Numbers(run_id=facts.run.run_id, metrics=facts.run.metrics, scores=facts.run.scores)
    return compared(now, facts.previous.numbers)


def _trends(facts: RunFacts) -> list[Trend]:
    if len(facts.earlier) < 2:
        return []
    of_runs = [
        t for t in run_trends(facts.earlier) if t.name in ("pass rate", "records", "cost", "latency p95")
    ]
    means = [each.means for each in evaluator_trends(facts.earlier) if each.means.last is not None]
    return [*of_runs[:1], *means, *of_runs[1:]]


def _points(trend: Trend) -> list[tuple[float, float]]:
    """Where its values are in a picture of ``_WIDTH`` by ``_HEIGHT``, left to right; higher is up."""
    known = [(at, v) for at, v in enumerate(trend.values) if v is not None]
    low, high = min(v for _, v in known), max(v for _, v in known)
    if trend.kind in ("share", "score"):
        low = min(low, high - 0.1)
    step = (_WIDTH - 8) / max(len(trend.values) - 1, 1)
    span = high - low
    return [
        (
            round(4 + at * step, 1),
            round(_HEIGHT - 6 - (_HEIGHT - 12) * ((v - low) / span if span else 0.5), 1),
        )
        for at, v in known
    ]


def _moment(value: datetime | None) -> str:
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"


def _fields(columns: Mapping[str, Any] | None) -> list[tuple[str, Any]]:
    """Of a record, as many as are shown."""
    return list((columns or {}).items())[:_FIELDS]


def _cut(value: object, length: int = _TEXT) -> str:
    """As text, an ellipsis at its end where some is missing."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else to_json(value).decode()
    plain = str(utf8(text[: length + 1])).replace("\0", "�")
    return plain if len(text) <= length else f"{plain[: length - 1].rstrip()}…"
