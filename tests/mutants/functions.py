"""Change functions that are loaded already, in place: no module is imported again."""

from __future__ import annotations

import ast
import gc
import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import TypeAlias

_Place: TypeAlias = tuple[str, int]


class NotInFunctionsError(Exception):
    """The change is not one of functions alone: the module must be imported with it."""


class LoadedFunctions:
    """The functions of some modules, which are imported if they are not yet."""

    def __init__(self, source: Path, files: Iterable[Path]) -> None:
        self._of_file: dict[str, list[FunctionType]] = {str(file): [] for file in files}
        for file in self._of_file:
            import_module(_module_name(Path(file).relative_to(source)))
        # What is frozen is not listed.
        gc.unfreeze()
        for each in gc.get_objects():
            if type(each) is FunctionType and each.__code__.co_filename in self._of_file:
                self._of_file[each.__code__.co_filename].append(each)
        gc.freeze()

    def change(self, file: str, changed: ast.Module) -> None:
        """Give the functions of a module the code that they have in its changed tree.

        Raises:
            NotInFunctionsError: something else than functions changes, or one is not loaded.
        """
        before = _codes(ast.parse(Path(file).read_text()), file)
        after = _codes(changed, file)
        new = {place: code for place, code in after.items() if before.get(place) != code}
        found = [each for each in self._of_file[file] if _place(each.__code__) in new]
        if not new or {_place(each.__code__) for each in found} != new.keys():
            raise NotInFunctionsError(file)
        for function in found:
            try:
                function.__code__ = new[_place(function.__code__)]
            except ValueError as error:
                # It no longer uses the class around it.
                raise NotInFunctionsError(file) from error


def _module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _codes(tree: ast.Module, file: str) -> dict[_Place, CodeType]:
    code = compile(tree, file, "exec", dont_inherit=True)
    return {_place(each): each for each in _functions_in(code)}


def _functions_in(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of functions of a module or class, without the functions inside them."""
    for constant in code.co_consts:
        if not isinstance(constant, CodeType):
            continue
        if constant.co_flags & inspect.CO_OPTIMIZED:
            yield constant
        else:
            yield from _functions_in(constant)


def _place(code: CodeType) -> _Place:
    return code.co_qualname, code.co_firstlineno
