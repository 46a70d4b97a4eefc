"""What the commands of ``python -m proofbook`` do; each returns its exit status."""

import sys
from collections.abc import Iterable
from json import dumps as as_json
from pathlib import Path

from proofbook.files import alone
from proofbook.publish import checking, editions, followed, proofs, site, template, translation
from proofbook.publish import execute as executing
from proofbook.publish import lint as linting
from proofbook.publish.book import Book
from proofbook.publish.execute import Inputs, Outcome
from proofbook.publish.runs import SourceChanged

ROUNDS = 3
"""How often a whole book is begun again that changes while it is made."""


def _lock(root: Path) -> Path:
    return root / "_build" / "lock"


def new(folder: Path, *, title: str, author: str) -> int:
    """Make a book from the template."""
    template.write(folder, title=title, author=author)
    print(f"a book is in {folder}; its README.md says what to do next")
    return 0


def execute(*, root: Path, jobs: int | None, force: bool, only: list[str], in_place: bool) -> int:
    """Run the notebooks that are out of date, and perhaps store their outputs."""
    with alone(_lock(root)):
        outcomes = executing.execute(root, jobs=jobs, force=force, only=only)
        if in_place:
            for outcome in outcomes:
                if not outcome.error and executing.store_outputs(root, outcome.path):
                    print(f"  stored the outputs of {outcome.path}")
    return _failed(outcomes, "")


def build(*, root: Path, stored: bool, strict: bool) -> int:
    """Build the website, unless a page shows a formula or a mark that is not its statement's."""
    with alone(_lock(root)):
        made = Book(root, executed=not stored)
        if problems := list(linting.equations(made)):
            print("the site was not built")
            return _complain(problems)
        site.build(root, executed=not stored, strict=strict, book=made)
    return 0


def check(*, root: Path, executed: bool, jobs: int | None) -> int:
    """Prove every step again, from what the outputs store."""
    report = checking.check(Book(root, executed=executed), jobs)
    for failure in report.failures:
        print(failure)
    print(
        f"{report.proved} steps proved again, {report.evidence} shown as evidence, "
        f"{report.definitions} definitions, {report.assumptions} assumptions, {len(report.failures)} failures"
    )
    return 1 if report.failures else 0


def lint(*, root: Path, executed: bool) -> int:
    """Say what the book lacks."""
    return _complain(linting.check_book(root, executed=executed))


def status(*, root: Path, executed: bool, json: bool) -> int:
    """Say how many displayed steps are proved, by which rules, and what the others rest on."""
    found = proofs.status(Book(root, executed=executed))
    if json:
        print(as_json(found, indent=1))
        return 0
    print(f"{found['proved']} of {found['steps']} displayed steps are proved")
    for heading in ("by_rule", "evidence"):
        print(f"{heading.replace('_', ' ')}:")
        for name, count in found[heading].items():
            print(f"  {count:4} {name}")
    return 0


def table(*, root: Path) -> int:
    """Write what became of the steps of an earlier edition, as the stored outputs say it now."""
    book = Book(root)
    if not followed.listed(book):
        print(f"there is no book/{followed.FILE} to go on with", file=sys.stderr)
        return 1
    changed = followed.write(book)
    print(f"book/{followed.FILE} {'written' if changed else 'is as it was'}")
    found = followed.in_short(followed.followed(book))
    print(", ".join(f"{count} {name}" for name, count in found.items()))
    return 0


def edition(*, root: Path, kind: str, stored: bool) -> int:
    """Make an edition of the book beside its website."""
    with alone(_lock(root)):
        made = Book(root, executed=not stored)
        if kind == "student":
            archive, rubric, count = editions.student(made)
            print(
                f"{archive} has the book without its solutions; {rubric} has all {count} exercises with them"
            )
            return 0
        html = site.build(root, executed=not stored, book=made).parent
        if kind == "pdf":
            print(f"the book is printed: {editions.pdf(made, html)}")
        else:
            archive = editions.offline(root, html, editions.slug(made))
            print(f"{archive} has the site, to unpack and open")
    return 0


def translate(*, root: Path, only: list[str]) -> int:
    """Bring the files of translations up to date, and say what is left to do, and what is wrong."""
    book = Book(root)
    if not book.languages:
        print("book/proofbook.toml names no language: [translation] languages", file=sys.stderr)
        return 1
    paths = [path for path in book.paths if not only or any(part in path.stem for part in only)]
    if not paths:
        print(f"no page has a name with {' or '.join(only)} in it", file=sys.stderr)
        return 1
    for language in book.languages:
        for path in paths:
            found = translation.update(book.folder, language, path, book.source(path), book.settings.sources)
            name = found.file.relative_to(root)
            print(f"{name}: {found.texts} texts, {found.missing} to translate, {found.to_check} to check")
    wrong = list(linting.translations(Book(root)))
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


def permalinks(*, root: Path) -> int:
    """Take the present permalinks up among the published ones."""
    print(f"{len(linting.publish_permalinks(root))} permalinks added to book/permalinks.txt")
    return 0


def book(*, root: Path, jobs: int | None) -> int:
    """Execute, check and build, all of them the same book: one that changes meanwhile is begun again."""
    with alone(_lock(root)):
        for _ in range(ROUNDS):
            outcomes = executing.execute(root, jobs=jobs)
            if status := _failed(outcomes, "; the site was not built"):
                return status
            made = Book(root, executed=True)
            if changed := _changed(made):
                print(f"{', '.join(map(str, changed))} changed meanwhile; once more", flush=True)
                continue
            if status := _complain(linting.complaints(made)):
                print("the site was not built")
                return status
            site.build(root, book=made)
            return 0
    print("error: the book never stayed as it was while it was made; the site was not built", file=sys.stderr)
    return 1


def _changed(made: Book) -> list[Path]:
    """The notebooks whose last run does not answer to what they, or what they read, are now."""
    try:
        notebooks = made.notebooks
    except SourceChanged:
        notebooks = {}
    inputs = Inputs(made)
    return [
        path
        for path in made.notebook_paths
        if path not in notebooks or not executing.is_current(made.root, path, inputs)
    ]


def _failed(outcomes: Iterable[Outcome], consequence: str) -> int:
    outcomes = list(outcomes)
    failed = [str(outcome.path) for outcome in outcomes if outcome.error]
    if failed:
        print(f"\n{len(failed)} of {len(outcomes)} notebooks failed{consequence}: {', '.join(failed)}")
    return 1 if failed else 0


def _complain(problems: list[str]) -> int:
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "the book has all a book must have")
    return 1 if problems else 0
