"""What ``import attnlib`` adds to ``import torch``, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import bar, compare, show


def importing(module: str):
    return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def run(device: str, quick: bool) -> dict:
    results = compare(
        {"import torch": importing("torch"), "import attnlib": importing("attnlib")},
        against="import torch",
        rounds=3 if quick else 9,
    )
    show("fresh processes", results)
    return {
        "results": results,
        "bars": [
            bar(
                "import attnlib against import torch",
                results["import attnlib"]["ratio to import torch"],
                at_most=1.1,
            )
        ],
    }
