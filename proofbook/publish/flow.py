"""Where the values of a notebook come from, read off its code: which names and functions a value rests on."""

import ast
import copy
import symtable
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from proofbook.publish.notebooks import Notebook

__all__ = ["Flow", "Names", "Reached", "calls_in", "folded", "is_number", "name_of", "statements_of"]


class Names:
    """The names that a statement at the top of a cell makes and uses, those inside its functions too."""

    def __init__(self, one: ast.stmt):
        self.made: set[str] = set()
        self.used: set[str] = set()
        self._read(symtable.symtable(ast.unparse(one), "cell", "exec"), top=True)
        plain = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        self.surely_made = self.made if isinstance(one, plain) else set()

    def _read(self, table: symtable.SymbolTable, top: bool) -> None:
        for symbol in table.get_symbols():
            if top and (symbol.is_assigned() or symbol.is_imported()):
                self.made.add(symbol.get_name())
            if symbol.is_referenced() and (top or symbol.is_global()):
                self.used.add(symbol.get_name())
        for child in table.get_children():
            self._read(child, top=False)


def statements_of(code: str) -> list[ast.stmt]:
    """The statements of a cell; none where it is for IPython alone."""
    try:
        return ast.parse(code).body
    except SyntaxError:
        return []


def name_of(call: ast.Call) -> str:
    """What a call calls, without what it is an attribute of."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def calls_in(code: str) -> Iterator[ast.Call]:
    """Every call in a cell."""
    for statement in statements_of(code):
        yield from (node for node in ast.walk(statement) if isinstance(node, ast.Call))


Variable = tuple[str, int]
"""A name as a statement made it, by the number of the statement."""


@dataclass(frozen=True)
class Reached:
    """What an expression rests on: variables, imported things by their full names, methods by theirs."""

    variables: frozenset[Variable]
    imported: frozenset[str]
    methods: frozenset[str]


@dataclass(frozen=True)
class _Spoken:
    """What a piece of code speaks of: names with attributes, those from outside it, words in its calls."""

    chains: set[str]
    free: set[str]
    told: dict[str, set[str]]


class Flow:
    """The statements of a notebook in order, each of its names led back to the statement that made it."""

    def __init__(self, notebook: Notebook):
        self.statements: list[tuple[int, ast.stmt]] = [
            (number, one)
            for number, cell in enumerate(notebook["cells"])
            if cell["cell_type"] == "code"
            for one in statements_of(cell["source"])
        ]
        self._known: dict[ast.AST, _Spoken] = {}

    @cached_property
    def _names(self) -> list[Names]:
        return [Names(one) for _, one in self.statements]

    @cached_property
    def _changed(self) -> list[set[str]]:
        return [_changed_by(one) for _, one in self.statements]

    @cached_property
    def _makers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for k, names in enumerate(self._names):
            for name in names.made:
                found.setdefault(name, []).append(k)
        return found

    def maker(self, name: str, before: int) -> int | None:
        """The last statement before one that made a name; None where none did."""
        places = self._makers.get(name, [])
        earlier = bisect_left(places, before)
        return places[earlier - 1] if earlier else None

    def _spoken_of(self, node: ast.AST) -> _Spoken:
        if node not in self._known:
            self._known[node] = _Spoken(_chains(node), _free(node), _told(node))
        return self._known[node]

    def value(self, name: str, before: int) -> tuple[ast.expr, int] | None:
        """The expression that a name was given, and the number of its statement; None where it is no such."""
        place = self.maker(name, before)
        one = None if place is None else self.statements[place][1]
        if place is None or not isinstance(one, ast.Assign) or len(one.targets) != 1:
            return None
        found = _of_target(one.targets[0], one.value, name)
        return None if found is None else (found, place)

    def reached(self, expression: ast.expr, before: int, stops: Iterable[Variable] = ()) -> Reached:
        """All that an expression before a statement rests on, but not what `stops` rest on."""
        stops = frozenset(stops)
        variables: set[Variable] = set()
        imported: set[str] = set()
        methods: set[str] = set()
        waiting: list[tuple[ast.AST, int]] = [(expression, before)]
        while waiting:
            node, place = waiting.pop()
            spoken = self._spoken_of(node)
            for chain in spoken.chains:
                name = chain.partition(".")[0]
                if path := self.path(chain, place):
                    imported.update(f"{path}{words}" for words in spoken.told.get(chain, {""}))
                elif "." in chain:
                    methods.add(chain.rpartition(".")[2])
                if name not in spoken.free:
                    continue
                made = self.maker(name, place)
                if made is None or (name, made) in variables:
                    continue
                variables.add((name, made))
                if (name, made) in stops:
                    continue
                later_on = range(made + 1, place)
                waiting += [(self.statements[k][1], k) for k in later_on if name in self._changed[k]]
                found = self.value(name, place)
                if found is not None:
                    waiting.append(found)
                elif not isinstance(self.statements[made][1], (ast.Import, ast.ImportFrom)):
                    # What a function speaks of is looked up when it is called.
                    later = isinstance(self.statements[made][1], (ast.FunctionDef, ast.ClassDef))
                    waiting.append((self.statements[made][1], place if later else made))
        return Reached(frozenset(variables), frozenset(imported), frozenset(methods))

    def path(self, chain: str, before: int) -> str | None:
        """The full name of something imported, ``numpy.linalg.norm`` for ``np.linalg.norm`` say."""
        name, dot, rest = chain.partition(".")
        place = self.maker(name, before)
        if place is None:
            return None
        one = self.statements[place][1]
        if isinstance(one, (ast.Import, ast.ImportFrom)):
            module = f"{one.module}." if isinstance(one, ast.ImportFrom) else ""
            for alias in one.names:
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    return f"{module}{alias.name if alias.asname or module else name}{dot}{rest}"
        found = self.value(name, before)
        if found is not None and (inner := _chain(found[0])):
            path = self.path(inner, found[1])
            return f"{path}{dot}{rest}" if path else None
        return None

    def is_function(self, variable: Variable) -> bool:
        """Whether a variable is a function that the notebook writes out, or something imported."""
        one = self.statements[variable[1]][1]
        kinds = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
        return isinstance(one, kinds) or isinstance(getattr(one, "value", None), ast.Lambda)


_CHANGING = {"add", "append", "extend", "insert", "setdefault", "update"}


def _changed_by(one: ast.stmt) -> set[str]:
    """The names whose values a statement changes, by a key, an attribute or a method such as `append`."""
    found = set()
    for node in ast.walk(one):
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            found.add(_root(node))
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _CHANGING
        ):
            found.add(_root(node.func))
    return found - {""}


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes and keys begins with."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _of_target(target: ast.expr, value: ast.expr, name: str) -> ast.expr | None:
    """What a name is given where a target is given a value."""
    if isinstance(target, ast.Name):
        return value if target.id == name else None
    if isinstance(target, (ast.Tuple, ast.List)):
        several = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value] * len(target.elts)
        if len(several) == len(target.elts):
            found = (_of_target(one, other, name) for one, other in zip(target.elts, several))
            return next((one for one in found if one is not None), None)
    return None


def _chain(node: ast.AST) -> str:
    """A name with its attributes, ``a.b.c``; an empty string for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _chains(node: ast.AST) -> set[str]:
    """The names in a piece of code, each with its attributes; of another value, ``?`` with its attribute."""
    inner = {id(one.value) for one in ast.walk(node) if isinstance(one, ast.Attribute)}
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute):
            chain = _chain(one)
            if id(one) not in inner and chain:
                found.add(chain)
            elif not chain:
                found.add(f"?.{one.attr}")
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load) and id(one) not in inner:
            found.add(one.id)
    return found


def _told(node: ast.AST) -> dict[str, set[str]]:
    """By each name that is called, the words it is told: ``(impl='reference')`` makes it another function."""
    found: dict[str, set[str]] = {}
    for call in (one for one in ast.walk(node) if isinstance(one, ast.Call)):
        words = [
            f"{one.arg}={one.value.value!r}"
            for one in call.keywords
            if isinstance(one.value, ast.Constant) and isinstance(one.value.value, str)
        ]
        found.setdefault(_chain(call.func), set()).add(f"({', '.join(words)})" if words else "")
    return found


def _free(node: ast.AST) -> set[str]:
    """The names that a piece of code has from outside it."""
    return Names(node if isinstance(node, ast.stmt) else ast.Expr(cast(ast.expr, node))).used


def with_names(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """An expression with values in place of names."""

    class Put(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return values.get(name.id, name) if isinstance(name.ctx, ast.Load) else name

    found: ast.expr = Put().visit(copy.deepcopy(node))
    return found


def folded(node: ast.expr) -> ast.expr:
    """A copy of an expression with the arithmetic of typed numbers carried out.

    >>> ast.unparse(folded(ast.parse("x[1 - 1] + 2 * 3", mode="eval").body))
    'x[0] + 6'
    """
    found: ast.expr = _Folded().visit(copy.deepcopy(node))
    return found


class _Folded(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        return _number_for(node) if is_number(node.left) and is_number(node.right) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _number_for(node) if is_number(node.operand) else node


def _number_for(node: ast.expr) -> ast.expr:
    try:
        return ast.Constant(eval(compile(ast.Expression(ast.fix_missing_locations(node)), "", "eval")))
    except (ArithmeticError, TypeError):
        return node


def is_number(node: ast.expr) -> bool:
    """Whether an expression is a typed number."""
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)
