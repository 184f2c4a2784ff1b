"""What a pipeline is filed under: tags, owners, a group, kinds. Dagster shows them; its rules are kept here,
so that a wrong one is a problem with a line and not a code location that does not load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from loom_dagster.spec.blocks import Text
from loom_dagster.spec.spellings import one_or_many

__all__ = ["Group", "Kinds", "Owners", "Tags"]

_TAG = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_KIND = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,7}")
_TEAM = re.compile(r"team:\S.*")
_GROUP = re.compile(r"[A-Za-z0-9_]{1,200}")
_OURS = ("loom/", "dagster/")


def _tags_as_mapping(value: Any) -> Any:
    """``[nlp, nightly]`` are tags without a value."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple) and all(isinstance(tag, str) for tag in value):
        return dict.fromkeys(value, "")
    if isinstance(value, Mapping):
        return {tag: "" if said is None else said for tag, said in value.items()}
    return value


def _tags(tags: dict[str, str]) -> dict[str, str]:
    for tag, value in tags.items():
        if tag.startswith(_OURS):
            raise ValueError(f"the tag `{tag}` is named like ours; leave out `{tag.partition('/')[0]}/`")
        if not _TAG.fullmatch(tag) or not _VALUE.fullmatch(value):
            said = f"{tag}: {value}" if value else tag
            raise ValueError(
                f"the tag `{said}` is not made of letters, digits and _ . - (63 of them at most)"
            )
    return tags


def _owner(owner: str) -> str:
    if not (_EMAIL.fullmatch(owner) or _TEAM.fullmatch(owner)):
        raise ValueError(f"the owner `{owner}` is neither an e-mail address nor `team:NAME`")
    return owner


def _kind(kind: str) -> str:
    if not _KIND.fullmatch(kind):
        raise ValueError(f"the kind `{kind}` is not made of letters, digits and _ . - (40 of them at most)")
    return kind


def _group(group: str) -> str:
    if not _GROUP.fullmatch(group):
        raise ValueError(f"the group `{group}` is not made of letters, digits and _")
    return group


_Labels = Annotated[Text, Field(min_length=1)]
Tags = Annotated[
    dict[Text, Text],
    BeforeValidator(_tags_as_mapping, json_schema_input_type=str | tuple[str, ...] | dict[str, str]),
    AfterValidator(_tags),
]
Owners = Annotated[
    tuple[Annotated[_Labels, AfterValidator(_owner)], ...],
    BeforeValidator(one_or_many, json_schema_input_type=str | tuple[str, ...]),
]
Kinds = Annotated[
    tuple[Annotated[_Labels, AfterValidator(_kind)], ...],
    Field(max_length=5),
    BeforeValidator(one_or_many, json_schema_input_type=str | tuple[str, ...]),
]
Group = Annotated[Text, AfterValidator(_group)]
