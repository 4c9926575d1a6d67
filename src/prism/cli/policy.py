"""`prism policy`: questions to a policy file, its examples, and tokens for callers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_group

from prism.bootstrap.files import read_text
from prism.cli.errors import ExitStatus, print_message
from prism.cli.parameters import AsJson, PanelCommand, example
from prism.cli.streams import write_json, write_line
from prism.ports.text import counted

if TYPE_CHECKING:
    from prism.domain.access.decisions import Question

app = typer.Typer(rich_markup_mode=None)

PolicyArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Policy file.")]


@app.command(
    cls=PanelCommand,
    epilog=example("policy check policy.toml --as token:orders --may write --key orders/1"),
)
def check(
    file: PolicyArgument,
    names: Annotated[
        list[str],
        typer.Option(
            "--as",
            metavar="IDENTITY",
            help="Name of the caller, such as token:orders; repeatable.",
        ),
    ],
    action: Annotated[
        str,
        typer.Option(
            "--may", metavar="ACTION", help="read, write, delete, scan, watch, observe or admin."
        ),
    ],
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Key to read, write or delete.")
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option("--prefix", metavar="TEXT", help="Prefix to scan or watch; default: all."),
    ] = None,
    pattern: Annotated[
        str, typer.Option("--pattern", metavar="NAME", help="Pattern of a proxy.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Say what a policy lets a caller do.

    Prints the rule that decides. Exit status 1 if the action is refused.
    """
    from prism.bootstrap.policy_file import parse_action, parse_identity, read_policy
    from prism.domain.access.decisions import ask, decide

    content = read_policy(file)
    question = ask(
        parse_identity(names), parse_action(action), key=key, prefix=prefix, pattern=pattern
    )
    decision = decide(content.policy, question)
    found = content.policy.quota_of(question.identity)
    quota = None if found is None else found[1]
    if as_json:
        write_json(
            allowed=decision.allowed,
            rule=None if decision.rule is None else decision.rule.name,
            within=list(decision.within),
            quota=None if quota is None else str(quota),
            **_fields(question),
        )
    else:
        write_line(str(decision))
        if decision.allowed and quota is not None:
            write_line(f"limited by {quota}")
    if not decision.allowed:
        raise typer.Exit(ExitStatus.FAILURE)


@app.command("test", cls=PanelCommand, epilog=example("policy test policy.toml"))
def run_examples(file: PolicyArgument, as_json: AsJson = False) -> None:
    """Check a policy file and its examples.

    Exit status 1 if an example does not hold.
    """
    from prism.bootstrap.policy_file import read_policy, text_of_broken

    content = read_policy(file)
    broken = [text_of_broken(*each) for each in content.broken_examples()]
    count = len(content.examples)
    if as_json:
        write_json(rules=len(content.policy.rules), examples=count, broken=broken)
    else:
        for text in broken:
            print_message(text)
        write_line(
            f"{file}: {counted(len(content.policy.rules), 'rule')}; "
            f"{count - len(broken):,} of {count:,} examples hold"
        )
    if broken:
        raise typer.Exit(ExitStatus.FAILURE)


@app.command(cls=PanelCommand, epilog=example("policy token orders --add-to tokens"))
def token(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the caller; its identity is token:NAME."),
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            "--add-to",
            metavar="FILE",
            help="Add the line to this file, the --tokens of a server, and print only the token.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token for a caller.

    Prints the token, and the line with its hash for the server's file of tokens.
    """
    from prism.domain.access.tokens import new_token

    secret, line = new_token(name)
    if file is not None:
        _add_line(file, line)
    if as_json:
        write_json(token=secret, line=line)
    elif file is not None:
        write_line(secret)
    else:
        write_line(f"token for the caller:  {secret}")
        write_line(f"line for the server:   {line}")


def _add_line(file: Path, line: str) -> None:
    """Add a line to a file, which is created if it does not exist."""
    before = read_text(file) if file.exists() else ""
    separator = "" if not before or before.endswith("\n") else "\n"
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{separator}{line}\n")


def _fields(question: Question) -> dict[str, object]:
    return {
        "as": list(question.identity.names),
        "may": str(question.action),
        "key": question.key,
        "pattern": question.pattern or None,
    }


_GROUP = TyperGroup(
    name="policy",
    help="Check a policy file, and make tokens for callers.",
    no_args_is_help=True,
    rich_markup_mode=None,
    commands=[*get_group(app).commands.values()],
)

COMMANDS = {"policy": _GROUP}
