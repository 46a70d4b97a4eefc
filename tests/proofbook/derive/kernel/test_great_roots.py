"""A root of an order that Arb does not take has no ball, and stops nothing."""

from fractions import Fraction

from proofbook.derive.kernel.algebra import Atom, constant, poly
from proofbook.derive.kernel.balls import sign_of_constant


def test_a_root_of_great_order_decides_nothing():
    prime = Atom("prime", 3)
    assert sign_of_constant(poly(prime, Fraction(1, 7)) - constant(1)) == 1
    assert sign_of_constant(poly(prime, Fraction(1, 10**30)) - constant(1)) is None
