"""Ratios against peers, measured in one run with pinned threads; ``python -m benchmarks`` runs all."""
