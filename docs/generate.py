"""Writes docs/reference/ from the code: the keys of a pipeline file, and the command line.

`python docs/generate.py` writes, `--check` only says whether what is there is up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from loom_dagster.cli.main import app
from loom_dagster.spec import json_schema
from loom_dagster.spec.suites import Suite

_EVALUATOR = "[Semantic](#semantic)"  # one of many: where it may stand, any of them may
HERE = Path(__file__).resolve().parent / "reference"
NOTE = "<!-- Made by docs/generate.py from the code; do not edit. -->\n"
CONNECTORS = """# What connectors guarantee

{note}
One suite of tests, which every connector passes where the table says yes; `-` is what a place cannot do.
`tests/connectors/contract/` holds it.
"""
HEAD = """# Every key of a pipeline file

{note}
`loom schema` prints the same as JSON Schema, for editors. What a key means is told in
[pipelines.md](../pipelines.md). `loom validate` refuses by name what is not available in this version.
"""


SUITES = """# Every key of a test file

{note}
What they mean is told in [testing.md](../testing.md).
"""


def yaml_reference() -> str:
    """Every block of a pipeline file as a table of its keys."""
    schema = json_schema()
    blocks = schema["$defs"]
    text = [HEAD.format(note=NOTE)]
    text.append(_block("pipelines/NAME.yaml", schema))
    names = _reachable(schema["properties"], blocks)
    text += [_block(name, blocks[name]) for name in names if "properties" in blocks[name]]
    return "\n".join(text)


def suite_reference() -> str:
    """Every block of a test file, likewise."""
    schema = Suite.model_json_schema(mode="validation")
    blocks = schema["$defs"]
    names = _reachable(schema["properties"], blocks)
    text = [SUITES.format(note=NOTE), _block("tests/NAME_test.yaml", schema)]
    text += [_block(name, blocks[name]) for name in names if "properties" in blocks[name]]
    return "\n".join(text)


def _reachable(node: Any, blocks: dict[str, Any], seen: list[str] | None = None) -> list[str]:
    """Names of the blocks below ``node``, in the order in which a reader meets them."""
    seen = [] if seen is None else seen
    for name in _references(node):
        if name not in seen:
            seen.append(name)
            _reachable(blocks[name], blocks, seen)
    return seen


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _block(title: str, block: dict[str, Any]) -> str:
    required = set(block.get("required", ()))
    lines = [f"## {title}\n"]
    if about := " ".join(block.get("description", "").replace("``", "`").split()):
        lines.append(f"{about}\n")
    lines += ["| key | what | default |", "|---|---|---|"]
    for key, value in block["properties"].items():
        default = "required" if key in required else _default(value)
        lines.append(f"| `{key}` | {_kind(value)} | {default} |")
    return "\n".join(lines) + "\n"


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    if default in (None, [], {}):
        return ""
    if isinstance(default, dict):
        return ""  # a block of its own, with its own defaults
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _kind(value: dict[str, Any]) -> str:
    """The values a key takes, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in value:
            kinds = [_kind(each) for each in value[choice] if each.get("type") != "null"]
            if _EVALUATOR in kinds:
                return "evaluator: its block, or the name of a preset"
            return " or ".join(dict.fromkeys(kinds))
    kind = value.get("type", "any value")
    if isinstance(kind, list):
        return "text"  # numbers and booleans are kept as they are written
    if kind == "array":
        return f"list of {_kind(value['items'])}" if "items" in value else "list"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"name: {_kind(inner)}" if isinstance(inner, dict) else "mapping"
    if value.get("format") == "duration":
        return "duration: `30s`, `10m`, `12h`, `7d`, `2w`"
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    limits = [f"{words} {value[name]:g}" for name, words in bounds.items() if name in value]
    return ", ".join([{"string": "text"}.get(kind, kind), *limits])


def cli_reference() -> str:
    """Every command with its arguments and options."""
    group = typer.main.get_command(app)
    text = [f"# The command line\n\n{NOTE}\n{group.help}\n\n{group.epilog}\n"]
    text += [_command(path, command) for path, command in _commands("loom", group)]
    return "\n".join(text)


def _commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


def _command(path: str, command: Any) -> str:
    options = [p for p in command.params if p.param_type_name == "option"]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *(_argument(p) for p in arguments)]).strip()
    about = " ".join((command.help or "").split())
    lines = [f"## {path}\n", f"{about}\n", f"```\n{usage}\n```\n", "| option | what |", "|---|---|"]
    for each in (*arguments, *options):
        name = _argument(each) if each in arguments else _option(each)
        lines.append(f"| `{name}` | {' '.join((getattr(each, 'help', '') or '').split())} |")
    return "\n".join(lines) + "\n"


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    name = f"{name}..." if parameter.nargs == -1 else name
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    return names if parameter.is_flag else f"{names} {parameter.metavar or parameter.name.upper()}"


def connector_reference() -> str:
    """What each connector guarantees: the tests of its contract, by their docstrings."""
    sys.path.insert(0, str(HERE.parents[1]))
    from tests.connectors.contract import cases, test_destinations, test_sources

    text = [CONNECTORS.format(note=NOTE)]
    for title, tests, way in (
        ("Sources", test_sources, "reads"),
        ("Destinations", test_destinations, "writes"),
    ):
        served = [case for case in cases.CASES if getattr(case, way)]
        text += [
            f"## {title}\n",
            f"| guarantee | {' | '.join(map(str, served))} |",
            f"|---|{'---|' * len(served)}",
        ]
        for name, test in vars(tests).items():
            if name.startswith("test_"):
                needs = [
                    word
                    for mark in getattr(test, "pytestmark", ())
                    if mark.name == "needs"
                    for word in mark.args
                ]
                kept = ["yes" if all(getattr(case, word) for word in needs) else "-" for case in served]
                text.append(f"| {test.__doc__.splitlines()[0]} | {' | '.join(kept)} |")
        text.append("")
    return "\n".join(text)


def main() -> int:
    pages = {
        "yaml.md": yaml_reference(),
        "tests.md": suite_reference(),
        "cli.md": cli_reference(),
        "guarantees.md": connector_reference(),
    }
    if "--check" not in sys.argv:
        HERE.mkdir(exist_ok=True)
        for name, text in pages.items():
            (HERE / name).write_text(text, encoding="utf-8")
        return 0
    stale = [n for n, t in pages.items() if not (HERE / n).is_file() or (HERE / n).read_text("utf-8") != t]
    for name in stale:
        print(f"docs/reference/{name} is not what the code says; run: .venv/bin/python docs/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
