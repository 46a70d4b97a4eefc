"""The value of a formula as it was typed, by a route that is not SymPy's.

SymPy's integrate, limit, summation and derivatives are wrong often enough that a formula must not be compared
with what SymPy made of it. Here nothing is carried out by SymPy: integrals are enclosed in balls (Arb) or
added up by quadrature, sums by their terms, limits along a sequence, derivatives by differences. Every value
comes with the distance between two computations of different precision and different nodes; where they do not
agree there is no value, and a statement without a value is undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import sympy as sp
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from proofbook.derive.engines import flint, lacking
from proofbook.derive.over import Over
from proofbook.derive.tape import NotReal, Tape

Point = Mapping[sp.Symbol, Any]

COARSE, FINE = 30, 50  # digits carried by the two computations
INTEGRAL = 20, 30  # the same of an integral, at whose many nodes every digit costs
NESTED = 15, 20  # the same where an integral stands in another: every digit costs its square
_NODES = 200_000  # at which integrands may be computed; what takes more has no value here
_ENCLOSED = 12  # digits that a ball must certify before its middle stands for an integral
_EVALUATIONS = (
    4000  # of an integrand in balls; one with a root at a kink takes many more and is left to quadrature
)
_NO_NUMBER = (ZeroDivisionError, ValueError, OverflowError, mp.libmp.NoConvergence)  # as mpmath says it


class NoValue(Exception):
    """A formula whose value no route here can tell; the message says which part of it and why."""


@dataclass(frozen=True)
class Value:
    """A number and how far two independent computations of it lie apart."""

    number: Any
    spread: Any


def value(expression: sp.Expr, point: Point) -> Value:
    """The value of an unfolded, concrete ``expression`` at ``point``.

    Args:
        expression: Integrals, limits, sums and derivatives in it are as they were typed, not carried out.
        point: A number for every free symbol.

    Returns:
        The finer of two computations and its distance to the coarser.

    Raises:
        NoValue: A part has no real, finite value, or the two computations differ by more than a millionth.

    >>> x = sp.Symbol("x", real=True)
    >>> area = sp.Integral(sp.Abs(sp.cos(x)), (x, -sp.pi / 2, 0))   # SymPy 1.14 makes this -1
    >>> print(mp.nstr(value(area, {}).number, 10))
    1.0
    """
    found = []
    for digits in _digits(expression):
        with mp.workdps(digits):
            found.append(_real(_Evaluator(digits).of(expression, dict(point)), expression))
    with mp.workdps(FINE):
        coarse, fine = found
        spread = abs(fine - coarse)
        if spread > mp.mpf(10) ** -6 * max(1, abs(fine)):
            raise NoValue(
                f"two computations of {expression} give {mp.nstr(coarse, 12)} and {mp.nstr(fine, 12)}"
            )
        return Value(fine, spread)


def _digits(expression: sp.Expr) -> tuple[int, int]:
    """How many digits the two computations carry."""
    integrals = expression.atoms(sp.Integral)
    if any(len(one.limits) > 1 or one.function.has(sp.Integral) for one in integrals):
        return NESTED
    return INTEGRAL if integrals else (COARSE, FINE)


def compare(left: Value, right: Value) -> bool | None:
    """Whether two values agree: True or False where their spreads can tell, None where they cannot.

    Two numbers further apart than a thousand spreads differ. Those that agree do so to nine digits at least.
    """
    with mp.workdps(FINE):
        scale = max(abs(left.number), abs(right.number), mp.mpf(10) ** -30)
        gap, blur = abs(left.number - right.number), left.spread + right.spread
        if gap > 1000 * blur + scale * mp.mpf(10) ** -20:
            return False
        return True if gap <= scale * mp.mpf(10) ** -9 else None


def needed(expression: sp.Expr) -> bool:
    """Whether ``expression`` holds an operation that SymPy would have to carry out.

    A finite sum or product is added up term by term anyway.
    """
    if expression.has(sp.Integral, sp.Limit, sp.Derivative, sp.Subs):
        return True
    return any(
        bool(end.is_infinite)
        for operation in expression.atoms(sp.Sum, sp.Product)
        for _, *ends in operation.limits
        for end in ends
    )


def _real(number: Any, expression: Any) -> Any:
    number = mp.mpmathify(number)
    if isinstance(number, mp.mpc):
        if abs(number.imag) > mp.mpf(10) ** (-mp.mp.dps // 2) * max(1, abs(number.real)):
            raise NoValue(f"{expression} is not real")
        number = number.real
    if not mp.isfinite(number):
        raise NoValue(f"{expression} is not finite")
    return +number


_CONSTANTS: dict[Any, Callable[[], Any]] = {
    sp.pi: lambda: +mp.pi,
    sp.E: lambda: +mp.e,
    sp.EulerGamma: lambda: +mp.euler,
    sp.GoldenRatio: lambda: +mp.phi,
    sp.Catalan: lambda: +mp.catalan,
    sp.oo: lambda: mp.inf,
    -sp.oo: lambda: -mp.inf,
    sp.I: lambda: mp.mpc(0, 1),
}

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sp.exp: mp.exp,
    sp.log: mp.log,
    sp.sin: mp.sin,
    sp.cos: mp.cos,
    sp.tan: mp.tan,
    sp.cot: mp.cot,
    sp.asin: mp.asin,
    sp.acos: mp.acos,
    sp.atan: mp.atan,
    sp.atan2: mp.atan2,
    sp.sinh: mp.sinh,
    sp.cosh: mp.cosh,
    sp.tanh: mp.tanh,
    sp.coth: mp.coth,
    sp.asinh: mp.asinh,
    sp.acosh: mp.acosh,
    sp.atanh: mp.atanh,
    sp.erf: mp.erf,
    sp.erfc: mp.erfc,
    sp.erfi: mp.erfi,
    sp.gamma: mp.gamma,
    sp.loggamma: mp.loggamma,
    sp.digamma: mp.digamma,
    sp.polygamma: lambda order, x: mp.psi(int(order), x),
    sp.beta: mp.beta,
    sp.zeta: mp.zeta,
    sp.LambertW: mp.lambertw,
    sp.besselj: mp.besselj,
    sp.besseli: mp.besseli,
    sp.besselk: mp.besselk,
    sp.bessely: mp.bessely,
    sp.factorial: mp.factorial,
    sp.binomial: mp.binomial,
    sp.floor: mp.floor,
    sp.ceiling: mp.ceil,
    sp.Abs: abs,
    sp.sign: mp.sign,
    sp.Heaviside: lambda x, at_zero: at_zero if x == 0 else mp.mpf(x > 0),
    sp.Max: lambda *xs: max(xs),
    sp.Min: lambda *xs: min(xs),
    sp.re: mp.re,
    sp.im: mp.im,
}


class _Evaluator:
    """One computation, at one precision and on the nodes that go with it."""

    def __init__(self, digits: int):
        self.digits = digits
        self.nodes = 0

    def of(self, e: Any, at: dict[Any, Any]) -> Any:
        """The value of ``e`` where the symbols have the values ``at``."""
        if e in at:
            return mp.mpmathify(at[e])
        if isinstance(e, sp.Rational):
            return mp.mpf(int(e.p)) / int(e.q)
        if isinstance(e, sp.Float):
            exact = sp.Rational(str(e))  # a decimal is the number that was typed
            return mp.mpf(int(exact.p)) / int(exact.q)
        if e in _CONSTANTS:
            return _CONSTANTS[e]()
        try:
            return self._operation(e, at)
        except _NO_NUMBER as error:
            raise NoValue(f"{e} has no value: {error}") from error

    def _operation(self, e: Any, at: dict[Any, Any]) -> Any:
        if isinstance(e, sp.Add):
            return mp.fsum(self.of(a, at) for a in e.args)
        if isinstance(e, sp.Mul):
            return mp.fprod(self.of(a, at) for a in e.args)
        if isinstance(e, sp.Pow):
            return self._power(e, at)
        if isinstance(e, sp.UnevaluatedExpr):
            return self.of(e.args[0], at)
        if isinstance(e, sp.Piecewise):
            for branch, condition in e.args:
                if self._holds(condition, at):
                    return self.of(branch, at)
            raise NoValue(f"no case of {e} applies")
        if isinstance(e, sp.KroneckerDelta):
            i, j = (self.of(a, at) for a in e.args[:2])
            return mp.mpf(i == j)
        if isinstance(e, (sp.Sum, sp.Product)):
            return self._range(e, at)
        if isinstance(e, Over):
            body, (index, low, high) = e.args
            terms = [
                self.of(body, at | {index: k}) for k in range(self._whole(low, at), self._whole(high, at) + 1)
            ]
            return max(terms) if e.command == "max" else min(terms)
        if isinstance(e, sp.Integral):
            return self._integral(e.function, list(e.limits), at)
        if isinstance(e, sp.Limit):
            return self._limit(e, at)
        if isinstance(e, sp.Derivative):
            return self._derivative(e, at)
        if isinstance(e, sp.Subs):
            inner, variables, values = e.args
            return self.of(inner, at | {v: self.of(x, at) for v, x in zip(variables, values, strict=True)})
        function = _FUNCTIONS.get(e.func)
        if function is None:
            raise NoValue(f"nothing here computes {type(e).__name__}: {e}")
        return function(*(self.of(a, at) for a in e.args))

    def _power(self, e: sp.Pow, at: dict[Any, Any]) -> Any:
        base, exponent = e.args
        if base is sp.E:
            return mp.exp(self.of(exponent, at))
        x = self.of(base, at)
        if isinstance(exponent, sp.Integer):
            if x == 0 and exponent < 0:
                raise ZeroDivisionError("division by zero")
            return x ** int(exponent)
        if exponent == sp.Rational(1, 2):
            return mp.sqrt(x)
        return mp.power(x, self.of(exponent, at))

    def _whole(self, e: Any, at: dict[Any, Any]) -> int:
        number = self.of(e, at)
        if number != mp.nint(number):
            raise NoValue(f"{e} is no whole number")
        return int(number)

    def _range(self, e: Any, at: dict[Any, Any]) -> Any:
        *inner, (index, low, high) = e.limits
        body = e.func(e.function, *inner) if inner else e.function

        def term(k: Any) -> Any:
            return self.of(body, at | {index: k})

        is_sum = isinstance(e, sp.Sum)
        first, last = self.of(low, at), self.of(high, at)
        if mp.isinf(first) or mp.isinf(last):
            if not is_sum:
                return mp.nprod(term, [first, last])
            return mp.nsum(term, [first, last])
        if last < first:
            # SymPy's convention for a reversed range is not everybody's: better no value than a surprise
            if last != first - 1:
                raise NoValue(f"the range of {e} runs backwards")
            return mp.mpf(0 if is_sum else 1)
        terms = (term(k) for k in range(self._whole(low, at), self._whole(high, at) + 1))
        return mp.fsum(terms) if is_sum else mp.fprod(terms)

    def _integral(self, body: Any, limits: list[Any], at: dict[Any, Any]) -> Any:
        *inner, outer = limits
        if len(outer) != 3:
            raise NoValue(f"an integral over {outer[0]} without ends has no value")
        x, low, high = outer
        a, b = self.of(low, at), self.of(high, at)
        if a == b:
            return mp.mpf(0)
        if not inner and mp.isfinite(a) and mp.isfinite(b):
            enclosed = _enclosed_integral(body, x, low, high, at)
            if enclosed is not None:
                return enclosed

        moving = self._moving(body, x, at)

        def integrand(t: Any) -> Any:
            self.nodes += 1
            if self.nodes > _NODES:
                raise NoValue(f"beyond the budget: {_NODES} nodes for {body}")
            return self._integral(body, inner, at | {x: t}) if inner else moving(t)

        kinks = self._kinks(body, x, a, b, at)
        ends = [a, *kinks, b]
        if not kinks:
            ends = _subdivided(a, b)
        total, error = mp.quad(integrand, ends, error=True)
        if error > mp.mpf(10) ** -8 * max(1, abs(total)):
            raise NoValue(f"quadrature of {body} over {x} does not settle: error {mp.nstr(error, 3)}")
        return total

    def _moving(self, body: Any, x: sp.Symbol, at: dict[Any, Any]) -> Callable[[Any], Any]:
        """``of`` as a function of one symbol, for many numbers."""

        def walk(e: Any, t: Any) -> Any:
            return self.of(e, at if t is None else at | {x: t})

        tape = Tape(body, x, _FUNCTIONS, walk)

        def at_number(t: Any) -> Any:
            try:
                return tape(t)
            except (NotReal, *_NO_NUMBER):
                return walk(body, t)

        return at_number

    def _kinks(self, body: Any, x: sp.Symbol, a: Any, b: Any, at: dict[Any, Any]) -> list[Any]:
        """Where a modulus, a maximum or a case of the integrand switches: sign changes, then bisection."""
        if a > b or mp.isinf(a) or mp.isinf(b):
            return []
        switches = list(_switches(body))
        found: list[Any] = []
        nodes = [a + (b - a) * (k + mp.mpf(1) / 3) / 64 for k in range(64)]
        for switch in switches:
            if x not in switch.free_symbols:
                continue

            def height(t: Any, switch: Any = switch) -> Any:
                return mp.re(self.of(switch, at | {x: t}))

            try:
                heights = [height(t) for t in nodes]
            except NoValue:
                continue
            for t, u, f, g in zip(nodes, nodes[1:], heights, heights[1:], strict=False):
                if f * g < 0:
                    found.append(_bisected(height, t, u, f))
        return sorted(set(found))

    def _limit(self, e: sp.Limit, at: dict[Any, Any]) -> Any:
        body, x, target, direction = e.args
        goal = self.of(target, at)
        if mp.isinf(goal):
            return self._settled(e, lambda h: self.of(body, at | {x: mp.sign(goal) / h}))
        signs = {"+": (1,), "-": (-1,), "+-": (1, -1)}[str(direction)]

        def beside(sign: int) -> Callable[[Any], Any]:
            return lambda h: self.of(body, at | {x: goal + sign * h})

        sides = [self._settled(e, beside(sign)) for sign in signs]
        if len(sides) == 2 and abs(sides[0] - sides[1]) > mp.mpf(10) ** -9 * max(1, abs(sides[0])):
            raise NoValue(f"{e} differs from the two sides")
        return sides[0]

    def _settled(self, e: sp.Limit, f: Callable[[Any], Any]) -> Any:
        """The value that ``f(h)`` has settled at when h is as good as zero."""
        values = []
        for power in (self.digits, 2 * self.digits, 3 * self.digits):
            with mp.workdps(12 * self.digits):
                values.append(f(mp.mpf(10) ** -power))
        steps = [abs(v - u) for u, v in zip(values, values[1:], strict=False)]
        if not all(mp.isfinite(v) for v in values) or max(steps) > mp.mpf(10) ** -9 * max(1, abs(values[-1])):
            raise NoValue(f"{e} does not settle")
        return values[-1]

    def _derivative(self, e: sp.Derivative, at: dict[Any, Any]) -> Any:
        inner, *counts = e.args
        (x, order), *rest = counts
        if rest:
            inner = sp.Derivative(inner, *rest)
        if x not in at:
            raise NoValue(f"{x} has no value in {e}")
        where = mp.mpmathify(at[x])
        h = mp.mpf(10) ** -self.digits

        def one_sided(sign: int) -> Any:
            with mp.workdps((int(order) + 3) * self.digits):
                nodes = [self.of(inner, at | {x: where + sign * k * h}) for k in range(int(order) + 1)]
                weights = [(-1) ** (int(order) - k) * math.comb(int(order), k) for k in range(int(order) + 1)]
                return mp.fdot(weights, nodes) / (sign * h) ** int(order)

        right, left = one_sided(1), one_sided(-1)
        if abs(right - left) > mp.mpf(10) ** -9 * max(1, abs(right)):
            raise NoValue(f"{inner} has no derivative at {x} = {mp.nstr(where, 8)}: the two sides differ")
        return (right + left) / 2

    def _holds(self, condition: Any, at: dict[Any, Any]) -> bool:
        if isinstance(condition, (BooleanTrue, BooleanFalse)):
            return bool(condition)
        if isinstance(condition, And):
            return all(self._holds(c, at) for c in condition.args)
        if isinstance(condition, Or):
            return any(self._holds(c, at) for c in condition.args)
        if isinstance(condition, Not):
            return not self._holds(condition.args[0], at)
        if isinstance(condition, sp.core.relational.Relational):
            left, right = mp.re(self.of(condition.lhs, at)), mp.re(self.of(condition.rhs, at))
            return bool(
                {
                    sp.Lt: left < right,
                    sp.Le: left <= right,
                    sp.Gt: left > right,
                    sp.Ge: left >= right,
                    sp.Eq: left == right,
                    sp.Ne: left != right,
                }[condition.func]
            )
        raise NoValue(f"nothing here decides {condition}")


def _subdivided(a: Any, b: Any) -> list[Any]:
    """The ends of pieces short enough for a bell or a few waves; infinite ends keep a piece of their own."""
    if mp.isinf(a) and mp.isinf(b):
        return [a, -8, -2, 0, 2, 8, b]
    if mp.isinf(a):
        return [a, b - 8, b - 2, b]
    if mp.isinf(b):
        return [a, a + 2, a + 8, b]
    return [a + (b - a) * k / 4 for k in range(5)]


def _bisected(height: Callable[[Any], Any], low: Any, high: Any, at_low: Any) -> Any:
    for _ in range(4 * mp.mp.dps):
        middle = (low + high) / 2
        here = height(middle)
        if here == 0:
            return middle
        if here * at_low < 0:
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _switches(body: Any) -> Iterable[Any]:
    """Expressions whose sign decides which case of the integrand applies."""
    for e in body.atoms(sp.Max, sp.Min, sp.Abs, sp.sign, sp.Piecewise, sp.floor):
        if isinstance(e, (sp.Max, sp.Min)):
            yield from (a - b for a, b in zip(e.args, e.args[1:], strict=False))
        elif isinstance(e, sp.Piecewise):
            yield from (r.lhs - r.rhs for r in e.atoms(sp.core.relational.Relational))
        elif isinstance(e, sp.floor):
            yield sp.sin(sp.pi * e.args[0])
        else:
            yield e.args[0]


# Balls: `acb.integral` encloses the integral of a function that says where it is analytic.

_BALL_FUNCTIONS: dict[Any, str] = {
    sp.exp: "exp",
    sp.sin: "sin",
    sp.cos: "cos",
    sp.tan: "tan",
    sp.sinh: "sinh",
    sp.cosh: "cosh",
    sp.tanh: "tanh",
    sp.erf: "erf",
    sp.erfc: "erfc",
    sp.atan: "atan",
}
_BRANCHED: dict[Any, str] = {sp.log: "log", sp.Abs: "real_abs", sp.sign: "real_sgn"}


class _NoBall(Exception):
    """An integrand that the list above does not cover."""


def _ball(e: Any, at: dict[Any, flint.acb], analytic: bool) -> flint.acb:
    if e in at:
        return at[e]
    if isinstance(e, sp.Float):
        e = sp.Rational(str(e))
    if isinstance(e, sp.Rational):
        return flint.acb(flint.fmpq(int(e.p), int(e.q)))
    if e is sp.pi:
        return flint.acb.pi()
    if e is sp.E:
        return flint.acb(1).exp()
    if isinstance(e, sp.Add):
        total = flint.acb(0)
        for a in e.args:
            total += _ball(a, at, analytic)
        return total
    if isinstance(e, sp.Mul):
        total = flint.acb(1)
        for a in e.args:
            total *= _ball(a, at, analytic)
        return total
    if isinstance(e, sp.Pow):
        base, exponent = e.args
        if base is sp.E:
            return _ball(exponent, at, analytic).exp()
        x = _ball(base, at, analytic)
        if isinstance(exponent, sp.Integer):
            return x ** int(exponent)
        if exponent == sp.Rational(1, 2):
            return x.sqrt(analytic=analytic)
        if exponent == sp.Rational(-1, 2):
            return x.rsqrt(analytic=analytic)
        return x.pow(_ball(exponent, at, analytic), analytic=analytic)
    if e.func in _BALL_FUNCTIONS:
        plain: flint.acb = getattr(_ball(e.args[0], at, analytic), _BALL_FUNCTIONS[e.func])()
        return plain
    if e.func in _BRANCHED:
        branched: flint.acb = getattr(_ball(e.args[0], at, analytic), _BRANCHED[e.func])(analytic=analytic)
        return branched
    raise _NoBall(str(e))


def _enclosed_integral(body: Any, x: sp.Symbol, low: Any, high: Any, at: dict[Any, Any]) -> Any:
    """The middle of a ball that contains the integral, or None where Arb certifies too few digits."""
    if lacking("python-flint"):
        return None
    before = flint.ctx.dps
    flint.ctx.dps = mp.mp.dps + 10
    try:
        fixed = {
            symbol: flint.acb(flint.arb(mp.nstr(number, mp.mp.dps + 10))) for symbol, number in at.items()
        }
        start, end = (_ball(e, fixed, False) for e in (low, high))
        _ball(body, fixed | {x: start}, False)  # an error inside Arb's own loop would not come out as itself
        ball = flint.acb.integral(
            lambda z, analytic: _ball(body, fixed | {x: z}, analytic), start, end, eval_limit=_EVALUATIONS
        )
    except (_NoBall, SystemError, TypeError, ValueError, ZeroDivisionError, AttributeError):
        return None
    finally:
        flint.ctx.dps = before
    if not (ball.is_finite() and ball.imag.contains(0)):
        return None
    if ball.real.rad() > flint.arb(10) ** -_ENCLOSED * (1 + abs(ball.real.mid())):
        return None
    return mp.mpf(ball.real.mid().str(mp.mp.dps + 5, radius=False))
