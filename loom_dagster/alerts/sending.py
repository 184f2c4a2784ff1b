"""One alert to one channel. What comes back is told by class: delivered, not now, or not this one.

No error shows more of an address than its host: whoever has a webhook's URL can post to it.
"""

from __future__ import annotations

import hashlib
import hmac
import smtplib
import ssl
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from loom_dagster.alerts.message import Message, plain
from loom_dagster.channels import Channel
from loom_dagster.errors import Permanent, Transient
from loom_dagster.records import to_json

__all__ = ["send"]

_TIMEOUT = (3.05, 10.0)  # seconds: to connect, to read
_REFUSED = frozenset({400, 413, 422})
_LONGEST_WAIT = 3600.0
_SUMMARY = 1024  # characters that PagerDuty takes


def send(channel: Channel, message: Message) -> None:
    """Raises Transient when the channel does not take it now, Permanent when it does not take this message."""
    if channel.missing is not None:
        raise Transient(f"{channel.missing} is not in the environment", kind="not_set")
    _SENDERS[channel.type](channel, message)


def _slack(channel: Channel, message: Message) -> None:
    sign = ":white_check_mark:" if message.row.event == "recovered" else ":rotating_light:"
    body = "\n".join(message.lines)
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"{sign} *{_escaped(message.title)}*"}},
        {"type": "section", "text": {"type": "plain_text", "text": body[:2900] or "-", "emoji": False}},
    ]
    if message.link:
        button = {
            "type": "button",
            "text": {"type": "plain_text", "text": "Open in Dagster"},
            "url": message.link,
        }
        blocks.append({"type": "actions", "elements": [button]})
    document = {"text": _escaped(f"{message.title}\n{body}"), "blocks": blocks, "link_names": False}
    _post(channel, to_json(document), {})


def _escaped(text: str) -> str:
    """Nothing in it is a mention, a link, or bold."""
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("*", "∗"), ("`", "ˋ"), ("~", "∼")):
        text = text.replace(sign, written)
    return text


def _pagerduty(channel: Channel, message: Message) -> None:
    row = message.row
    document: dict[str, Any] = {
        "routing_key": channel.key,
        "event_action": "resolve" if row.event == "recovered" else "trigger",
        "dedup_key": f"loom-{row.incident}",
        "payload": {
            "summary": plain(f"{message.title}: {message.lines[0] if message.lines else ''}", _SUMMARY),
            "source": plain(row.pipeline, 200),
            "severity": "error",
            "component": plain(row.pipeline, 200),
            "group": plain(row.partition, 200) or None,
            "class": plain(row.check_name, 200),
            "timestamp": row.created_at.isoformat(),
            "custom_details": message.facts,
        },
    }
    if message.link:
        document["links"] = [{"href": message.link, "text": "Open in Dagster"}]
    _post(channel, to_json(document), {})


def _webhook(channel: Channel, message: Message) -> None:
    body, at = to_json({**message.facts, "text": message.text}), str(int(message.sent_at.timestamp()))
    signed = hmac.new(channel.key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    _post(
        channel,
        body,
        {"X-Loom-Id": message.row.alert_id, "X-Loom-Timestamp": at, "X-Loom-Signature": f"sha256={signed}"},
    )


def _stdout(_: Channel, message: Message) -> None:
    sys.stdout.write(f"{message.text}\n")
    sys.stdout.flush()


def _post(channel: Channel, body: bytes, headers: Mapping[str, str]) -> None:
    import requests  # 60 ms: not before something is sent

    host = urlsplit(channel.url).hostname
    try:
        answer = requests.post(
            channel.url,
            data=body,
            headers={"Content-Type": "application/json", "User-Agent": "loom-dagster", **headers},
            timeout=_TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:  # its text holds the URL
        raise Transient(f"{host} could not be asked: {type(error).__name__}", kind="unreachable") from None
    if answer.ok and not answer.is_redirect:
        return
    what = f"{host} answered {answer.status_code}"
    if answer.status_code in _REFUSED:
        raise Permanent(what, kind="refused")
    raise Transient(what, kind="answered", retry_after=_retry_after(answer.headers.get("Retry-After")))


def _retry_after(said: str | None) -> float | None:
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _email(channel: Channel, message: Message) -> None:
    letter = EmailMessage()
    letter["Subject"] = plain(f"[loom] {message.title}", 200)
    letter["From"], letter["To"] = channel.sender, ", ".join(channel.to)
    letter["Date"] = format_datetime(message.sent_at)
    # the same however often it is sent, so that a mailbox can tell
    letter["Message-ID"] = f"<{message.row.alert_id}@{channel.sender.rpartition('@')[2]}>"
    letter["References"] = f"<{message.row.incident}@{channel.sender.rpartition('@')[2]}>"
    letter.set_content(message.text + "\n")
    try:
        with _mail_server(channel) as server:
            server.send_message(letter)
    except (
        smtplib.SMTPResponseException
    ) as error:  # its text is the server's, and may repeat what it was told
        kind = Permanent if isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500 else Transient
        raise kind(f"{channel.host} answered {error.smtp_code}", kind="refused") from None
    except smtplib.SMTPRecipientsRefused:
        raise Permanent(f"{channel.host} takes no mail for the addresses in `to`", kind="refused") from None
    except (smtplib.SMTPException, OSError) as error:
        raise Transient(
            f"{channel.host} could not be asked: {type(error).__name__}", kind="unreachable"
        ) from None


def _mail_server(channel: Channel) -> smtplib.SMTP:
    seconds = _TIMEOUT[1]
    if channel.security == "tls":
        context = ssl.create_default_context()
        server: smtplib.SMTP = smtplib.SMTP_SSL(channel.host, channel.port, timeout=seconds, context=context)
    else:
        server = smtplib.SMTP(channel.host, channel.port, timeout=seconds)
    try:
        if channel.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if channel.user:
            server.login(channel.user, channel.key)
    except BaseException:
        server.close()
        raise
    return server


_SENDERS: Mapping[str, Callable[[Channel, Message], None]] = {
    "slack": _slack,
    "pagerduty": _pagerduty,
    "webhook": _webhook,
    "email": _email,
    "stdout": _stdout,
}
