"""A tool for whoever works on the kernel: every displayed step of the book, and what the kernel says of it.

    python tests/proofbook/derive/kernel/survey.py [PART-OF-A-LABEL]

The derivation cells of each notebook are run with ``Derivation`` replaced by a recorder that verifies
nothing, so collecting all steps takes seconds. Cells that need more than that (a model, a record, a plot) may
fail; a step they hold would be missing, so the number of steps found is printed.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sympy as sp

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))

from proofbook import derive  # noqa: E402
from proofbook.derive.domain import Domain  # noqa: E402
from proofbook.derive.kernel import (  # noqa: E402
    NotProved,
    prove_approximation,
    prove_equality,
    prove_inequality,
)
from proofbook.derive.remainder import Within  # noqa: E402
from proofbook.names import EQUATION_MIME  # noqa: E402


@dataclass(frozen=True)
class BookStep:
    """One displayed line of the book, not yet verified."""

    chapter: str
    label: str
    number: int
    relation: str
    before: sp.Expr
    after: sp.Expr
    domain: Domain
    because: str
    mark: str
    within: Within | None = None

    @property
    def name(self) -> str:
        return f"{self.label}.{self.number}"


class _Recorder:
    """Stands in for ``Derivation``: keeps what was stated and verifies nothing."""

    found: list[BookStep] = []
    chapter = ""
    marks: dict[str, list[str]] = {}

    def __init__(self, label, start, *steps, domain, digits=50):
        self.label, self.start, self.steps, self.domain = label, sp.sympify(start), steps, domain
        before = self.start
        marks = self.marks.get(label, [])
        for k, step in enumerate(steps):
            mark = marks[k] if k < len(marks) else "?"
            self.found.append(
                BookStep(
                    self.chapter,
                    label,
                    k + 1,
                    step.relation,
                    before,
                    step.expression,
                    domain,
                    step.because,
                    mark,
                    step.within,
                )
            )
            before = step.expression

    @property
    def last(self):
        return self.steps[-1].expression

    def lambdify(self, arguments, namespace="numpy"):
        return derive.lambdify(self.last, arguments, self.domain, namespace)


def _stored_strategies(notebook: dict) -> dict[str, list[str]]:
    """What each step rests on today, as the records in the notebook's stored outputs say, by label."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            record = output.get("data", {}).get(EQUATION_MIME)
            if record and record["steps"] and record["steps"][0]["strategy"] != "definition":
                found[record["label"]] = [step["strategy"] for step in record["steps"]]
    return found


def _needs_no_run(source: str) -> bool:
    """Whether a cell neither states a step nor can define what one needs: a plot, a claim, a measurement."""
    return "Derivation(" not in source and any(word in source for word in ("plt.subplots", "claim("))


def collect(only: str | None = None) -> list[BookStep]:
    """Every step stated in the book's notebooks, in order."""
    genuine = derive.Derivation
    _Recorder.found = []
    derive.Derivation = _Recorder
    try:
        for path in sorted((ROOT / "book").glob("*.ipynb")):
            notebook = json.loads(path.read_text())
            _Recorder.chapter, _Recorder.marks = path.stem, _stored_strategies(notebook)
            scope: dict = {"__name__": "__survey__"}
            for cell in notebook["cells"]:
                source = "".join(cell["source"])
                if cell["cell_type"] != "code" or _needs_no_run(source):
                    continue
                source = re.sub(r"(?m)^\s*%.*$", "", source)
                with contextlib.redirect_stdout(io.StringIO()):
                    try:
                        exec(compile(source, f"{path.stem}", "exec"), scope)
                    except Exception as error:
                        if "Derivation(" in source:
                            print(f"{path.stem}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        derive.Derivation = genuine
    return [s for s in _Recorder.found if only is None or only in s.name]


def survey(only: str | None) -> None:
    """Print what the kernel says of each step, and a table by what the step rests on today."""
    counts: Counter[tuple[str, str]] = Counter()
    for step in collect(only):
        began = time.process_time()
        try:
            if step.relation == "~":
                if step.within is None:
                    raise NotProved("an approximation without a bound of its error")
                certificate = prove_approximation(
                    step.before, step.after, step.within.below, step.within.above, step.domain
                )
            elif step.relation == "=":
                certificate = prove_equality(step.before, step.after, step.domain)
            else:
                certificate = prove_inequality(step.relation, step.before, step.after, step.domain)
            taken = certificate.get("above", certificate)["setting"]["domain"]
            said, result = f"{certificate['rule']} ({taken})", "proved"
        except NotProved as error:
            said, result = str(error)[:160], "open"
        counts[step.mark, result] += 1
        print(f"{step.name:34} {step.relation:2} {step.mark:10} {result:6}", end=" ")
        print(f"{time.process_time() - began:5.1f} s  {said}", flush=True)
    print("\nrests today on    proved   open")
    for mark in sorted({mark for mark, _ in counts}):
        print(f"{mark:16} {counts[mark, 'proved']:7} {counts[mark, 'open']:6}")


if __name__ == "__main__":
    survey(sys.argv[1] if len(sys.argv) > 1 else None)
