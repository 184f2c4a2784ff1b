"""From a pipeline and its prompt file to a Prompt: everything that can be known before a record is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from loom_dagster.errors import LoomError, Misconfigured, Permanent, Problem
from loom_dagster.prompts.contexts import ContextFile, find_contexts, parse_context
from loom_dagster.prompts.limits import Limits
from loom_dagster.prompts.prompt import Example, Message, Prompt, TextFile
from loom_dagster.prompts.prompt_file import (
    ExampleSpec,
    PromptFile,
    content_digest,
    example_value,
    parse_prompt,
    read_prompt,
)
from loom_dagster.prompts.template import Template, compile_template
from loom_dagster.prompts.values import as_json
from loom_dagster.prompts.versions import check_lock
from loom_dagster.settings import Settings
from loom_dagster.spec import PipelineFile, nearest, refusal, shown_path

__all__ = ["PROMPT_ENDINGS", "compile_prompt", "compile_texts", "find_prompt"]

PROMPT_ENDINGS = (".txt", ".md", ".j2", ".jinja", ".jinja2", ".prompt")


def compile_prompt(
    file: PipelineFile, settings: Settings, *, strict: bool = False, environ: Mapping[str, str] = os.environ
) -> tuple[Prompt | None, tuple[Problem, ...]]:
    """The prompt of a pipeline, and every problem found; no prompt if one of them is an error.

    ``strict`` (or CI=true) makes an error of a version that is not locked.
    """
    problems: list[Problem] = []
    try:
        source = read_prompt(find_prompt(file, settings), settings.root, settings.root / settings.prompts)
        system, user = _templates(source)
    except Misconfigured as error:
        return None, _problems_of(error)
    wanted = {**(system.contexts if system else {}), **user.contexts}
    contexts, found = find_contexts(wanted, file, settings)
    problems += found
    texts = {name: context.text for name, context in contexts.items()}
    for template in (system, user):
        if template is not None:
            template.bind(texts)
    columns = frozenset({*user.columns, *(system.columns if system else ())})
    problems += _variables(source, columns)
    version, version_problems = _version(file, source, settings, strict or _is_ci(environ))
    problems += version_problems
    examples: list[Example] = []
    if not any(p.level == "error" for p in problems):
        examples, example_problems = _examples(source, user)
        problems += example_problems
        problems += _trials(system, user)
    if any(p.level == "error" for p in problems):
        return None, tuple(problems)
    prompt = _put_together(source, system, user, contexts, version, examples)
    return prompt, tuple(problems)


def compile_texts(text: str, contexts: Mapping[str, str], *, name: str, version: str) -> Prompt:
    """A prompt of the past from the texts of its files (``contexts`` by name): it renders as it did then.

    Raises Misconfigured for texts that cannot be compiled any more.
    """
    source = parse_prompt(text, name=name, path=Path(name), file=name)
    system, user = _templates(source)
    parsed = {n: parse_context(t, name=n, path=Path(n), file=n) for n, t in contexts.items()}
    for template in (system, user):
        if template is not None:
            template.bind({n: context.text for n, context in parsed.items()})
    examples, problems = _examples(source, user)
    if problems:
        raise refusal(problems, "the prompt has problems")
    return _put_together(source, system, user, parsed, version, examples)


def _put_together(
    source: PromptFile,
    system: Template | None,
    user: Template,
    contexts: Mapping[str, ContextFile],
    version: str,
    examples: Sequence[Example],
) -> Prompt:
    return Prompt(
        name=source.name,
        version=version,
        digest=source.digest,
        path=source.path,
        columns=frozenset({*user.columns, *(system.columns if system else ())}),
        contexts={name: contexts[name].version for name in sorted(contexts)},
        context_digest=_context_digest(contexts),
        texts=_texts(source, version, contexts),
        fields=source.front.fields,
        examples=tuple(examples),
        _system=system,
        _user=user,
        _shots=tuple(message for example in examples for message in _messages(example)),
    )


def _texts(source: PromptFile, version: str, contexts: Mapping[str, ContextFile]) -> tuple[TextFile, ...]:
    own = TextFile(
        kind="prompt",
        name=source.name,
        path=source.path,
        version=version,
        digest=source.digest,
        text=source.text,
    )
    return own, *(
        TextFile(
            kind="context",
            name=name,
            path=found.path,
            version=found.version,
            digest=found.digest,
            text=found.whole,
        )
        for name, found in sorted(contexts.items())
    )


def find_prompt(file: PipelineFile, settings: Settings) -> Path:
    """The prompt file of a pipeline: its path in the project, or its name in the prompts folder.

    Raises Misconfigured naming the nearest file.
    """
    written = file.spec.transform.prompt
    folder = settings.root / settings.prompts
    direct = settings.root / written
    candidates = [direct, folder / written, *(folder / f"{written}{ending}" for ending in PROMPT_ENDINGS)]
    for path in candidates:
        if "\0" not in written and path.is_file():
            return path
    there = [shown_path(p, settings.root) for p in folder.rglob("*") if p.suffix in PROMPT_ENDINGS]
    raise Misconfigured(
        f"the prompt file {written} does not exist",
        where=file.where("transform", "prompt"),
        fix=nearest(written, there),
    )


def _templates(source: PromptFile) -> tuple[Template | None, Template]:
    """System (if there is one) and user. Raises Misconfigured with the problems of both."""
    problems: list[Problem] = []
    system, user = None, None
    try:
        if source.front.system is not None:
            system = compile_template(source.front.system, source.where_in_system)
    except Misconfigured as error:
        problems += error.problems
    try:
        user = compile_template(source.body, source.where_in_body)
    except Misconfigured as error:
        problems += error.problems
    if user is None or problems:
        raise refusal(problems, "the prompt has problems")
    return system, user


def _problems_of(error: LoomError) -> tuple[Problem, ...]:
    if isinstance(error, Misconfigured) and error.problems:
        return error.problems
    what = f"{error.what}: {error.why}" if error.why else error.what
    return (Problem(what=what, where=error.where, fix=error.fix),)


def _variables(source: PromptFile, columns: frozenset[str]) -> list[Problem]:
    declared = source.front.variables
    if declared is None:
        if columns:
            return []
        what = "the prompt uses no column: every record gets the same answer"
        fix = "name what belongs to the record: `{{ input.COLUMN }}`"
        return [Problem(what=what, where=f"{source.file}:{source.first_line}", fix=fix, level="warning")]
    problems = []
    where = source.where("variables")
    for name in sorted({*declared} - columns):
        fix = nearest(name, columns, others=False) or "remove it, or use it"
        problems.append(Problem(what=f"variable `{name}` is declared but not used", where=where, fix=fix))
    undeclared = sorted(columns - {*declared})
    return problems + [
        Problem(what=f"column `{name}` is used but not declared in `variables`", where=where)
        for name in undeclared
    ]


def _version(
    file: PipelineFile, source: PromptFile, settings: Settings, strict: bool
) -> tuple[str, list[Problem]]:
    written, pinned = source.front.version, file.spec.transform.prompt_version
    if written is None and pinned is None:
        return source.digest[:12], []
    pinned_at = file.where("transform", "prompt_version") if pinned is not None else None
    if written is not None and pinned is not None and written != pinned:
        what = (
            f"`prompt_version` is {pinned}, but the prompt is version {written} ({source.where('version')})"
        )
        fix = f"write `prompt_version: {written}`, or take the prompt's version {pinned} from version control"
        return written, [Problem(what=what, where=pinned_at, fix=fix)]
    version = written or str(pinned)
    return version, check_lock(source, version, pinned_at=pinned_at, settings=settings, strict=strict)


def _is_ci(environ: Mapping[str, str]) -> bool:
    return environ.get("CI", "").strip().lower() in ("1", "true", "yes")


def _examples(source: PromptFile, user: Template) -> tuple[list[Example], list[Problem]]:
    examples, problems = [], []
    for index, spec in enumerate(source.front.examples):
        where = source.where("examples", index)
        columns = spec.input if isinstance(spec.input, dict) else dict.fromkeys(user.columns)
        missing = sorted(user.columns.keys() - columns.keys())
        extra = sorted(columns.keys() - user.columns.keys())
        for name in missing:
            what = f"example {index + 1} has no `{name}`, which the prompt uses"
            problems.append(Problem(what=what, where=where, fix="add it (null, if it should be empty)"))
        for name in extra:
            what = f"example {index + 1} has a column `{name}`, which the prompt does not use"
            problems.append(Problem(what=what, where=where, fix=nearest(name, user.columns)))
        if missing or extra:
            continue
        try:
            examples.append(_example(spec, source, user))
        except Permanent as error:
            problems.append(Problem(what=f"example {index + 1}: {error.sentence()}", where=where))
    return examples, problems


def _example(spec: ExampleSpec, source: PromptFile, user: Template) -> Example:
    limits = Limits()
    if isinstance(spec.input, dict):
        text = user.render({name: example_value(value, None) for name, value in spec.input.items()})
    else:
        text = str(spec.input)
    if isinstance(spec.output, str):
        return Example(input=text, output=str(spec.output).removesuffix("\n"))
    fields = source.front.fields or {}
    values = {name: example_value(value, fields.get(name)) for name, value in spec.output.items()}
    return Example(input=text, output=as_json(values, limits.weigh))


def _messages(example: Example) -> tuple[Message, Message]:
    return {"role": "user", "content": example.input}, {"role": "assistant", "content": example.output}


def _trials(system: Template | None, user: Template) -> list[Problem]:
    runs: list[Callable[[], Problem | None]] = [t.trial for t in (system, user) if t is not None]
    return [problem for run in runs if (problem := run()) is not None]


def _context_digest(contexts: Mapping[str, ContextFile]) -> str:
    return content_digest("".join(f"{name}\0{contexts[name].digest}\n" for name in sorted(contexts)))
