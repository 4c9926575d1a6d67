"""`prism drivers`: what is installed, and what is wrong with it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prism.bootstrap.discovery import Installed, survey
from prism.cli.config import align
from prism.cli.output import write_json, write_line


def drivers(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List the installed drivers with their capabilities."""
    found = list(survey())
    if as_json:
        write_json(drivers=[_fields(driver) for driver in found])
        return
    rows = [("NAME", "VERSION", "SUMMARY")]
    rows += [(d.name, d.spec.version, d.spec.summary) for d in found if d.spec is not None]
    lines = iter(align(rows))
    write_line(next(lines))
    for driver in found:
        if driver.spec is not None:
            write_line(next(lines))
            write_line(f"  {_capabilities(driver)}")
    for driver in found:
        if driver.spec is None:
            write_line(f"{driver.name}  cannot be used: {driver.problem}")


def _capabilities(driver: Installed) -> str:
    assert driver.spec is not None
    return ", ".join(
        f"{capability} ({declaration.support})"
        for capability, declaration in driver.spec.capabilities.items()
    )


def _fields(driver: Installed) -> dict[str, Any]:
    if driver.spec is None:
        return {"name": driver.name, "package": driver.package, "problem": driver.problem}
    return {
        "name": driver.name,
        "package": driver.package,
        "version": driver.spec.version,
        "summary": driver.spec.summary,
        "capabilities": {
            str(capability): str(declaration.support)
            for capability, declaration in driver.spec.capabilities.items()
        },
    }
