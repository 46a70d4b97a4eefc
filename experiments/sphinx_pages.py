"""The recorded experiments on the book's pages: a Sphinx extension beside proofbook's own."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from experiments import results
from proofbook.publish.sphinx_ext.base import duration
from proofbook.publish.sphinx_ext.records import Recorded, made_with, provenance


class RecordedExperiments(Recorded):
    """The experiments on record: hardware, settings, how much of the experiment each one holds."""

    def records(self) -> list[dict[str, Any]]:
        """A record a file, with what its first entry says of all of them."""
        files = sorted((self.book.folder / "recorded").glob("*.jsonl"))
        found = []
        for path in files:
            entries = results.read(path)
            found.append({**entries[0], **entries[0]["configuration"], "name": path.stem, "entries": entries})
        return found

    def one(self, record: dict[str, Any]) -> list[nodes.Node]:
        """What was trained and scored, where and with what."""
        experiment = record["name"].rsplit("-", 1)[0]
        trained = [entry for entry in record["entries"] if entry["kind"] == "training"]
        facts = {"Experiment": experiment, "Preset": record["preset"]}
        if trained:
            facts["Models trained"] = (
                f"{len(trained)}, each for {record['steps']:,} steps of {record['batch']} windows"
            )
            facts["Training took"] = duration(sum(entry["seconds"] for entry in trained))
        facts |= {
            "Scores": str(len(record["entries"]) - len(trained)),
            **made_with(record["environment"]),
            "dtype": record["dtype"],
            "Text": record["corpus"][:12],
            "Sources": record["digest"][:12],
        }
        if carried := record.get("carried_from"):
            facts["Carried over"] = f"{carried['date']}, from {carried['commit'][:12]}: {carried['how']}"
        stale = (
            [] if record["digest"] == self.book.present_code.module(record["module"]) else [record["module"]]
        )
        return provenance(facts, stale=stale)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("recorded-experiments", RecordedExperiments)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
