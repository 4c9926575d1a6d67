"""Mutations of a Python module: each changes one expression or statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
}

# What decides how a class is stored and typed, not what it does: mypy rejects an assignment to a
# field of a frozen class.
_STORAGE = ("slots", "frozen", "kw_only")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change.

    Attributes:
        index: number of the changed node in the order of `ast.walk`.
        within: dotted name of the function or class around it; empty at module level.
        lines: numbers of the changed lines in the original.
        before: source of what was changed.
        after: source of what replaces it.
    """

    index: int
    within: str
    lines: range
    before: str
    after: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, except those that change nothing but a log.

    Left out are also code for the type checker alone, and how dataclasses are stored.
    """
    tree = ast.parse(source)
    names = _names(tree)
    without_effect = set(_without_effect(tree))
    for index, node in enumerate(ast.walk(tree)):
        replacement = _mutated(node)
        if replacement is None or node in without_effect:
            continue
        # Of an `if` only the condition is changed, so that its lines are those that run.
        changed = node.test if isinstance(node, ast.If) else node
        first, last = getattr(changed, "lineno", 1), getattr(changed, "end_lineno", 1)
        before, after = ast.unparse(changed), ast.unparse(replacement)
        if isinstance(node, ast.If):
            before, after = f"if {before}", "if False"
        yield Mutant(index, names[node], range(first, last + 1), before, after)


def source_of(mutant: Mutant, source: str) -> str:
    """Return the source of a module with the change of one of its mutants."""
    return ast.unparse(tree_of(mutant.index, source))


def tree_of(index: int, source: str) -> ast.Module:
    """Return the tree of a module with the change of the mutant of this index.

    Everything else keeps its line.
    """
    tree = ast.parse(source)
    target = next(node for at, node in enumerate(ast.walk(tree)) if at == index)
    replacement = _mutated(target)
    assert replacement is not None
    ast.copy_location(replacement, target)
    _Replace(target, replacement).visit(tree)
    return ast.fix_missing_locations(tree)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target = target
        self._replacement = replacement

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._target:
            return self._replacement
        return self.generic_visit(node)


def _names(tree: ast.AST) -> dict[ast.AST, str]:
    """Return the dotted name of the function or class around each node."""
    names = {tree: ""}
    # A parent comes before its children.
    for node in ast.walk(tree):
        name = names[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{name}.{node.name}" if name else node.name
        names.update(dict.fromkeys(ast.iter_child_nodes(node), name))
    return names


def _without_effect(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes whose change has no effect but on a log."""
    for node in ast.walk(tree):
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from ast.walk(node)
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="_log" | "_logger")))
            ):
                yield node
            case ast.ClassDef():
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call):
                        yield from (
                            keyword.value
                            for keyword in decorator.keywords
                            if keyword.arg in _STORAGE
                        )


def _mutated(node: ast.AST) -> ast.AST | None:
    """Return the node with one change; None: nothing is changed here."""
    match node:
        case ast.Compare(ops=[only]) if type(only) in _COMPARISONS:
            return ast.Compare(node.left, [_COMPARISONS[type(only)]()], node.comparators)
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS:
            return ast.BinOp(node.left, _OPERATORS[type(operator)](), node.right)
        case ast.BoolOp(op=ast.And()):
            return ast.BoolOp(ast.Or(), node.values)
        case ast.BoolOp(op=ast.Or()):
            return ast.BoolOp(ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.If():
            return ast.If(ast.Constant(value=False), node.body, node.orelse)
        case ast.Expr(value=ast.Call() | ast.Await()):
            return ast.Pass()
        case ast.Constant(value=bool(value)):
            return ast.Constant(value=not value)
        case _:
            return None
