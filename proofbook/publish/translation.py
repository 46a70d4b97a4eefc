"""Pages in other languages: what of a page is translated, and the page that comes of it.

Translations lie where gettext has them, in ``book/locale/LANGUAGE/LC_MESSAGES/PAGE.po``. Only what was typed
for readers is translated: Markdown, captions and the texts for those who cannot see a figure. Sphinx's own
translation does not serve: it takes what cells left for prose, checked formulas with it, and makes a whole
second site.
"""

import copy
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml
from babel import Locale, UnknownLocaleError
from babel.messages import Catalog
from babel.messages.pofile import PoFileError, read_po, write_po
from docutils.nodes import make_id

from proofbook.files import write_whole
from proofbook.names import VERDICTS
from proofbook.publish.notebooks import CARD, BookError, Notebook, parse_card, shown_texts
from proofbook.publish.prose import FENCE, HOLDS_CODE, pieces, uniform
from proofbook.settings import Sources

__all__ = [
    "FOLDER",
    "OURS",
    "RAN",
    "RECORDED",
    "SKILLS",
    "TranslatedPage",
    "file_of",
    "problems",
    "translated",
    "translation_problems",
    "update",
]

FOLDER = "locale"
"""Where in a book's folder its translations lie."""

SKILLS = "After this chapter you can"
"""What a chapter's card has before the list of what a reader will be able to do."""
OURS = "ours:"
"""What a card has before the claims that are the book's own."""
RAN = "Every line below ran in {{time}} when this page was built, with {{programs}}."
RECORDED = "The checks of this page ran in {{time}} on {{device}}."
"""What a card says of the run that the page shows, or of one on record."""
UNTRANSLATED = "untranslated"
"""The class of what stands on a translated page in the original's language."""
NOTE = (
    "This page is a translation of {doc}`%s`. Claims, the words in figures and what cells print are not "
    "translated; every formula is the one of the original."
)
"""What stands under the title of a translated page."""


@dataclass(frozen=True)
class TranslatedPage:
    """A page in another language: its name, the page it translates, and its texts by the original ones.

    ``locale`` is the language as gettext names it.
    """

    docname: str
    original: Path
    locale: str
    texts: Mapping[str, str]

    @property
    def language(self) -> str:
        """The language as HTML has it."""
        return tag(self.locale)

    @property
    def suffix(self) -> str:
        """What its labels end in while it is read, so that nothing is defined twice."""
        return f"-{self.language.lower()}"

    def text(self, original: str) -> str:
        """The translation of a text; the text itself where there is none."""
        return self.texts.get(original, original)

    @classmethod
    def read(cls, folder: Path, locale: str, path: Path) -> "TranslatedPage | None":
        """The translation of the page `path` in a book's folder; None unless somebody has begun it.

        Raises:
            BookError: its file cannot be read.
        """
        file = file_of(folder, locale, path)
        texts = dict(read(file)) if file.is_file() else {}
        if not any(original.startswith("# ") for original in texts):  # it has no title
            return None
        return cls((path.parent / tag(locale) / path.stem).as_posix(), path, locale, texts)


def name_of(language: str) -> str:
    """What a language, named as gettext does, calls itself.

    Raises:
        BookError: there is no such language.

    >>> name_of("zh_CN"), name_of("en")
    ('中文', 'English')
    """
    try:
        locale = Locale.parse(language)
    except (UnknownLocaleError, ValueError) as error:
        raise BookError(f"proofbook.toml: [translation] names the language {language!r}: {error}") from None
    name = locale.language_name or tag(language)
    return name[:1].upper() + name[1:]


def tag(language: str) -> str:
    """A language as HTML names it.

    >>> tag("zh_CN")
    'zh-CN'
    """
    return language.replace("_", "-")


def file_of(folder: Path, locale: str, path: Path) -> Path:
    """The file with the translation of a page, whose `path` is relative to the root."""
    name = Path(*path.parts[1:]).with_suffix(".po")
    return folder / FOLDER / locale / "LC_MESSAGES" / name


def blocks(text: str) -> Iterator[str]:
    """Markdown in its blocks: what blank lines part, a directive or a piece of code with all that is in it.

    >>> list(blocks("(a)=\\n# A\\n\\n```{note}\\nb\\n\\nc\\n```\\n\\nd"))
    ['(a)=\\n', '# A\\n\\n', '```{note}\\nb\\n\\nc\\n```\\n\\n', 'd']
    """
    block, code = "", False
    fences: list[str] = []
    for line in text.splitlines(keepends=True):
        fence = FENCE.match(line)
        if block and not fences and line.strip() and (block.endswith("\n\n") or _TARGET.fullmatch(block)):
            yield block
            block = ""
        block += line
        if fence and fences and fence[1].startswith(fences[-1]) and not fence[2].strip():
            fences.pop()
            code = False
        elif fence and not code:
            fences.append(fence[1])
            code = fence[1][0] != ":" and bool(HOLDS_CODE.match(fence[2].strip()))
    if block:
        yield block


_NAMES_CLAIMS = re.compile(r"\{claim\}`")
_TARGET = re.compile(r"\((?P<name>[\w.:-]+)\)=[ \t]*\n?")
_OPENING = re.compile(r"^[ \t]*[`~:]{3,}\{(?P<name>[\w-]+)\}[ \t]*(?P<argument>[^\n]*)$", re.M)
_OPTION = re.compile(r"^[ \t]*:(?P<key>[\w-]+):[ \t]*(?P<value>[^\n]*)$", re.M)
_ROLE = re.compile(r"\{(?P<name>[\w:-]+)\}`(?P<text>[^`]+)`")
_FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$])\$(?P<inline>[^$]+?)(?<!\\)\$", re.S)
_LABELLED = re.compile(r"(?P<display>\$\$[ \t]*)\((?P<name>[\w.:-]+)\)(?=[ \t]*$)", re.M)
_LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")
_NUMBER = re.compile(r"\{\{[^{}]*\}\}")
_HEADING = re.compile(r"^(?P<level>#{1,6}) ", re.M)
_TITLED = {"admonition", "card", "dropdown", "exercise", "exercise-start", "grid-item-card", "note", "tip"}
"""Directives whose argument is prose."""
_SAID = {"alt", "caption"}
"""Options of directives that are prose."""


def has_prose(block: str) -> bool:
    """Whether there is anything in a block to translate.

    >>> has_prose("```{bibliography}\\n:filter: docname\\n```"), has_prose("$a$ {eq}`b`"), has_prose("so")
    (False, False, True)
    """
    text = "".join(piece for piece, code in pieces(block) if not code)
    for pattern in (_OPENING, _OPTION, _ROLE, _FORMULA, _LABELLED, _NUMBER, _TARGET):
        text = pattern.sub("", text)
    return any(letter.isalpha() for letter in text)


def _with_texts(
    text: str, sources: Sources, text_of: Callable[[str], str], block_of: Callable[[str], str]
) -> str:
    """Markdown with its texts replaced: a block by what `block_of` gives, one of a card by `text_of`."""
    found = []
    for block in blocks(text):
        body = block.strip("\n")
        if card := CARD.fullmatch(body):
            said = parse_card(card["body"], "a translated page", sources)
            said["verdict"] = text_of(said["verdict"])
            if sources.one in said:
                text_of(sources.one.capitalize())
            for words in (SKILLS, OURS, RAN, RECORDED):
                text_of(words)
            said["can"] = [text_of(item) for item in said["can"]]
            # a JSON text is one of YAML, too, on one line and with its quotes
            lines = yaml.safe_dump(said, allow_unicode=True, sort_keys=False, width=100_000)
            found.append(block.replace(card["body"], lines))
        elif has_prose(body):
            found.append(block.replace(body, block_of(body)))
        else:
            found.append(block)
    return "".join(found)


def messages(page: Notebook | str, path: Path, sources: Sources) -> Iterator[tuple[str, str]]:
    """The texts of a page that are translated, each with what it is, in reading order."""
    found: list[tuple[str, str]] = []

    def note(kind: str) -> Callable[[str], str]:
        def noted(text: str) -> str:
            found.append((kind, text))
            return text

        return noted

    note("under the title")(NOTE % path.stem)
    if isinstance(page, str):
        _with_texts(_parted(page)[1], sources, note("text"), note("text"))
    else:
        for holder, key in shown_texts(page):
            if key == "source":
                _with_texts(holder[key], sources, note("text"), note("text"))
            else:
                note(key)(holder[key])
    if any(_NAMES_CLAIMS.search(text) for _, text in found):
        for verdict in VERDICTS:
            note("a verdict")(verdict)
    return iter(dict.fromkeys(found))


def translated(page: Notebook | str, translation: TranslatedPage, sources: Sources) -> Notebook | str:
    """A page in another language. Its labels have a suffix; links lead where those of the original lead."""
    note = translation.text(NOTE % translation.original.stem)

    named: set[str] = set()

    def block_of(original: str) -> str:
        text = translation.text(original)
        name = heading_name(original)
        if name and name not in named:
            named.add(name)
            return f"({name})=\n{text}"  # a link to the section works on both pages
        if original in translation.texts or name or FENCE.match(original):
            return text
        return f"``````{{container}} {UNTRANSLATED}\n{text}\n``````"

    def text_in_place(text: str) -> str:
        return _moved(_with_texts(text, sources, translation.text, block_of), translation)

    front = {"lang": translation.language, "orphan": True}
    if isinstance(page, str):
        before, text = _parted(page)
        said = (yaml.safe_load(before) or {}) if before else {}
        lines = yaml.safe_dump({**said, **front}, allow_unicode=True)
        return f"---\n{lines}---\n{_noted(text_in_place(text), note, translation)}"
    page = copy.deepcopy(page)
    page["metadata"] |= front
    noted = False
    for holder, key in shown_texts(page):
        if key == "source":
            holder[key] = text_in_place(holder[key])
            if not noted and _TITLE.search(holder[key]):
                holder[key], noted = _noted(holder[key], note, translation), True
        else:
            holder[key] = _moved(translation.text(holder[key]), translation)
    for cell in page["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/markdown" in data:
                data["text/markdown"] = _moved(data["text/markdown"], translation)
        figure = cell.get("metadata", {}).get("mystnb", {}).get("figure", {})
        if "name" in figure:
            figure["name"] += translation.suffix
    return page


_TITLE = re.compile(r"^# [^\n]*\n?", re.M)


def heading_name(text: str) -> str:
    """The permanent name of the section whose heading a text begins with, or an empty string.

    >>> heading_name("## The $n$ of `f`\\nSo."), heading_name("None.")
    ('the-n-of-f', '')
    """
    heading = re.match(r"#{1,6} ([^\n]*)", text)
    return make_id(heading[1]) if heading else ""


def _noted(text: str, note: str, translation: TranslatedPage) -> str:
    note = _moved(note, translation)
    return _TITLE.sub(lambda title: f"{title[0].rstrip()}\n\n> {' '.join(note.split())}\n", text, count=1)


def _parted(text: str) -> tuple[str, str]:
    """The front matter of a page of Markdown, and what follows it."""
    found = re.match(r"---\n(.*?)^---[ \t]*\n", text, re.M | re.S)
    return (found[1], text[found.end() :]) if found else ("", text)


def _moved(text: str, translation: TranslatedPage) -> str:
    """Markdown as it reads in the folder of a translation: labels with a suffix, links from there."""
    folder, suffix = translation.original.parent.as_posix(), translation.suffix

    def role(found: re.Match[str]) -> str:
        if found["name"] != "doc":
            return found[0]
        words, target = _target(found["text"])
        place = target if target.startswith("/") else f"/{posixpath.normpath(posixpath.join(folder, target))}"
        return f"{{doc}}`{words} <{place}>`" if words else f"{{doc}}`{place}`"

    def link(found: re.Match[str]) -> str:
        outside = re.match(r"[a-z]+:|[/#]", found["target"])
        return found[0] if outside else f"](../{found['target']})"

    def piece(part: str) -> str:
        part = re.sub(r"^\(([\w.:-]+)\)=", rf"(\1{suffix})=", part, flags=re.M)
        part = re.sub(r"^([ \t]*:(?:label|name):[ \t]*)(\S+)", rf"\1\2{suffix}", part, flags=re.M)
        part = re.sub(r"^([`:]{3,}\{solution(?:-start)?\}[ \t]*)(\S+)", rf"\1\2{suffix}", part, flags=re.M)
        part = _LABELLED.sub(rf"\g<display>(\g<name>{suffix})", part)
        return _LINK.sub(link, _ROLE.sub(role, part))

    return "".join(part if code else piece(part) for part, code in pieces(text))


def _target(text: str) -> tuple[str, str]:
    """The words and the target of a role's text; no words where it has none.

    >>> _target("the ledger <ledger>"), _target("ledger")
    (('the ledger', 'ledger'), ('', 'ledger'))
    """
    found = re.fullmatch(r"(.+?)\s*<([^<>]+)>", text, re.S)
    return (found[1], found[2]) if found else ("", text)


def fixed(text: str) -> Counter[str]:
    """What a translation of a text must leave as it is: numbers to fill in, roles, formulas, code, links."""
    found: Counter[str] = Counter()
    plain = ""
    for piece, code in pieces(text):
        if code:
            found[uniform(piece)] += 1
        else:
            plain += piece

    def take(match: re.Match[str]) -> str:
        found[uniform(match[0])] += 1
        return ""

    def role(match: re.Match[str]) -> str:
        found[f"{{{match['name']}}}`{_target(match['text'])[1]}`"] += 1
        return ""

    plain = _ROLE.sub(role, plain)
    plain = _FORMULA.sub(take, plain)
    plain = _NUMBER.sub(take, plain)
    for link in _LINK.finditer(plain):
        found[link[0]] += 1
    for opening in _OPENING.finditer(plain):
        argument = "" if opening["name"] in _TITLED else f" {opening['argument']}"
        found[f"{{{opening['name']}}}{argument}".strip()] += 1
    for option in _OPTION.finditer(plain):
        if option["key"] not in _SAID:
            found[uniform(option[0])] += 1
    for heading in _HEADING.finditer(plain):
        found[heading["level"]] += 1
    return found


def problems(original: str, translation: str) -> list[str]:
    """What a translation has not left as it is, in words.

    >>> problems("See {eq}`a` of $n$.", "Siehe {eq}`b` von $n$.")
    ['lacks {eq}`a`', 'has {eq}`b`, which the original has not']
    """
    wanted, given = fixed(original), fixed(translation)
    lacks = [f"lacks {one}" for one in (wanted - given)]
    return lacks + [f"has {one}, which the original has not" for one in (given - wanted)]


def translation_problems(page: TranslatedPage) -> Iterator[str]:
    """What a translated page has not left as it is, each with the text it is about."""
    for original, text in page.texts.items():
        for problem in problems(original, text):
            yield f"the translation {page.docname} of {uniform(original)[:50]!r} {problem}"


def _catalog(file: Path) -> Catalog:
    try:
        return read_po(BytesIO(file.read_bytes()), charset="utf-8", abort_invalid=True)
    # IndexError: what Babel before 2.17 says of a text without a translation
    except (OSError, ValueError, IndexError, PoFileError) as error:
        raise BookError(f"{file} is no file of translations: {error}") from error


def read(file: Path) -> Iterator[tuple[str, str]]:
    """The texts of a file of translations, each with its translation; those to be checked are left out.

    Raises:
        BookError: it cannot be read.
    """
    for message in _catalog(file):
        if message.id and message.string and not message.fuzzy:
            yield str(message.id), str(message.string)


@dataclass(frozen=True)
class Updated:
    """A file of translations after it was brought up to date: how many texts, and how many need work."""

    file: Path
    texts: int
    missing: int
    to_check: int


def update(folder: Path, locale: str, path: Path, page: Notebook | str, sources: Sources) -> Updated:
    """Write the texts of a page to its file of translations, and keep what is translated.

    A text that has changed keeps its translation, marked as one to be checked (``fuzzy``); until then the
    page shows the original. A text that has gone leaves its translation behind, as an obsolete one.

    Raises:
        BookError: the present file cannot be read.
    """
    file = file_of(folder, locale, path)
    template = Catalog()
    for kind, text in messages(page, path, sources):
        template.add(text, auto_comments=[] if kind == "text" else [kind])
    catalog = _catalog(file) if file.is_file() else Catalog()
    catalog.update(template, update_creation_date=False)
    for message in catalog:
        message.flags -= {"python-format", "python-brace-format"}  # guessed from what is Markdown here
    written = BytesIO()
    write_po(written, catalog, width=110, omit_header=True)
    write_whole(file, _header(locale).encode() + written.getvalue())
    found = [message for message in catalog if message.id]
    missing = sum(not message.string for message in found)
    return Updated(
        file, len(found), missing, sum(bool(message.string and message.fuzzy) for message in found)
    )


def _header(locale: str) -> str:
    """What gettext's tools need at the top of a file; no date, which would change with every run."""
    said: Mapping[str, Any] = {
        "Language": locale,
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Transfer-Encoding": "8bit",
    }
    lines = "".join(f'"{key}: {value}\\n"\n' for key, value in said.items())
    return f'msgid ""\nmsgstr ""\n{lines}\n'
