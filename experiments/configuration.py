"""When two results are of one experiment: all that must agree between them, and what may differ."""

from __future__ import annotations

__all__ = ["FREE", "configuration_of", "difference"]

# What of the environment may differ between the results of one experiment: when a resumed run went on, and
# from which commit if its code is the same.
FREE = {"date", "commit", "modified"}


def configuration_of(entry: dict) -> dict:
    """All that must agree between two results for them to stand in one table, flat."""
    environment = {name: value for name, value in entry["environment"].items() if name not in FREE}
    versions = environment.pop("versions")
    return {**entry["configuration"], **environment, **versions, "digest": entry["digest"]}


def difference(one: dict, other: dict) -> str | None:
    """The first setting in which two flat configurations differ, in words; None if they agree."""
    for name in sorted(set(one) | set(other)):
        if one.get(name) != other.get(name):
            return f"{name} is {one.get(name)!r} in one and {other.get(name)!r} in the other"
    return None
