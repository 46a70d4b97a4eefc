"""Polynomials over Q in named atoms: the numbers the kernel computes with.

A ``Poly`` is a finite sum of coefficients times monomials; a monomial is a product of powers of atoms. An
atom is a real quantity of which only its name is known here: a symbol, an entry of a vector, e to a monomial,
a logarithm, a closed sum. Two atoms are the same quantity if they have the same name (``key``); the converse
need not hold, so a difference that vanishes as a polynomial is zero, and one that does not vanish proves
nothing.

Exponents are rational. A negative one stands only where the atom is known not to be zero and a broken one
only where it is known not to be negative: whoever makes such a power (``forms.py``) leaves the condition
behind. Under these conditions the rules used here (adding exponents, and the reductions of ``_reduced``) hold
for real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from math import gcd, lcm
from typing import Any, Union

from proofbook.derive.engines import flint
from proofbook.derive.kernel import polynomials
from proofbook.derive.kernel.errors import NotProved

ONLY_PRIMES_BELOW = 10**6

Part = Union[str, int, Fraction, "Atom", "Poly", "Mono", tuple["Part", ...]]
MOST_TERMS = 4000  # of one polynomial; more is beyond the budget, whatever the machine
MOST_BITS = 40_000  # of a number that is a power
MOST_FACTORED = 400  # degree of a polynomial that is factored: for x^3000 - 1 it takes seconds


class Atom:
    """A named real quantity: its kind and what it is made of. Equal when written alike."""

    __slots__ = ("kind", "args", "key", "_hash")

    def __init__(self, kind: str, *args: Part):
        self.kind, self.args = kind, args
        self.key = f"{kind}({','.join(map(_key, args))})"
        self._hash = hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self.key


class Mono:
    """A product of powers of atoms, sorted by name; no exponent is zero."""

    __slots__ = ("powers", "key", "_hash")

    def __init__(self, powers: Iterable[tuple[Atom, Fraction]] = ()):
        self.powers = tuple(sorted((p for p in powers if p[1]), key=lambda p: p[0].key))
        self.key = "*".join(a.key if e == 1 else f"{a.key}^{e}" for a, e in self.powers)
        self._hash = hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mono) and self.key == other.key

    def __hash__(self) -> int:
        return self._hash

    def __iter__(self) -> Iterator[tuple[Atom, Fraction]]:
        return iter(self.powers)

    def __len__(self) -> int:
        return len(self.powers)

    def __repr__(self) -> str:
        return self.key or "1"

    def times(self, other: "Mono") -> "Mono":
        """The product, exponents added and nothing reduced."""
        if not other.powers:
            return self
        if not self.powers:
            return other
        exponents = dict(self.powers)
        for atom, e in other:
            exponents[atom] = exponents.get(atom, Fraction(0)) + e
        return Mono(exponents.items())

    def power(self, exponent: Fraction) -> "Mono":
        return Mono((a, e * exponent) for a, e in self.powers)


ONE = Mono()


class Poly:
    """A finite sum of rational coefficients times monomials."""

    __slots__ = ("terms", "_key")

    def __init__(self, terms: dict[Mono, Fraction] | None = None):
        self.terms = {m: c for m, c in (terms or {}).items() if c}
        self._key: str | None = None
        if len(self.terms) > MOST_TERMS:
            raise NotProved(f"beyond the budget of {MOST_TERMS} terms")

    @property
    def key(self) -> str:
        if self._key is None:
            self._key = (
                "+".join(
                    f"{_digits(c)}*{m.key}" if m.key else _digits(c)
                    for m, c in sorted(self.terms.items(), key=lambda t: t[0].key)
                )
                or "0"
            )
        return self._key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.key)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __repr__(self) -> str:
        return self.key

    def __add__(self, other: "Poly") -> "Poly":
        terms = dict(self.terms)
        for m, c in other.terms.items():
            terms[m] = terms.get(m, Fraction(0)) + c
        return Poly(terms)

    def __neg__(self) -> "Poly":
        return Poly({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: "Poly") -> "Poly":
        return self + -other

    def __mul__(self, other: "Poly") -> "Poly":
        if len(self.terms) * len(other.terms) > 20 * MOST_TERMS:
            raise NotProved(f"beyond the budget of {20 * MOST_TERMS} products")
        terms: dict[Mono, Fraction] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in other.terms.items():
                for m, c in _reduced(m1.times(m2)).terms.items():
                    terms[m] = terms.get(m, Fraction(0)) + c * c1 * c2
        return Poly(terms)

    def scaled(self, factor: Fraction | int) -> "Poly":
        return Poly({m: c * factor for m, c in self.terms.items()})

    def raised(self, exponent: int) -> "Poly":
        """A power with a whole exponent that is not negative."""
        if len(self.terms) > 1 and exponent > MOST_TERMS:
            raise NotProved(f"beyond the budget of {MOST_TERMS} terms")
        for c in self.terms.values():
            to_whole(c, exponent)  # within the budget of digits
        result, square = constant(1), self
        while exponent:
            if exponent & 1:
                result = result * square
            exponent >>= 1
            if exponent:
                square = square * square
        return result

    @property
    def number(self) -> Fraction | None:
        """The value of a polynomial without atoms; None if it has some."""
        if not self.terms:
            return Fraction(0)
        if len(self.terms) == 1 and ONE in self.terms:
            return self.terms[ONE]
        return None

    @property
    def atom(self) -> Atom | None:
        """The atom, if the polynomial is one and nothing else."""
        if len(self.terms) == 1:
            ((mono, c),) = self.terms.items()
            if c == 1 and len(mono) == 1 and mono.powers[0][1] == 1:
                return mono.powers[0][0]
        return None

    def atoms(self) -> set[Atom]:
        """The atoms it is a polynomial of, not those inside them."""
        return {a for m in self.terms for a, _ in m}


def _key(part: Part) -> str:
    if isinstance(part, (Atom, Poly, Mono)):
        return part.key
    if isinstance(part, tuple):
        return f"[{';'.join(map(_key, part))}]"
    return str(part)


def constant(value: int | Fraction) -> Poly:
    return Poly({ONE: Fraction(value)})


def poly(atom: Atom, exponent: Fraction | int = 1) -> Poly:
    """A power of one atom."""
    return _reduced(Mono([(atom, Fraction(exponent))]))


def _digits(c: Fraction) -> str:
    """A coefficient in decimal, as far as Python writes one out."""
    try:
        return str(c)
    except ValueError as error:
        raise NotProved("beyond the budget: a coefficient of thousands of digits") from error


def to_whole(value: Fraction, exponent: int) -> Fraction:
    """A whole power of a number, if it has a length that can be written out."""
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    if bits > 1 and bits * abs(exponent) > MOST_BITS:
        raise NotProved(f"beyond the budget: power {exponent} of {bits} binary digits")
    return value**exponent


def monomial(mono: Mono, coefficient: Fraction | int = 1) -> Poly:
    return _reduced(mono).scaled(Fraction(coefficient))


def _reduced(mono: Mono) -> Poly:
    """A monomial with what its atoms are taken into account, each rule an identity of real numbers.

    ``prime(p)^e``: the whole part of e goes into the coefficient. ``group(P)^k`` with a whole k > 0 is P
    multiplied out. ``abs(P)^2k`` is P^2k. ``delta^k`` is delta, which is 0 or 1, for k > 0; so
    is ``step^k``.
    """
    if not any(a.kind in ("prime", "group", "abs", "delta", "step") for a, _ in mono):
        return Poly({mono: Fraction(1)})
    coefficient, kept, factors = Fraction(1), [], []
    for atom, e in mono:
        if atom.kind == "prime":
            whole = e.numerator // e.denominator
            coefficient *= to_whole(Fraction(_int(atom.args[0])), whole)
            kept.append((atom, e - whole))
        elif atom.kind == "group" and e.denominator == 1 and e > 0:
            factors.append(_poly(atom.args[0]).raised(int(e)))
        elif atom.kind == "abs" and e.denominator == 1 and e >= 2:
            factors.append(_poly(atom.args[0]).raised(int(e) - int(e) % 2))
            kept.append((atom, e % 2))
        elif atom.kind in ("delta", "step") and e > 0:
            kept.append((atom, Fraction(1)))
        else:
            kept.append((atom, e))
    result = Poly({Mono(kept): coefficient})
    for factor in factors:
        result = result * factor
    return result


def _int(part: Part) -> int:
    assert isinstance(part, int)
    return part


def _poly(part: Part) -> Poly:
    assert isinstance(part, Poly)
    return part


def walk(part: Part) -> Iterator[Atom]:
    """Every atom in ``part``, those inside atoms included."""
    if isinstance(part, Atom):
        yield part
        for inner in part.args:
            yield from walk(inner)
    elif isinstance(part, Poly):
        for mono in part.terms:
            yield from walk(mono)
    elif isinstance(part, Mono):
        for atom, _ in part:
            yield from walk(atom)
    elif isinstance(part, tuple):
        for inner in part:
            yield from walk(inner)


def contains(part: Part, atom: Atom) -> bool:
    """Whether ``atom`` occurs in ``part``. A name inside a key is no proof: atoms are compared."""
    return any(a == atom for a in walk(part))


class Ring:
    """A passage to python-flint's exact polynomials and back, or to plain ones where there is none.

    Every atom a becomes a generator g with a = g^d, where 1/d is the finest exponent of a that occurs: on the
    non-negative numbers, where broken exponents live, this is a change of variable. Negative exponents are
    taken out in front as one monomial.
    """

    def __init__(self, polys: Iterable[Poly], first: Callable[[Atom], bool] = lambda atom: False):
        finest: dict[Atom, int] = {}
        for p in polys:
            for mono in p.terms:
                for atom, e in mono:
                    finest[atom] = lcm(finest.get(atom, 1), e.denominator)
        self.atoms = sorted(finest, key=lambda a: (not first(a), a.key))
        self.finest = [finest[a] for a in self.atoms]
        self.place = {a: k for k, a in enumerate(self.atoms)}
        names = [f"g{k}" for k in range(max(1, len(self.atoms)))]
        self.context: Any = polynomials.Context(len(names))
        if flint is not None:
            self.context = flint.fmpq_mpoly_ctx.get(names, flint.Ordering.lex)

    def lowest(self, p: Poly) -> Mono:
        """The monomial of the least exponents that are negative."""
        least: dict[Atom, Fraction] = {}
        for mono in p.terms:
            for atom, e in mono:
                if e < least.get(atom, 0):
                    least[atom] = e
        return Mono(least.items())

    def into(self, p: Poly) -> Any:
        """A polynomial without negative exponents."""
        table = {}
        for mono, c in p.terms.items():
            exponents = [0] * max(1, len(self.atoms))
            for atom, e in mono:
                k = self.place[atom]
                exponents[k] = int(e * self.finest[k])
            table[tuple(exponents)] = c if flint is None else flint.fmpq(c.numerator, c.denominator)
        return self.context.from_dict(table)

    def back(self, q: Any) -> Poly:
        terms = {}
        for exponents, c in q.to_dict().items():
            mono = Mono(
                (self.atoms[k], Fraction(int(e), self.finest[k])) for k, e in enumerate(exponents) if int(e)
            )
            terms[mono] = _fraction(c)
        return Poly(terms)


def unexpanded(p: Poly, shift: Mono) -> Poly:
    """``p`` times ``shift``, exponents added and nothing reduced: for use within one ``Ring``."""
    return Poly({m.times(shift): c for m, c in p.terms.items()})


def _fraction(number: Any) -> Fraction:
    return number if isinstance(number, Fraction) else Fraction(int(number.p), int(number.q))


def factors(p: Poly) -> tuple[Fraction, Mono, list[tuple[Poly, int]]]:
    """Write ``p`` as coefficient * monomial * product of polynomials, irreducible ones where it can, exactly.

    python-flint factors, or SymPy where there is none; that the product is ``p`` again is checked here.
    """
    ring = Ring([p])
    low = ring.lowest(p)
    q = ring.into(unexpanded(p, low.power(Fraction(-1))))
    whole = (
        Fraction(1) if flint is None else flint.fmpq(1),
        [(q, 1)],
    )  # one factor, where the degree is beyond the budget
    try:
        coefficient, parts = q.factor() if q.total_degree() <= MOST_FACTORED else whole
    except RuntimeError as error:  # FLINT gives up on a polynomial that is too large for it
        raise NotProved("a polynomial that is not factored") from error
    check = ring.context.constant(coefficient)
    mono, rest = low, []
    c = _fraction(coefficient)
    for part, e in parts:
        check = check * part ** int(e)
        as_poly = ring.back(part)
        if len(as_poly.terms) == 1:
            ((m, k),) = as_poly.terms.items()
            mono, c = mono.times(m.power(Fraction(int(e)))), c * k ** int(e)
        else:
            rest.append((as_poly, int(e)))
    if check != q:
        raise NotProved("a factorisation does not multiply out")
    return c, mono, rest


def without_common(p: Poly) -> tuple[Mono, Poly]:
    """The monomial that all terms of ``p`` have in common, and ``p`` without it."""
    shared: dict[Atom, Fraction] | None = None
    for mono in p.terms:
        here = dict(mono.powers)
        atoms = here.keys() | (shared or {}).keys()
        zero = Fraction(0)
        if shared is None:
            shared = here
        else:
            shared = {a: min(shared.get(a, zero), here.get(a, zero)) for a in atoms}
    common = Mono((shared or {}).items())
    return common, unexpanded(p, common.power(Fraction(-1)))


def primitive(p: Poly) -> tuple[Fraction, Poly]:
    """A coefficient and a polynomial with coprime whole coefficients, the first of them positive."""
    denominator = lcm(*(c.denominator for c in p.terms.values()))
    content = Fraction(gcd(*(int(c * denominator) for c in p.terms.values())), denominator)
    if min(p.terms.items(), key=lambda t: t[0].key)[1] < 0:
        content = -content
    return content, p.scaled(1 / content)


def primes(value: int) -> dict[int, int]:
    """Prime factors of a positive whole number; what has none below a bound is taken as it is."""
    found: dict[int, int] = {}
    p = 2
    while p * p <= value and p < ONLY_PRIMES_BELOW:
        while value % p == 0:
            found[p] = found.get(p, 0) + 1
            value //= p
        p += 1
    if value > 1:
        found[value] = found.get(value, 0) + 1
    return found


def log_of_number(value: Fraction) -> Poly:
    total = constant(0)
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for p, k in primes(number).items():
            total = total + poly(Atom("log", constant(p))).scaled(k * sign)
    return total


def log_of_positive(base: Poly) -> Poly:
    """The logarithm of an atom or polynomial that is known to be positive."""
    atom = base.atom
    if atom is not None and atom.kind == "exp":
        return monomial(as_mono(atom.args[0]))
    if base.number is not None:
        return log_of_number(base.number)
    return poly(Atom("log", base))


def rename(p: Poly, names: dict[Atom, Atom]) -> Poly:
    """Write other names for atoms that are nothing but names, everywhere inside. Nothing is computed anew."""
    return Poly({rename_mono(m, names): c for m, c in p.terms.items()})


def rename_mono(mono: Mono, names: dict[Atom, Atom]) -> Mono:
    return Mono((_rename(a, names), e) for a, e in mono)


def _rename(atom: Atom, names: dict[Atom, Atom]) -> Atom:
    if atom in names:
        return names[atom]
    if not any(a in names for a in walk(atom)):
        return atom
    return Atom(atom.kind, *(_rename_part(part, names) for part in atom.args))


def _rename_part(part: Part, names: dict[Atom, Atom]) -> Part:
    if isinstance(part, Atom):
        return _rename(part, names)
    if isinstance(part, Poly):
        return rename(part, names)
    if isinstance(part, Mono):
        return rename_mono(part, names)
    if isinstance(part, tuple):
        return tuple(_rename_part(p, names) for p in part)
    return part


def as_poly(part: Part) -> Poly:
    assert isinstance(part, Poly)
    return part


def as_mono(part: Part) -> Mono:
    assert isinstance(part, Mono)
    return part


def as_tuple(part: Part) -> tuple[Part, ...]:
    assert isinstance(part, tuple)
    return part


def log_of_term(mono: Mono) -> Poly:
    """The logarithm of a positive monomial."""
    total = constant(0)
    for atom, e in mono:
        base = as_poly(atom.args[0]) if atom.kind == "group" else poly(atom)
        total = total + log_of_positive(base).scaled(e)
    return total
