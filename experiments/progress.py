"""A bar that shows how far a piece of work is; on a stream that is no terminal, drawn seldom."""

from __future__ import annotations

import sys

from experiments.corpus import need

__all__ = ["Progress"]


class Progress:
    """The bar of one piece of work, a context manager; ``position`` is its line among bars shown at once."""

    def __init__(self, name: str, total: int, unit: str, *, position: int = 0, shown: bool = True):
        terminal = sys.stderr.isatty()
        self._bar = need("tqdm").tqdm(
            total=total,
            desc=name,
            unit=unit,
            position=position if terminal else 0,
            mininterval=0.5 if terminal else 30,
            leave=not terminal,
            disable=not shown,
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()

    def at(self, done: int, what: str) -> None:
        """Say that ``done`` units are done; the first call may come late, after a resumption."""
        if self._bar.n == 0:  # what was done before says nothing of the speed now
            self._bar.initial = self._bar.n = done - 1
        self._bar.set_postfix_str(what, refresh=False)
        self._bar.update()

    def say(self, what: str) -> None:
        self._bar.set_postfix_str(what)
