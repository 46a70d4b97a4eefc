"""Exercises that a reader answers in the page: their code beside their cells, and Python for the browser."""

import json
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from proofbook.publish.answering import Answerable, answerable
from proofbook.publish.exercises import exercises_of
from proofbook.publish.notebooks import Notebook
from proofbook.publish.python_for_pages import bring
from proofbook.publish.sphinx_ext.base import book_of
from proofbook.publish.sphinx_ext.html import HtmlOnly


def connect(app: Sphinx) -> None:
    """Put what an exercise runs on beside its cell, and Python into the site of a book that has exercises."""
    app.connect("doctree-resolved", _attach)
    app.connect("html-page-context", _add_scripts)
    app.connect("build-finished", _bring_python)


def _exercises_on(app: Any, docname: str) -> dict[str, Answerable]:
    """The exercises of a page that can be answered, by their label; cut out once a build."""
    if not hasattr(app, "proofbook_answers"):
        app.proofbook_answers = {}
    found: dict[str, dict[str, Answerable]] = app.proofbook_answers
    if docname not in found:
        found[docname] = {one.label: one for one in answerable(_notebook_of(app, docname))}
    return found[docname]


def _notebook_of(app: Any, docname: str) -> Notebook:
    """The notebook that a page shows, or translates; one without cells where it is none."""
    book = book_of(app)
    return book.notebooks.get(Path(f"{book.original(docname)}.ipynb"), {"cells": []})


def _add_scripts(app: Any, pagename: str, templatename: str, context: Any, doctree: Any) -> None:
    if any(not one.lacks for one in _exercises_on(app, pagename).values()):
        app.add_js_file("answer.js", loading_method="defer")
        app.add_css_file("answer.css")


def _attach(app: Any, doctree: nodes.document, docname: str) -> None:
    exercises = _exercises_on(app, docname)
    if not exercises or app.builder.format != "html":
        return
    cells = {
        node["cell_index"]: node
        for node in doctree.findall(nodes.container)
        if node.get("nb_element") == "cell_code"
    }
    titles = {one.label: one.title for one in exercises_of(_notebook_of(app, docname))}
    for one in exercises.values():
        cell = cells.get(one.cell)
        if cell is not None:
            place = HtmlOnly(html=placed(one, titles.get(one.label, "A proof")))
            cell.parent.insert(cell.parent.index(cell) + 1, place)


def placed(one: Answerable, title: str) -> str:
    """What stands beside the cell of an exercise, as HTML."""
    if one.lacks:
        names = ", ".join(f"<code>{escape(name)}</code>" for name in one.lacks)
        return f'<p class="answer-elsewhere">This one needs {names}: answer it in the notebook.</p>\n'
    if one.asks:
        words = {"open": "Answer in this page", "asks": "put your formula in place of the three dots"}
    else:
        words = {"open": "Change something", "asks": "change a number, a sign or a step, and see what holds"}
    data = json.dumps({"title": title, **words, "before": one.before, "code": one.code}, ensure_ascii=False)
    return (
        f'<div class="answer" id="answer-{escape(one.label)}">'
        f'<script type="application/json">{data.replace("<", chr(92) + "u003c")}</script></div>\n'
    )


def _bring_python(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    if any(not one.lacks for name in app.env.found_docs for one in _exercises_on(app, name).values()):
        bring(Path(app.outdir) / "_static" / "python")
