"""Values of formulas at single points, to as many digits as are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import mpmath as mp
import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.pycode import MpmathPrinter

from proofbook.derive._sympy import sympy_may_fail
from proofbook.derive.domain import Domain, Point
from proofbook.derive.errors import Undecided
from proofbook.derive.instantiate import NotConcrete, at_size
from proofbook.derive.ranges import Simplex

POINT_DIGITS = 110
GUARD_DIGITS = 60  # carried beyond the digits compared, to absorb cancellation


class _Printer(MpmathPrinter):  # type: ignore[misc]  # SymPy is not typed
    """Sums and products whose ends are arguments; whole numbers stay mpf, for int / int would be a float."""

    def _range(self, function: str, expr: Any) -> str:
        body, *limits = expr.args
        loops = []
        for index, low, high in reversed(limits):
            ends = f"int({self._print(low)}), int({self._print(high)}) + 1"
            loops.append(f"for {self._print(index)} in map(mpf, range({ends}))")
        return f"{function}([{self._print(body)} {' '.join(loops)}])"

    def _print_Sum(self, expr: Any) -> str:
        return self._range("fsum", expr)

    def _print_Product(self, expr: Any) -> str:
        return self._range("fprod", expr)


def mpmath_function(arguments: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
    """A concrete expression as a function of mpf numbers, at the precision in force when it is called.

    Raises:
        Undecided: SymPy fails to print it.
    """
    printer = _Printer({"fully_qualified_modules": False, "inline": True, "allow_unknown_functions": True})
    with sympy_may_fail("print", expression):
        made: Callable[..., Any] = sp.lambdify(arguments, expression, "mpmath", printer=printer)
    return made


class PointEvaluator:
    """Two sides of a step at one size, as functions of a point of the domain.

    Args:
        left: one side.
        right: the other.
        domain: where the points come from.
        n: the size; 0 where nothing is counted.
        at: values of the free indices.

    Raises:
        Undecided: a side holds what has no value: an undefined function, a symbol with no range.
    """

    def __init__(
        self,
        left: sp.Expr,
        right: sp.Expr,
        domain: Domain,
        n: int,
        at: Mapping[sp.Symbol, int] | None = None,
    ):
        self.domain, self.n, self.at = domain, n, at or {}
        try:
            self.left, self.right = (at_size(side, domain, n, at) for side in (left, right))
        except NotConcrete as error:
            raise Undecided(str(error)) from error
        self.arguments = list(domain.scalars)
        for base in domain.vectors:
            self.arguments += domain.entries(base, n)
        unknown = (self.left.free_symbols | self.right.free_symbols) - set(self.arguments)
        if unknown:
            raise Undecided(f"no range is declared for {', '.join(sorted(map(str, unknown)))}")
        self._functions = [self.function(side) for side in (self.left, self.right)]

    def function(self, expression: sp.Expr) -> Callable[..., Any]:
        """A concrete expression as a function of the arguments, in mpmath."""
        undefined = expression.atoms(AppliedUndef)
        if undefined:
            # a name such as phi or zeta would otherwise be looked up in mpmath and get some value
            raise Undecided(f"nobody defined {', '.join(sorted(map(str, undefined)))}")
        return mpmath_function(self.arguments, expression)

    def sides(self, point: Point, digits: int) -> tuple[Any, ...]:
        """Both sides at ``point``: a finite number, complex where it is, and None for no value at all."""
        with mp.workdps(digits + GUARD_DIGITS):
            arguments = self.numbers(point)
            return tuple(_value(f, arguments, digits) for f in self._functions)

    def values(self, point: Point, digits: int) -> tuple[Any, ...] | None:
        """Both sides at ``point``; None where one of them has no real, finite value."""
        both = self.sides(point, digits)
        return both if all(isinstance(value, mp.mpf) for value in both) else None

    def known(self, point: Point, digits: int) -> tuple[Any, ...]:
        """Both sides where they had values at fewer digits."""
        both = self.values(point, digits)
        if both is None:
            where = describe(point, self.n, self.at)
            raise Undecided(f"a value found at fewer digits is lost at {digits}, at {where}")
        return both

    def agree(self, point: Point, digits: int = 50) -> bool:
        """Whether both sides, which have values here, agree to ``digits`` digits.

        Sides that cancel to zero never agree in relative terms. What tells them from a true difference is
        more precision: rounding shrinks with it, a difference stays.
        """
        left, right = self.known(point, digits)
        gap = abs(left - right)
        for more in (2, 4, 8, 16):
            if gap <= mp.mpf(10) ** -digits * max(abs(left), abs(right)):
                return True
            before = gap
            left, right = self.known(point, digits * more)
            gap = abs(left - right)
            if gap > before * mp.mpf(10) ** (-digits // 2):
                return bool(gap <= mp.mpf(10) ** -digits * max(abs(left), abs(right)))
            if gap < mp.mpf(10) ** (-digits * more // 2):
                return True
        return False

    def gap(self, point: Point) -> Any:
        """Right minus left, exactly zero where they agree to 50 digits; None where a side has no value."""
        both = self.values(point, 20)
        if both is None:
            return None
        left, right = both
        if abs(right - left) > mp.mpf(10) ** -30 * max(1, abs(left), abs(right)):
            return right - left
        if self.agree(point):
            return mp.mpf(0)
        left, right = self.known(point, 100)
        with mp.workdps(100):
            return right - left

    def numbers(self, point: Point) -> list[Any]:
        """The arguments at ``point``, at the precision in force."""
        arguments = [point[symbol] for symbol in self.domain.scalars]
        for base in self.domain.vectors:
            entries = list(point[base])
            if isinstance(self.domain.ranges[base], Simplex):
                # the entries are rounded: at any precision, the last one makes the sum one
                entries[-1] = 1 - mp.fsum(entries[:-1])
            arguments += entries
        return arguments


def _value(function: Callable[..., Any], arguments: list[Any], digits: int) -> Any:
    try:
        value = +mp.mpmathify(function(*arguments))  # + turns a lazy constant such as pi into digits
    except (ZeroDivisionError, ValueError, OverflowError, mp.libmp.NoConvergence):
        return None
    except (NameError, TypeError, AttributeError) as error:
        raise Undecided(f"the formula has no value that can be computed: {error}") from error
    if isinstance(value, mp.mpc) and abs(value.imag) <= mp.mpf(10) ** -digits * abs(value):
        value = value.real
    return value if mp.isfinite(value) else None


def special_points(domain: Domain, n: int, count: int, seed: str) -> list[Point]:
    """Ends, ties and peaks of the domain; some of them may be where a formula has no value."""
    with mp.workdps(POINT_DIGITS):
        return domain.special(random.Random(f"{seed}/{n}/special"), n, count)


def random_points(domain: Domain, n: int, count: int, seed: str) -> list[Point]:
    """Random points of the domain, the same ones for the same ``seed``."""
    rng = random.Random(f"{seed}/{n}")
    with mp.workdps(POINT_DIGITS):
        return [domain.sample(rng, n) for _ in range(count)]


def describe(point: Point, n: int, at: Mapping[sp.Symbol, int] | None = None) -> str:
    """A point in words, for the message of a counterexample."""
    parts = [f"n = {n}"] if n else []
    parts += [f"{key} = {value}" for key, value in (at or {}).items()]
    for key, value in point.items():
        if isinstance(value, tuple):
            shown = ", ".join(mp.nstr(v, 6) for v in value)
            parts.append(f"{key.label} = ({shown})")
        else:
            parts.append(f"{key} = {mp.nstr(value, 6)}")
    return ", ".join(parts)


def distinguish(left: Any, right: Any) -> tuple[str, str]:
    """Two different numbers, printed to as many digits as it takes to see that they differ."""
    for digits in (12, 25, 50, 100):
        shown = mp.nstr(left, digits), mp.nstr(right, digits)
        if shown[0] != shown[1]:
            break
    return shown
