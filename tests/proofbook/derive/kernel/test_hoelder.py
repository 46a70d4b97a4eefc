"""Hölder's inequality between logarithms of sums: what it proves, and near misses of its hypotheses."""

import pytest
import sympy as sp
from statements import proves
from sympy import Rational, Sum, log

from proofbook.derive import Domain, indices, ladder, reals, simplex, size, vector
from proofbook.derive.kernel import NotProved, prove_inequality

n = size()
(i,) = indices("i,")
f, g, p, s = (*(vector(name, positive=True) for name in "fgp"), vector("s"))
t, alpha, beta = sp.symbols("t alpha beta", positive=True)
x, y = sp.symbols("x y", real=True)

POSITIVE = reals(above=0, attack=(Rational(1, 5), 4))
ABOVE, BELOW = reals(above=1, attack=(1, 5)), reals(above=0, below=1)
ANY = reals(attack=(-3, 3))
FROM_ZERO = reals(at_least=0, attack=(0, 3))


def total(term, high=n):
    return Sum(term, (i, 1, high))


def entropy(order, row=p):
    return log(total(row[i] ** order)) / (1 - order)


def orders(first, second, *where, row=p, entries=None):
    entries = simplex() if entries is None else entries
    return Domain({alpha: first, beta: second, row: entries, n: ladder(2, 3)}, where=where)


def two(share=BELOW, first=POSITIVE):
    return Domain({f: first, g: POSITIVE, t: share, n: ladder(2, 3)})


MIXED = log(total(f[i] ** t * g[i] ** (1 - t)))
APART = t * log(total(f[i])) + (1 - t) * log(total(g[i]))
POWERS = Domain({f: POSITIVE, n: ladder(2, 3)})
SECOND, FOURTH = log(total(f[i] ** 2)), log(total(f[i] ** 4))

TRUE = {
    "entropies above 1": (entropy(alpha), ">=", entropy(beta), orders(ABOVE, ABOVE, beta > alpha)),
    "entropies below 1": (entropy(alpha), ">=", entropy(beta), orders(BELOW, BELOW, beta > alpha)),
    "entropies across 1": (entropy(alpha), ">=", entropy(beta), orders(BELOW, ABOVE)),
    "two rows": (MIXED, "<=", APART, two()),
    "two rows, ends included": (MIXED, "<=", APART, two(reals(above=0, at_most=1))),
    "three orders": (3 * SECOND, "<=", 2 * log(total(f[i])) + FOURTH, POWERS),
}
FALSE = {
    "turned round, above 1": (entropy(alpha), "<=", entropy(beta), orders(ABOVE, ABOVE, beta > alpha)),
    "turned round, below 1": (entropy(alpha), "<=", entropy(beta), orders(BELOW, BELOW, beta > alpha)),
    "turned round, across 1": (entropy(alpha), "<=", entropy(beta), orders(BELOW, ABOVE)),
    "strict": (entropy(alpha), ">", entropy(beta), orders(ABOVE, ABOVE, beta > alpha)),
    "orders not compared": (entropy(alpha), ">=", entropy(beta), orders(ABOVE, ABOVE)),
    "a row of another sum": (
        entropy(alpha, f),
        ">=",
        entropy(beta, f),
        orders(ABOVE, ABOVE, beta > alpha, row=f, entries=POSITIVE),
    ),
    "a share above 1": (MIXED, "<=", APART, two(ABOVE)),
    "any share": (MIXED, "<=", APART, two(POSITIVE)),
    "two rows, turned round": (MIXED, ">=", APART, two()),
    "two rows, strict": (MIXED, "<", APART, two()),
    "shares that do not add up to 1": (log(total(f[i] ** t * g[i] ** t)), "<=", APART, two()),
    "shares exchanged": (log(total(f[i] ** (1 - t) * g[i] ** t)), "<=", APART, two()),
    "three orders, other shares": (2 * SECOND, "<=", log(total(f[i])) + FOURTH, POWERS),
    "a share that may be below 0": (
        log(total(f[i] ** x * g[i] ** (1 - x))),
        "<=",
        x * log(total(f[i])) + (1 - x) * log(total(g[i])),
        Domain({f: POSITIVE, g: POSITIVE, x: reals(at_least=-1, at_most=1), n: ladder(2, 3)}),
    ),
    "exponents that are not conjugate": (
        log(total(f[i] * g[i])),
        "<=",
        SECOND / 2 + log(total(g[i] ** 3)) / 3,
        two(),
    ),
    "a factor summed over less": (
        log(total(f[i] * g[i])),
        "<=",
        SECOND / 2 + log(Sum(g[i] ** 2, (i, 2, n))) / 2,
        Domain({f: POSITIVE, g: POSITIVE, n: ladder(3, 4, least=3)}),
    ),
    "divided by an order that may be 0": (
        log(total(g[i] * f[i] ** x)),
        "<=",
        x / y * log(total(g[i] * f[i] ** y)) + (1 - x / y) * log(total(g[i])),
        Domain({f: POSITIVE, g: POSITIVE, x: FROM_ZERO, y: FROM_ZERO, n: ladder(2, 3)}, where=(x <= y,)),
    ),
    "strict at one entry": (entropy(2), ">", entropy(3), Domain({p: simplex(), n: ladder(1, 2)})),
    "an order outside": (3 * FOURTH, "<=", 2 * log(total(f[i])) + SECOND, POWERS),
    "a longer sum": (
        log(total(f[i] ** 2, n + 1)),
        "<=",
        (2 * log(total(f[i])) + FOURTH) / 3,
        POWERS,
    ),
}


@pytest.mark.parametrize("name", TRUE)
def test_what_follows_is_proved(name):
    assert proves(*TRUE[name])


def test_without_the_lemma_there_is_no_proof():
    left, relation, right, domain = TRUE["two rows"]
    with pytest.raises(NotProved):
        prove_inequality(relation, left, right, domain, without=["Hölder"])


@pytest.mark.parametrize("name", FALSE)
def test_near_misses_are_not_proved(name):
    assert not proves(*FALSE[name])


def test_numbers_of_any_sign_have_no_logarithms():
    left, right = log(total(s[i] ** 2)), (2 * log(total(s[i])) + log(total(s[i] ** 4))) / 3
    assert not proves(left, "<=", right, Domain({s: ANY, n: ladder(2, 3)}))
