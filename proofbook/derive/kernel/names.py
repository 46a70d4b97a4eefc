"""What a reader cannot tell apart: names that print alike in one statement.

A statement is proved of the objects that were typed and read off the page. Two symbols called x_1 and x1, two
definitions of one name, a symbol and an index of the same letter are different to the kernel and the same to
a reader: what is true of the one pair may be false as it is read. So names are compared as they are printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import sympy as sp
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.function import AppliedUndef

from proofbook.derive.definition import Quantity
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.latex import applied, latex
from proofbook.derive.over import Over


def check_apart(names: tuple[sp.Basic, ...], expressions: tuple[sp.Expr, ...]) -> None:
    """Refuse a statement in which two different things print alike.

    Args:
        names: the symbols and the labels of vectors that the domain names.
        expressions: what is stated.

    Raises:
        NotProved: two symbols, functions or quantities that print alike, an index that prints like
            something else in what it is bound in, or a name with parentheses.
    """
    clash = _clash(names, expressions)
    if clash is not None:
        raise NotProved(clash)


@lru_cache(maxsize=256)
def _clash(names: tuple[sp.Basic, ...], expressions: tuple[sp.Expr, ...]) -> str | None:
    free = [*names]
    for e in expressions:
        free += sorted((s for s in e.free_symbols if not isinstance(s, sp.Indexed)), key=str)
    functions = _nodes(expressions, (AppliedUndef, Quantity))
    called = [*map(str, free), *(e.func.__name__ for e in functions)]
    if odd := [name for name in called if "(" in name or ")" in name]:
        # the kernel tells its atoms apart by names with parentheses: u)*sym(x would be taken for a product
        return f"a name with parentheses: {odd[0]}"
    if (twice := _twice((_printed(symbol), symbol) for symbol in free)) is not None:
        return f"two different symbols are called {twice}"
    if (twice := _twice((_of_function(e), e.func) for e in functions)) is not None:
        return f"two different functions are called {twice}"
    quantities = [e for e in functions if isinstance(e, Quantity)]
    if (twice := _twice((_printed(e), e) for e in [*quantities, *free])) is not None:
        return f"two different quantities are shown as {twice}"
    for node in _nodes(expressions, (ExprWithLimits, Over, sp.Subs)):
        inside = node.args[0].free_symbols
        for bound in node.bound_symbols:
            if any(_printed(other) == _printed(bound) for other in inside - {bound}):
                return f"an index and something else in its range are both called {bound}"
    return None


def _nodes(expressions: tuple[sp.Expr, ...], kinds: tuple[type, ...]) -> list[sp.Expr]:
    return [node for e in expressions for node in sp.preorder_traversal(e) if isinstance(node, kinds)]


def _twice(printed: Iterable[tuple[str, object]]) -> str | None:
    """What two different things are both printed as."""
    seen: dict[str, object] = {}
    return next((text for text, thing in printed if seen.setdefault(text, thing) != thing), None)


def _of_function(e: sp.Expr) -> str:
    """A function as it is printed, with places for its arguments."""
    places = [f"#{k}" for k in range(1, len(e.args) + 1)]
    own = e.func.shown_as(*places) if isinstance(e, Quantity) else None
    return applied(e.func.__name__, places) if own is None else own


@lru_cache(maxsize=4096)
def _printed(e: sp.Basic) -> str:
    return latex(e)
