"""`prism drivers`: the installed drivers, and what is wrong with those that do not load."""

from __future__ import annotations

import typer
from typer.main import get_group

from prism.bootstrap.discovery import Installed, survey
from prism.cli.parameters import AsJson, PanelCommand, example
from prism.cli.streams import columns, write_json, write_line
from prism.ports import DriverSpec

app = typer.Typer(rich_markup_mode=None)


@app.command(cls=PanelCommand, epilog=example("drivers"))
def drivers(as_json: AsJson = False) -> None:
    """List the installed drivers with their capabilities."""
    found = list(survey())
    if as_json:
        write_json(drivers=[_fields(driver) for driver in found])
        return
    specs = [driver.spec for driver in found if driver.spec is not None]
    rows = [("NAME", "VERSION", "SUMMARY")]
    rows += [(spec.name, spec.version, spec.summary) for spec in specs]
    head, *lines = columns(rows)
    write_line(head)
    for line, spec in zip(lines, specs, strict=True):
        write_line(line)
        supported = [f"{name} ({support})" for name, support in _capabilities(spec).items()]
        write_line(f"  {', '.join(supported)}")
    for driver in found:
        if driver.spec is None:
            write_line(f"{driver.name}  cannot be used: {driver.problem}")


def _capabilities(spec: DriverSpec) -> dict[str, str]:
    return {
        str(capability): str(declaration.support)
        for capability, declaration in spec.capabilities.items()
    }


def _fields(driver: Installed) -> dict[str, object]:
    if driver.spec is None:
        return {"name": driver.name, "package": driver.package, "problem": driver.problem}
    return {
        "name": driver.name,
        "package": driver.package,
        "version": driver.spec.version,
        "summary": driver.spec.summary,
        "capabilities": _capabilities(driver.spec),
    }


COMMANDS = get_group(app).commands
