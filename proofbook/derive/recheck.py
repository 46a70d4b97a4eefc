"""Checks an equation again from what its output stores: that it was stated so, shown so, and proved.

Nothing of the run that stored it is there: the statement is read back from text, printed again, and every
proof is made again by the kernel and compared with its certificate. SymPy holds the trees and prints them;
none of its algorithms is called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from proofbook.derive.assumption import assumed
from proofbook.derive.citation import Proved
from proofbook.derive.definition import Quantity
from proofbook.derive.domain import Domain
from proofbook.derive.kernel import Cited, NotProved, check
from proofbook.derive.latex import latex
from proofbook.derive.proving import proved_for, proved_mark
from proofbook.derive.readback import Reader
from proofbook.derive.remainder import Within
from proofbook.derive.statement import Unreadable
from proofbook.display import ASSUMPTION, DEFINITION, Row, faults, plain_text
from proofbook.names import EQUATION_MIME


@dataclass(frozen=True)
class Checked:
    """One line that was looked at again: ``said`` is what it rests on, ``problem`` why it does not stand."""

    label: str
    number: int
    said: str
    problem: str | None = None


class _Refused(Exception):
    """A line whose record is not that of its statement."""


def read_again(data: Mapping[str, Any]) -> Iterator[str]:
    """What an output shows that does not belong to the statement it carries; no proof is made.

    Args:
        data: the representations of an equation by MIME type, as they are stored.
    """
    problems = list(faults(data))
    if not problems:
        try:
            _Equation(data)
        except (_Refused, Unreadable) as error:
            problems.append(str(error))
    yield from problems


def recheck(label: str, book: Mapping[str, Mapping[str, Any]]) -> list[Checked]:
    """Every line of an equation, checked again.

    Args:
        label: its name.
        book: by its label every equation that it may cite, and itself: what each shows, by MIME type.

    Returns:
        One result for each line; only one, with its problem, if the whole cannot be read.
    """
    if problems := list(read_again(book[label])):
        return [Checked(label, 0, "nothing", "; ".join(problems))]
    equation = _Equation(book[label])
    return [equation.settled(k, book) for k in range(len(equation.rows))]


class _Equation:
    """The statement of an equation, read back; one that is shown as something else is refused."""

    def __init__(self, data: Mapping[str, Any]):
        record = data[EQUATION_MIME]
        self.label: str = record["label"]
        self.rows = [Row.from_record(step) for step in record["steps"]]
        self.reader = Reader(map(json.loads, record["names"]))
        formulas = [record["start"]["formula"], *(row.formula for row in self.rows)]
        self.lines = tuple(map(self._formula, formulas))
        self.within = tuple(map(self._within, self.rows))
        printed = [record["start"]["latex"], *(row.latex for row in self.rows)]
        for number, (line, text) in enumerate(zip(self.lines, printed)):
            if latex(line) != text:
                raise _Refused(f"line {number} is not shown as what is stated: {text} is not {latex(line)}")
        if self.rows[0].strategy == DEFINITION:
            self._as_definition(data["text/plain"])
            return
        self.domain: Domain = self.reader.domain(record["domain"])
        bounds = [None if within is None else str(within) for within in self.within]
        plain = plain_text(self.label, str(self.lines[0]), self.rows, list(map(str, self.lines[1:])), bounds)
        if plain != data["text/plain"]:
            raise _Refused("the plain text is not what is stated")

    def _formula(self, text: str) -> sp.Expr:
        line = self.reader.formula(text)
        if not isinstance(line, sp.Expr):
            raise Unreadable(f"{line} has no value")
        return line

    def _within(self, row: Row) -> Within | None:
        within = Within(*map(self._formula, row.bounds)) if len(row.bounds) == 2 else None
        if row.within != (None if within is None else within.latex()):
            raise _Refused("the bound of an error is not shown as what is stated")
        return within

    def _as_definition(self, plain: str) -> None:
        named, *body = self.lines
        if not isinstance(named, Quantity) or body != [type(named).body] or named != type(named).applied:
            raise _Refused("what is shown as a definition is none")
        if plain != f"{self.label}: {named} := {body[0]}":
            raise _Refused("the plain text is not what is defined")

    def settled(self, k: int, book: Mapping[str, Mapping[str, Any]]) -> Checked:
        """What line ``k`` rests on, its proof made again."""
        row, problem = self.rows[k], None
        if row.certificate is not None:
            try:
                self._prove(k, row.certificate, book)
            except (NotProved, Unreadable, _Refused) as error:
                problem = str(error)
        return Checked(self.label, k + 1, row.strategy, problem)

    def _prove(self, k: int, certificate: dict[str, Any], book: Mapping[str, Mapping[str, Any]]) -> None:
        row, (left, right), within = self.rows[k], self.lines[k : k + 2], self.within[k]
        if latex(left) == latex(right):
            raise _Refused("both lines print alike")
        kind = {"=": "equality", "~": "approximation"}.get(row.relation, "inequality")
        if certificate.get("kind") != kind or certificate.get("relation", row.relation) != row.relation:
            raise _Refused(f"the certificate is not of a step with {row.relation}")
        cites = [self._cited(text, book) for text in row.by]
        if row.cites != tuple(dict.fromkeys(cited.label for cited in cites)):
            raise _Refused("what is said to be cited is not what is")
        bounds = None if within is None else (within.below, within.above)
        check(certificate, left, right, self.domain, bounds, cites)
        stated = (left, right, *(bounds or ()))
        said = proved_for(self.domain, certificate, stated)
        if (
            row.mark != proved_mark(self.domain, certificate, stated)
            or row.detail != said
            and not (within and row.detail.endswith(f"; {said}"))
        ):
            raise _Refused(f"what is said of the proof is not what it shows: {row.mark}, {row.detail}")

    def _cited(self, text: str, book: Mapping[str, Mapping[str, Any]]) -> Cited:
        label, steps, at = self.reader.citation(text)
        if label not in book:
            raise _Refused(f"it cites {label}, which the book does not show")
        there = _Equation(book[label])
        if there.rows[0].strategy == DEFINITION or not 1 <= steps[0] <= steps[1] <= len(there.rows):
            raise _Refused(f"{label} has no steps {steps[0]} to {steps[1]}")
        if there.rows[0].strategy == ASSUMPTION:
            (row,), (left, right) = there.rows, there.lines
            return assumed(label, int(row.mark.split()[1]), row.relation, (left, right), there.domain)
        proved = Proved(
            label=label,
            lines=there.lines,
            relations=tuple(row.relation for row in there.rows),
            certificates=tuple(row.certificate for row in there.rows),
            within=tuple((one.below, one.above) if one else None for one in there.within),
            domain=there.domain,
        )
        try:
            return proved.cited(steps, at)
        except (ValueError, KeyError) as error:
            raise _Refused(f"{label} cannot be cited so: {error}") from error
