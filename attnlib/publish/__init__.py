"""From notebooks to the published book: execute, lint, stage, build. Run with ``python -m attnlib.publish``."""
