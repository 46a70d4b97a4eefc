"""Derivations that prove themselves: formulas as data, verified when built, shown as what was verified."""

from attnlib.derive.answers import Answer, check_answer
from attnlib.derive.definition import Definition, define, unfold
from attnlib.derive.derivation import Derivation, Step, approx, eq, ge, gt, le, lt
from attnlib.derive.domain import Domain, indices, integers, ladder, simplex, size, vector
from attnlib.derive.errors import DerivationError, Refuted, Undecided, WrongRate
from attnlib.derive.lambdify import lambdify
from attnlib.derive.latex import latex
from attnlib.derive.over import MaxOver, MinOver
from attnlib.derive.strategies import Regime, Verified

__all__ = [
    "Answer", "Definition", "Derivation", "DerivationError", "Domain", "MaxOver", "MinOver", "Refuted", "Regime",
    "Step", "Undecided", "Verified", "WrongRate", "approx", "check_answer", "define", "eq", "ge", "gt", "indices",
    "integers", "ladder", "lambdify", "latex", "le", "lt", "simplex", "size", "unfold", "vector",
]
