"""Context files: found by name, read once, put into prompts as they are (they are no templates)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from loom_dagster.errors import Misconfigured, Problem
from loom_dagster.prompts.prompt_file import content_digest, split_front_matter
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile, nearest, read_text, read_yaml, shown_path

__all__ = ["ContextFile", "find_contexts", "parse_context"]

_ENDINGS = (".md", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFile:
    """One context: its ``text`` without the front matter, and ``whole`` with it. ``version`` is that of its front matter,
    else 12 hex digits of its ``digest``."""

    name: str
    version: str
    digest: str
    path: Path
    text: str = field(repr=False)
    whole: str = field(repr=False)


def find_contexts(
    wanted: Mapping[str, str], file: PipelineFile, settings: Settings
) -> tuple[dict[str, ContextFile], list[Problem]]:
    """The contexts a prompt names (``wanted``: name -> where), and what is wrong with them.

    A name means the listed file of that stem, else NAME.md or NAME.txt in the project's context folder.
    """
    listed, problems = _listed(file, settings)
    folder = settings.root / settings.context
    found: dict[str, ContextFile] = {}
    for name, where in wanted.items():
        path = listed.get(name) or _in_folder(name, folder)
        if path is None:
            fix = nearest(name, [*listed, *_stems(folder)])
            what = f"there is no context `{name}` ({shown_path(folder / name, settings.root)}.md)"
            problems.append(Problem(what=what, where=where, fix=fix))
            continue
        try:
            text = read_text(path, settings.root)
            found[name] = parse_context(text, name=name, path=path, file=shown_path(path, settings.root))
        except Misconfigured as error:
            problems += error.problems or [Problem(what=error.what, where=error.where, fix=error.fix)]
    for index, (name, path) in enumerate(listed.items()):
        if name not in wanted:
            problems.append(
                Problem(
                    what=f"the prompt does not use the context {shown_path(path, settings.root)}",
                    where=file.where("transform", "context", index),
                    fix=f"name it there: `{{{{ context.{name} }}}}`",
                    level="warning",
                )
            )
    return found, problems


def _listed(file: PipelineFile, settings: Settings) -> tuple[dict[str, Path], list[Problem]]:
    listed: dict[str, Path] = {}
    problems = []
    for index, written in enumerate(file.spec.transform.context):
        path = settings.root / written
        where = file.where("transform", "context", index)
        if path.stem in listed:
            what = f"two contexts are called `{path.stem}`"
            problems.append(Problem(what=what, where=where, fix="a context is called by its file name"))
        elif not path.is_file():
            fix = nearest(
                written, [f"{shown_path(p, settings.root)}" for p in _files(path.parent)], others=False
            )
            problems.append(Problem(what=f"the context file {written} does not exist", where=where, fix=fix))
        else:
            listed[path.stem] = path
    return listed, problems


def _in_folder(name: str, folder: Path) -> Path | None:
    if "/" in name or "\\" in name or "\0" in name:
        return None
    return next((p for ending in _ENDINGS if (p := folder / f"{name}{ending}").is_file()), None)


def _files(folder: Path) -> Iterable[Path]:
    with suppress(OSError):
        return sorted(p for p in folder.iterdir() if p.suffix in _ENDINGS)
    return []


def _stems(folder: Path) -> list[str]:
    return [path.stem for path in _files(folder)]


def parse_context(text: str, *, name: str, path: Path, file: str) -> ContextFile:
    """The context in ``text``; ``file`` is how messages call it. Raises Misconfigured for its front matter."""
    front, body, _ = split_front_matter(text, file)
    digest = content_digest(text)
    version = None
    if front is not None and front.strip():
        document = read_yaml(front, file=file, first_line=2)
        version = document.tree.get("version")
        if version is not None and not isinstance(version, str):
            raise Misconfigured("`version` must be a text", where=document.where("version"))
    return ContextFile(
        name=name,
        version=str(version) if version else digest[:12],
        digest=digest,
        path=path,
        text=body.removesuffix("\n"),
        whole=text,
    )
