"""Links a glossary's terms where each first stands on a page, with its definition as a preview; and colours verdicts.

A preview is an attribute that the style sheet shows, so that it needs neither a script nor another host.
"""

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.addnodes import glossary, pending_xref
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

GLOSSARY = "glossary"
PLAIN_PAGES = {GLOSSARY, "api", "bibliography"}
"""Pages without such links."""
OTHER_SENSES = {"code", "front"}
"""Terms that mostly stand for something else in prose: an author's code, in front of."""
TEXT = (nodes.paragraph, nodes.list_item)
NOT_TEXT = (nodes.title, nodes.reference, nodes.literal, nodes.math, nodes.table, nodes.raw)
VERDICTS = {"●": "holds", "◐": "partly", "○": "fails"}


class term_link(nodes.reference):  # noqa: N801 - docutils names its nodes so, and their visitors after them
    """A reference that carries a definition."""


def visit(translator: HTML5Translator, node: term_link) -> None:
    attributes = {"href": node["refuri"], "data-definition": node["definition"]}
    translator.body.append(translator.starttag(node, "a", "", CLASS="term", **attributes))


def depart(translator: HTML5Translator, node: term_link) -> None:
    translator.body.append("</a>")


def definitions(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Anchor and definition of every term, by the term."""
    found = {}
    page = app.env.get_doctree(GLOSSARY)
    for item in (item for listed in page.findall(glossary) for item in listed.findall(nodes.definition_list_item)):
        text = item[-1].deepcopy()
        for cited in list(text.findall(pending_xref)):
            cited.parent.remove(cited)
        definition = re.sub(r"\s+(?=[.,;])", "", " ".join(text.astext().split()))
        for term in item.findall(nodes.term):
            found[term.astext()] = (term["ids"][0], definition)
    return {term: entry for term, entry in found.items() if term not in OTHER_SENSES}


def pattern(term: str) -> str:
    """A term as it may stand in a text: capitalized, in the plural."""
    return f"[{term[0]}{term[0].upper()}]{re.escape(term[1:])}s?"


def texts(page: nodes.document) -> Iterator[nodes.Text]:
    """Running text, in order."""
    for text in list(page.findall(nodes.Text)):
        above, parent = [], text.parent
        while parent is not None:
            above.append(parent)
            parent = parent.parent
        if any(isinstance(node, TEXT) for node in above) and not any(isinstance(node, NOT_TEXT) for node in above):
            yield text


def link(app: Sphinx, page: nodes.document, name: str) -> None:
    """Link every term where it first stands; a longer term hides the shorter one in it, linked or not."""
    if name in PLAIN_PAGES or GLOSSARY not in app.env.found_docs:
        return
    known = definitions(app)
    longest_first = sorted(known, key=len, reverse=True)
    every = re.compile(r"(?<![\w-])(?:" + "|".join(f"({pattern(term)})" for term in longest_first) + r")(?![\w-])")
    address = app.builder.get_relative_uri(name, GLOSSARY)
    linked: set[str] = set()
    for text in texts(page):
        content, pieces, end = text.astext(), [], 0
        for match in every.finditer(content):
            term = longest_first[match.lastindex - 1]
            if term in linked:
                continue
            linked.add(term)
            anchor, definition = known[term]
            target = term_link(match[0], match[0], refuri=f"{address}#{anchor}", definition=definition, internal=True)
            pieces += [nodes.Text(content[end : match.start()]), target]
            end = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(content[end:])])


def colour(app: Sphinx, page: nodes.document, name: str) -> None:
    """Give a table's cell that begins with a verdict's sign the class of that verdict."""
    for cell in page.findall(nodes.entry):
        if verdict := VERDICTS.get(cell.astext()[:1]):
            cell["classes"].append(verdict)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(term_link, html=(visit, depart))
    app.connect("doctree-resolved", link)
    app.connect("doctree-resolved", colour)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
