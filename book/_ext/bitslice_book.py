"""What the book adds to Sphinx so that it can be read offline: formulas as MathML, which browsers draw, and no Thebe.

Enums are shown without the signature of their metaclass.
"""

import enum
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


def launch_buttons(app: Sphinx, config: Any) -> None:
    """Buttons that open a page's notebook on Binder and Colab, once the project has a public address; else none."""
    if config.public_address:
        config.html_theme_options |= {
            "repository_url": config.public_address,
            "path_to_docs": "notebooks",
            "use_repository_button": True,
            "launch_buttons": {
                "notebook_interface": "jupyterlab",
                "binderhub_url": "https://mybinder.org",
                "colab_url": "https://colab.research.google.com",
            },
        }


def plain_enum(
    app: Sphinx, what: str, name: str, item: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """No arguments for an enum: nobody calls it with any but a value."""
    return ("", None) if isinstance(item, type) and issubclass(item, enum.Enum) else (signature, returns)


class Attributes:
    """Keeps Napoleon from taking the words before a colon in an attribute's docstring for its type."""

    def __init__(self) -> None:
        self.kept: dict[str, list[str]] = {}

    def keep(self, app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
        if what in {"attribute", "data", "property"}:
            self.kept[name] = list(lines)

    def restore(self, app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
        lines[:] = self.kept.pop(name, lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_config_value("public_address", "", "html")
    app.connect("config-inited", launch_buttons)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("autodoc-process-signature", plain_enum)
    attributes = Attributes()
    app.connect("autodoc-process-docstring", attributes.keep, priority=100)  # Napoleon comes at 500
    app.connect("autodoc-process-docstring", attributes.restore, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
