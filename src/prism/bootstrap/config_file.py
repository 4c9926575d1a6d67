"""Reads a config file, and finds what is wrong with it before anything starts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from prism.bootstrap.options import Option
from prism.ports import InvalidArgument

DEFAULT_PATH = Path("config.yaml")
"""Used when no other is named and it exists in the working directory."""


def read(path: Path) -> dict[str, Any]:
    """The file's tree: YAML, or TOML when its name ends so."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"cannot read the config file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"the config file {path} is not UTF-8") from None
    tree = _parse_toml(path, text) if path.suffix == ".toml" else _parse_yaml(path, text)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidArgument(f"{path}: a config file holds names with values")
    return tree


def texts_of(
    path: Path, tree: Mapping[str, Any], options: Iterable[Option], installed: Iterable[str]
) -> dict[str, str]:
    """The settings in the tree as text, by option parameter.

    Args:
        options: the server's own, and those of the chosen driver.
        installed: every driver; sections of those not chosen are left alone.
    """
    sections = by_section(options)
    top = {key: value for key, value in tree.items() if key != "drivers"}
    texts = section_texts(path, "", top, sections, also=["drivers"])
    drivers = tree.get("drivers") or {}
    known = list(installed)
    if not isinstance(drivers, dict):
        raise InvalidArgument(f"{path}: 'drivers' holds a section for each driver")
    for name, section in drivers.items():
        # A driver may be configured that this machine has not, but a name that
        # is nearly right is a mistake.
        close = [] if name in known else get_close_matches(str(name), known)
        if close:
            raise InvalidArgument(
                f"{path}: the section drivers.{name} is of no installed driver; "
                f"did you mean drivers.{close[0]}?"
            )
        if f"drivers.{name}" in sections:
            texts |= section_texts(path, f"drivers.{name}", section, sections)
    return texts


def by_section(options: Iterable[Option]) -> Mapping[str, Mapping[str, Option]]:
    """The options by where in a file they are, and by key."""
    sections: dict[str, dict[str, Option]] = {}
    for option in options:
        sections.setdefault(option.section, {})[option.key] = option
    return sections


def section_texts(
    path: Path,
    section: str,
    tree: Any,
    sections: Mapping[str, Mapping[str, Option]],
    also: Iterable[str] = (),
) -> dict[str, str]:
    """The settings in one section as text, by option parameter.

    Args:
        section: its name; empty: the top.
        tree: what is in it.
        also: keys that are valid there, and no settings.
    """
    if tree is not None and not isinstance(tree, dict):
        raise InvalidArgument(f"{path}: {section} holds names with values")
    options = sections.get(section, {})
    texts = {}
    for key, value in (tree or {}).items():
        option = options.get(key)
        if option is None:
            valid = [*options, *also]
            close = get_close_matches(str(key), valid)
            ordered = close + [name for name in valid if name not in close]
            where = f"{section}.{key}" if section else key
            raise InvalidArgument(f"{path}: unknown key {where}; valid are: {', '.join(ordered)}")
        if value is not None:
            texts[option.parameter] = _text(path, option, value)
    return texts


def _text(path: Path, option: Option, value: Any) -> str:
    where = f"{path}: {option.path}"
    if isinstance(value, (dict, list)):
        raise InvalidArgument(f"{where} must be {option.field.expects}, not several values")
    if option.field.type is str and not isinstance(value, str):
        # YAML reads 0123 as 83 and `no` as false: what was meant cannot be told.
        raise InvalidArgument(f"{where} must be text: put it in quotes")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if not option.holds_path:
        try:
            option.field.parse(text)
        except InvalidArgument as error:
            raise InvalidArgument(f"{path}: {_prefix(option)}{error.message}") from None
    return text


def _prefix(option: Option) -> str:
    return option.path.removesuffix(option.key)


def _parse_toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} is no valid TOML: {error}") from None


def _parse_yaml(path: Path, text: str) -> Any:
    import yaml  # only who has such a file pays for it

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise InvalidArgument(f"{path} is no valid YAML: {problem}{where}") from None


def _loader() -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses a key given twice, of which YAML would silently take the last."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is there twice",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    return Loader
