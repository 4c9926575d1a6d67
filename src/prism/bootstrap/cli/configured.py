"""A command whose options are the settings of the server and of the chosen driver.

Which driver that is, and what a config file says, is itself given by options, so
the command is made anew from its arguments each time it runs.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand
from typer.main import get_command

from prism.ports import InvalidArgument, PrismError

if TYPE_CHECKING:
    from prism.bootstrap.configuration import Choice
    from prism.bootstrap.options import Option

Choose: TypeAlias = "Callable[[str | None, Path | None], Choice]"

_CONFIG_HELP = "Config file, YAML or TOML (default: {} in this folder, if there is one)"


def add(
    app: typer.Typer,
    name: str,
    run: Callable[..., None],
    *,
    choose: Choose | None = None,
    default_file: str = "config.yaml",
) -> None:
    """Add a command to the application.

    Args:
        run: takes a `Configuration`, and keyword options of its own.
        choose: from the driver and the file that are given, if any, to a choice.
        default_file: the config file that `choose` takes when none is given.
    """

    class Command(_Configured):
        body = staticmethod(run)
        config_help = _CONFIG_HELP.format(default_file)

        def choose(self, driver: str | None, file: Path | None) -> Choice:
            from prism.bootstrap import configuration

            return (choose or configuration.choose)(driver, file)

    @app.command(name, cls=Command, help=inspect.getdoc(run))
    def stand_in() -> None:
        """Runs under no circumstances: `Command` puts `run` in its place."""


class _Configured(TyperCommand):
    body: Callable[..., None]
    config_help: str

    def choose(self, driver: str | None, file: Path | None) -> Choice:
        raise NotImplementedError

    def invoke(self, ctx: Any) -> Any:
        # Where this is the whole program, and not one command of a group.
        return ctx.command.invoke(ctx)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        try:
            file = _early(args, "--config", "PRISM_CONFIG")
            driver = _early(args, "--driver", "PRISM_DRIVER")
            choice = self.choose(driver, Path(file) if file else None)
        except PrismError as error:
            if extra.get("resilient_parsing"):  # completing a line that is not finished
                return super().make_context(info_name, [], parent, **extra)
            if isinstance(error, InvalidArgument):
                raise typer.BadParameter(error.message) from None
            raise
        app = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        app.command(
            cls=_Panelled,
            help=self.help,
            context_settings={"default_map": dict(choice.file_texts)},
        )(_with_options(self.body, choice, self.config_help))
        return get_command(app).make_context(info_name, args, parent, **extra)


class _Panelled(TyperCommand):
    """Shows the options of the driver under a heading of their own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panel = getattr(param, "rich_help_panel", None) or "Options"
                panels.setdefault(panel, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def _early(args: Sequence[str], flag: str, variable: str) -> str | None:
    """An option's value as Typer will find it, which later reports what is wrong."""
    found = None
    for index, arg in enumerate(args):
        if arg == "--":
            break
        if arg == flag and index + 1 < len(args):
            found = args[index + 1]
        elif arg.startswith(f"{flag}="):
            found = arg.removeprefix(f"{flag}=")
    return found or os.environ.get(variable) or None


def _with_options(
    body: Callable[..., None], choice: Choice, config_help: str
) -> Callable[..., None]:
    from prism.bootstrap.configuration import resolve

    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    settings = {option.parameter: option for option in choice.options}

    def run(ctx: typer.Context, **values: Any) -> None:
        try:
            configuration = resolve(choice, _given(ctx, settings, values))
        except InvalidArgument as error:
            raise typer.BadParameter(error.message, ctx=ctx) from None
        body(configuration, **{p.name: values[p.name] for p in own})

    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        _parameter(
            "config",
            Annotated[
                str,
                typer.Option("--config", envvar="PRISM_CONFIG", metavar="PATH", help=config_help),
            ],
        ),
        *(_parameter(name, _annotation(option)) for name, option in settings.items()),
        *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _given(ctx: typer.Context, settings: dict[str, Option], values: dict[str, Any]) -> Any:
    from prism.bootstrap.configuration import Given, Source

    sources = {
        "COMMANDLINE": Source.FLAG,
        "ENVIRONMENT": Source.ENVIRONMENT,
        "DEFAULT_MAP": Source.FILE,
    }
    given = {}
    for name in settings:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name in sources:
            given[name] = Given(_as_text(values[name]), sources[source.name])
    return given


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None
    )


def _as_text(value: str | bool) -> str:
    """A switch on the command line is no text yet."""
    return ("true" if value else "false") if isinstance(value, bool) else value


def _annotation(option: Option) -> Any:
    def check(value: str | bool) -> str:
        # Checked, but not converted: a driver's settings travel as text to its lifecycle.
        text = _as_text(value)
        if not option.holds_path:
            try:
                option.field.parse(text)
            except InvalidArgument as error:
                raise typer.BadParameter(error.message) from None
        return text

    return Annotated[
        bool if option.is_switch else str,
        typer.Option(
            option.declaration,
            envvar=option.variable,
            metavar=None if option.is_switch else option.metavar,
            help=option.help,
            # Typer would show what the config file says, secrets included.
            show_default=False,
            parser=check,
            rich_help_panel=f"Options of the driver {option.driver}" if option.driver else None,
        ),
    ]
