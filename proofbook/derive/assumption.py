"""Postulates: relations that nobody proves, shown as what they are, from which others may be proved.

An assumption is a fact to the kernel as a cited equation is, on its own domain and nowhere else. It has a
relation sign of its own on the page, no tick, and a number that every proof from it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import mpmath as mp
import sympy as sp

from proofbook.derive.domain import Domain, Point
from proofbook.derive.kernel import Cited
from proofbook.derive.latex import latex
from proofbook.derive.numeric import POINT_DIGITS, PointEvaluator, random_points, special_points
from proofbook.derive.ranges import number
from proofbook.derive.statement import Writer
from proofbook.display import ASSUMPTION, Row, Statement, bundle, plain_text

_TRIED = 60
_SIGNS = {
    sp.Equality: "=",
    sp.LessThan: "<=",
    sp.GreaterThan: ">=",
    sp.StrictLessThan: "<",
    sp.StrictGreaterThan: ">",
}


class Assumption:
    """A relation that is assumed; ``assume`` makes one."""

    def __init__(
        self,
        count: int,
        relation: Any,
        because: str,
        label: str,
        domain: Domain,
        source: str | None,
        witness: Mapping[Any, Any],
    ):
        if not re.fullmatch(r"eq(-[a-zA-Z0-9]+)+", label):
            raise ValueError(
                f"the label of an assumption is 'eq-' and words joined by hyphens, got {label!r}"
            )
        if type(relation) not in _SIGNS:
            raise TypeError(
                f"an assumption is a relation that is neither true nor false as it stands: {relation}"
            )
        if count < 1 or not because.strip():
            raise ValueError("an assumption has a number from 1 on, and a reason")
        self.count, self.because, self.label, self.domain, self.source = count, because, label, domain, source
        self.sign = _SIGNS[type(relation)]
        self.left: sp.Expr = relation.args[0]
        self.right: sp.Expr = relation.args[1]
        self.witness = dict(witness)
        check_together([self], domain)

    @property
    def cited(self) -> Cited:
        """The assumption as a fact, for the kernel."""
        return assumed(self.label, self.count, self.sign, (self.left, self.right), self.domain)

    def holds_at(self, domain: Domain, n: int, point: Point) -> bool:
        """Whether it holds at a point of a domain, for every free index."""
        lower, upper = (self.right, self.left) if self.sign in (">", ">=") else (self.left, self.right)
        for instance in domain.instances():
            if instance["n"] in (0, n):
                gap = PointEvaluator(lower, upper, domain, n, instance["at"]).gap(point)
                if gap is None or not {"=": gap == 0, "<": gap > 0, ">": gap > 0}.get(self.sign, gap >= 0):
                    return False
        return True

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        writer = Writer()
        statement = Statement(writer.formula(self.left), writer.domain(self.domain), writer.names)
        row = Row(
            relation=self.sign,
            latex=latex(self.right),
            reason=self.because,
            strategy=ASSUMPTION,
            mark=f"Assumption {self.count}",
            detail="assumed, not proved" + (f"; {self.source}" if self.source else ""),
            formula=writer.formula(self.right),
        )
        plain = plain_text(self.label, str(self.left), [row], [str(self.right)])
        return bundle(self.label, latex(self.left), [row], plain, statement)


def assume(
    count: int,
    relation: Any,
    because: str,
    *,
    label: str,
    domain: Domain,
    source: str | None = None,
    witness: Mapping[Any, Any] | None = None,
) -> Assumption:
    """Assume a relation: a model, a law, what a source takes for granted.

    It is shown as an assumption, and what is proved with ``Derivation(..., given=(assumption,))`` says so.

    Args:
        count: its number in the book, from 1; assumptions are numbered in reading order.
        relation: of two formulas, such as ``sp.Eq(W, gamma * log(n))`` or ``x < y``.
        because: why it is assumed; ``$...$`` in it is mathematics.
        label: its permanent name on the page.
        domain: the values for which it is assumed.
        source: who assumes it.
        witness: a number for every symbol of the domain, entries for a vector, at which it holds. Without it,
            the points of an attack are tried: an equation is hardly ever met by chance.

    Raises:
        ValueError: no point was found at which it holds, so that all might follow from it.
        TypeError: it is no relation; SymPy makes True of ``Eq(x, x)``.

    >>> x, y = sp.symbols("x y", real=True)
    >>> box = Domain({x: (1, 2), y: (1, 9)})
    >>> law = assume(1, sp.Eq(y, x**2), "a law", label="eq-law", domain=box, witness={x: 1, y: 1})
    >>> law.cited.relation
    '='
    """
    return Assumption(count, relation, because, label, domain, source, witness or {})


def assumed(label: str, count: int, sign: str, lines: tuple[sp.Expr, sp.Expr], domain: Domain) -> Cited:
    """An assumption as the kernel takes it: a fact on its domain, which carries its number on."""
    return Cited(
        label=label,
        steps=(1, 1),
        relation=sign,
        lines=lines,
        domain=domain,
        opened=frozenset(),
        at=(),
        assumptions=(count,),
    )


def check_together(given: Sequence[Assumption], domain: Domain) -> None:
    """Raise ``ValueError`` unless a point of the domain is found at which all assumptions hold."""
    for n, point in _candidates(given, domain):
        if domain.holds_at(point, n) and all(one.holds_at(domain, n, point) for one in given):
            return
    names = " and ".join(str(one.count) for one in given)
    raise ValueError(
        f"no point was found at which assumption {names} holds, and all follows from what is impossible: "
        "name one with witness="
    )


def _candidates(given: Iterable[Assumption], domain: Domain) -> Iterator[tuple[int, Point]]:
    """The witnesses, as far as they are points of the domain, and the points of an attack."""
    for one in given:
        if set(one.witness) >= set(domain.ranges):
            with mp.workdps(POINT_DIGITS):
                known = {key: _numbers(one.witness[key]) for key in domain.ranges}
            n = int(known.pop(domain.size)) if domain.size in known else 0
            if n in domain.sizes and all(_lies_in(domain.ranges[key], value) for key, value in known.items()):
                yield n, known
    for n in domain.sizes:
        for point in [
            *special_points(domain, n, _TRIED, "assume"),
            *random_points(domain, n, _TRIED, "assume"),
        ]:
            yield n, point


def _numbers(value: Any) -> Any:
    return tuple(map(number, value)) if isinstance(value, (tuple, list)) else number(value)


def _lies_in(kind: Any, value: Any) -> bool:
    """Whether a value, or each entry of a tuple, lies in the box of a range."""
    if not isinstance(kind, tuple):
        return True  # the domain itself looks at ranges that are said exactly
    low, high = map(number, kind)
    return all(low <= x <= high for x in (value if isinstance(value, tuple) else (value,)))
