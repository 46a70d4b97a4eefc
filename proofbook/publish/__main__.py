"""``python -m proofbook.publish``: the commands behind the Makefile."""

import argparse
import sys
from pathlib import Path

from proofbook.publish import execute, lint, site
from proofbook.publish.notebooks import BookError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m proofbook.publish", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository (default: here)")
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("execute", help="run the notebooks that are out of date")
    run.add_argument("only", nargs="*", help="parts of the file names of the notebooks to run (default: all)")
    run.add_argument("--jobs", type=int, help="notebooks at a time (default: one a core)")
    run.add_argument("--force", action="store_true", help="run them even if nothing has changed")
    run.add_argument("--in-place", action="store_true", help="store the outputs in the notebooks themselves")

    make = commands.add_parser("build", help="build the website from what has been executed")
    make.add_argument("--stored", action="store_true", help="show the outputs stored in the notebooks")
    make.add_argument("--strict", action="store_true", help="from nothing, with every warning an error")

    check = commands.add_parser("lint", help="check what a book must have")
    check.add_argument("--executed", action="store_true", help="look at the last run, not the stored outputs")

    commands.add_parser(
        "permalinks", help="add the present permalinks to book/permalinks.txt, for an edition"
    )

    whole = commands.add_parser("book", help="execute, check and build")
    whole.add_argument("--jobs", type=int, help="notebooks at a time (default: one a core)")

    options = parser.parse_args(arguments)
    root = options.root.resolve()
    if not (root / "_toc.yml").is_file():
        print(f"there is no _toc.yml in {root}: run this at the top of the repository", file=sys.stderr)
        return 2
    try:
        if options.command == "execute":
            return _execute(root, options)
        if options.command == "build":
            site.build(root, executed=not options.stored, strict=options.strict)
            return 0
        if options.command == "lint":
            return _lint(root, executed=options.executed)
        if options.command == "permalinks":
            print(f"{len(lint.publish_permalinks(root))} permalinks added to book/permalinks.txt")
            return 0
        return _book(root, options.jobs)
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _execute(root: Path, options) -> int:
    outcomes = execute.execute(root, jobs=options.jobs, force=options.force, only=options.only)
    failed = [outcome for outcome in outcomes if outcome.error]
    if options.in_place:
        for outcome in outcomes:
            if not outcome.error and execute.store_outputs(root, outcome.path):
                print(f"  stored the outputs of {outcome.path}")
    if failed:
        print(
            f"\n{len(failed)} of {len(outcomes)} notebooks failed: "
            + ", ".join(str(outcome.path) for outcome in failed)
        )
    return 1 if failed else 0


def _lint(root: Path, *, executed: bool) -> int:
    problems = lint.check_book(root, executed=executed)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "the book has all a book must have")
    return 1 if problems else 0


def _book(root: Path, jobs: int | None) -> int:
    outcomes = execute.execute(root, jobs=jobs)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        print(
            f"\n{len(failed)} of {len(outcomes)} notebooks failed; the site was not built: "
            + ", ".join(str(outcome.path) for outcome in failed)
        )
        return 1
    if _lint(root, executed=True):
        print("the site was not built")
        return 1
    site.build(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
