"""Where alerts go: ``[tool.loom.channels]`` by name, and ``[tool.loom] alerts``, what every pipeline tells them.

What a channel is addressed by is a secret (whoever has a webhook's URL can post to it) and comes from the
environment only: ``LOOM_CHANNEL_<NAME>``. One that is not set yet is no error: what waits for the channel is kept.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from loom_dagster.errors import Misconfigured

__all__ = [
    "ALERT_TYPES",
    "MONITORS",
    "STDOUT",
    "Channel",
    "Route",
    "channel_variable",
    "read_channels",
    "read_routes",
]

MONITORS = (
    "cost_budget",
    "latency_sla",
    "quality_threshold",
    "score_degradation",
    "cost_spike",
    "rejection_rate",
    "empty_input",
)
"""Every monitor there is, by its key in the YAML, in the order in which they are shown."""
ALERT_TYPES = ("any", "load_failed", "quality_gate", "run_deferred", "run_failed", *MONITORS)
"""What can be wrong with any pipeline; an evaluator's name is a type as well, of its own pipeline."""

STDOUT = "stdout"
_TYPES: Mapping[str, tuple[str, ...]] = {
    "slack": (),
    "pagerduty": ("url",),
    "email": ("host", "port", "sender", "to", "user", "security"),
    "webhook": (),
    STDOUT: (),
}
_EVENTS = "https://events.pagerduty.com/v2/enqueue"
_SECURITY = ("starttls", "tls", "none")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ADDRESS = re.compile(r"^[^@\s<>,;]+@[^@\s<>,;]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A place people look at. ``url`` and ``key`` (routing key, signing secret, password) are secrets. ``recovered``:
    whether it is told as well when a check passes again. ``missing``: the environment variable it cannot do without."""

    name: str
    type: str
    url: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    host: str = ""
    port: int = 587
    sender: str = ""
    to: tuple[str, ...] = ()
    user: str = ""
    security: str = "starttls"
    recovered: bool = True
    missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Alerts of a type, or ``any``, go to these channels."""

    type: str
    channels: tuple[str, ...]

    def takes(self, check: str) -> bool:
        return self.type in ("any", check)


def channel_variable(name: str) -> str:
    """The environment variable with a channel's URL, key or password: ``LOOM_CHANNEL_OPS``."""
    return "LOOM_CHANNEL_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def read_channels(table: Any, environ: Mapping[str, str]) -> dict[str, Channel]:
    """Every channel by name; ``stdout`` is always there. Raises Misconfigured, never showing a secret."""
    if not isinstance(table, Mapping):
        raise Misconfigured("`channels` is not a table", where="[tool.loom]", fix="[tool.loom.channels.NAME]")
    found = {STDOUT: Channel(name=STDOUT, type=STDOUT)}
    return found | {name: _channel(name, value, environ) for name, value in table.items()}


def _channel(name: str, value: Any, environ: Mapping[str, str]) -> Channel:
    where = f"[tool.loom.channels.{name}]"
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        raise Misconfigured("a channel needs a `type`", where=where, fix=f"one of: {', '.join(_TYPES)}")
    kind = value["type"]
    if kind not in _TYPES:
        raise Misconfigured(f"unknown type of channel `{kind}`", where=where, fix=_nearest(kind, _TYPES))
    known = ("type", "recovered", *_TYPES[kind])
    for key in value:
        if key not in known:
            raise Misconfigured(f"unknown setting `{key}`", where=where, fix=_fix(key, known, name))
    recovered = value.get("recovered", True)
    if not isinstance(recovered, bool):
        raise Misconfigured(f"`recovered` is `{recovered}`, not true or false", where=where)
    variable = channel_variable(name)
    secret = environ.get(variable, "").strip()
    made: dict[str, Any] = {"name": name, "type": kind, "recovered": recovered}
    if kind in ("slack", "webhook"):
        made["url"] = _url(secret, variable) if secret else ""
    if kind == "webhook":
        made["key"] = environ.get(f"{variable}_SECRET", "").strip()
        made["missing"] = None if made["key"] else f"{variable}_SECRET"
    if kind == "pagerduty":
        made |= {"key": secret, "url": _url(str(value.get("url", _EVENTS)), where)}
    if kind == "email":
        made |= {"key": secret, **_email(value, where)}
    if not secret and (made.get("user") if kind == "email" else kind != STDOUT):
        made["missing"] = variable
    return Channel(**made)


def _url(url: str, where: str) -> str:
    """The URL itself is never shown."""
    fix = "https://HOST/..., as the service gave it"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in url):
        raise Misconfigured("a channel's URL cannot be read", where=where, fix=fix)
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise Misconfigured(f"a channel's URL at {host} is not encrypted", where=where, fix=fix)
    return url


def _email(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    to = value.get("to", ())
    to = (to,) if isinstance(to, str) else tuple(to) if isinstance(to, list) else ()
    sender, host, user = value.get("sender"), value.get("host"), value.get("user", "")
    security, port = value.get("security", "starttls"), value.get("port", 587)
    if not isinstance(host, str) or not host:
        raise Misconfigured("an email channel needs the `host` of a mail server", where=where)
    for address in (sender, *(to or (None,))):
        if not isinstance(address, str) or not _ADDRESS.match(address):
            raise Misconfigured(
                "an email channel needs the addresses `sender` and `to`",
                where=where,
                fix='to = ["ops@example.com"]',
            )
    if security not in _SECURITY:
        raise Misconfigured(
            f"unknown `security` `{security}`", where=where, fix=f"one of: {', '.join(_SECURITY)}"
        )
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise Misconfigured(f"`port` is `{port}`, not a port", where=where)
    if not isinstance(user, str):
        raise Misconfigured(f"`user` is `{user}`, not a text", where=where)
    if user and security == "none" and host not in _LOOPBACK:
        raise Misconfigured(
            "the password would go over the network as it is", where=where, fix='security = "starttls"'
        )
    return {"host": host, "port": port, "sender": sender, "to": to, "user": user, "security": security}


def read_routes(value: Any, channels: Iterable[str]) -> tuple[Route, ...]:
    """``[tool.loom] alerts``: a channel, a table, or a list of either. Raises Misconfigured."""
    where = "[tool.loom] alerts"
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",")]
    routes = []
    for item in value if isinstance(value, list) else [value]:
        given = {"channel": item} if isinstance(item, str) else item
        if not isinstance(given, Mapping) or not set(given) <= {"type", "channel", "channels"}:
            raise Misconfigured("an alert is a channel's name or {type, channel}", where=where)
        kind, names = given.get("type", "any"), given.get("channels", given.get("channel"))
        names = [names] if isinstance(names, str) else names
        if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
            raise Misconfigured("an alert names its `channel`", where=where)
        if kind not in ALERT_TYPES:
            fix = _nearest(str(kind), ALERT_TYPES)
            raise Misconfigured(f"unknown type of alert `{kind}`", where=where, fix=fix)
        for name in names:
            if name not in set(channels):
                raise Misconfigured(
                    f"there is no channel `{name}`", where=where, fix=_nearest(name, channels)
                )
        routes.append(Route(type=kind, channels=tuple(names)))
    return tuple(routes)


def _fix(key: str, known: Iterable[str], name: str) -> str:
    if key in ("url", "password", "secret", "key", "routing_key", "token"):
        return f"secrets stand in the environment: {channel_variable(name)}"
    return _nearest(key, known)


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"
