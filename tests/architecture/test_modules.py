"""Modules stay small, say why they exist, and leave nothing half done."""

from __future__ import annotations

import ast
import re

LONGEST_MODULE = 300
LONGER = {"loom_dagster/spec/models.py": 500}  # the whole YAML on one page, a class a block
LONGEST_FUNCTION = 60
BANNED_NAMES = {"common", "core", "engine", "helpers", "manager", "misc", "util", "utils"}
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + r"Error")
UNSAFE_CALLS = {"eval", "exec"}


def test_no_module_is_longer_than_a_reader_can_hold(modules, root):
    long = {}
    for path in modules:
        name = path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LONGER.get(name, LONGEST_MODULE):
            long[name] = lines
    assert not long


def test_every_function_fits_a_screen(modules, root):
    long = {}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long[f"{path.relative_to(root)}:{node.lineno} {node.name}"] = lines
    assert not long


def test_no_module_has_a_name_that_tells_nothing(modules, root):
    rooms = {part for path in modules for part in path.relative_to(root).with_suffix("").parts}
    assert not rooms & BANNED_NAMES


def test_every_module_says_why_it_exists(modules, root):
    silent = [
        str(path.relative_to(root))
        for path in modules
        if (source := path.read_text(encoding="utf-8")).strip() and not ast.get_docstring(ast.parse(source))
    ]
    assert not silent


def test_nothing_is_left_half_done(modules, root):
    found = [
        f"{path.relative_to(root)}:{number}"
        for path in modules
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found


def test_no_error_is_swallowed_and_nothing_runs_text_as_code(modules, root):
    found = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in UNSAFE_CALLS:
                found.append(f"{where} runs text as code")
            if isinstance(node, ast.Import) and any(a.name == "pickle" for a in node.names):
                found.append(f"{where} imports pickle")
            if isinstance(node, ast.ExceptHandler) and _catches_all(node) and _does_nothing(node):
                found.append(f"{where} swallows every error")
    assert not found


def test_no_parquet_file_is_kept_in_memory_while_it_is_read(modules, root):
    """By default Arrow keeps every byte that it has read of a file for as long as the file is open."""
    found = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "ParquetFile":
                given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                if given.get("pre_buffer") is not False:
                    found.append(f"{path.relative_to(root)}:{node.lineno}")
    assert not found


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or getattr(handler.type, "id", "") in {"BaseException", "Exception"}


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(node, ast.Pass) for node in handler.body)
