"""``loom prompts lock``: fix what each version of each prompt stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompts.compile import PROMPT_ENDINGS, find_prompt
from loom_dagster.prompts.prompt_file import PromptFile, read_prompt
from loom_dagster.prompts.versions import read_lock, write_lock
from loom_dagster.settings import Settings
from loom_dagster.spec import load_project, refusal

__all__ = ["Locked", "lock_prompts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """One line of the lock that changed. ``was``: the digest it replaced, by force."""

    name: str
    version: str
    digest: str
    was: str | None = None

    def __str__(self) -> str:
        word = "replaced" if self.was else "locked"
        return f"{word} {self.name} {self.version} ({self.digest[:12]})"


def lock_prompts(settings: Settings, *, force: bool = False) -> list[Locked]:
    """Write every version in use to ``versions.lock``; what changed.

    Covers the prompts that say their version and those that a pipeline pins. Raises Misconfigured, and
    writes nothing, when a version is locked with another content (unless ``force``).
    """
    lock = read_lock(settings)
    changed: dict[tuple[str, str], Locked] = {}
    problems: list[Problem] = []
    for prompt, version in _in_use(settings, problems):
        was = lock.get(prompt.name, {}).get(version)
        if was == prompt.digest:
            continue
        if was is not None and not force:
            what = f"version {version} of prompt `{prompt.name}` is locked with another content"
            fix = "give the prompt a new version; to replace what is locked use --force"
            problems.append(Problem(what=what, where=prompt.where("version"), fix=fix))
            continue
        key = (prompt.name, version)
        changed[key] = Locked(name=prompt.name, version=version, digest=prompt.digest, was=was)
    if problems:
        raise refusal(tuple(dict.fromkeys(problems)), "the prompts cannot be locked")
    for each in changed.values():
        lock.setdefault(each.name, {})[each.version] = each.digest
    if changed:
        write_lock(settings, lock)
    return list(changed.values())


def _in_use(settings: Settings, problems: list[Problem]) -> Iterator[tuple[PromptFile, str]]:
    folder = settings.root / settings.prompts
    pins: dict[str, set[str]] = {}
    paths = {path for path in folder.rglob("*") if path.is_file() and path.suffix in PROMPT_ENDINGS}
    for file in load_project(settings).files.values():
        try:
            path = find_prompt(file, settings)
        except Misconfigured:
            continue  # `loom validate` says so; it is no reason not to lock the others
        paths.add(path)
        if pin := file.spec.transform.prompt_version:
            pins.setdefault(str(path), set()).add(pin)
    for path in sorted(paths):
        try:
            prompt = read_prompt(path, settings.root, folder)
        except Misconfigured as error:
            problems += error.problems or [Problem(what=error.what, where=error.where, fix=error.fix)]
            continue
        versions = {prompt.front.version} if prompt.front.version else pins.get(str(path), set())
        for version in sorted(versions):
            yield prompt, version
