"""``python -m proofbook.ledger record``: run the chapters' checks on a device and record them."""

import argparse
import sys

from proofbook.ledger import record


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m proofbook.ledger", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("record", help="run every chapter's checks on a device, without Jupyter")
    command.add_argument(
        "--device", default="cpu", help="a device that the book's hooks know, as cpu (default) or cuda:1"
    )
    command.add_argument("--book", default="book", help="the folder of the notebooks")
    command.add_argument("--out", help="where to write the record; default: recorded/ in the book's folder")
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run=record.main)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line without the program's name (default: that of this process).

    Returns:
        The exit status: that of the recording; 130 for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was recorded", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
