"""Tokens are counted as OpenAI bills them, without a network, and other models' nearly."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom_dagster.gateway import AnswerSchema, Model, PriceBook
from loom_dagster.gateway import tokens as module
from loom_dagster.gateway.tokens import Tokenizer

BOOK = PriceBook.load()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("somebody goes to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("model", "encoding", "exact"),
    [
        ("gpt-4o-mini", "o200k_base", True),
        ("openai/gpt-4.1", "o200k_base", True),
        ("azure/gpt-4", "cl100k_base", True),
        ("ft:gpt-4o-mini:my-org::id", "o200k_base", True),
        ("gpt-9000", "o200k_base", False),
        ("claude-sonnet-4-5", "o200k_base", False),
        ("groq/llama-3.1-8b-instant", "o200k_base", False),
        ("meta-llama/Llama-3-8b", "o200k_base", False),
    ],
)
def test_each_model_has_an_encoding(model, encoding, exact):
    tokenizer = Tokenizer(Model(name=model), BOOK)
    assert (tokenizer.name, tokenizer.exact) == (encoding, exact)
    assert tokenizer.text("hello world") == 2


def test_messages_have_tokens_around_them_and_a_schema_counts_where_it_is_sent():
    messages = [{"role": "system", "content": "hello"}, {"role": "user", "content": "hello world"}]
    schema = AnswerSchema(name="output", body={"type": "object", "properties": {"a": {"type": "string"}}})
    takes, does_not = (Tokenizer(Model(name="gpt-4o-mini", structured=s), BOOK) for s in (True, False))
    assert takes.question(messages, None) == 3 + (3 + 1 + 1) + (3 + 1 + 2)
    assert does_not.question(messages, schema) == takes.question(messages, None)
    assert takes.question(messages, schema) > takes.question(messages, None) + 15


@given(st.text(alphabet=st.sampled_from("ab /\n\r\t.}'s1é中_ \u2028\ud800")))
def test_lines_counted_apart_are_the_whole_counted_at_once(text):
    tokenizer = Tokenizer(Model(name="gpt-4o-mini"), BOOK)
    assert tokenizer.text(text) == module._encoder("o200k_base")(text)


def test_without_the_encodings_files_it_is_counted_by_bytes(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_folder", lambda: tmp_path)
    module._encoder.cache_clear()
    try:
        tokenizer = Tokenizer(Model(name="gpt-4o-mini"), BOOK)
        assert (tokenizer.name, tokenizer.exact, tokenizer.text("12345678")) == ("characters", False, 2)
    finally:
        module._encoder.cache_clear()
