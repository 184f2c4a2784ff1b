"""How many tokens a question has, counted before it is asked.

OpenAI's encodings come with litellm and are read from there: nothing is ever downloaded. For a model of another house the
nearest of them is taken, and said so; answers that were paid for show how far it is off.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from loom_dagster.gateway.prices import PriceBook
from loom_dagster.gateway.question import AnswerSchema, Message, Model

__all__ = ["Tokenizer"]

_NEAREST = "o200k_base"
_URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_FOLDER = "litellm_core_utils/tokenizers"
_OF_OPENAI = frozenset(["openai", "azure", "text-completion-openai"])
# Around each message and the whole conversation; source: OpenAI's cookbook, "How to count tokens with tiktoken"
_MESSAGE, _REPLY = 3, 3
_BYTES = 4  # a token has about as many, where there is no encoding at all
# no token reaches over such a place, so what stands on both sides can be counted apart
_LINE = re.compile(r"(?<=\n)(?=[^\s/])")
_KEPT, _SHORT = (
    8192,
    1024,
)  # lines that are remembered, and how many characters they may have: those of the template


class Tokenizer:
    """Counts as one model does (``exact``), or nearly. ``name`` is that of the encoding."""

    def __init__(self, model: Model, prices: PriceBook) -> None:
        provider = prices.provider(model.name)
        self.name, self.exact = _encoding_name(model.name, provider)
        encode = _encoder(self.name)
        if encode is None:
            self.name, self.exact = "characters", False
        self._count = encode or _by_bytes
        self._known = functools.lru_cache(_KEPT)(self._count)
        self._structured = prices.takes_schema(model.name) if model.structured is None else model.structured
        self._schemas: dict[bytes, int] = {}

    def text(self, text: str) -> int:
        """Tokens of one text."""
        lines = _LINE.split(text)
        return sum(self._known(line) if len(line) <= _SHORT else self._count(line) for line in lines)

    def question(self, messages: Sequence[Message], schema: AnswerSchema | None) -> int:
        """Tokens that are sent: messages with what is around them, and the schema where the provider is given one."""
        count = _REPLY + sum(_MESSAGE + 1 + self.text(m["content"]) for m in messages)
        if schema is None or not self._structured:
            return count
        known = self._schemas.get(schema.digest)
        if known is None:
            given = {"name": schema.name, "schema": schema.body, "strict": schema.strict}
            known = self._schemas[schema.digest] = self.text(orjson.dumps(given).decode())
        return count + known


def _encoding_name(model: str, provider: str | None) -> tuple[str, bool]:
    from tiktoken.model import encoding_name_for_model  # 0.1 s, and only estimates need it

    bare = model.rpartition("/")[2]
    if provider in _OF_OPENAI:
        try:
            return encoding_name_for_model(bare.removeprefix("ft:").partition(":")[0]), True
        except KeyError:
            pass
    return _NEAREST, False


@functools.cache
def _encoder(name: str) -> Callable[[str], int] | None:
    """None when its file is not there: it would be downloaded, and a network that is not there is waited for."""
    folder = _folder()
    known = hashlib.sha1(
        _URL.format(name).encode(), usedforsecurity=False
    ).hexdigest()  # tiktoken's own naming
    if folder is None or not (folder / known).is_file():
        return None
    import tiktoken

    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    try:
        encoding = tiktoken.get_encoding(name)
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before
    return lambda text: len(encoding.encode_ordinary(text))


def _folder() -> Path | None:
    spec = importlib.util.find_spec("litellm")
    places = spec.submodule_search_locations if spec is not None else None
    return next((Path(place) / _FOLDER for place in places or ()), None)


def _by_bytes(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES)
