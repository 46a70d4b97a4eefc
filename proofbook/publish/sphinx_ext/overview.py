"""The map: lemmas, equations, claims and pages, and what rests on what, drawn and as a list."""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from proofbook.names import verdict_class
from proofbook.publish import drawing
from proofbook.publish.sphinx_ext.base import BookDirective
from proofbook.publish.sphinx_ext.objects import Shown, declare, objects_of, place

SIGNS = {
    "holds": "✓",
    "holds under": "◐",
    "approximate": "≈",
    "needs correction": "✎",
    "false": "✗",
    "empirical": "▤",
    "open": "?",
    "proof": "✓",
    "both": "◑",
    "evidence": "∘",
    "definition": ":=",
    "assumption": "A",
    "lemma": "L",
}
"""What stands in a thing on the map: of verdicts the signs of proofbook.css, of equations their marks."""

SHAPES = {
    "claim": '<rect x="-10" y="-10" width="20" height="20" rx="3"/>',
    "equation": '<circle r="10"/>',
    "definition": '<path d="M0-11 11 0 0 11-11 0z"/>',
    "assumption": '<path d="M0-12 11 9H-11z"/>',
    "lemma": '<path d="M-6-10H6L11 0 6 10H-6L-11 0z"/>',
}

LEGEND = (
    ("equation", "proof", "equation, proved"),
    ("equation", "both", "equation, proved in part"),
    ("equation", "evidence", "equation, shown as evidence"),
    ("definition", "definition", "definition"),
    ("assumption", "assumption", "assumption"),
    ("lemma", "lemma", "lemma of the checker"),
)

BASES = {"proof": "proof alone", "both": "proof and evidence", "evidence": "evidence alone"}


class drawn(nodes.Element):
    """The map of the whole book; what it shows is gathered when its page is written."""


class listed(nodes.Element):
    """One band of the map as a list; ``key`` is its page, or empty for the lemmas."""


class Map(BookDirective):
    """The graph of what rests on what, and the same as lists, one a page."""

    def run(self) -> list[nodes.Node]:
        self.depend()
        declare(self.env, "map")
        found: list[nodes.Node] = [drawn()]
        for band in drawing.bands(objects_of(self.env.app).graph):
            title = nodes.title("", "", *self.inline(band.title))
            name = nodes.make_id(f"map-of-{band.key or 'lemmas'}")
            found.append(nodes.section("", title, listed(key=band.key), ids=[name], names=[name]))
        return found


def connect(app: Sphinx) -> None:
    """Let the HTML writer draw; other writers have the titles of the lists only."""
    for node, draw in ((drawn, _draw), (listed, _list)):
        app.add_node(
            node,
            html=(draw, None),
            latex=(_skip, None),
            text=(_skip, None),
            man=(_skip, None),
            texinfo=(_skip, None),
        )


def _skip(self: Any, node: nodes.Element) -> None:
    raise nodes.SkipNode


def _draw(self: Any, node: drawn) -> None:
    shown = Shown(self.builder.app, self.builder.current_docname)
    self.body.append(picture(shown))
    raise nodes.SkipNode


def _list(self: Any, node: listed) -> None:
    shown = Shown(self.builder.app, self.builder.current_docname)
    self.body.append(band_as_list(shown, node["key"]))
    raise nodes.SkipNode


def sign_of(node: dict[str, Any]) -> str:
    """The key of `SIGNS` for a thing: its verdict, what its steps rest on, or what it is."""
    return str(node.get("verdict") or node.get("basis") or node["kind"])


def name_of(shown: Shown, key: str) -> str:
    """What a thing is and how it is called."""
    kind, name = shown.objects.nodes[key]["kind"], shown.name(key)
    label = f" {key}" if name.startswith("(") else ""
    return f"{kind} {name.removeprefix('lemma: ')}{label}"


def in_words(shown: Shown, key: str) -> str:
    """A thing and how it came out, in words: what a screen reader says of it."""
    node, said = shown.objects.nodes[key], [name_of(shown, key)]
    said += [str(node["verdict"])] if "verdict" in node else []
    said += [BASES[node["basis"]]] if "basis" in node else []
    return ", ".join(said)


def _classes(node: dict[str, Any]) -> str:
    verdict = [verdict_class(node["verdict"])] if "verdict" in node else []
    return " ".join(["map-node", f"kind-{node['kind']}", f"basis-{node.get('basis', 'none')}", *verdict])


def picture(shown: Shown) -> str:
    """The drawing as SVG in a box, and its legend. Every thing in it is a link to its line in the lists."""
    graph = shown.objects.graph
    found = list(drawing.bands(graph))
    places = {key: at for band in found for key, at in band.places.items()}
    places |= {band.key: (6.0, band.y + 10) for band in found if band.key}
    edges = "".join(
        f'<path d="{drawing.line(places[edge["from"]], places[edge["to"]])}" '
        f'data-from="{place("map", edge["from"])}" data-to="{place("map", edge["to"])}"/>'
        for edge in graph["edges"]
        if edge["from"] in places and edge["to"] in places
    )
    parts = []
    for band in found:
        title = escape(shown.title(band.key) if band.key else band.title)
        if band.key:
            words = escape(in_words(shown, band.key))
            title = (
                f'<a class="map-node kind-page" href="#{place("map", band.key)}" tabindex="-1" '
                f'data-name="{escape(name_of(shown, band.key))}" aria-label="{words}">'
                f'<text class="map-title" x="0" y="{band.y + 16:g}">{title}</text></a>'
            )
        else:
            title = f'<text class="map-title" x="0" y="{band.y + 16:g}">{title}</text>'
        things = "".join(_thing(shown, key, at) for key, at in band.places.items())
        parts.append(f"<g>{title}{things}</g>")
    height = drawing.height(found)
    return (
        '<div class="book-map" data-pagefind-ignore="all">'
        '<div class="map-tools"></div><div class="map-scroll">'
        f'<svg viewBox="-4 -4 {drawing.WIDTH + 8} {height + 8:g}" role="group" aria-label="The map">'
        f'<g class="map-edges" aria-hidden="true">{edges}</g>{"".join(parts)}</svg></div>{legend()}</div>\n'
    )


def _thing(shown: Shown, key: str, at: tuple[float, float]) -> str:
    node = shown.objects.nodes[key]
    return (
        f'<a class="{_classes(node)}" href="#{place("map", key)}" tabindex="-1" '
        f'data-name="{escape(name_of(shown, key))}" '
        f'aria-label="{escape(in_words(shown, key))}" transform="translate({at[0]:g} {at[1]:g})">'
        f"<title>{escape(in_words(shown, key))}</title>{SHAPES[node['kind']]}"
        f'<text class="map-sign" y="4.5" aria-hidden="true">{SIGNS[sign_of(node)]}</text></a>'
    )


def legend() -> str:
    """What the shapes and signs mean."""
    named = [(kind, basis, "", words) for kind, basis, words in LEGEND]
    named += [("claim", verdict, verdict_class(verdict), f"claim: {verdict}") for verdict in list(SIGNS)[:7]]
    items = "".join(
        f'<li><svg viewBox="-13 -13 26 26" width="22" height="22" aria-hidden="true">'
        f'<g class="map-node kind-{kind} basis-{basis} {verdict}">{SHAPES[kind]}'
        f'<text class="map-sign" y="4.5">{SIGNS[basis]}</text></g></svg> {words}</li>'
        for kind, basis, verdict, words in named
    )
    return f'<ul class="map-legend" aria-label="Legend">{items}</ul>'


def band_as_list(shown: Shown, page: str) -> str:
    """A page and the things on it, or the lemmas: each with what it rests on and what rests on it."""
    nodes_ = shown.objects.nodes.values()
    if page:
        keys = [page, *(n["id"] for n in nodes_ if n.get("page") == page and n["kind"] != "page")]
    else:
        keys = [node["id"] for node in nodes_ if node["kind"] == "lemma"]
    entries = "".join(_entry(shown, key) for key in keys)
    return f'<ul class="map-list" data-pagefind-ignore="all">{entries}</ul>\n'


def _entry(shown: Shown, key: str) -> str:
    node = shown.objects.nodes[key]
    words = escape(in_words(shown, key))
    uri = shown.uri(key)
    name = f'<a href="{escape(uri)}">{words}</a>' if uri else words
    said = [
        f"<span>{title}: {', '.join(_inside(shown, other) for other in others)}</span>"
        for title, others in (
            ("rests on", shown.objects.rests_on.get(key, [])),
            ("carries", shown.objects.rest_on_it.get(key, [])),
        )
        if others
    ]
    mark = SIGNS.get(sign_of(node), "")
    return (
        f'<li id="{place("map", key)}" class="{_classes(node)}">'
        f'<span class="map-mark" aria-hidden="true">{mark}</span> '
        f"{name}{'; ' if said else ''}{'; '.join(said)}</li>"
    )


def _inside(shown: Shown, key: str) -> str:
    """A link from one entry of the lists to another."""
    name = shown.name(key).removeprefix("lemma: ")
    return f'<a href="#{place("map", key)}">{escape(name)}</a>'
