"""Config files: reading, and checking before anything starts."""

from __future__ import annotations

import tomllib
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from prism.bootstrap.options import Option
from prism.ports import InvalidArgument
from prism.ports.text import nearest_first

if TYPE_CHECKING:
    import yaml

DEFAULT_PATH = Path("config.yaml")
"""Config file that is read when none is named and this one exists in the working directory."""


def read(path: Path, what: str = "config file") -> dict[str, object]:
    """Return the content of a TOML file if the name ends in .toml, else of a YAML file.

    Args:
        what: what the file is, for error messages.

    Raises:
        InvalidArgument: it cannot be read, or has another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"cannot read the {what} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"the {what} {path} is not UTF-8") from None
    try:
        tree = _parse_toml(path, text) if path.suffix == ".toml" else _parse_yaml(path, text)
    except RecursionError:
        raise InvalidArgument(f"{path} is nested too deeply") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidArgument(f"{path}: a {what} must be a mapping of names to values")
    return tree


def texts_of(
    path: Path, tree: Mapping[str, object], options: Iterable[Option], installed: Iterable[str]
) -> dict[str, str]:
    """Return the settings in the file as text, by option parameter.

    Args:
        options: options of the server and of the chosen driver.
        installed: names of all drivers; sections of drivers that are not chosen are not read.
    """
    sections = by_section(options)
    top = {key: value for key, value in tree.items() if key != "drivers"}
    texts = section_texts(path, "", top, sections, also=["drivers"])
    drivers = tree.get("drivers") or {}
    known = list(installed)
    if not isinstance(drivers, dict):
        raise InvalidArgument(f"{path}: 'drivers' must be a mapping of drivers to their settings")
    for name, section in drivers.items():
        # The file may configure drivers that are not installed here, but a name that is nearly
        # that of an installed driver is a mistake.
        close = [] if name in known else get_close_matches(str(name), known)
        if close:
            raise InvalidArgument(
                f"{path}: the driver of section drivers.{name} is not installed; "
                f"did you mean drivers.{close[0]}?"
            )
        if f"drivers.{name}" in sections:
            texts |= section_texts(path, f"drivers.{name}", section, sections)
    return texts


def by_section(options: Iterable[Option]) -> Mapping[str, Mapping[str, Option]]:
    """Return the options by section and key."""
    sections: dict[str, dict[str, Option]] = {}
    for option in options:
        sections.setdefault(option.section, {})[option.key] = option
    return sections


def section_texts(
    path: Path,
    section: str,
    tree: object,
    sections: Mapping[str, Mapping[str, Option]],
    also: Iterable[str] = (),
) -> dict[str, str]:
    """Return the settings in one section as text, by option parameter.

    Args:
        section: name of the section; empty: the top level.
        tree: content of the section.
        also: valid keys that are not settings.
    """
    if tree is not None and not isinstance(tree, dict):
        raise InvalidArgument(f"{path}: {section} must be a mapping of names to values")
    options = sections.get(section, {})
    texts = {}
    for key, value in (tree or {}).items():
        option = options.get(key)
        if option is None:
            valid = [*options, *also]
            where = f"{section}.{key}" if section else key
            names = nearest_first(str(key), valid)
            raise InvalidArgument(f"{path}: unknown key {where}; the valid ones are: {names}")
        if value is not None:
            texts[option.parameter] = _text(path, option, value)
    return texts


def _text(path: Path, option: Option, value: object) -> str:
    where = f"{path}: {option.path}"
    if isinstance(value, (dict, list)):
        raise InvalidArgument(f"{where} must be {option.field.expects}, not a list or mapping")
    if option.field.type is str and not isinstance(value, str):
        # YAML reads 0123 as 83 and `no` as false: the original text is lost.
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


def _parse_toml(path: Path, text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} is not valid TOML: {error}") from None


def _parse_yaml(path: Path, text: str) -> object:
    # Imported only for a YAML file.
    import yaml

    try:
        return yaml.load(text, Loader=_loader())  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise InvalidArgument(f"{path} is not valid YAML: {problem}{where}") from None


def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Rejects a repeated key; YAML itself would silently use the last one."""

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, object]:
            seen = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"the key {key.value!r} is given twice",
                        problem_mark=key.start_mark,
                    )
                seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    return Loader
