"""The two sides of a comparison: computations that agree say something where they share no function."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proofbook.publish.book import Book
from proofbook.publish.flow import Flow, Reached, Variable, name_of, with_names

__all__ = ["dependent_sides", "independent", "not_compared", "said_and_compared"]

Sides = tuple[ast.expr, ast.expr, int]
"""What is compared with what, and the statement before which the names in them were made."""

SHAPING = {
    *("abs", "amax", "clamp", "cpu", "detach", "double", "flatten", "float", "item", "max", "mean", "numpy"),
    *("sum", "tolist"),
}
"""Methods that leave a difference one."""


def pairs(flow: Flow, difference: ast.expr, before: int) -> Iterator[Sides]:
    """The two sides of each difference that an expression is or holds; nothing where it is none."""
    one = difference
    if isinstance(one, ast.Name):
        if found := flow.value(one.id, before):
            yield from pairs(flow, found[0], found[1])
    elif isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name):
        found = flow.value(one.value.id, before)
        if found and isinstance(found[0], ast.Dict):
            for value in found[0].values:
                yield from pairs(flow, value, found[1])
        elif found and isinstance(found[0], (ast.DictComp, ast.ListComp)):
            yield from pairs(flow, found[0], found[1])
    elif isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub):
        yield *_ratio_less_one(one), before
    elif isinstance(one, ast.BinOp) and isinstance(one.op, (ast.Div, ast.Mult)):
        yield from pairs(flow, one.left, before)
        yield from pairs(flow, one.right, before)
    elif isinstance(one, (ast.List, ast.Tuple)):
        for part in one.elts:
            yield from pairs(flow, part, before)
    elif isinstance(one, (ast.ListComp, ast.GeneratorExp, ast.DictComp)):
        element = one.value if isinstance(one, ast.DictComp) else one.elt
        for values in _bound(flow, one.generators, before):
            yield from pairs(flow, with_names(element, values), before)
    elif isinstance(one, ast.Call):
        yield from _of_call(flow, one, before)


def _ratio_less_one(one: ast.BinOp) -> tuple[ast.expr, ast.expr]:
    """What is divided by what where a ratio less 1 is given; else the two sides of a difference."""
    ratio = one.left
    if isinstance(one.right, ast.Constant) and isinstance(ratio, ast.BinOp) and isinstance(ratio.op, ast.Div):
        return ratio.left, ratio.right
    return one.left, one.right


def _of_call(flow: Flow, call: ast.Call, before: int) -> Iterator[Sides]:
    function = call.func
    if (
        isinstance(function, ast.Attribute)
        and function.attr in SHAPING
        and not _is_imported(flow, function, before)
    ):
        yield from pairs(flow, function.value, before)
    elif (inside := _written_out(flow, call, before)) is not None:
        yield from pairs(flow, inside, before)
    elif len(call.args) == 1:
        yield from pairs(flow, call.args[0], before)
    elif len(call.args) == 2:
        yield call.args[0], call.args[1], before


def _written_out(flow: Flow, call: ast.Call, before: int) -> ast.expr | None:
    """What a short function of the notebook gives, with the arguments of its call put in; else None."""
    made = flow.maker(call.func.id, before) if isinstance(call.func, ast.Name) else None
    one = None if made is None else flow.statements[made][1]
    if not isinstance(one, ast.FunctionDef) or len(one.args.args) != len(call.args):
        return None
    values = dict(zip((argument.arg for argument in one.args.args), call.args))
    for line in one.body:
        if isinstance(line, ast.Return) and line.value is not None:
            return with_names(line.value, values)
        if isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name):
            values[line.targets[0].id] = with_names(line.value, values)
        elif not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)):
            return None
    return None


def _is_imported(flow: Flow, node: ast.expr, before: int) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and flow.path(node.id, before) is not None


def _bound(flow: Flow, generators: Sequence[ast.comprehension], before: int) -> Iterator[dict[str, ast.expr]]:
    """What the names of a comprehension are, one mapping for each element that can be told apart."""
    if not generators:
        yield {}
        return
    for rest in _bound(flow, generators[1:], before):
        for element in _elements(flow, generators[0].iter, before):
            yield {**_matched(generators[0].target, element), **rest}


def _elements(flow: Flow, iterated: ast.expr, before: int) -> list[ast.expr]:
    """The elements of what is iterated over, where it is written out; else itself, for any of them."""
    if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Attribute) and not iterated.args:
        held = iterated.func.value
        found = flow.value(held.id, before) if isinstance(held, ast.Name) else (held, before)
        if found and isinstance(found[0], ast.Dict) and iterated.func.attr in ("items", "values"):
            keyed = [(key or ast.Constant(None), value) for key, value in zip(found[0].keys, found[0].values)]
            if iterated.func.attr == "values":
                return [value for _, value in keyed]
            return [ast.Tuple([key, value], ast.Load()) for key, value in keyed]
    if isinstance(iterated, ast.Call) and name_of(iterated) == "zip":
        return [ast.Tuple(list(iterated.args), ast.Load())]
    if isinstance(iterated, ast.Name):
        found = flow.value(iterated.id, before)
        if found and isinstance(found[0], (ast.List, ast.Tuple)):
            return found[0].elts
    return iterated.elts if isinstance(iterated, (ast.List, ast.Tuple)) else [iterated]


def _matched(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    if isinstance(target, (ast.Tuple, ast.List)):
        several = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value] * len(target.elts)
        found: dict[str, ast.expr] = {}
        for one, other in zip(target.elts, several):
            found |= _matched(one, other)
        return found
    return {}


@dataclass(frozen=True)
class Comparison:
    """What says that two computations agree: its cell, what it is called, its origins and its sides."""

    cell: int
    title: str
    origins: tuple[str, str] | None
    sides: tuple[Sides, ...]


def comparisons(flow: Flow) -> Iterator[Comparison]:
    """Every comparison in a notebook that names the origins of its two sides, or must do so."""
    for place, (cell, statement) in enumerate(flow.statements):
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            named = next((one.value for one in call.keywords if one.arg == "of"), None)
            if name_of(call) == "measured" and named is not None and len(call.args) > 1:
                rows = [(call.args[0], call.args[1])]
            elif name_of(call) == "agreement" and call.args:
                rows = list(_rows(flow, call.args[0], place))
            else:
                continue
            if not rows:
                yield Comparison(cell, "agreement", _origins(named), ())
            for title, difference in rows:
                yield Comparison(cell, _title(title), _origins(named), tuple(pairs(flow, difference, place)))


def _origins(named: ast.expr | None) -> tuple[str, str] | None:
    """The two origins as they are typed; None where they are not."""
    if not isinstance(named, ast.Tuple):
        return None
    words = [one.value for one in named.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return (words[0], words[1]) if len(words) == 2 else None


def _title(text: ast.expr) -> str:
    """What a comparison is called, as far as it is typed."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)


def _rows(flow: Flow, rows: ast.expr, before: int) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(rows, ast.Name) and (found := flow.value(rows.id, before)):
        yield from _rows(flow, found[0], found[1])
    elif isinstance(rows, ast.BinOp):
        yield from _rows(flow, rows.left, before)
        yield from _rows(flow, rows.right, before)
    elif isinstance(rows, ast.ListComp):
        for values in _bound(flow, rows.generators, before):
            yield from _rows(flow, ast.List([with_names(rows.elt, values)], ast.Load()), before)
    elif isinstance(rows, ast.List):
        for row in rows.elts:
            one = _written_out(flow, row, before) if isinstance(row, ast.Call) else row
            if isinstance(one, ast.Tuple) and len(one.elts) > 2:
                yield one.elts[0], one.elts[1]


def independent(book: Book) -> Iterator[str]:
    """The two sides of a comparison have the origins that it names, and share no function in question."""
    for path, flow in book.flows.items():
        for cell, problem in dependent_sides(flow, book.settings.agreement.apart):
            yield f"{path}, cell {cell}, {problem}"


def dependent_sides(flow: Flow, apart: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the sides of a notebook's comparisons, each with its cell.

    Args:
        flow: The code of the notebook.
        apart: Packages and functions that two sides do not share, as the settings name them.
    """
    told: dict[tuple[int, str], None] = {}
    for one in comparisons(flow):
        for problem in _problems(flow, one, apart):
            told[one.cell, f"{one.title!r}: {problem}"] = None
    yield from told


def _problems(flow: Flow, one: Comparison, named: Sequence[str]) -> Iterator[str]:
    if one.origins is None:
        yield "the origins of its two sides are to be typed, of=(one, other)"
        return
    if not one.sides:
        yield "what is compared with what cannot be read: give a difference, this - that, or a ratio less 1"
    for sides in one.sides:
        if ast.unparse(sides[0]) == ast.unparse(sides[1]):
            yield f"both sides are {ast.unparse(sides[0])}"
        used = _used(flow, *sides, named)
        if both := used[0] & used[1]:
            yield f"both sides use {', '.join(sorted(both))}"
        for package in (name for name in named if "." not in name):
            says = [origin.startswith(package) for origin in one.origins]
            does = [any(function.startswith(package) for function in side) for side in used]
            if sum(says) > sum(does):
                yield f"{package} is named as an origin, and a side does not use it"
            elif sum(says) < sum(does):
                yield f"a side uses {package}, and no origin of its own says so"


def _used(
    flow: Flow, one: ast.expr, other: ast.expr, before: int, named: Sequence[str]
) -> tuple[set[str], set[str]]:
    """The functions in question that each side uses, apart from those in what both are given."""
    given = flow.reached(one, before).variables & flow.reached(other, before).variables
    stops = {variable for variable in given if not flow.is_function(variable)}
    first, second = (_in_question(flow.reached(side, before, stops), named) for side in (one, other))
    return first, second


def _in_question(reached: Reached, named: Sequence[str]) -> set[str]:
    """Functions that are named or lie in a package that is; a method counts as the function of its name."""
    found = {one for one in reached.imported if any(re.match(rf"{re.escape(name)}\b", one) for name in named)}
    methods = {one.rpartition(".")[2]: one for one in named if "." in one}
    return found | {methods[method] for method in reached.methods if method in methods}


def said_and_compared(book: Book) -> Iterator[str]:
    """What a claim shows as stated is in what that claim was checked with, not only somewhere on the page."""
    for path, flow in book.flows.items():
        for cell, problem in not_compared(flow):
            yield f"{path}, cell {cell}: {problem}"


def not_compared(flow: Flow) -> Iterator[tuple[int, str]]:
    """The formulas that claims of a notebook state and do not rest on, each with its cell."""
    for place, (cell, statement) in enumerate(flow.statements):
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            stated = list(_stated(flow, call, place)) if name_of(call) == "claim" else []
            if not stated:
                continue
            checked: set[Variable] = set()
            for evidence in call.args[2:]:
                checked |= flow.reached(evidence, place).variables
            for name, variable in stated:
                if variable not in checked:
                    claim = ast.unparse(call.args[0])
                    yield (
                        cell,
                        f"the claim {claim} states {name}, and no evidence of it makes use of that",
                    )


def _stated(flow: Flow, claim: ast.Call, before: int) -> Iterator[tuple[str, Variable]]:
    """The formulas of a claim that are but stated: what it calls them, and the variables that hold them."""
    given = next((one.value for one in claim.keywords if one.arg == "formulas"), None)
    if not isinstance(given, ast.Dict):
        return
    for key, value in zip(given.keys, given.values):
        found = flow.value(value.id, before) if isinstance(value, ast.Name) else None
        if found and isinstance(value, ast.Name) and isinstance(found[0], ast.Call):
            if name_of(found[0]) == "said":
                yield str(getattr(key, "value", value.id)), (value.id, found[1])
