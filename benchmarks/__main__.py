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

MODULES = ("row_statistics", "linear_attention", "normalization_suite", "import_time")


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
    about = provenance(arguments.device, arguments.threads)
    print(f"{about['device_name']}, {arguments.threads} threads, torch {about['torch']}", flush=True)
    measured = {}
    for name in arguments.names or MODULES:
        print(f"\n{name}", flush=True)
        measured[name] = importlib.import_module(f"benchmarks.{name}").run(arguments.device, arguments.quick)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"schema": 1, **about, "quick": arguments.quick, "benchmarks": measured}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    missed = [bar for result in measured.values() for bar in result["bars"] if not bar["met"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
