"""Formulas as HTML and MathML, set while the site is built; a derivation is laid out line by line.

A derivation's lines are those of its record, so that on a narrow page a formula breaks and its reason and
mark stand below it (see formulas.css). Other displays, and formulas in sentences, are set as written.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.locale import _
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

from proofbook import display
from proofbook.names import EQUATION_MIME
from proofbook.publish import checking
from proofbook.publish.sphinx_ext.base import book_of
from proofbook.publish.typeset import FONTS, STYLES, Formula, TypesetError, Typesetter, copy_styles

logger = logging.getLogger(__name__)

NAME = "katex"
BESIDE_ALWAYS = 4.5
"""Up to this width, in em, a left-hand side stands before the relation on any page."""
BESIDE_ON_WIDE_PAGES = 11.0
"""Up to this width it does so on a wide page; a wider one stands above."""


class line(nodes.General, nodes.TextElement):
    """A line of a derivation: ``left``, ``relation``, ``right`` in LaTeX; its children say why it holds."""


def connect(app: Sphinx) -> None:
    """Set what Sphinx's writer finds, and derivations from their records."""
    app.add_html_math_renderer(NAME, (_visit_inline, None), (_visit_display, None))
    app.add_post_transform(Derivations)
    app.add_css_file(STYLES, priority=400)
    app.add_js_file(FONTS)
    app.add_css_file("formulas.css")
    app.connect("config-inited", _choose, priority=100)
    app.connect("builder-inited", _begin)
    app.connect("build-finished", _end)


def _choose(app: Sphinx, config: Any) -> None:
    config.html_math_renderer = NAME


def _begin(app: Any) -> None:
    app.proofbook_typesetter = Typesetter()
    if app.builder.format == "html":
        copy_styles(Path(app.outdir) / "_static")


def _end(app: Any, exception: Exception | None) -> None:
    app.proofbook_typesetter.close()


def reason(row: display.Row) -> str:
    """Why a line holds, as it is printed: with the bound of an approximation's error."""
    return row.reason if row.within is None else f"{row.reason}; ${row.within}$"


def mark(row: display.Row) -> str:
    """What a line rests on, as it is printed behind the reason."""
    if not row.mark or row.strategy == display.ASSUMPTION:
        return row.mark
    return f"✓\N{NO-BREAK SPACE}{row.mark}" if row.evidence is None else f"∘ evidence: {row.mark}"


def words(text: str) -> list[nodes.Node]:
    """A text of a record: mathematics between dollars, all else as it stands.

    >>> [node.astext() for node in words("for $n>1$ only")]
    ['for ', 'n>1', ' only']
    """
    parts = enumerate(text.split("$"))
    return [nodes.math("", part) if k % 2 else nodes.Text(part) for k, part in parts if part]


class Derivations(SphinxPostTransform):
    """Puts the lines of its record into each display that a derivation left."""

    default_priority = 5  # before references are resolved: the lines bring some
    formats = ("html",)

    def run(self, **options: Any) -> None:
        records = _records(self.app)
        for block in list(self.document.findall(nodes.math_block)):
            record = records.get(str(block.get("label")))
            if record is None:
                continue
            if block.astext().strip() != record["latex"]:
                logger.warning("%s is not what its record says", block["label"], location=block)
                continue
            lefts = [record["start"]["latex"]]
            block.clear()
            for step in record["steps"]:
                block += self.line(display.Row.from_record(step), lefts.pop() if lefts else "")

    def line(self, row: display.Row, left: str) -> nodes.Element:
        """A line of a derivation."""
        found = line("", "", relation=display.sign(row), left=left, right=row.latex)
        found += words(reason(row))
        for k, label in enumerate(row.cites):
            found += [nodes.Text(", " if k else ", by "), self.citation(label)]
        if row.mark:
            found += [nodes.Text(" "), nodes.inline("", "", *words(mark(row)), classes=["rests-on"])]
        return found

    def citation(self, label: str) -> nodes.Element:
        """A link to an equation, which shows its number."""
        link = addnodes.pending_xref(
            "",
            refdomain="math",
            reftype="eq",
            reftarget=label,
            refexplicit=False,
            refwarn=True,
            refdoc=self.env.docname,
        )
        link += nodes.literal("", label)
        return link


def _records(app: Any) -> Mapping[str, Any]:
    """The records of all equations by their label, read once a build."""
    found: dict[str, Any] | None = getattr(app, "proofbook_equations", None)
    if found is None:
        shown = checking.outputs(book_of(app))
        found = {str(data[EQUATION_MIME].get("label")): data[EQUATION_MIME] for _, data in shown}
        app.proofbook_equations = found
    return found


def _set(writer: Any, node: nodes.Node, tex: str, **how: Any) -> Formula:
    typesetter: Typesetter = writer.builder.app.proofbook_typesetter
    try:
        return typesetter.set(tex, **how)
    except TypesetError as error:
        logger.warning("a formula cannot be set: %s", error, location=node)
        return Formula(f"<code>{writer.encode(tex)}</code>", 0.0, 0.0)


def _visit_inline(self: Any, node: nodes.math) -> None:
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate"))
    self.body.append(f"{_set(self, node, node.astext()).html}</span>")
    raise nodes.SkipNode


def _visit_display(self: Any, node: nodes.math_block) -> None:
    lines = list(node.findall(line))
    kind = "math derivation" if lines else "math"
    tex = node.astext()
    self.body.append(self.starttag(node, "div", CLASS=f"{kind} notranslate"))
    if lines:
        _write_lines(self, node, lines)
    else:
        formula = _set(self, node, tex, display=True)
        size = f"--widest:{formula.widest:.2f}"
        self.body.append(f'<div class="lines"><div class="formula" style="{size}">{formula.html}</div>')
        _write_number(self, node)
        self.body.append("</div>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def _write_number(writer: Any, node: nodes.math_block) -> None:
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, _("Link to this equation"))
        writer.body.append("</span>")


def _write_lines(writer: Any, node: nodes.math_block, lines: list[line]) -> None:
    lefts = [_set(writer, node, one["left"], display=True) if one["left"] else None for one in lines]
    width = max((left.width for left in lefts if left), default=0.0)
    place = "beside" if width <= BESIDE_ALWAYS else "by-page" if width <= BESIDE_ON_WIDE_PAGES else "above"
    writer.body.append(f'<div class="lines {place}" style="--left:{width:.2f}">')
    for one, left in zip(lines, lefts):
        right = _set(writer, node, one["right"], relation=one["relation"], display=True)
        above = max(right.widest, left.widest if left else 0.0)
        size = f"--widest:{right.widest:.2f};--above:{above:.2f}"
        writer.body.append(f'<div class="line"><div class="formula" style="{size}">')
        if left:
            writer.body.append(f'<div class="left">{left.html}</div>')
        writer.body.append(f'<div class="right">{right.html}</div></div><div class="why">')
        if one is lines[-1]:  # on a narrow page the number stands to the right of the last reason
            _write_number(writer, node)
        for child in one.children:
            child.walkabout(writer)
        writer.body.append("</div></div>")
    writer.body.append("</div>")
