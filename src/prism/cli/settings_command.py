"""Command whose options are the settings of a server and of its driver.

Which driver that is, and what the config file says, is given by options as well. So these are
read first, each time the command runs, and decide on the other options.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import typer
from typer.core import TyperOption

from prism.cli.parameters import PanelCommand, complete_from, installed_drivers
from prism.ports import InvalidArgument, PrismError

if TYPE_CHECKING:
    from typer._click import Context

    from prism.bootstrap.configuration import Choice, Given, ServerConfiguration
    from prism.bootstrap.options import Option

ChoiceT = TypeVar("ChoiceT", bound="Choice")
ConfigurationT = TypeVar("ConfigurationT", bound="ServerConfiguration")

DEFAULT_FILE = "config.yaml"


class PreParsedArgs:
    """Values of single options, read from the arguments before Typer parses them.

    What is wrong with a value, Typer reports later.
    """

    def __init__(self, args: Sequence[str]) -> None:
        self._args = args

    @property
    def config_file(self) -> Path | None:
        """Config file named by flag or environment; None: by neither."""
        named = self.value("--config", "PRISM_CONFIG")
        return Path(named) if named else None

    def default_config_file(self, name: str) -> Path | None:
        """Return the config file to read, if it exists, when none is named.

        A pattern reads none: its proxy launches it in the folder of the proxy's own file.
        """
        return None if self.value("--proxy-address", "PRISM_PROXY_ADDRESS") else Path(name)

    def value(self, flag: str, variable: str) -> str | None:
        """Return the last value of a flag, or that of an environment variable."""
        return next(reversed(self.values(flag)), "") or os.environ.get(variable) or None

    def values(self, flag: str) -> list[str]:
        """Return every value of a flag."""
        found = []
        for index, arg in enumerate(self._args):
            if arg == "--":
                break
            if arg == flag and index + 1 < len(self._args):
                found.append(self._args[index + 1])
            elif arg.startswith(f"{flag}="):
                found.append(arg.removeprefix(f"{flag}="))
        return found


@dataclass(frozen=True, slots=True)
class SettingsSource(Generic[ChoiceT, ConfigurationT]):
    """How a command finds its options, and makes a configuration of their values.

    Attributes:
        choose: reads the config file and finds the options; raises PrismError.
        resolve: makes the configuration from the given values; raises InvalidArgument.
        default_file: name of the config file that `choose` reads when none is named.
    """

    choose: Callable[[PreParsedArgs], ChoiceT]
    resolve: Callable[[ChoiceT, Mapping[str, Given]], ConfigurationT]
    default_file: str = DEFAULT_FILE


class SettingsCommand(PanelCommand, Generic[ChoiceT, ConfigurationT]):
    """Command that makes its options when it is parsed.

    Args:
        run: called with the configuration, and with the values of `own` by name.
        own: options of this command that are not settings.
        prepare: called before the driver is loaded, unless a shell completes the line.
    """

    def __init__(
        self,
        name: str | None,
        source: SettingsSource[ChoiceT, ConfigurationT],
        run: Callable[..., None],
        *,
        own: Sequence[TyperOption] = (),
        prepare: Callable[[PreParsedArgs], None] | None = None,
        epilog: str | None = None,
    ) -> None:
        super().__init__(name, help=run.__doc__, epilog=epilog, rich_markup_mode=None)
        self._source = source
        self._run = run
        self._own = own
        self._prepare = prepare

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Context | None = None,
        **extra: object,
    ) -> Context:
        pre_parsed = PreParsedArgs(args)
        completing = extra.get("resilient_parsing")
        try:
            if self._prepare is not None and not completing:
                self._prepare(pre_parsed)
            choice = self._source.choose(pre_parsed)
        except PrismError as error:
            if completing:
                return super().make_context(info_name, [], parent, **extra)
            if isinstance(error, InvalidArgument):
                raise typer.BadParameter(error.message) from None
            raise
        command = _ResolvedCommand(self, self._source, choice, self._run, self._own)
        return command.make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Context) -> object:
        # Called where this command is a program of its own, and not in a group.
        return ctx.command.invoke(ctx)


class _ResolvedCommand(PanelCommand, Generic[ChoiceT, ConfigurationT]):
    """The command with its options."""

    def __init__(
        self,
        command: PanelCommand,
        source: SettingsSource[ChoiceT, ConfigurationT],
        choice: ChoiceT,
        run: Callable[..., None],
        own: Sequence[TyperOption],
    ) -> None:
        settings = [_setting_option(option) for option in choice.options]
        super().__init__(
            command.name,
            params=[_config_option(source.default_file), *own, *settings],
            help=command.help,
            epilog=command.epilog,
            rich_markup_mode=None,
            context_settings={"default_map": dict(choice.file_texts)},
        )
        self._source = source
        self._choice = choice
        self._run = run
        self._own = [option.name for option in own if option.expose_value and option.name]

    def invoke(self, ctx: Context) -> object:
        try:
            configuration = self._source.resolve(self._choice, _given(ctx, self._choice.options))
        except InvalidArgument as error:
            raise typer.BadParameter(error.message, ctx=ctx) from None
        return self._run(configuration, **{name: ctx.params[name] for name in self._own})


def json_option() -> TyperOption:
    return TyperOption(
        param_decls=["as_json", "--json"], is_flag=True, default=False, help="Print JSON."
    )


def version_option(text: Callable[[], str]) -> TyperOption:
    """Return an option that prints the text and exits."""

    def show(ctx: Context, _param: object, wanted: bool) -> None:
        if wanted and not ctx.resilient_parsing:
            typer.echo(text())
            raise typer.Exit

    return TyperOption(
        param_decls=["--version"],
        is_flag=True,
        default=False,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version and exit.",
    )


def _config_option(default_file: str) -> TyperOption:
    return TyperOption(
        param_decls=["--config"],
        metavar="PATH",
        envvar="PRISM_CONFIG",
        show_envvar=True,
        help=f"Config file, YAML or TOML (default: {default_file} in this folder, if it exists)",
    )


class _SettingOption(TyperOption):
    """Option of a setting; ignores variables that Kubernetes set for a Service."""

    def __init__(self, option: Option, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._option = option

    def resolve_envvar_value(self, ctx: Context) -> str | None:
        from prism.bootstrap.configuration import is_service_link

        text = super().resolve_envvar_value(ctx)
        if text is None or is_service_link(self._option, text):
            return None
        if self._option.is_switch:
            # Typer's own text would list a dozen spellings.
            try:
                self._option.field.parse(text)
            except InvalidArgument as error:
                raise typer.BadParameter(error.message, ctx=ctx, param=self) from None
        return text


def _setting_option(option: Option) -> TyperOption:
    def check(text: str) -> str:
        # Checked, but not converted: a driver's settings travel to its lifecycle as text.
        if not option.holds_path:
            try:
                option.field.parse(text)
            except InvalidArgument as error:
                raise typer.BadParameter(error.message) from None
        return text

    return _SettingOption(
        option,
        param_decls=[option.parameter, option.declaration],
        type=None if option.is_switch else check,
        is_flag=option.is_switch,
        envvar=option.variable,
        show_envvar=True,
        metavar=None if option.is_switch else option.metavar,
        help=option.help,
        # Typer would show what the config file says, secrets included.
        show_default=False,
        hidden=option.hidden,
        autocompletion=complete_from(
            installed_drivers if option.parameter == "driver" else lambda: option.choices
        ),
        rich_help_panel=option.heading or None,
    )


def _given(ctx: Context, options: Sequence[Option]) -> dict[str, Given]:
    """Return the values by option parameter, except those left to their defaults."""
    from prism.bootstrap.configuration import Given, Source

    sources = {
        "COMMANDLINE": Source.FLAG,
        "ENVIRONMENT": Source.ENVIRONMENT,
        "DEFAULT_MAP": Source.FILE,
    }
    given = {}
    for option in options:
        source = ctx.get_parameter_source(option.parameter)
        if source is not None and source.name in sources:
            value = ctx.params[option.parameter]
            text = str(value).lower() if isinstance(value, bool) else value
            given[option.parameter] = Given(text, sources[source.name])
    return given
