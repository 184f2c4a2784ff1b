"""``loom``: every command, and what happens to an error that leaves one.

``loom --help`` must come at once. So the modules of the commands import little at their top, and
the rooms that do the work (pydantic, pyarrow, Dagster behind them) inside the command that needs them.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import typer

from loom_dagster.cli import (
    alerts,
    answers,
    audit,
    batches,
    clean,
    cost,
    exits,
    history,
    init,
    lineage,
    listing,
    load,
    metrics,
    prompts,
    quarantine,
    release,
    report,
    run,
    schema,
    state,
    status,
    stream,
    tests,
    ui,
    validate,
    version,
)
from loom_dagster.errors import LoomError

__all__ = ["app", "main", "run_cli"]

_LIGHT = {
    # logfire comes along with the judges and would look on at every model that is made: 0.25 s, 25 MB
    "PYDANTIC_DISABLE_PLUGINS": "logfire-plugin",
    # Arrow's own allocator keeps 40 MB more than is in use and is no faster for what runs do
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}

_COLLECT_EVERY = (
    50_000  # objects; at 700, Python's own, looking for circles takes a tenth of a run that calls nobody
)

app = typer.Typer(
    name="loom",
    help="The dbt for AI(E)TL: pipelines that call models, judge the answers and load what passes.",
    epilog="Exit codes: 0 all promises kept, 1 a gate or conservation failed, 2 wrong input, 130 interrupted.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("stream")(stream.stream)
app.command("status")(status.status)
app.command("history")(history.history)
app.command("metrics")(metrics.metrics)
app.command("report")(report.report)
app.command("validate")(validate.validate)
app.command("test")(tests.run_tests)
app.command("list")(listing.list_pipelines)
app.command("lineage")(lineage.lineage)
app.command("cost")(cost.cost)
app.command("init")(init.init)
app.command("ui")(ui.ui)
app.add_typer(quarantine.app, name="quarantine")
app.command("release")(release.release)
app.command("load")(load.load)
app.add_typer(batches.app, name="batches")
app.add_typer(alerts.app, name="alerts")
app.add_typer(state.app, name="state")
app.add_typer(answers.app, name="answers")
app.command("audit")(audit.audit)
app.command("clean")(clean.clean)
app.add_typer(prompts.app, name="prompts")
app.command("schema")(schema.schema)
app.command("version")(version.version)


def main() -> None:
    """The entry point of the command ``loom``."""
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    for name, value in _LIGHT.items():
        os.environ.setdefault(name, value)
    gc.set_threshold(_COLLECT_EVERY)
    code = run_cli(sys.argv[1:])
    if code == exits.INTERRUPTED:
        for output in (sys.stdout, sys.stderr):
            output.flush()
        os._exit(code)  # threads of work that was given up would keep the process
    sys.exit(code)


def run_cli(args: Sequence[str]) -> int:
    """One command line; gives the exit code and lets no error through."""
    as_json = "--json" in args
    command = typer.main.get_command(app)
    try:
        # not app(args): that turns an interrupt into an exit code before it can be told of
        with command.make_context("loom", list(args)) as context:
            return int(command.invoke(context) or exits.OK)
    except typer.Exit as asked:  # --help
        return asked.exit_code
    except typer.TyperException as error:
        return exits.report_usage(error.format_message(), _usage(error), as_json=as_json)
    except BrokenPipeError:  # `loom --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except LoomError as error:
        return exits.report_error(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return exits.report_interrupt(as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last resort; the traceback is kept in a file
        return exits.report_crash(error, folder=_state_dir(args), as_json=as_json)


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f"{context.get_usage()}\nTry '{context.command_path} --help'."


def _state_dir(args: Sequence[str]) -> Path | None:
    """Where the project keeps what is not for git; None when there is no telling."""
    from loom_dagster.settings import find_project, load_settings

    named = [Path(b) for a, b in pairwise(args) if a == "--project"]
    try:
        return load_settings(find_project(named[0] if named else Path.cwd())).state_dir
    except (LoomError, OSError):
        return None


if __name__ == "__main__":
    main()
