"""Values of formulas at single points, to as many digits as are asked for."""

from __future__ import annotations

import random

import mpmath as mp
import sympy as sp

from attnlib.derive.domain import Domain, Integers
from attnlib.derive.errors import Undecided
from attnlib.derive.instantiate import NotConcrete, at_size

GUARD_DIGITS = 60  # carried beyond the digits compared, to absorb cancellation


class PointEvaluator:
    """Two sides of a step at one size, as functions of a point of the domain."""

    def __init__(self, left: sp.Expr, right: sp.Expr, domain: Domain, n: int, at: dict | None = None):
        self.domain, self.n, self.at = domain, n, at or {}
        try:
            self.left, self.right = (at_size(side, domain, n, at) for side in (left, right))
        except NotConcrete as error:
            raise Undecided(str(error)) from error
        scalars = domain.scalars
        self.arguments = list(scalars)
        for base in domain.vectors:
            self.arguments += domain.entries(base, n)
        unknown = (self.left.free_symbols | self.right.free_symbols) - set(self.arguments)
        if unknown:
            raise Undecided(f"no range is declared for {', '.join(sorted(map(str, unknown)))}")
        self._functions = [sp.lambdify(self.arguments, side, "mpmath") for side in (self.left, self.right)]

    def values(self, point: dict, digits: int):
        """Both sides at ``point``; None where one of them has no real, finite value."""
        arguments = self._arguments(point)
        with mp.workdps(digits + GUARD_DIGITS):
            try:
                found = [mp.mpmathify(f(*arguments)) for f in self._functions]
            except (ZeroDivisionError, ValueError, OverflowError, mp.libmp.NoConvergence):
                return None
            except (NameError, TypeError, AttributeError) as error:
                raise Undecided(f"the formula has no value that can be computed: {error}") from error
            real = []
            for value in found:
                if isinstance(value, mp.mpc):
                    if abs(value.imag) > mp.mpf(10) ** (-digits) * max(1, abs(value.real)):
                        return None
                    value = value.real
                if not mp.isfinite(value):
                    return None
                real.append(value)
            return tuple(real)

    def _arguments(self, point: dict) -> list:
        arguments = []
        for symbol in self.domain.scalars:
            whole = isinstance(self.domain.ranges[symbol], Integers)
            arguments.append(int(point[symbol]) if whole else point[symbol])
        for base in self.domain.vectors:
            arguments += list(point[base])
        return arguments


def points(domain: Domain, n: int, count: int, seed: str) -> list[dict]:
    """The corners of the domain and ``count`` random points; the same ones for the same ``seed``."""
    rng = random.Random(f"{seed}/{n}")
    with mp.workdps(110):
        return domain.corners(n) + [domain.sample(rng, n) for _ in range(count)]


def describe(point: dict, n: int, at: dict | None = None) -> str:
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
