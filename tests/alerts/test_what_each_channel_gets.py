"""Each channel gets an alert in its own words, and no record can put words of its own into them."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json

import pytest

WORST = [{"id": "R-7", "reason": "shape 0.10 < 0.75"}]
EVIL = "x\r\nBcc: evil@example.com\u202e <!channel> <http://evil|click> *bold* & done"


def test_slack_gets_text_and_blocks_that_mention_nobody(fail, go, web):
    fail("run-1", "chat", partition="2026-01-01", worst=[{"id": EVIL, "reason": EVIL}])
    go()
    [posted] = web.took
    assert posted.path.startswith("/slack/")
    said = posted.json
    title, body = (block["text"] for block in said["blocks"])
    assert "reviews (2026-01-01): quality_gate failed" in title["text"]
    assert body["type"] == "plain_text"  # Slack reads no markup in it
    assert "0.5 against a threshold of 0.9" in body["text"]
    assert "$1.25" in body["text"]
    for sign in ("<", ">", "*bold", "\u202e", "\r"):
        assert sign not in said["text"] + title["text"].replace("*", "", 2)


def test_a_name_of_a_pipeline_mentions_nobody_either(fail, go, web):
    fail("run-1", "chat", pipeline="<!channel>\n@here", check="<http://evil>")
    go()
    title = web.took[0].json["blocks"][0]["text"]["text"]
    assert "<" not in title
    assert "\n" not in title


def test_pagerduty_gets_a_trigger_and_a_resolve_with_one_key(fail, recover, go, web):
    fail("run-1", "pager", worst=WORST)
    fail("run-2", "pager", worst=WORST)
    recover("run-3")
    go()
    events = [p.json for p in web.took]
    assert [e["event_action"] for e in events] == ["trigger", "trigger", "resolve"]
    assert len({e["dedup_key"] for e in events}) == 1
    assert events[0]["routing_key"] == "routing-secret"
    detail = events[0]["payload"]
    assert (detail["component"], detail["class"], detail["severity"]) == ("reviews", "quality_gate", "error")
    assert detail["custom_details"]["worst"] == WORST


def test_a_webhook_can_check_who_it_is_from(fail, go, web):
    alert = fail("run-1", "hook", worst=WORST)
    go()
    [posted] = web.took
    signed = posted.headers["X-Loom-Timestamp"].encode() + b"." + posted.body
    expected = hmac.new(b"signing-secret", signed, hashlib.sha256).hexdigest()
    assert posted.headers["X-Loom-Signature"] == f"sha256={expected}"
    assert posted.headers["X-Loom-Id"] == posted.json["id"] == alert
    assert posted.json["worst"] == WORST
    assert (posted.json["value"], posted.json["threshold"], posted.json["cost"]) == (0.5, 0.9, 1.25)


def test_mail_has_one_id_however_often_it_is_sent_and_no_headers_of_a_record(fail, go, mail, outbox):
    alert = fail("run-1", "post", pipeline=EVIL, worst=[{"id": EVIL, "reason": EVIL}])
    go()
    outbox.resend(alert_id=alert)
    go()
    first, again = (email.message_from_string(text, policy=email.policy.default) for text in mail.letters)
    assert first["Message-ID"] == again["Message-ID"] == f"<{alert}@example.com>"
    assert first["Bcc"] is None
    assert first["To"] == "ops@example.com"
    assert "5 of 10 records passed" in first.get_content()
    assert len(mail.logins) == 2


def test_a_mail_server_that_says_no_for_now_is_asked_again(fail, go, mail, clock):
    fail("run-1", "post")
    mail.answer = "451 come back later"
    assert go().failing[0].last_error == "127.0.0.1 answered 451"
    mail.answer = "250 taken"
    clock.move(minutes=11)
    assert go().sent == 1


def test_there_is_a_link_where_the_run_is_known_and_the_ui_too(outbox, go, web):
    from loom_dagster.ledger import Fault, Findings

    fault = Fault(check="c", run_id="r", dagster_run_id="a/b c", channels=["hook", "chat", "pager"])
    outbox.tell("reviews", "", Findings(failed=[fault]), run_id="r", dagster_run_id="a/b c")
    go(ui_url="https://dagster.internal/")
    link = "https://dagster.internal/runs/a%2Fb%20c"
    by = {p.path.split("/")[1]: p.json for p in web.took}
    assert by["hook"]["link"] == link
    assert by["pager"]["links"][0]["href"] == link
    assert by["slack"]["blocks"][-1]["elements"][0]["url"] == link


SECRETS = ("chat-secret", "routing-secret", "hook-secret", "signing-secret", "mail-secret")


@pytest.mark.parametrize("answer", [(500, {}), (302, {"Location": "http://x/"}), (404, {}), (400, {}), None])
def test_no_secret_is_in_the_ledger_in_errors_or_in_what_is_shown(
    fail, go, web, mail, outbox, channels, path, answer, capfd
):
    web.answer = lambda posted: answer
    mail.answer = "554 LOGIN mail-secret refused"
    fail("run-1", "chat", "pager", "hook", "post")
    done = go()
    assert len(done.failing) == 4
    outbox.deliveries._database.close()
    kept = b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())
    shown = "".join([repr(done), repr(channels), json.dumps(done.failing, default=str), *capfd.readouterr()])
    for secret in SECRETS:
        assert secret.encode() not in kept
        assert secret not in shown


def test_a_host_that_is_not_there_is_named_without_its_path(fail, outbox, clock):
    from loom_dagster.alerts import deliver
    from loom_dagster.channels import read_channels

    fail("run-1", "chat")
    channels = read_channels(
        {"chat": {"type": "slack"}}, {"LOOM_CHANNEL_CHAT": "http://127.0.0.1:9/T/secret"}
    )
    done = deliver(outbox.deliveries, channels, ui_url=None, clock=clock, seconds=30)
    assert done.failing[0].last_error == "127.0.0.1 could not be asked: ConnectionError"
