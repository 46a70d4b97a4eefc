"""Exact polynomials in plain Python, for where there is no python-flint: what ``Ring`` asks for, and no more.

Sums, products and quotients are computed here. Factors are SymPy's; who asks for them multiplies them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import sympy as sp

Exponents = tuple[int, ...]
Terms = Mapping[Exponents, Fraction]


class Context:
    """Polynomials in so many generators."""

    def __init__(self, generators: int):
        self.generators = generators

    def from_dict(self, terms: Terms) -> Polynomial:
        """The polynomial with these coefficients."""
        return Polynomial(self, terms)

    def constant(self, value: Fraction) -> Polynomial:
        """A number as a polynomial."""
        return Polynomial(self, {(0,) * self.generators: value})


class Polynomial:
    """Coefficients by exponents; none is zero."""

    def __init__(self, context: Context, terms: Terms):
        self.context = context
        self.terms = {exponents: c for exponents, c in terms.items() if c}

    def to_dict(self) -> dict[Exponents, Fraction]:
        """The coefficients, by exponents."""
        return dict(self.terms)

    def total_degree(self) -> int:
        """The largest sum of exponents; -1 of nothing."""
        return max(map(sum, self.terms), default=-1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __mul__(self, other: Polynomial) -> Polynomial:
        total: dict[Exponents, Fraction] = {}
        for one, c in self.terms.items():
            for two, d in other.terms.items():
                both = tuple(a + b for a, b in zip(one, two))
                total[both] = total.get(both, Fraction(0)) + c * d
        return Polynomial(self.context, total)

    def __pow__(self, exponent: int) -> Polynomial:
        power = self.context.constant(Fraction(1))
        for _ in range(exponent):
            power = power * self
        return power

    def __divmod__(self, by: Polynomial) -> tuple[Polynomial, Polynomial]:
        """Quotient and remainder: no term of the remainder is divisible by the leading one of ``by``."""
        lead = max(by.terms)
        left, quotient, rest = dict(self.terms), {}, {}
        while left:
            top = max(left)
            if any(a < b for a, b in zip(top, lead)):
                rest[top] = left.pop(top)
                continue
            factor = tuple(a - b for a, b in zip(top, lead))
            c = quotient[factor] = left[top] / by.terms[lead]
            for exponents, d in by.terms.items():
                place = tuple(a + b for a, b in zip(factor, exponents))
                left[place] = left.get(place, Fraction(0)) - c * d
                if not left[place]:
                    del left[place]
        return Polynomial(self.context, quotient), Polynomial(self.context, rest)

    def factor(self) -> tuple[Fraction, list[tuple[Polynomial, int]]]:
        """A coefficient, and irreducible polynomials with their powers."""
        names = sp.symbols(f"g:{self.context.generators}")
        terms = {exponents: sp.Rational(c.numerator, c.denominator) for exponents, c in self.terms.items()}
        coefficient, parts = sp.Poly(terms, *names, domain="QQ").factor_list()
        return _fraction(coefficient), [(self._read(part), int(e)) for part, e in parts]

    def _read(self, part: sp.Poly) -> Polynomial:
        return Polynomial(self.context, {exponents: _fraction(c) for exponents, c in part.terms()})


def _fraction(number: sp.Rational) -> Fraction:
    return Fraction(int(number.p), int(number.q))
