"""How a command is declared: a function of a `Session` and one frozen options object.

`command` gives every command the same four options (`--json`, `--data-dir`, `--url`, `--token`), turns the fields of
its options object into the rest, and a refusal into one line on stderr and exit code 1. Usage errors are exit code 2.
"""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from callgate.cli.output import note
from callgate.cli.session import Session
from callgate.errors import Refused

OptionsT = TypeVar("OptionsT")


@dataclasses.dataclass(frozen=True, slots=True)
class NoOptions:
    """For commands with nothing but the common options."""


@dataclasses.dataclass(frozen=True, slots=True)
class Common:
    """What every command takes."""

    json: Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")] = False
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Data directory of the gateway.")
    ] = None
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", envvar="CALLGATE_URL", help="A gateway elsewhere.")
    ] = None
    token: Annotated[
        str | None,
        typer.Option("--token", metavar="TOKEN", envvar="CALLGATE_TOKEN", help="Access token for --url."),
    ] = None


def group(name: str, help_text: str) -> typer.Typer:
    """A command group; without a sub-command it shows its help and exits with 2."""
    return typer.Typer(
        name=name, help=help_text, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )


def command(
    app: typer.Typer, name: str, options: type[OptionsT]
) -> Callable[[Callable[[Session, OptionsT], None]], Callable[[Session, OptionsT], None]]:
    """Add a function to a group. Its docstring's first line is the help text."""

    def register(function: Callable[[Session, OptionsT], None]) -> Callable[[Session, OptionsT], None]:
        def run(**values: Any) -> None:
            common = Common(**{item.name: values.pop(item.name) for item in dataclasses.fields(Common)})
            _run(function, common, options(**values))

        run.__doc__ = inspect.getdoc(function)
        run.__name__ = function.__name__
        vars(run)["__signature__"] = inspect.Signature([*_parameters(options), *_parameters(Common)])
        app.command(name)(run)
        return function

    return register


def _run(function: Callable[[Session, OptionsT], None], common: Common, options: OptionsT) -> None:
    try:
        with Session(common.json, common.data_dir, common.url, common.token) as session:
            function(session, options)
    except Refused as refused:
        note(f"callgate: {refused.sentence}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(1) from None
    except BrokenPipeError:  # the reader of our output went away
        raise typer.Exit(1) from None


def _parameters(kind: type) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for item in dataclasses.fields(kind):
        default: Any = inspect.Parameter.empty
        if item.default is not dataclasses.MISSING:
            default = item.default
        found.append(
            inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[item.name])
        )
    return found
