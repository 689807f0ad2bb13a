"""Figures of notebooks as figures of the book: numbered, labelled, with a caption; ``{numref}`` speaks of them.

A notebook's output brings its figure as HTML with a caption in it (``bitslice.book.figures.Shown``). Here it is taken
apart, so that Sphinx numbers it and knows its label.
"""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

FIGURE = re.compile(
    r'<figure class="plot" id="([\w-]+)">(.*)<figcaption><span class="caption">(.*?)</span>(.*)</figcaption></figure>',
    re.DOTALL,
)


class NumberedFigures(SphinxTransform):
    default_priority = 400  # before Sphinx collects labels

    def apply(self, **kwargs: Any) -> None:
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            for raw in bundle.findall(nodes.raw):
                if found := FIGURE.fullmatch(raw.astext().strip()):
                    bundle.replace_self(self.numbered(*found.groups()))
                    break

    def numbered(self, name: str, picture: str, caption: str, sources: str) -> nodes.figure:
        text = html.unescape(caption)
        figure = nodes.figure(
            "",
            nodes.raw("", picture, format="html"),
            nodes.caption(text, text),
            nodes.legend("", nodes.raw("", sources, format="html")),
            ids=[name],
            names=[name],
            classes=["plot"],
        )
        self.document.note_explicit_target(figure)
        return figure


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(NumberedFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
