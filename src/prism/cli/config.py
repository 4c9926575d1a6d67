"""`prism config`: the effective settings and their sources."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from typer.core import TyperGroup

from prism.cli.errors import print_message
from prism.cli.parameters import example
from prism.cli.serve import PROXY, SERVER, pattern_option
from prism.cli.settings_command import SettingsCommand, json_option
from prism.cli.streams import columns, write_json, write_line

if TYPE_CHECKING:
    from prism.bootstrap.configuration import ServerConfiguration
    from prism.bootstrap.proxy.configuration import ProxyConfiguration


def show(configuration: ServerConfiguration, *, as_json: bool) -> None:
    """Print each setting of a server, and its source.

    Secrets are masked. Takes the options of `prism serve`.
    """
    _show(configuration, as_json)


def show_proxy(configuration: ProxyConfiguration, *, as_json: bool) -> None:
    """Print each setting of a proxy, and its source.

    Secrets are masked. Takes the options of `prism proxy`.
    """
    _show(configuration, as_json)


def _show(configuration: ServerConfiguration, as_json: bool) -> None:
    from prism.bootstrap.configuration import misspelt_variables

    for warning in misspelt_variables(os.environ, configuration.options):
        print_message(warning)
    if as_json:
        write_json(
            config_file=None if configuration.file is None else str(configuration.file),
            settings=[
                {"name": v.option.path, "value": v.shown, "origin": v.origin}
                for v in configuration.values
            ],
        )
        return
    rows = [(v.option.path, v.shown or "-", v.origin) for v in configuration.values]
    for row in columns([("NAME", "VALUE", "FROM"), *rows]):
        write_line(row)


_GROUP = TyperGroup(
    name="config",
    help="Show the effective settings of a server or proxy.",
    no_args_is_help=True,
    rich_markup_mode=None,
    commands=[
        SettingsCommand(
            "show",
            SERVER,
            show,
            own=[json_option()],
            epilog=example("config show --driver redis --json"),
        ),
        SettingsCommand(
            "show-proxy",
            PROXY,
            show_proxy,
            own=[pattern_option(), json_option()],
            epilog=example("config show-proxy --pattern cache=memstore"),
        ),
    ],
)

COMMANDS = {"config": _GROUP}
