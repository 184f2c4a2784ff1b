"""`__all__` is what others may use: it is there, sorted, and true."""

from __future__ import annotations

import ast


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return None


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: as ruff sorts (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_every_module_lists_its_public_names_sorted(modules, root):
    wrong = {}
    for path in modules:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = listed(tree)
        if path.name == "__init__.py" and not any(isinstance(n, ast.ImportFrom) for n in tree.body):
            continue  # an empty package has nothing to offer
        if names is None:
            wrong[str(path.relative_to(root))] = "no __all__"
        elif names != sorted(set(names), key=order):
            wrong[str(path.relative_to(root))] = "not sorted, or a name twice"
    assert not wrong


def test_every_listed_name_is_there(run_python):
    result = run_python(
        "import importlib, pkgutil, loom_dagster\n"
        "for found in pkgutil.walk_packages(loom_dagster.__path__, 'loom_dagster.'):\n"
        "    module = importlib.import_module(found.name)\n"
        "    for name in getattr(module, '__all__', ()):\n"
        "        if not hasattr(module, name): print(found.name, name)\n"
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_no_room_uses_a_private_name_of_another_module(modules, root):
    wrong = []
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("loom_dagster"):
                private = [a.name for a in node.names if a.name.startswith("_") and a.name != "__version__"]
                wrong += [f"{path.relative_to(root)}:{node.lineno} {name}" for name in private]
    assert not wrong
