"""Random true statements with random numbers in them, and what one random change makes of them.

The true ones are proved. Of the changed ones the kernel, asked alone, may accept only what the second route
cannot show to be false at any point that it tries.
"""

import random
from collections import Counter

import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from more_statements import TRUE as MORE_TRUE
from mutants import failure, mutant
from statements import LAW, ROWS, TRUE, Z, a, b, i, lam, n, p, proves, r, s, total, u, weight, x, y
from sympy import Derivative, Integral, Max, Rational, Sum, exp, log, oo, pi, sqrt, symbols

from proofbook.derive import Domain, MaxOver, indices, ladder

(q,) = indices("q,")
k = symbols("k", integer=True, nonnegative=True)
t = symbols("t", real=True)
EACH = Domain({n: ladder(1, 2, 3), s: (-2, 2), lam: (Rational(1, 2), 2)}, each=(q,))
LINE = Domain({x: (-2, 2), u: (-2, 2)})
UP = Domain({a: (Rational(1, 2), 2), b: (Rational(1, 2), 2)})
ENTRIES = Domain({n: ladder(1, 2, 3), y: (Rational(1, 4), 3)})
RATIO = Domain({r: (Rational(1, 4), Rational(1, 2))})

positive = st.fractions(Rational(1, 4), 4, max_denominator=4).map(
    lambda f: Rational(f.numerator, f.denominator)
)
numbers = st.one_of(positive, positive.map(lambda c: -c))


@st.composite
def statements(draw):
    """A true statement of the book's kinds: relation, both sides, domain."""
    c, d, e, f = (draw(numbers) for _ in range(4))
    v, w = draw(positive), draw(positive)
    mean = total(weight * s[i])
    return draw(
        st.sampled_from(
            [
                ("=", total((c * s[i] + d) * (e * s[i] + f)),
                 c * e * total(s[i] ** 2) + (c * f + d * e) * total(s[i]) + d * f * n, ROWS),
                ("=", -total(p[i] * log(v * p[i])), -total(p[i] * log(p[i])) - log(v), LAW),
                ("=", total(p[i] * (c * s[i] + d)) ** 2,
                 c**2 * total(p[i] * s[i]) ** 2 + 2 * c * d * total(p[i] * s[i]) + d**2, LAW),
                ("=", total(weight * (c * s[i] + d)), c * mean + d, ROWS),
                ("=", Derivative(log(Z), lam) * c, c * mean, ROWS),
                ("=", log(a**c * b**d), c * log(a) + d * log(b), UP),
                ("=", total(y[i] ** c * y[i] ** d), total(y[i] ** (c + d)), ENTRIES),
                ("=", (c * a + d) / (a + v), c + (d - c * v) / (a + v), UP),
                ("=", Derivative(exp(c * x**2 + d * x), x), (2 * c * x + d) * exp(c * x**2 + d * x), LINE),
                ("=", Integral(c * t**2 + d * t, (t, 0, v)), c * v**3 / 3 + d * v**2 / 2, LINE),
                ("=", Integral(exp(-v * t**2 + c * t), (t, -oo, oo)),
                 sqrt(pi / v) * exp(c**2 / (4 * v)), LINE),
                ("=", Sum(c * r**k, (k, 0, oo)), c / (1 - r), RATIO),
                ("=", MaxOver(v * s[i] + c, (i, 1, n)), v * MaxOver(s[i], (i, 1, n)) + c, ROWS),
                (">=", c**2 * x**2 + d**2 * u**2, 2 * c * d * x * u, LINE),
                (">=", exp(c * x), 1 + c * x, LINE),
                ("<=", v * log(a), v * a - v, UP),
                (">=", v * log(Z), v * lam * s[q], EACH),
                ("<=", total(c * s[i]) ** 2, c**2 * n * total(s[i] ** 2), ROWS),
                ("<=", v * MaxOver(s[i], (i, 1, n)) - w, v * MaxOver(s[i], (i, 1, n)), ROWS),
                ("<=", Max(c * x, d * u), Max(c * x, d * u, e), LINE),
                ("<", v * a / (v * a + w * b), sp.Integer(1), UP),
            ]
        )
    )  # fmt: skip


@settings(max_examples=80, deadline=None, derandomize=True)
@given(statements(), st.integers(0, 10**6))
def test_the_kernel_accepts_no_change_that_makes_a_statement_false(statement, seed):
    relation, left, right, domain = statement
    assert proves(left, relation, right, domain)
    rng = random.Random(seed)
    for _ in range(3):
        changed = mutant(relation, left, right, domain, rng)
        if changed is None:
            continue
        _, sign, one, other = changed
        if proves(one, sign, other, domain):
            assert not failure(sign, one, other, domain, rng), changed


def test_the_kernel_accepts_no_near_miss_of_the_listed_statements():
    """One change in each of forty listed statements; most are false, and shown to be."""
    rng, seen = random.Random(2026), Counter()
    for statement in rng.sample([*TRUE, *MORE_TRUE], 40):
        if statement.left.has(Integral, sp.Limit):
            continue
        changed = mutant(statement.relation, statement.left, statement.right, statement.domain, rng)
        if changed is None:
            continue
        _, sign, one, other = changed
        false = bool(failure(sign, one, other, statement.domain, rng, points=2))
        assert not (proves(one, sign, other, statement.domain) and false), changed
        seen[false] += 1
    assert seen[True] > seen[False] > 0
