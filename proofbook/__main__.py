"""Books whose formulas cannot be shown unproved: make one, execute it, check it, build it."""

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

PROGRAM = "python -m proofbook"
INTERRUPTED = 130
TERMINATED = 143

_EPILOG = (
    "`{0} COMMAND --help` says more of a command. A command for a book is run at the top of its repository."
)


class Interrupted(BaseException):
    """The command was told to stop, by Ctrl-C or by a signal; `status` is what it is to exit with.

    It is no KeyboardInterrupt, which some libraries take for an error of theirs.
    """

    def __init__(self, status: int):
        super().__init__()
        self.status = status


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, epilog=_EPILOG.format(PROGRAM))
    top.add_argument("--root", type=Path, default=Path("."), help="the book's repository (default: here)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    new = commands.add_parser("new", help="make a book to begin with: a chapter, its claims, its settings")
    new.add_argument("folder", type=Path, help="where to put it; a folder that is not there or empty")
    new.add_argument("--title", default="A book that proves itself", help="its title")
    new.add_argument("--author", default="Its authors", help="who writes it")

    execute = commands.add_parser("execute", help="run the notebooks that are out of date")
    execute.add_argument("only", nargs="*", help="parts of the names of the notebooks to run (default: all)")
    execute.add_argument("--force", action="store_true", help="run them even if nothing has changed")
    execute.add_argument("--in-place", action="store_true", help="store the outputs in the notebooks")

    build = commands.add_parser("build", help="build the website from what has been executed")
    build.add_argument("--stored", action="store_true", help="show the outputs stored in the notebooks")
    build.add_argument("--strict", action="store_true", help="from nothing, with every warning an error")

    lint = commands.add_parser("lint", help="check what a book must have")
    lint.add_argument("--executed", action="store_true", help="look at the last run, not the stored outputs")

    check = commands.add_parser("check", help="prove every step again from what the outputs store")
    check.add_argument("--executed", action="store_true", help="look at the last run, not the stored outputs")

    status = commands.add_parser("status", help="count what is proved, by rule, and what is evidence")
    status.add_argument(
        "--executed", action="store_true", help="look at the last run, not the stored outputs"
    )
    status.add_argument("--json", action="store_true", help="print one JSON object")

    edition = commands.add_parser(
        "edition", help="make a PDF, an archive of the site, or one without solutions"
    )
    edition.add_argument("kind", choices=["pdf", "offline", "student"], help="which, into _build/editions")
    edition.add_argument("--stored", action="store_true", help="show the outputs stored in the notebooks")

    commands.add_parser("table", help="follow the steps of an earlier edition in book/proof-table.json")
    translate = commands.add_parser(
        "translate", help="write what is to be translated to book/locale, and keep what is translated"
    )
    translate.add_argument("only", nargs="*", help="parts of the names of the pages (default: all)")

    commands.add_parser("permalinks", help="add the present permalinks to book/permalinks.txt")
    book = commands.add_parser("book", help="execute, check and build")
    for command in (execute, check, book):
        command.add_argument(
            "--jobs", type=_count, help="notebooks, or proofs, at a time (default: one a core)"
        )
    commands.add_parser(
        "record", help="run every chapter's checks on a device, and record them", add_help=False
    )
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line without the program's name (default: that of this process).

    Returns:
        The exit status: 0; 1 for a book that failed, 2 for a command that makes no sense, 130 for Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["record"]:
        return _record(given)
    options = parser().parse_args(given)
    try:
        with_signals()
        return _run(options)
    except Interrupted as interruption:
        print("\ninterrupted: what was running has been stopped, what was finished is kept", file=sys.stderr)
        return interruption.status


def with_signals() -> None:
    """Let Ctrl-C and a polite kill raise `Interrupted`, once; only a main thread can be told.

    A process that was forked from this one has its handlers, and nothing to say: it just ends.
    """
    here = os.getpid()

    def stop(status: int) -> Callable[..., None]:
        def handle(*_: object) -> None:
            if os.getpid() != here:
                os._exit(status)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            raise Interrupted(status)

        return handle

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, stop(INTERRUPTED))
        signal.signal(signal.SIGTERM, stop(TERMINATED))


def _record(arguments: list[str]) -> int:
    from proofbook.ledger import __main__ as ledger

    return ledger.main(arguments)


def _run(options: argparse.Namespace) -> int:
    # What a command needs is imported when it runs: to ask for help takes nothing but Python.
    from proofbook.publish import commands
    from proofbook.publish.notebooks import BookError

    given = vars(options)
    command, root = given.pop("command"), given.pop("root").resolve()
    if command == "new":
        place = {}
    elif (root / "_toc.yml").is_file():
        place = {"root": root}
    else:
        print(f"there is no _toc.yml in {root}: run this at the top of a book's repository", file=sys.stderr)
        return 2
    try:
        return int(getattr(commands, command)(**place, **given))
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
    return 1


def collect_rarely() -> None:
    """Look for garbage far less often than Python does by itself.

    Sphinx holds a whole book as a graph of small objects, little of which is garbage: at the usual rate a
    quarter of a build goes into looking.
    """
    gc.set_threshold(50_000, 20, 100)


def end(status: int) -> NoReturn:
    """Leave the process; an interrupted one at once, whatever a library still has to do."""
    gc.freeze()  # what is left goes with the process: to look for garbage in it takes seconds
    if status in (INTERRUPTED, TERMINATED):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    collect_rarely()
    end(main())
