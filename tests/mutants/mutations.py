"""Mutations of a Python module: each changes one expression or statement."""

from __future__ import annotations

import ast
import copy
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


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change.

    Attributes:
        line: number of the changed line in the original.
        before: source of what was changed.
        after: source of what replaces it.
        source: source of the whole module.
    """

    line: int
    before: str
    after: str
    source: str


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        replacement = _mutated(node)
        if replacement is None:
            continue
        changed = copy.deepcopy(tree)
        target = next(each for at, each in enumerate(ast.walk(changed)) if at == index)
        before, after = ast.unparse(node), ast.unparse(replacement)
        new = _Replace(target, replacement).visit(changed)
        text = ast.unparse(ast.fix_missing_locations(new))
        yield Mutant(getattr(node, "lineno", 0), before, after, text)


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self._target = target
        self._replacement = replacement

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._target:
            return self._replacement
        return self.generic_visit(node)


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
