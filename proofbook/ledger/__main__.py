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


if __name__ == "__main__":
    arguments = _parser().parse_args()
    sys.exit(arguments.run(arguments))
