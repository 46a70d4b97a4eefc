"""A derivation: a chain of formulas that is proved when it is built, and shown only then."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from proofbook.derive import proving, strategies
from proofbook.derive.assumption import Assumption, check_together
from proofbook.derive.domain import Domain, Point
from proofbook.derive.errors import DerivationError, Refuted, Undecided
from proofbook.derive.kernel import LEMMAS, Cited, assumptions_of, citations_in
from proofbook.derive.lambdify import lambdify
from proofbook.derive.latex import latex, text
from proofbook.derive.remainder import Within
from proofbook.derive.statement import Writer
from proofbook.derive.strategies import Regime, Verified
from proofbook.display import Row, Statement, bundle, plain_text

RELATIONS = ("=", "<=", ">=", "<", ">", "~")


@dataclass(frozen=True)
class Step:
    """One line: how the new expression relates to the line before it, and why.

    ``within`` bounds the error of an approximation, from below and from above.
    """

    relation: str
    expression: sp.Expr
    because: str
    regime: Regime | None = None
    skip: tuple[str, ...] = field(default=())
    evidence: str | None = None
    within: Within | None = None
    by: tuple[Cited, ...] = field(default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "expression", _formula(self.expression))
        if self.relation not in RELATIONS:
            raise ValueError(f"relation must be one of {RELATIONS}, got {self.relation!r}")
        if (self.relation == "~") != (self.regime is not None or self.within is not None):
            raise ValueError(
                "an approximation needs a bound of its error or a regime, and only an approximation has one"
            )
        if self.within is not None and self.evidence is not None:
            raise ValueError(
                "a bound of the error is proved; evidence for an approximation has a regime only"
            )
        if not self.because.strip():
            raise ValueError("every step says its reason")
        if self.evidence is not None and not self.evidence.strip():
            raise ValueError("evidence instead of a proof says why")
        if self.evidence is not None and self.by:
            raise ValueError("evidence rests on no proof: state the step without by=")


def _formula(line: Any) -> sp.Expr:
    """A line as a SymPy expression; ``x < 1`` is none, and SymPy turns ``Eq(x, x)`` into True by itself."""
    expression = sp.sympify(line)
    if not isinstance(expression, sp.Expr):
        raise TypeError(f"a line must be a formula with a value, got {line!r}")
    return expression


def eq(expression: Any, because: str, *, skip: Sequence[str] = (), by: Cited | Sequence[Cited] = ()) -> Step:
    """The line before equals ``expression``.

    Args:
        expression: the new line.
        because: the reason shown beside it; ``$...$`` in it is mathematics.
        skip: strategies not to try, where they are costly.
        by: proved equations that the proof may use, made by ``cite``.
    """
    return Step("=", expression, because, skip=tuple(skip), by=_cites(by))


def _cites(by: Cited | Sequence[Cited]) -> tuple[Cited, ...]:
    return (by,) if isinstance(by, Cited) else tuple(by)


def le(expression: Any, because: str, *, by: Cited | Sequence[Cited] = ()) -> Step:
    """The line before is at most ``expression``: ``because`` argues, the machine looks for exceptions."""
    return Step("<=", expression, because, by=_cites(by))


def ge(expression: Any, because: str, *, by: Cited | Sequence[Cited] = ()) -> Step:
    """The line before is at least ``expression``."""
    return Step(">=", expression, because, by=_cites(by))


def lt(expression: Any, because: str, *, by: Cited | Sequence[Cited] = ()) -> Step:
    """The line before is strictly below ``expression``."""
    return Step("<", expression, because, by=_cites(by))


def gt(expression: Any, because: str, *, by: Cited | Sequence[Cited] = ()) -> Step:
    """The line before is strictly above ``expression``."""
    return Step(">", expression, because, by=_cites(by))


def approx(
    expression: Any,
    because: str,
    *,
    within: Any | tuple[Any, Any] | None = None,
    regime: Regime | None = None,
    by: Cited | Sequence[Cited] = (),
) -> Step:
    """The line before is ``expression`` up to an error whose bound is stated, and proved on the whole domain.

    The error is the line before minus ``expression``. Its bound must say more than what it stands beside: it
    has to be smaller than every term of ``expression``, at the end of the regime if there is one and
    otherwise at one of the points of the domain that are tried.

    Args:
        expression: the new line.
        because: the reason shown beside it.
        within: a formula that the error never exceeds in size; or two, ``(below, above)``, with
            ``-below <= error <= above``.
        regime: where the error is measured besides, as an illustration; its rate must hold. Without
            ``within`` nothing is proved, and the step has to be asked for as ``evidence``.
        by: proved equations that the proof may use, made by ``cite``.
    """
    bounds = None
    if within is not None:
        pair = within if isinstance(within, tuple) else (within, within)
        if len(pair) != 2:
            raise ValueError(f"within is a formula or a pair of them, got {within!r}")
        bounds = Within(_formula(pair[0]), _formula(pair[1]))
    return Step("~", expression, because, regime=regime, within=bounds, by=_cites(by))


def evidence(step: Step, *, because: str) -> Step:
    """A step that the kernel does not prove, to be shown as evidence.

    Args:
        step: the step.
        because: why there is no proof; the book lists it.
    """
    return replace(step, evidence=because)


class Derivation:
    """A chain that starts at ``start`` and has been verified line by line over ``domain``.

    ``verified`` says of every step how it was established, and ``strategy`` what the whole chain rests on.

    Args:
        label: the permanent name of the equation on the page, ``eq-`` and words joined by hyphens.
        start: the first line.
        steps: the lines after it, made by ``eq``, ``le``, ``ge``, ``lt``, ``gt`` and ``approx``.
        domain: the values for which all of it is claimed.
        given: assumptions that its proofs may use; a step that is proved without them is.
        digits: to how many digits the two sides of an equality are compared, 15 at least.
        without: lemmas of the kernel, by their names, that none of its proofs is given. So a lemma is
            proved by other means than itself; what a step cites may rest on it all the same.

    Raises:
        Refuted: a step is false; the error names a point where it fails.
        Undecided: the kernel has no proof of a step, and ``evidence`` was not asked for.
        EmptyStep: a line prints like the one before it.
        WrongRate: an approximation whose error does not shrink as stated, or drowns a term that is shown.
        ValueError: a label, a number of digits or a chain that cannot be.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> steps = [eq(x**2 + 2*x + 1, "multiply out")]
    >>> Derivation("eq-square", (x + 1)**2, *steps, domain=Domain({x: (-3, 3)})).strategy
    'proved'
    >>> wrong = eq(x**2 + x + 1, "multiply out")
    >>> Derivation("eq-wrong", (x + 1)**2, wrong, domain=Domain({x: (1, 3)}))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    proofbook.derive.errors.Refuted: eq-wrong, step 1 (multiply out): 6.34... is not 4.82... at x = 1.5193
    """

    def __init__(
        self,
        label: str,
        start: sp.Expr,
        *steps: Step,
        domain: Domain,
        given: Sequence[Assumption] = (),
        digits: int = 50,
        without: Iterable[str] = (),
    ):
        if not re.fullmatch(r"eq(-[a-zA-Z0-9]+)+", label):
            raise ValueError(f"the label of an equation is 'eq-' and words joined by hyphens, got {label!r}")
        if digits < 15:
            raise ValueError(f"digits must be at least 15, got {digits}")
        if not steps:
            raise ValueError("a derivation has at least one step")
        self.label, self.start, self.steps, self.domain = label, _formula(start), steps, domain
        self.digits, self.given, self.without = digits, tuple(given), tuple(sorted({*without}))
        if unknown := {*self.without} - LEMMAS:
            raise ValueError(f"no lemma of the kernel is called {sorted(unknown)}")
        numbers = {number for step in steps for cited in step.by for number in cited.assumptions}
        if missing := numbers - {one.count for one in given}:
            raise ValueError(f"what {label} cites rests on assumption {sorted(missing)}: name it in given=")
        if given:
            if any(step.evidence is not None for step in steps):
                raise ValueError("evidence rests on no assumption: state it apart")
            check_together(given, domain)
        found = tuple(self._verify(k) for k in range(len(steps)))
        self.verified: tuple[Verified, ...] = found
        if given and not any(assumptions_of(v.certificate or {}) for v in found):
            raise ValueError(f"{label} is proved without what it is given: leave that out")

    def _verify(self, k: int) -> Verified:
        """What a step rests on: no assumption, if it can be helped."""
        if self.given:
            try:
                return self._settle(k, self.steps[k].by, None)
            except (Refuted, Undecided):
                pass
        facts = [one.cited for one in self.given]
        return self._settle(k, (*self.steps[k].by, *facts), self._assumed_at if self.given else None)

    def _assumed_at(self, n: int, point: Point) -> bool:
        return all(one.holds_at(self.domain, n, point) for one in self.given)

    def _settle(self, k: int, cites: tuple[Cited, ...], where: proving.Where | None) -> Verified:
        step = self.steps[k]
        before = self.steps[k - 1].expression if k else self.start
        seed = f"{self.label}/{k}"
        try:
            return proving.settle(
                step.relation,
                before,
                step.expression,
                self.domain,
                regime=step.regime,
                within=step.within,
                evidence=step.evidence,
                seed=seed,
                digits=self.digits,
                skip=step.skip,
                cites=cites,
                where=where,
                without=self.without,
            )
        except DerivationError as error:
            error.args = (f"{self.label}, step {k + 1} ({step.because}): {error.args[0]}",)
            raise

    def _cites(self, step: Step, verified: Verified) -> list[Cited]:
        """What the proof of a step was given, the assumptions among it."""
        labels = {citation["label"] for citation in citations_in(verified.certificate or {})}
        return [*step.by, *(one.cited for one in self.given if one.label in labels)]

    @property
    def last(self) -> sp.Expr:
        """The expression the chain ends in."""
        return self.steps[-1].expression

    @property
    def strategy(self) -> str:
        """The weakest strategy of the chain: what the whole of it rests on."""
        return max((v.strategy for v in self.verified), key=strategies.STRENGTH.index)

    def lambdify(self, arguments: Sequence[Any], namespace: Any = "numpy") -> Callable[..., Any]:
        """The last line as a function of ``arguments``, in that order.

        Args:
            arguments: symbols and vectors; every one that the line speaks of.
            namespace: "numpy", "mpmath", or a module of array functions such as ``torch``.

        Returns:
            A function of numbers or arrays, as ``proofbook.derive.lambdify`` makes it.
        """
        return lambdify(self.last, arguments, self.domain, namespace)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        writer = Writer()
        start, domain = writer.formula(self.start), writer.domain(self.domain)
        rows = [
            Row(
                relation=step.relation,
                latex=latex(step.expression),
                reason=step.because,
                strategy=verified.strategy,
                mark=verified.mark,
                detail=verified.detail,
                evidence=step.evidence,
                within=None if step.within is None else step.within.latex(),
                cites=tuple(dict.fromkeys(cited.label for cited in cites)),
                formula=writer.formula(step.expression),
                bounds=_bounds(writer, step.within),
                by=tuple(writer.citation(cited.label, cited.steps, cited.at) for cited in cites),
                certificate=None if verified.certificate is None else dict(verified.certificate),
            )
            for step, verified in zip(self.steps, self.verified)
            for cites in (self._cites(step, verified),)
        ]
        lines = [text(step.expression) for step in self.steps]
        bounds = [None if step.within is None else f"{step.within}" for step in self.steps]
        plain = plain_text(self.label, text(self.start), rows, lines, bounds)
        statement = Statement(start, domain, writer.names)
        return bundle(self.label, latex(self.start), rows, plain, statement)


def _bounds(writer: Writer, within: Within | None) -> tuple[str, ...]:
    return () if within is None else (writer.formula(within.below), writer.formula(within.above))
