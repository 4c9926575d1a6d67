"""How charts look, and what pygal puts into an SVG that no page may have.

https://www.pygal.org/en/stable/documentation/configuration/index.html
"""

from __future__ import annotations

import math
import sys
from typing import Any

import pygal
from pygal.style import Style

# It finds plugins for maps, in a way of which Python 3.11 warns at each import that fails.
sys.meta_path[:] = [
    finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)
]

_COLOURS = """
svg { --paper: #fff; --ink: #1c2333; --soft: #5d677b; --line: #c3cad6;
      --accent: #4256c9; --accent-2: #97a6ff; --warm: #b4541a; --warm-2: #e9a777; }
@media (prefers-color-scheme: dark) {
  svg { --paper: #161a22; --ink: #e8ebf2; --soft: #9ba6b9; --line: #414b5d;
        --accent: #97a6ff; --accent-2: #5566c4; --warm: #f0a26b; --warm-2: #a3653a; }
}
.graph > .background { rx: 14px; }
.title { font-weight: 600; }
"""

_SCRIPT, _DETAILS = "script", "desc"


def drawn(
    kind: type[Any], *, title: str, told: str, colours: tuple[str, ...], **options: Any
) -> Any:
    """A chart that series can be added to, and that renders as text.

    Args:
        kind: of pygal's charts.
        told: what the picture shows, for who does not see it.
        colours: of the series, by their names without dashes.
    """
    inks = tuple(f"var(--{colour})" for colour in colours)
    chart = kind(
        title=title,
        style=Style(
            background="var(--paper)", plot_background="var(--paper)",
            foreground="var(--soft)", foreground_strong="var(--ink)",
            foreground_subtle="var(--line)",
            guide_stroke_color="var(--line)", major_guide_stroke_color="var(--line)",
            font_family='system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
            label_font_size=12, major_label_font_size=12, value_font_size=12,
            value_label_font_size=11, legend_font_size=13, title_font_size=16,
            opacity="1", stroke_opacity="1", stroke_width="2",
            colors=inks, value_colors=("var(--ink)",) * len(inks),
        ),
        js=[], disable_xml_declaration=True, **options,
    )  # fmt: skip
    # A random one otherwise, and the same chart would be another file each time.
    chart.uuid = "bench"
    chart.add_xml_filter(lambda root: _for_a_page(root, told))
    return chart


def steps_between(least: float, most: float) -> list[float]:
    """1, 2, 5, 10, … as far as these reach, and 1 is always among them."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    first = max(step for step in steps if step <= min(least, 1))
    last = min(step for step in steps if step >= max(most, 1))
    return [step for step in steps if first <= step <= last]


def plain(figure: float) -> str:
    """For an axis: no more digits than it has."""
    return f"{figure:,g}"


def _for_a_page(root: Any, told: str) -> Any:
    """Without scripts, what only these would show, and the comment with the day."""
    for parent in list(root.iter()):
        for child in list(parent):
            if not isinstance(child.tag, str) or child.tag in (_SCRIPT, _DETAILS):
                parent.remove(child)
    root.set("role", "img")
    title = root.find("title")
    for tag, text in (("style", _COLOURS), ("desc", told)):
        element = title.makeelement(tag, {})
        element.text = text
        root.insert(list(root).index(title) + 1, element)
    return root
