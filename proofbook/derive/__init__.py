"""Derivations that prove themselves: formulas as data, verified when built, shown as what was verified."""

from proofbook.derive.answers import Answer
from proofbook.derive.assumption import Assumption, assume
from proofbook.derive.citation import cite
from proofbook.derive.definition import Definition, define, unfold
from proofbook.derive.derivation import Derivation, Step, approx, eq, evidence, ge, gt, le, lt
from proofbook.derive.domain import Domain, indices, size, vector
from proofbook.derive.errors import DerivationError, EmptyStep, Refuted, Undecided, WrongRate
from proofbook.derive.exercise import Exercise, WrongSolution
from proofbook.derive.lambdify import lambdify
from proofbook.derive.latex import latex
from proofbook.derive.over import MaxOver, MinOver
from proofbook.derive.ranges import integers, ladder, reals, simplex
from proofbook.derive.strategies import Regime, Verified

__all__ = [
    "Answer",
    "Assumption",
    "Definition",
    "Derivation",
    "DerivationError",
    "Domain",
    "EmptyStep",
    "Exercise",
    "MaxOver",
    "MinOver",
    "Refuted",
    "Regime",
    "Step",
    "Undecided",
    "Verified",
    "WrongRate",
    "WrongSolution",
    "approx",
    "assume",
    "cite",
    "define",
    "eq",
    "evidence",
    "ge",
    "gt",
    "indices",
    "integers",
    "ladder",
    "lambdify",
    "latex",
    "le",
    "lt",
    "reals",
    "simplex",
    "size",
    "unfold",
    "vector",
]
