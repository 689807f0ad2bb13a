"""What lets the book be read offline: formulas as MathML, which browsers draw themselves, and no Thebe."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def without_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop the scripts that would load Thebe from another host; this book has no live cells."""

    def is_thebe(script: Any) -> bool:
        return "thebe" in f"{script} {getattr(script, 'attributes', {})}".lower()

    context["script_files"] = [script for script in context.get("script_files", []) if not is_thebe(script)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
