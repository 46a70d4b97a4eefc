"""From a proved formula to a function of numbers: in numpy, mpmath, or the caller's own array library."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import mpmath as mp
import sympy as sp
from sympy.core.function import AppliedUndef

from proofbook.derive.along_axes import REDUCTIONS, Evaluation, over_axes
from proofbook.derive.definition import unfold
from proofbook.derive.domain import Domain
from proofbook.derive.instantiate import NotConcrete, at_size
from proofbook.derive.numeric import mpmath_function

# What array libraries call SymPy's functions; the first of the names that a library has is taken.
_SPELLINGS: dict[type, tuple[str, ...]] = {
    sp.exp: ("exp",),
    sp.log: ("log",),
    sp.sin: ("sin",),
    sp.cos: ("cos",),
    sp.tan: ("tan",),
    sp.asin: ("asin", "arcsin"),
    sp.acos: ("acos", "arccos"),
    sp.atan: ("atan", "arctan"),
    sp.sinh: ("sinh",),
    sp.cosh: ("cosh",),
    sp.tanh: ("tanh",),
    sp.erf: ("erf",),
    sp.erfc: ("erfc",),
    sp.loggamma: ("lgamma", "gammaln"),
    sp.digamma: ("digamma",),
    sp.Abs: ("abs",),
    sp.sign: ("sign",),
    sp.Max: ("maximum",),
    sp.Min: ("minimum",),
}


class _Target(Protocol):
    """Where a formula is computed: what its numbers are, and how a function of them is made."""

    name: str

    def number(self, value: Any) -> Any: ...

    def length(self, value: Any, vector: sp.IndexedBase) -> int: ...

    def entries(self, value: Any) -> list[Any]: ...

    def function(self, arguments: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
        """Of plain symbols alone."""

    def along_axes(
        self, arguments: Sequence[Any], expression: sp.Expr, domain: Domain, n: int
    ) -> Callable[..., Any] | None:
        """Of symbols and vectors as they are given; None for a formula that has to be written out."""

    def shaped(self, found: Any, arguments: list[Any]) -> Any: ...


def lambdify(
    expression: sp.Expr, arguments: Sequence[Any], domain: Domain, namespace: Any = "numpy"
) -> Callable[..., Any]:
    """A function of ``arguments`` in the order given; a vector takes its entries along the last axis.

    Scalars and leading axes broadcast against each other (mpmath has no axes); the result has their common
    shape. The numbers are as naive as the formula: nothing is rearranged against overflow or cancellation.
    Whole numbers become float64; floating-point arrays keep their type, device and gradient.

    Args:
        expression: a formula; what is defined in it is unfolded.
        arguments: symbols and vectors; every one that the formula speaks of.
        domain: says which symbol is the size of the vectors.
        namespace: "numpy", "mpmath", or an array library that the caller has imported, such as ``torch`` or
            ``jax.numpy``. Of a library these names are used: ``asarray``, ``float64``, ``finfo``,
            ``full_like``, ``broadcast_shapes``, ``broadcast_to``, ``sqrt``, and those of the functions in the
            formula.

    Returns:
        A function of as many numbers or arrays. It raises ``ValueError`` for an argument that is missing or a
        function that the namespace lacks, and ``TypeError`` for the wrong number of values.

    Raises:
        ValueError: ``namespace`` is neither one of the two names nor an array library.

    >>> import sympy as sp
    >>> from proofbook.derive.domain import Domain, indices, size, vector
    >>> from proofbook.derive.ranges import ladder
    >>> n, (i,), s = size(), indices("i"), vector("s")
    >>> total = lambdify(sp.Sum(s[i]**2, (i, 1, n)), [s], Domain({s: (-1, 1), n: ladder(2)}))
    >>> float(total([3.0, 4.0]))
    25.0
    """
    target = _target(namespace)

    @functools.lru_cache(maxsize=None)
    def along(n: int) -> Callable[..., Any] | None:
        return target.along_axes(arguments, expression, domain, n)

    @functools.lru_cache(maxsize=None)
    def written_out(n: int) -> Callable[..., Any]:
        plain: list[sp.Symbol] = []
        for a in arguments:
            plain += domain.entries(a, n) if isinstance(a, sp.IndexedBase) else [a]
        try:
            concrete = at_size(expression, domain, n)
        except NotConcrete as error:
            raise ValueError(str(error)) from error
        if undefined := concrete.atoms(AppliedUndef):
            raise ValueError(f"nobody defined {', '.join(sorted(map(str, undefined)))}")
        if missing := concrete.free_symbols - set(plain):
            raise ValueError(f"arguments must name {', '.join(sorted(map(str, missing)))} as well")
        return target.function(plain, concrete)

    def function(*values: Any) -> Any:
        if len(values) != len(arguments):
            raise TypeError(f"expected {len(arguments)} arguments, got {len(values)}")
        given = [target.number(value) for value in values]
        lengths = {
            a: target.length(value, a) for a, value in zip(arguments, given) if isinstance(a, sp.IndexedBase)
        }
        if len({*lengths.values()}) > 1:
            raise ValueError(f"vectors must have one length, got {' and '.join(map(str, lengths.values()))}")
        n = next(iter(lengths.values()), 0)
        if at_once := along(n):
            return at_once(*given)
        flat: list[Any] = []
        for a, value in zip(arguments, given):
            flat += target.entries(value) if a in lengths else [value]
        try:
            found = written_out(n)(*flat)
        except NameError as error:
            raise ValueError(f"{target.name} lacks a function of the formula: {error}") from error
        return target.shaped(found, flat)

    return function


def _target(namespace: Any) -> _Target:
    name = namespace if isinstance(namespace, str) else getattr(namespace, "__name__", repr(namespace))
    if name == "mpmath":
        return _Mpmath()
    if name == "numpy":
        return _Numpy()
    if isinstance(namespace, str):
        raise ValueError(
            f"namespace must be 'numpy', 'mpmath' or an array library itself, got the text {namespace!r}"
        )
    needed = ("asarray", "float64", "finfo", "full_like", "broadcast_shapes", "broadcast_to", "sqrt")
    if lacking := [attribute for attribute in needed if not hasattr(namespace, attribute)]:
        raise ValueError(f"namespace {name} is no array library: it lacks {', '.join(lacking)}")
    return _Arrays(namespace, name)


class _Mpmath:
    """Numbers of any precision, one at a time; a vector is a list."""

    name = "mpmath"

    def number(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [mp.mpmathify(x) for x in value]
        return mp.mpmathify(value)

    def length(self, value: Any, vector: sp.IndexedBase) -> int:
        if not isinstance(value, list):
            raise ValueError(f"{vector.label} is a vector: it needs a list of entries, got a single number")
        return len(value)

    def entries(self, value: Any) -> list[Any]:
        return list(value)

    def function(self, arguments: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
        return mpmath_function(arguments, expression)

    def along_axes(self, arguments: Sequence[Any], expression: sp.Expr, domain: Domain, n: int) -> None:
        return None

    def shaped(self, found: Any, arguments: list[Any]) -> Any:
        return found


class _Arrays:
    """Arrays of a library that is only known by the names it shares with the array API standard."""

    def __init__(self, library: Any, name: str):
        self.library, self.name = library, name

    def number(self, value: Any) -> Any:
        if self._is_floating(value):
            return value  # as it is: asarray may detach it from its gradient
        return self.library.asarray(value, dtype=self.library.float64)

    def _is_floating(self, value: Any) -> bool:
        try:
            self.library.finfo(value.dtype)
        except (
            AttributeError,
            TypeError,
            ValueError,
        ):  # no array, one of another library, or of whole numbers
            return False
        return True

    def length(self, value: Any, vector: sp.IndexedBase) -> int:
        if value.ndim < 1:
            raise ValueError(f"{vector.label} is a vector: it needs an axis of entries, got a single number")
        return int(value.shape[-1])

    def entries(self, value: Any) -> list[Any]:
        return [value[..., k] for k in range(value.shape[-1])]

    def function(self, arguments: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
        functions = self._functions(expression)
        return lambda *values: Evaluation(dict(zip(arguments, values)), functions).of(expression)

    def along_axes(
        self, arguments: Sequence[Any], expression: sp.Expr, domain: Domain, n: int
    ) -> Callable[..., Any] | None:
        kept = unfold(expression)
        if n and domain.size is not None:
            kept = kept.subs(domain.size, n)
        reductions, known = self._known(REDUCTIONS), self._known(_SPELLINGS)
        if not over_axes(kept, arguments, n, {*known, *reductions}):
            return None
        functions = {**self._adapted(known), **reductions}

        def value(*given: Any) -> Any:
            values = dict(zip(arguments, given))
            single = [x[..., 0] if isinstance(a, sp.IndexedBase) else x for a, x in values.items()]
            return self.shaped(Evaluation(values, functions).of(kept), single)

        return value

    def _known(self, spellings: Mapping[type, tuple[str, ...]]) -> dict[type, Callable[..., Any]]:
        """What the library has of these functions."""
        return {
            made: getattr(self.library, names[0])
            for made, spelled in spellings.items()
            if (names := [name for name in spelled if hasattr(self.library, name)])
        }

    def _adapted(self, found: dict[type, Callable[..., Any]]) -> dict[type, Callable[..., Any]]:
        """Functions of arrays, which take numbers beside arrays and more than two of what is compared."""
        extrema = {e: functools.partial(self._extremum, found[e]) for e in {sp.Max, sp.Min} & set(found)}
        return {**found, **extrema, sp.Pow: self._power}

    def _functions(self, expression: sp.Expr) -> dict[type, Callable[..., Any]]:
        """What the library calls each function of the formula."""
        known, used = self._known(_SPELLINGS), {}
        lacking, seen, pending = set(), set(), [expression]
        while pending:
            e = pending.pop()
            if e in seen or e.is_number:
                continue
            seen.add(e)
            if e.func in known:
                used[e.func] = known[e.func]
            elif not isinstance(e, (sp.Symbol, sp.Add, sp.Mul, sp.Pow)):
                lacking.add(e.func.__name__)
                continue
            pending += e.args
        if lacking:
            raise ValueError(f"{self.name} lacks {', '.join(sorted(lacking))}")
        return self._adapted(used)

    def _extremum(self, choose: Callable[..., Any], *values: Any) -> Any:
        array = next(v for v in values if hasattr(v, "dtype"))
        # maximum(tensor, 0.5) is an error to torch
        arrays = (v if hasattr(v, "dtype") else self.library.full_like(array, v) for v in values)
        return functools.reduce(choose, arrays)

    def _power(self, base: Any, exponent: Any) -> Any:
        if isinstance(exponent, float) and exponent == 0.5:
            return self.library.sqrt(base)
        return base**exponent

    def shaped(self, found: Any, arguments: list[Any]) -> Any:
        """A formula that does not mention a batched argument has the shape of the batch all the same."""
        if not arguments:
            return self.library.asarray(found, dtype=self.library.float64)
        shape = self.library.broadcast_shapes(*(tuple(a.shape) for a in arguments))
        if not hasattr(found, "dtype"):
            found = self.library.full_like(arguments[0], found)
        return found if tuple(found.shape) == tuple(shape) else self.library.broadcast_to(found, shape)


class _Numpy(_Arrays):
    """numpy by SymPy's own printer: it knows more functions than the table, SciPy's included if there."""

    def __init__(self) -> None:
        # not imported with this package: proving and checking an answer do without it
        super().__init__(importlib.import_module("numpy"), "numpy")

    def function(self, arguments: list[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
        # SciPy only for special functions: the recorded runs do without it
        modules = ["scipy", "numpy"] if importlib.util.find_spec("scipy") else ["numpy"]
        made: Callable[..., Any] = sp.lambdify(arguments, expression, modules)
        return made
