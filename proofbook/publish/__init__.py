"""From notebooks to the published book: execute, lint, stage, build. ``python -m proofbook.publish``."""
