"""Polynomial inequalities by z3: a statement holds if its negation and known facts are unsatisfiable.

Atoms become real variables. What is asserted of them are facts that hold at every point of the domain (signs
and bounds of atoms, hypotheses, instances of the lemmas named below), with denominators cleared by squares,
so that no division is left. The facts alone are shown to be satisfiable first: from a contradiction anything
would follow. ``unknown`` decides nothing, and work is bounded by z3's own count of steps, not by the clock.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

from proofbook.derive.engines import lacking, z3
from proofbook.derive.kernel.algebra import Atom, Mono, Poly, as_mono, as_poly, constant, poly
from proofbook.derive.kernel.context import (
    NEGATIVE,
    POSITIVE,
    WANTED,
    Context,
    Sign,
)
from proofbook.derive.kernel.errors import NotProved
from proofbook.derive.kernel.forms import common

STEPS = 200_000
MOST_ATOMS = 14
MOST_TERMS = 80
MOST_DEGREE = 40
MOST_ANSWERS = 2000  # that are kept

# z3 holds equal terms once, under one number, for as long as somebody holds them: so the terms are kept, too
_answers: dict[tuple[int, ...], tuple[z3.CheckSatResult, tuple[z3.BoolRef, ...]]] = {}


class Question:
    """Variables for atoms and the facts known of them."""

    def __init__(self, ctx: Context):
        if lacking("z3"):
            raise NotProved("no z3 is here to ask")
        self.ctx = ctx
        self.variables: dict[Atom, z3.ArithRef] = {}
        self.finest: dict[Atom, int] = {}
        self.facts: list[z3.BoolRef] = []
        self.said: list[str] = []

    def prepare(self, polys: list[Poly]) -> None:
        """Choose for every new atom the root of which all its powers are whole ones."""
        for p in polys:
            for mono in p.terms:
                for atom, e in mono:
                    if atom not in self.variables:
                        self.finest[atom] = lcm(self.finest.get(atom, 1), e.denominator)

    def variable(self, atom: Atom) -> z3.ArithRef:
        if atom not in self.variables:
            if len(self.variables) >= MOST_ATOMS:
                raise NotProved(f"beyond the budget: {MOST_ATOMS} atoms in one inequality")
            # from here on its root is fixed
            self.finest.setdefault(atom, 1)
            self.variables[atom] = z3.Real(f"x{len(self.variables)}")
        return self.variables[atom]

    def term(self, p: Poly) -> z3.ArithRef:
        """A polynomial without negative exponents as a z3 term."""
        if len(p.terms) > MOST_TERMS:
            raise NotProved(f"beyond the budget: {MOST_TERMS} terms in one inequality")
        total = z3.RealVal(0)
        for mono, c in p.terms.items():
            product = z3.RealVal(str(c))
            for atom, e in mono:
                variable, k = self.variable(atom), e * self.finest[atom]
                if k.denominator != 1 or k < 0:
                    raise NotProved(f"{p} is no polynomial in the roots chosen")
                if k > MOST_DEGREE:
                    raise NotProved(f"beyond the budget: power {k} of {atom} in an inequality")
                for _ in range(int(k)):
                    product = product * variable
            total = total + product
        return total

    def say(self, p: Poly, relation: str, why: str) -> None:
        """Assert a fact; one whose exponents do not fit the roots is left out, or whose lemma is."""
        if why in self.ctx.without:
            return
        for mono in p.terms:
            for atom, e in mono:
                k = e * self.finest.get(atom, 1)
                if k < 0 or k.denominator != 1 or k > MOST_DEGREE:
                    return
        self.facts.append(_relate(self.term(p), relation))
        self.said.append(f"{p} {relation} 0: {why}")

    def refuted(self, p: Poly, relation: str) -> bool:
        """Whether the facts leave no room for ``p relation 0``."""
        extra = _relate(self.term(p), relation)
        return bool(self._check([*self.facts, extra]) == z3.unsat and self._check(self.facts) == z3.sat)

    def _check(self, assertions: list[z3.BoolRef]) -> z3.CheckSatResult:
        """z3's answer, asked for once for the same assertions in the same order: settings share many."""
        key = tuple(one.get_id() for one in assertions)
        if key not in _answers:
            solver = z3.SolverFor("QF_NRA")
            solver.set("rlimit", STEPS)
            solver.add(*assertions)
            if len(_answers) >= MOST_ANSWERS:
                _answers.clear()
            _answers[key] = solver.check(), tuple(assertions)
        return _answers[key][0]


def _relate(term: z3.ArithRef, relation: str) -> z3.BoolRef:
    return {
        ">": term > 0,
        ">=": term >= 0,
        "<": term < 0,
        "<=": term <= 0,
        "=": term == 0,
        "!=": term != 0,
    }[relation]


def cleared(ctx: Context, p: Poly) -> Poly:
    """``p`` times a positive quantity, so that no exponent is negative."""
    numerator, below = common(ctx, p)
    for atom, k in below.items():
        sign = ctx.sign_at_points(atom)
        if k % 2 == 0 or sign == POSITIVE:
            continue
        if sign == NEGATIVE:
            numerator = -numerator
        else:
            numerator = numerator * as_poly(atom.args[0])
    least: dict[Atom, Fraction] = {}
    for mono in numerator.terms:
        for atom, e in mono:
            least[atom] = min(least.get(atom, Fraction(0)), e)
    for atom, e in least.items():
        if e < 0:
            sign = ctx.sign_at_points(atom)
            whole = -(e.numerator // e.denominator)
            if sign != POSITIVE and whole % 2:
                whole += 1
            numerator = numerator * Poly(
                {Mono([(atom, Fraction(whole if sign != POSITIVE else -e))]): Fraction(1)}
            )
    return numerator


def sign_by_z3(ctx: Context, p: Poly, among: Sign) -> Sign:
    """Those signs in ``among`` that the facts do not exclude for ``p``."""
    goal = cleared(ctx, p)
    if len(goal.terms) > 12 or len(goal.atoms()) > 6:
        return among
    if lacking("z3"):
        return among
    question = Question(ctx)
    question.prepare([goal])
    try:
        gather(question, goal)
        left = set(among)
        for sign, relation in ((-1, "<"), (1, ">"), (0, "=")):
            if sign in left and len(left) > 1 and question.refuted(goal, relation):
                left.discard(sign)
        return frozenset(left)
    except NotProved:
        return among


def gather(question: Question, goal: Poly) -> None:
    """The facts about the atoms of ``goal``: ranges, signs, hypotheses, maxima, moduli."""
    ctx = question.ctx
    atoms = sorted(goal.atoms(), key=lambda a: a.key)
    relevant = {a for a in atoms}
    hypotheses = [(cleared(ctx, h), relation) for h, relation in ctx.hypotheses]
    shared = [(h, r) for h, r in hypotheses if reach(h) & {b for a in atoms for b in reach(poly(a))}]
    question.prepare([h for h, _ in shared])
    for h, relation in shared:
        question.say(h, relation, "hypothesis")
        relevant |= h.atoms()
    done: set[Atom] = set()
    while todo := sorted(relevant - done, key=lambda a: a.key):
        for atom in todo:
            done.add(atom)
            _facts_of(question, atom, relevant)


def reach(p: Poly) -> set[Atom]:
    """The symbols and entries a polynomial speaks of, inside moduli and maxima too."""
    found = set()
    for atom in p.atoms():
        if atom.kind in ("abs", "max"):
            for inner in atom.args:
                found |= reach(as_poly(inner))
        else:
            found.add(atom)
    return found


def _facts_of(question: Question, atom: Atom, relevant: set[Atom]) -> None:
    ctx, one = question.ctx, poly(atom)
    question.variable(atom)
    root = question.finest[atom]
    if root > 1:
        question.facts.append(question.variable(atom) >= 0)
        question.said.append(f"a root of {atom} is not negative")
    sign = ctx.sign_at_points(atom)
    if sign != frozenset({-1, 0, 1}):
        for relation in (">", "<", ">=", "<=", "!="):
            if sign <= WANTED[relation]:
                question.say(one, relation, "sign")
                break
    bounds = ctx.interval(atom)
    if bounds.low is not None and bounds.low != 0:
        question.say(one - constant(bounds.low), ">" if bounds.low_strict else ">=", "lower end of its range")
    if bounds.high is not None and bounds.high != 0:
        question.say(
            one - constant(bounds.high), "<" if bounds.high_strict else "<=", "upper end of its range"
        )
    if atom.kind == "exp":
        exponent = Poly({as_mono(atom.args[0]): Fraction(1)})
        if exponent.atoms() and exponent.atoms() <= set(question.variables):
            question.say(one - constant(1) - exponent, ">=", "e^x >= 1 + x")
    if atom.kind == "log":
        inner = as_poly(atom.args[0])
        if inner.atoms() <= set(question.variables):
            question.say(inner - constant(1) - one, ">=", "log x <= x - 1")
            question.say(one * inner - inner + constant(1), ">=", "x log x >= x - 1")
    if atom.kind == "prime":
        number = atom.args[0]
        assert isinstance(number, int)
        if root > 1:
            v, product = question.variable(atom), z3.RealVal(1)
            for _ in range(root):
                product = product * v
            question.facts.append(product == number)
            question.said.append(f"{number} is the power {root} of its root")
    if atom.kind == "group" and root > 1:
        inner = as_poly(atom.args[0])
        question.prepare([inner])
        relevant |= inner.atoms()
        v, product = question.variable(atom), z3.RealVal(1)
        for _ in range(root):
            product = product * v
        question.facts.append(product == question.term(inner))
        question.said.append(f"{atom} is the power {root} of its root")
    if atom.kind == "abs":
        inner = as_poly(atom.args[0])
        question.prepare([inner])
        relevant |= inner.atoms()
        v, t = question.variable(atom), question.term(inner)
        question.facts.append(z3.Or(z3.And(v == t, t >= 0), z3.And(v == -t, t < 0)))
        question.said.append(f"{atom} is a modulus")
    if atom.kind == "step":
        inner = cleared(ctx, as_poly(atom.args[0]))  # of the same sign
        question.prepare([inner])
        relevant |= inner.atoms()
        v, t = question.variable(atom), question.term(inner)
        question.facts.append(z3.Or(z3.And(v == 1, t > 0), z3.And(v == 0, t <= 0)))
        question.said.append(f"{atom} is a step")
    if atom.kind == "max":
        parts = [as_poly(a) for a in atom.args]
        question.prepare(parts)
        terms = [question.term(p) for p in parts]
        relevant.update(a for p in parts for a in p.atoms())
        v = question.variable(atom)
        question.facts += [v >= t for t in terms]
        question.facts.append(z3.Or(*(v == t for t in terms)))
        question.said.append(f"{atom} is the largest of its arguments")
