"""What a place is called in Dagster: the same place always the same, whoever names it.

Databases go without their scheme (``customers/reviews``), everything else with it
(``s3/documents/raw``, ``file/data/reviews.csv``), so that a pipeline that reads what another one
loads depends on it with no further word.
"""

from __future__ import annotations

import hashlib
import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from loom_dagster.spec.places import DATABASES, PIPELINE_SCHEME, place_of, same_place

__all__ = [
    "Address",
    "Keys",
    "address",
    "identifier",
    "pipeline_address",
    "segment",
    "tag_value",
    "text_address",
]

FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
           ".parquet": "parquet", ".pq": "parquet"}  # fmt: skip

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_NOT_IN_SEGMENT = re.compile(r"[^A-Za-z0-9_.-]+")
# names that Dagster takes for nothing of ours
_RESERVED = frozenset(
    {
        "__ASSET_JOB", "arg_dict", "bool", "conf", "config", "context", "dict", "float", "input", "input_arg_dict",
        "int", "meta", "output", "output_arg_dict", "str", "type", *keyword.kwlist,
    }
)  # fmt: skip
_NOT_IN_IDENTIFIER = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A place. ``identity`` is equal for places that the project holds to be equal; ``segments`` make
    the asset key; ``uri`` shows it without user, password and query; ``kind`` is a format or a database."""

    identity: str
    segments: tuple[str, ...]
    uri: str
    kind: str


class Keys:
    """Hands out asset keys: one identity one key, two identities never the same one."""

    def __init__(self) -> None:
        self._by_identity: dict[str, tuple[str, ...]] = {}
        self._taken: set[str] = set()

    def claim(self, identity: str, segments: Sequence[str]) -> tuple[str, ...]:
        """The key of ``identity``: ``segments``, unless another identity has them already."""
        if identity in self._by_identity:
            return self._by_identity[identity]
        key = tuple(segments)
        # file systems and some catalogs fold case, so keys differ by more than that
        if "/".join(key).lower() in self._taken:
            key = (*key[:-1], f"{key[-1]}-{_mark(identity)}")
        self._taken.add("/".join(key).lower())
        self._by_identity[identity] = key
        return key


def address(text: str, *, root: Path, table: str, file_format: str | None = None) -> Address:
    """Where ``text`` (a path, a glob, a URL) points. ``table`` is meant where a database URL names
    a connection only; relative paths are the project's."""
    match = _URL.match(text)
    scheme = match[1].lower() if match else "file"
    if text.startswith(PIPELINE_SCHEME):
        return pipeline_address(text.removeprefix(PIPELINE_SCHEME))
    identity = place_of(text, root, table)
    if match is None or scheme == "file":
        return _local(identity, root, file_format)
    rest = match[2]
    if scheme in {"http", "https"}:
        rest = rest.partition("?")[0]  # it may hold a token
    host, slash, path = rest.partition("/")
    rest = host.rpartition("@")[2] + slash + path  # who logs in is no part of where it is
    parts = [part for part in rest.split("/") if part not in {"", "."}]
    family = scheme.partition("+")[0]
    uri = f"{scheme}://{rest}"
    if family in DATABASES:
        if len(parts) < 2:
            parts = [*parts, table]
        return Address(
            identity=identity,
            segments=tuple(map(segment, parts)),
            uri=uri,
            kind="postgres" if family == "postgresql" else family,
        )
    return Address(
        identity=identity,
        segments=(segment(scheme), *map(segment, parts)),
        uri=uri,
        kind=file_format or FORMATS.get(PurePosixPath(rest).suffix.lower(), family),
    )


def pipeline_address(name: str) -> Address:
    """What the pipeline ``name`` releases, as others read it."""
    return Address(
        identity=PIPELINE_SCHEME + name,
        segments=(segment(name), "transformed"),
        uri=PIPELINE_SCHEME + name,
        kind="parquet",
    )


def text_address(kind: str, name: str, path: str) -> Address:
    """A prompt (``prompts/NAME``) or a context (``context/NAME``); ``path`` tells apart those of one name."""
    folder = "prompts" if kind == "prompt" else kind
    return Address(
        identity=f"{kind}:{path}", segments=(folder, *map(segment, name.split("/"))), uri=path, kind=kind
    )


def segment(text: str) -> str:
    """``text`` made of [A-Za-z0-9_.-]; a hash tells apart what this makes equal."""
    plain = _NOT_IN_SEGMENT.sub("_", text)
    return plain if plain == text and text else f"{plain}-{_mark(text)}"


def identifier(text: str) -> str:
    """``text`` made of [A-Za-z0-9_], for names of jobs, ops, groups and checks; a hash as above."""
    plain = _NOT_IN_IDENTIFIER.sub("_", text)
    return plain if plain == text and text and plain not in _RESERVED else f"{plain}_{_mark(text)}"


def tag_value(text: str) -> str:
    """``text`` as an identifier of at most 63 signs: what the value of a tag may be."""
    plain = identifier(text)
    return plain if len(plain) <= 63 else f"{plain[:54]}_{_mark(text)}"


def _local(path: str, root: Path, file_format: str | None) -> Address:
    """``path``: absolute, without ``..``."""
    place, home = Path(path), Path(same_place(".", root))
    inside = place.is_relative_to(home)
    shown = place.relative_to(home) if inside else place
    segments = ["file", *map(segment, shown.parts if inside else shown.parts[1:])]
    if not inside:
        segments[-1] = f"{segments[-1]}-{_mark(path)}"
    return Address(
        identity=path,
        segments=tuple(segments),
        uri=shown.as_posix(),
        kind=file_format or FORMATS.get(place.suffix.lower(), "file"),
    )


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
