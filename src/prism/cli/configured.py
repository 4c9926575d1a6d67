"""A command whose options are the settings of the server and of the chosen driver.

Which driver that is, and what a config file says, is itself given by options, so
the command is made anew from its arguments each time it runs.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from typer.core import TyperCommand
from typer.main import get_command

from prism.ports import InvalidArgument, PrismError

if TYPE_CHECKING:
    from prism.bootstrap.configuration import Choice, Given, ServerConfiguration
    from prism.bootstrap.options import Option

Choose: TypeAlias = "Callable[[Early], Choice]"
Resolve: TypeAlias = "Callable[[Any, Mapping[str, Given]], ServerConfiguration]"

_CONFIG_HELP = "Config file, YAML or TOML (default: {} in this folder, if there is one)"


def add(
    app: typer.Typer,
    name: str,
    run: Callable[..., None],
    *,
    prepare: Callable[[Early], None] = lambda _: None,
    choose: Choose | None = None,
    resolve: Resolve | None = None,
    default_file: str = "config.yaml",
) -> None:
    """Add a command to the application.

    Args:
        run: takes a `Configuration`, and keyword options of its own.
        prepare: what is to be done before a driver is loaded.
        choose: from what decides on the options to a choice.
        resolve: from that choice, and from what is given, to the configuration.
        default_file: the config file that `choose` takes when none is given.
    """

    class Command(_Configured):
        body = staticmethod(run)
        config_help = _CONFIG_HELP.format(default_file)

        def prepare(self, early: Early) -> None:
            prepare(early)

        def choose(self, early: Early) -> Choice:
            from prism.bootstrap import configuration

            if choose is not None:
                return choose(early)
            return configuration.choose(
                early.last("--driver", "PRISM_DRIVER"),
                early.file,
                early.file_by_default(Path(default_file)),
            )

        def resolve(self, choice: Choice, given: Mapping[str, Given]) -> ServerConfiguration:
            from prism.bootstrap import configuration

            return (resolve or configuration.resolve)(choice, given)

    @app.command(name, cls=Command, help=inspect.getdoc(run))
    def stand_in() -> None:
        """Runs under no circumstances: `Command` puts `run` in its place."""


class Early:
    """Options that decide which others there are, read as Typer will read them later."""

    def __init__(self, args: Sequence[str]) -> None:
        self._args = args

    @property
    def file(self) -> Path | None:
        """The config file that is named, if any."""
        named = self.last("--config", "PRISM_CONFIG")
        return Path(named) if named else None

    def file_by_default(self, usual: Path) -> Path | None:
        """What is read when no file is named: nothing by a pattern.

        A proxy launches it, as a rule in its own folder, where its own file is.
        """
        return None if self.last("--proxy-address", "PRISM_PROXY_ADDRESS") else usual

    def last(self, flag: str, variable: str) -> str | None:
        """The value that holds; what is wrong with it, Typer reports."""
        return next(reversed(self.every(flag)), "") or os.environ.get(variable) or None

    def every(self, flag: str) -> list[str]:
        """Each value that is given with the flag."""
        found = []
        for index, arg in enumerate(self._args):
            if arg == "--":
                break
            if arg == flag and index + 1 < len(self._args):
                found.append(self._args[index + 1])
            elif arg.startswith(f"{flag}="):
                found.append(arg.removeprefix(f"{flag}="))
        return found


class _Configured(TyperCommand):
    body: Callable[..., None]
    config_help: str

    def prepare(self, early: Early) -> None:
        raise NotImplementedError

    def choose(self, early: Early) -> Choice:
        raise NotImplementedError

    def resolve(self, choice: Choice, given: Mapping[str, Given]) -> ServerConfiguration:
        raise NotImplementedError

    def invoke(self, ctx: Any) -> Any:
        # Where this is the whole program, and not one command of a group.
        return ctx.command.invoke(ctx)

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        early = Early(args)
        completing = extra.get("resilient_parsing")  # a line that is not finished
        try:
            if not completing:
                self.prepare(early)
            choice = self.choose(early)
        except PrismError as error:
            if completing:
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
        )(_with_options(self.body, choice, self.resolve, self.config_help))
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


def _with_options(
    body: Callable[..., None],
    choice: Choice,
    resolve: Callable[[Choice, Mapping[str, Given]], ServerConfiguration],
    config_help: str,
) -> Callable[..., None]:
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
            rich_help_panel=option.heading or None,
        ),
    ]
