"""From a SymPy tree to the normal form. The tree is read, node by node; nothing of SymPy is asked to compute.

What stands in the tree must have a value: a denominator, a logarithm's argument and what is below a root each
leave a condition with the context. A node without a rule here (most integrals, a limit, a Piecewise, an
infinite sum) has no normal form, and what holds one is not proved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import sympy as sp
from sympy.core.function import AppliedUndef

from proofbook.derive.definition import Quantity
from proofbook.derive.kernel import bounded
from proofbook.derive.kernel.algebra import Atom, Poly, constant, poly
from proofbook.derive.kernel.calculus import differentiate
from proofbook.derive.kernel.context import ANY, NONNEGATIVE, NONPOSITIVE, POSITIVE, Context, Interval
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import (
    absolute,
    bessel,
    close_sum,
    delta,
    exponential,
    extremum,
    function,
    in_range,
    logarithm,
    maximum,
    odd,
    power,
    real_power,
    sign_of,
    substitute,
    tidy,
)
from proofbook.derive.kernel.integrals import gamma, gamma_integral, gaussian
from proofbook.derive.kernel.moments import know_moments
from proofbook.derive.kernel.series import endless_sum
from proofbook.derive.kernel.special import digamma, poisson_integral
from proofbook.derive.kernel.steps import heaviside
from proofbook.derive.over import MaxOver, MinOver, Over

Environment = Mapping[sp.Expr, Poly]
DEEPEST = 200
MOST_LEFT_OUT = 50  # terms at the beginning of a range


class Reader:
    """Reads expressions within one context; ``symbols`` are the names that the domain gives a range."""

    def __init__(self, ctx: Context, symbols: Mapping[sp.Symbol, Atom], vectors: frozenset[sp.IndexedBase]):
        self.ctx, self.symbols, self.vectors = ctx, symbols, vectors
        self._depth = 0
        self._with_moments: list[Poly] = []  # arguments of erf whose moments are known to the context

    def read(self, e: sp.Expr, env: Environment | None = None) -> Poly:
        """The normal form of ``e``, with ``env`` for the symbols that are bound."""
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise NotProved(f"beyond the budget: nested deeper than {DEEPEST}")
            return self._read(e, env or {})
        finally:
            self._depth -= 1

    def _read(self, e: sp.Expr, env: Environment) -> Poly:
        if isinstance(e, sp.Rational):
            return constant(Fraction(int(e.p), int(e.q)))
        if isinstance(e, sp.Float):
            # a decimal is the number it is written as, if all of it is shown
            if sp.Float(str(e)) != e:
                raise NotProved(f"{e} has more digits than it shows")
            return constant(Fraction(str(e)))
        if isinstance(e, sp.Symbol):
            if e in env:
                return env[e]
            if e not in self.symbols:
                raise NotProved(f"no range is declared for {e}")
            return poly(self.symbols[e])
        if e is sp.pi:
            return poly(Atom("const", "pi"))
        if e is sp.E:
            return exponential(self.ctx, constant(1))
        if isinstance(e, (AppliedUndef, Quantity)):
            return self._applied(e, env)
        for kind, rule in self._rules().items():
            if isinstance(e, kind):
                return rule(e, env)
        name = _FUNCTIONS.get(e.func)
        if name is not None:
            return function(name, tuple(self.read(a, env) for a in e.args))
        raise NotProved(f"no rule reads {type(e).__name__}")

    def _rules(self) -> dict[type, Callable[[sp.Expr, Environment], Poly]]:
        return {
            sp.Add: self._add,
            sp.Mul: self._mul,
            sp.Pow: self._pow,
            sp.exp: lambda e, env: exponential(self.ctx, self.read(e.args[0], env)),
            sp.log: self._log,
            sp.Indexed: self._entry,
            sp.Sum: self._sum,
            sp.Product: self._product,
            sp.Derivative: self._derivative,
            sp.Subs: self._subs,
            sp.Integral: self._integral,
            Over: self._over,
            sp.Max: lambda e, env: maximum(self.ctx, [self.read(a, env) for a in e.args]),
            sp.Min: lambda e, env: -maximum(self.ctx, [-self.read(a, env) for a in e.args]),
            sp.Abs: lambda e, env: absolute(self.ctx, self.read(e.args[0], env)),
            sp.sign: lambda e, env: sign_of(self.ctx, self.read(e.args[0], env)),
            sp.Heaviside: self._heaviside,
            sp.KroneckerDelta: self._delta,
            sp.erfc: lambda e, env: constant(1) - self._erf(e, env),
            sp.erf: self._erf,
            sp.tanh: self._tanh,
            sp.sinh: lambda e, env: self._hyperbolic(e, env, -1),
            sp.cosh: lambda e, env: self._hyperbolic(e, env, 1),
            sp.gamma: self._gamma,
            sp.digamma: lambda e, env: self._digamma(e.args[0], env),
            sp.polygamma: self._polygamma,
            sp.besseli: self._besseli,
        }

    def _add(self, e: sp.Expr, env: Environment) -> Poly:
        total = constant(0)
        for term in e.args:
            total = total + self.read(term, env)
        return total

    def _mul(self, e: sp.Expr, env: Environment) -> Poly:
        product = constant(1)
        for factor in e.args:
            product = product * self.read(factor, env)
        return product

    def _pow(self, e: sp.Expr, env: Environment) -> Poly:
        base, exponent = self.read(e.base, env), tidy(self.ctx, self.read(e.exp, env))
        return real_power(self.ctx, base, exponent)

    def _log(self, e: sp.Expr, env: Environment) -> Poly:
        if len(e.args) != 1:
            raise NotProved("a logarithm to another base")
        return logarithm(self.ctx, self.read(e.args[0], env))

    def _entry(self, e: sp.Expr, env: Environment) -> Poly:
        if e.base not in self.vectors or len(e.indices) != 1 or self.ctx.size is None:
            raise NotProved(f"no range is declared for {e}")
        index = self.read(e.indices[0], env)
        if not in_range(self.ctx, index, poly(self.ctx.size)):
            raise NotProved(f"the index of {e} is not known to lie in 1 .. {self.ctx.size}")
        return poly(Atom("entry", str(e.base.label), index))

    def _range(self, limits: sp.Tuple, env: Environment) -> tuple[sp.Symbol, int, Poly]:
        if len(limits) != 3:
            raise NotProved("a sum without ends")
        high = limits[2]
        if high.is_infinite:
            raise NotProved(f"no rule adds up to {high}")
        return *self._start(*limits[:2]), self.read(high, env)

    def _start(self, symbol: sp.Expr, low: sp.Expr) -> tuple[sp.Symbol, int]:
        """An index and the whole number at which it starts."""
        if not isinstance(symbol, sp.Symbol) or not low.is_Integer:
            raise NotProved(f"no rule adds up from {low} on")
        if low > MOST_LEFT_OUT:
            raise NotProved(f"beyond the budget: a range from {low} on")
        if symbol.is_positive and low < 1 or symbol.is_nonnegative and low < 0 or symbol.is_integer is False:
            raise NotProved(f"{symbol} is declared to be what it is not: it runs from {low}")
        return symbol, int(low)

    def _sum(self, e: sp.Expr, env: Environment) -> Poly:
        """Sums in SymPy's order of limits, the innermost first."""
        body, *limits = e.args
        return self._sum_over(body, limits, env)

    def _sum_over(self, body: sp.Expr, limits: list[sp.Tuple], env: Environment) -> Poly:
        if not limits:
            return self.read(body, env)
        if endless := len(limits[-1]) == 3 and limits[-1][2] is sp.oo:
            symbol, low = self._start(*limits[-1][:2])
        else:
            symbol, low, high = self._range(limits[-1], env)
        ctx = self.ctx

        def inner(value: Poly) -> Poly:
            return self._sum_over(body, limits[:-1], {**env, symbol: value})

        if endless:
            return endless_sum(ctx, low, inner)

        if low <= 1:
            # sum from low to high of f(i) is sum from 1 to high + 1 - low of f(i - 1 + low)
            count, earlier = high + constant(1 - low), len(ctx.conditions)
            index = ctx.index(count)
            summand = inner(poly(index) + constant(low - 1))
            closed = close_sum(ctx, index, count, summand)
            nonempty = ctx.sign(count - constant(1)) <= NONNEGATIVE
            if not nonempty:
                self._not_typed(earlier)
            sign = ctx.sign(summand) if len(summand.terms) > 1 else ANY
            if sign <= NONNEGATIVE or sign <= NONPOSITIVE:
                ctx.signed.append((closed, sign if nonempty else sign | {0}))
                ctx.forget()
            return closed
        # f is defined at 1 .. low - 1 as well: reading it there leaves its conditions
        if not ctx.sign(high - constant(low - 1)) <= NONNEGATIVE:
            raise NotProved(f"the range {low} .. {high} is not known to begin before it ends")
        earlier = len(ctx.conditions)
        index = ctx.index(high)
        total = close_sum(ctx, index, high, inner(poly(index)))
        for k in range(1, low):
            total = total - inner(constant(k))
        # at 1 .. low - 1 nothing is typed: where f has no value there, the sum may have one
        self._not_typed(earlier)
        return total

    def _not_typed(self, earlier: int) -> None:
        """Where a condition met since fails, there may be a value: an empty sum is 0 whatever it adds."""
        met = self.ctx.conditions[earlier:]
        self.ctx.conditions[earlier:] = [replace(c, typed=False) for c in met]

    def _product(self, e: sp.Expr, env: Environment) -> Poly:
        """A product of positive factors is e to the sum of their logarithms."""
        body, *limits = e.args
        if len(limits) != 1:
            raise NotProved("a product over several indices")
        symbol, low, high = self._range(limits[0], env)
        if low != 1:
            raise NotProved("a product that does not start at 1")
        index, earlier = self.ctx.index(high), len(self.ctx.conditions)
        factor = self.read(body, {**env, symbol: poly(index)})
        if not self.ctx.sign(high - constant(1)) <= NONNEGATIVE:
            self._not_typed(earlier)
        logs = close_sum(self.ctx, index, high, logarithm(self.ctx, factor, typed=False))
        return exponential(self.ctx, logs)

    def _over(self, e: sp.Expr, env: Environment) -> Poly:
        body, limits = e.args
        symbol, low, high = self._range(limits, env)
        if low != 1 or not isinstance(e, (MaxOver, MinOver)):
            raise NotProved("an extremum that does not start at 1")
        index = self.ctx.index(high)
        return extremum(
            self.ctx, index, high, self.read(body, {**env, symbol: poly(index)}), isinstance(e, MaxOver)
        )

    def _derivative(self, e: sp.Expr, env: Environment) -> Poly:
        body, *variables = e.args
        if not all(k.is_Integer for _, k in variables):
            raise NotProved("a derivative of an order that is no number")
        return self._differentiated(body, [(v, int(k)) for v, k in variables], env)

    def _differentiated(self, body: sp.Expr, by: list[tuple[sp.Expr, int]], env: Environment) -> Poly:
        if not by:
            return self.read(body, env)
        (variable, times), rest = by[-1], by[:-1]
        ctx, earlier = self.ctx, len(self.ctx.conditions)
        if isinstance(variable, sp.Indexed):
            at = self._entry(variable, env)
            atom = at.atom
            if atom is None or variable.base.label in env:
                raise NotProved(f"no rule differentiates by {variable}")
            before, ctx.moving = ctx.moving, ctx.moving | {str(variable.base.label)}
            try:
                result = self._differentiated(body, rest, env)
                for k in range(times):
                    result = differentiate(ctx, result, atom, typed=k == 0)
            finally:
                ctx.moving = before
            return result
        if not isinstance(variable, sp.Symbol):
            raise NotProved(f"no rule differentiates by {variable}")
        at = self.read(variable, env)
        if at.atom is not None and (at.atom in ctx.whole or at.atom.kind == "idx"):
            raise NotProved(f"{variable} is a whole number: nothing is differentiated by it")
        moving = ctx.fresh("var")
        if at.atom is not None:
            ctx.scalars[moving] = ctx.interval(at.atom)
        elif ctx.sign(at) == POSITIVE:
            ctx.scalars[moving] = Interval(Fraction(0), None, low_strict=True)
        before, ctx.moving = ctx.moving, ctx.moving | {moving}
        try:
            result = self._differentiated(body, rest, {**env, variable: poly(moving)})
            for k in range(times):
                result = differentiate(ctx, result, moving, typed=k == 0)
        finally:
            ctx.moving = before
        here = {moving: at}
        met, ctx.conditions = ctx.conditions[earlier:], ctx.conditions[:earlier]
        for c in met:
            ctx.need(substitute(ctx, c.value, here), c.relation, c.because, c.typed)
        return substitute(ctx, result, here)

    def _subs(self, e: sp.Expr, env: Environment) -> Poly:
        body, variables, points = e.args
        values = {v: self.read(p, env) for v, p in zip(variables, points)}
        return self.read(body, {**env, **values})

    def _applied(self, e: sp.Expr, env: Environment) -> Poly:
        definition = type(e) if isinstance(e, Quantity) else None
        arguments = tuple(tidy(self.ctx, self.read(a, env)) for a in e.args)
        if definition is None:
            # smooth by assumption: nothing else is known of it
            return function(f"abstract {e.func.__name__}", arguments)
        free = definition.body.free_symbols - set(definition.args)
        if captured := free & set(env):
            raise NotProved(f"{e.func.__name__} speaks of {captured}, which are bound where it stands")
        return self.read(definition.body, dict(zip(definition.args, arguments)))

    def _heaviside(self, e: sp.Expr, env: Environment) -> Poly:
        x, at_zero = (self.read(a, env) for a in e.args)
        if at_zero.number is None:
            raise NotProved("Heaviside's function with an unknown value at 0")
        return heaviside(self.ctx, x, at_zero.number)

    def _delta(self, e: sp.Expr, env: Environment) -> Poly:
        if len(e.args) != 2:
            raise NotProved("Kronecker's delta with a range of its own, outside of which it is 0")
        return delta(self.ctx, *(self.read(a, env) for a in e.args))

    def _erf(self, e: sp.Expr, env: Environment) -> Poly:
        w = tidy(self.ctx, self.read(e.args[0], env))
        found = odd("erf", w)
        if len(w.terms) == 1 and w not in self._with_moments:
            self._with_moments.append(w)
            know_moments(self.ctx, w)
        return found

    def _tanh(self, e: sp.Expr, env: Environment) -> Poly:
        """tanh x = 1 - 2/(e^2x + 1)"""
        double = exponential(self.ctx, self.read(e.args[0], env).scaled(2))
        return constant(1) - power(self.ctx, double + constant(1), Fraction(-1)).scaled(2)

    def _hyperbolic(self, e: sp.Expr, env: Environment, sign: int) -> Poly:
        x = self.read(e.args[0], env)
        return (exponential(self.ctx, x) + exponential(self.ctx, -x).scaled(sign)).scaled(Fraction(1, 2))

    def _gamma(self, e: sp.Expr, env: Environment) -> Poly:
        x = tidy(self.ctx, self.read(e.args[0], env))
        self.ctx.need(x, ">", "Gamma is taken on positive numbers only", typed=False)
        return gamma(self.ctx, x)

    def _digamma(self, argument: sp.Expr, env: Environment) -> Poly:
        x = tidy(self.ctx, self.read(argument, env))
        self.ctx.need(x, ">", "the digamma function is taken on positive numbers only", typed=False)
        return digamma(self.ctx, x)

    def _polygamma(self, e: sp.Expr, env: Environment) -> Poly:
        if e.args[0] != 0:
            raise NotProved("no rule reads a derivative of the digamma function")
        return self._digamma(e.args[1], env)

    def _integral(self, e: sp.Expr, env: Environment) -> Poly:
        """An improper integral of one of two families, or one of powers between finite ends."""
        body, *limits = e.args
        if len(limits) != 1 or len(limits[0]) != 3:
            raise NotProved("no rule integrates over several variables")
        symbol, low, high = limits[0]
        ctx = self.ctx
        if low == 0 and high is sp.pi and (parts := _cosine_and_sine(body, symbol)) is not None:
            _check_declared(symbol, Interval(Fraction(0)))
            # neither part holds the variable; a definition in one that speaks of it is refused
            bound = {**env, symbol: poly(ctx.fresh("var"))}
            return poisson_integral(ctx, *(tidy(ctx, self.read(part, bound)) for part in parts))
        variable = ctx.fresh("var")
        half = low == 0 and high is sp.oo
        if half:
            ctx.scalars[variable] = Interval(Fraction(0), None, low_strict=True)
        elif not (low is sp.S.NegativeInfinity or high is sp.oo):
            start, end = self.read(low, env), self.read(high, env)
            ctx.scalars[variable] = bounded.between(ctx, start, end)
            _check_declared(symbol, ctx.scalars[variable])
            integrand = self.read(body, {**env, symbol: poly(variable)})
            return bounded.integral(ctx, variable, integrand, start, end)
        integrand = self.read(body, {**env, symbol: poly(variable)})
        if half:
            try:
                return gamma_integral(ctx, variable, integrand)
            except NotProved:
                pass
        below = None if low is sp.S.NegativeInfinity else self.read(low, env)
        above = None if high is sp.oo else self.read(high, env)
        return gaussian(ctx, variable, integrand, below, above)

    def _besseli(self, e: sp.Expr, env: Environment) -> Poly:
        order, x = (tidy(self.ctx, self.read(a, env)) for a in e.args)
        self.ctx.need(x, ">", "the argument of a Bessel function is positive", typed=False)
        self.ctx.need(order, ">=", "the order of a Bessel function is not negative", typed=False)
        return bessel(self.ctx, order, x)


def _cosine_and_sine(body: sp.Expr, t: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """The x and m of e^(x cos t) sin(t)^m, both free of t, or None for any other integrand."""
    factors = body.args if isinstance(body, sp.Mul) else (body,)
    exponentials = [f for f in factors if isinstance(f, sp.exp)]
    sines = [f for f in factors if isinstance(f, sp.Pow) and f.base == sp.sin(t)]
    if len(factors) != 2 or len(exponentials) != 1 or len(sines) != 1:
        return None
    exponent = exponentials[0].args[0]
    if not isinstance(exponent, sp.Mul) or exponent.args.count(sp.cos(t)) != 1:
        return None
    scale = exponent.func(*(a for a in exponent.args if a != sp.cos(t)), evaluate=False)
    found = scale, sines[0].exp
    return None if any(part.has(t) for part in found) else found


def _check_declared(symbol: sp.Symbol, bounds: Interval) -> None:
    """SymPy has simplified by what a variable is declared to be, so its range must imply it."""
    below = bounds.low is not None and bounds.low >= 0
    above = bounds.high is not None and bounds.high <= 0
    if (
        symbol.is_extended_nonnegative
        and not below
        or symbol.is_extended_nonpositive
        and not above
        or symbol.is_integer is not None
        or symbol.is_rational is not None
        or symbol.is_extended_real is False
    ):
        raise NotProved(f"{symbol} is declared to be what it is not between these ends")


_FUNCTIONS = {sp.sin: "sin", sp.cos: "cos"}
