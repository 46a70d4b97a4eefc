"""``python -m benchmarks [names] [--device cpu] [--threads 2] [--quick] [--out FILE]`` runs them."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

import torch

from benchmarks.harness import provenance
from experiments.sources import code_digest
from proofbook.ledger import sums
from proofbook.ledger.hooks import NoSuchDevice

MODULES = (
    "row_statistics",
    "recording",
    "attention_peers",
    "linear_attention",
    "normalization_suite",
    "import_time",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(MODULES)}; all by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--quick", action="store_true", help="fewer lengths and rounds")
    parser.add_argument("--out", type=Path, help="write the numbers and where they come from as JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MODULES):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    torch.set_num_threads(arguments.threads)
    names = arguments.names or MODULES
    try:
        about = provenance(arguments.device, names)
    except NoSuchDevice as error:
        parser.error(str(error))
    print(f"{about['device_name']}, {arguments.threads} threads, torch {torch.__version__}", flush=True)
    measured = {}
    for name in names:
        print(f"\n{name}", flush=True)
        # Before the run: what is edited while it lasts is not what it ran.
        digest = code_digest(f"benchmarks.{name}")
        result = importlib.import_module(f"benchmarks.{name}").run(arguments.device, arguments.quick)
        measured[name] = {"module": f"benchmarks.{name}", "digest": digest, **result}
    if arguments.out:
        record = {
            "schema": 2,
            "environment": about,
            "threads": arguments.threads,
            "quick": arguments.quick,
            "benchmarks": measured,
        }
        sums.keep(arguments.out, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
    missed = [bar for result in measured.values() for bar in result["bars"] if not bar["met"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
