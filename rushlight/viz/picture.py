"""A history drawn: SVG for people, DOT for programs that lay graphs out.

Mechanism.  The sizes of the boxes follow from their texts, set in a monospaced font; `layout`
places them; edges leave from the lower side of a box and reach the upper side of the next, each at
a port of its own, as smooth curves. The way back is the same curve, set aside, dashed and reversed.
A leaf that is used far and wide, such as the weight of a recurrent network, is drawn again, with a
dashed outline, where it is used.

Invariants.  The SVG refers to nothing outside itself and runs no script. Text from the user is
escaped in both formats.
"""

from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path

from rushlight.viz.history import CONSTANT, LEAF, OP, OUTPUT
from rushlight.viz.layout import layers_of, layout

LETTER, LINE, FONT = 7.25, 17, 12  # advance and line height of the font size, in pixels
REACH = 3  # a leaf whose consumers are further apart than this many layers is drawn again
ASIDE = 5  # distance of the gradient's line from the value's
INK, BACK, PAPER = "#334155", "#c2410c", "#ffffff"
MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
#: kind -> fill, outline, corner radius
LOOK = {
    LEAF: ("#dbeafe", "#3b82f6", 12),
    OP: ("#f8fafc", "#94a3b8", 3),
    OUTPUT: ("#fef3c7", "#d97706", 12),
    CONSTANT: ("#e2e8f0", "#94a3b8", 4),
}


class Picture:
    """A computation graph: `svg` and `dot` are its texts, `save` writes either."""

    def __init__(self, history, gradients=True):
        self.history = history
        self.gradients = gradients

    @property
    def unreached(self):
        """The names that were given but belong to nothing in the picture."""
        return self.history.unreached

    def __repr__(self):
        kinds = [node.kind for node in self.history.nodes]
        text = f"<graph of {self.history.title}: {kinds.count(OP)} ops, {kinds.count(LEAF)} leaves"
        if self.unreached:
            text += f", does not depend on {', '.join(self.unreached)}"
        return text + ">"

    def _repr_svg_(self):
        return self.svg

    def save(self, path):
        """Write the picture to `path`: SVG for `.svg`, DOT for `.dot` and `.gv`."""
        path = Path(path)
        kind = path.suffix.lower()
        if kind not in (".svg", ".dot", ".gv"):
            raise ValueError(
                f"save() writes .svg, .dot and .gv files, but got {str(path)!r}; for another "
                "format convert the SVG, or run Graphviz on the DOT file"
            )
        path.write_text(self.svg if kind == ".svg" else self.dot, encoding="utf-8")

    def _lines(self, node):
        """The texts of a box, each with its style: title, spec and what takes the gradient."""
        if node.kind == CONSTANT:
            return []
        lines = [(node.title, f'font-weight="bold" fill="{INK}"')]
        if node.spec:
            lines.append((node.spec, f'fill="{INK}"'))
        if node.backward and self.gradients:
            lines.append((node.backward, f'fill="{BACK}" font-size="{FONT - 1}"'))
        return lines

    # -------------------------------------------------------------------------------------- DOT
    @cached_property
    def dot(self):
        """The graph in Graphviz's language."""
        rows = [
            "digraph {",
            '  rankdir=TB; node [shape=box, style="filled,rounded", fontname=monospace];',
            "  edge [fontname=monospace, fontsize=10];",
        ]
        for i, node in enumerate(self.history.nodes):
            fill, outline, _ = LOOK[node.kind]
            label = "\\n".join([_quotable(text) for text, _ in self._lines(node)])
            shape = ", shape=point" if node.kind == CONSTANT else ""
            rows.append(f'  n{i} [label="{label}", fillcolor="{fill}", color="{outline}"{shape}];')
        for edge in self.history.edges:
            label = f', label="{_quotable(edge.label)}"' if edge.label else ""
            rows.append(f'  n{edge.source} -> n{edge.target} [color="{INK}"{label}];')
        for edge in self.history.edges:
            if self._leads_back(edge, self.history.nodes):
                style = f'style=dashed, color="{BACK}", constraint=false'
                rows.append(f"  n{edge.target} -> n{edge.source} [{style}];")
        return "\n".join([*rows, "}", ""])

    def _leads_back(self, edge, nodes):
        """Is a gradient to be drawn along `edge`, against its direction?"""
        return self.gradients and nodes[edge.source].kind != CONSTANT

    # -------------------------------------------------------------------------------------- SVG
    @cached_property
    def svg(self):
        """The drawing as a text that starts with `<svg`."""
        nodes, edges = with_copies(self.history.nodes, self.history.edges)
        sizes = [self._size(node) for node in nodes]
        plan = layout(sizes, [(e.source, e.target) for e in edges])
        ports = _ports(edges, plan, sizes, self.gradients)
        legend = 230 if self.gradients else 0
        width, height = max(plan.width, legend), plan.height + (26 if self.gradients else 0)
        shift = (width - plan.width) / 2
        body = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{MONO}" font-size="{FONT}">',
            f"<title>{escape(repr(self))}</title>",
            "<defs>" + _arrow("ink", INK) + _arrow("back", BACK) + "</defs>",
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            f'<g transform="translate({shift:.1f} 0)">',
        ]
        for edge, route, (start, end) in zip(edges, plan.routes, ports):
            aside = ASIDE if self._leads_back(edge, nodes) else 0
            path = [start, *route, end]
            body.append(_curve(_moved(path, -aside), INK, "ink"))
            if aside:
                turned = [(x, bottom, top) for x, top, bottom in reversed(_moved(path, aside))]
                body.append(_curve(turned, BACK, "back", 'stroke-dasharray="5 3"'))
            if edge.label:
                (x, _, y), (to_x, to_y, _) = [start, *route, end][-2:]
                body.append(_tag((x + to_x) / 2 - aside, (y + to_y) / 2, edge.label))
        for i, (node, center, size) in enumerate(zip(nodes, plan.centers, sizes)):
            body.append(self._box(node, center, size, i >= len(self.history.nodes)))
        body.append("</g>")
        if self.gradients:
            body.append(_legend(width / 2, height - 18))
        return "\n".join([*body, "</svg>", ""])

    def _size(self, node):
        lines = self._lines(node)
        if not lines:
            return 8, 8
        return max(len(text) for text, _ in lines) * LETTER + 24, len(lines) * LINE + 14

    def _box(self, node, center, size, is_copy):
        (x, y), (width, height) = center, size
        fill, outline, radius = LOOK[node.kind]
        lines = self._lines(node)
        hint = " ".join(filter(None, [node.kind, node.title, node.spec, node.backward]))
        dashes = ' stroke-dasharray="4 3"' if is_copy else ""
        parts = [
            f"<g><title>{escape(hint)}</title>",
            f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="{radius}" fill="{fill}" stroke="{outline}"{dashes}/>',
        ]
        for i, (text, style) in enumerate(lines):
            base = y + (i - (len(lines) - 1) / 2) * LINE + 4
            parts.append(
                f'<text x="{x:.1f}" y="{base:.1f}" text-anchor="middle" {style}>'
                f"{escape(text)}</text>"
            )
        return "".join(parts) + "</g>"


def with_copies(nodes, edges):
    """(nodes, edges) with a leaf that has consumers far apart repeated beside each group of them.

    The copies follow the nodes, whose indices stay; a group spans at most REACH layers.
    """
    nodes, edges = list(nodes), list(edges)
    layer = layers_of(len(nodes), [(e.source, e.target) for e in edges])
    group = {}  # leaf -> (the layer of its present group, the node that serves it)
    for i in sorted(range(len(edges)), key=lambda i: layer[edges[i].target]):
        leaf, at = edges[i].source, layer[edges[i].target]
        if nodes[leaf].kind != LEAF:
            continue
        since, server = group.get(leaf, (at, leaf))
        if at - since > REACH:
            since, server = at, len(nodes)
            nodes.append(nodes[leaf])
        group[leaf] = since, server
        edges[i] = replace(edges[i], source=server)
    return nodes, edges


def _quotable(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _ports(edges, plan, sizes, gradients):
    """Each edge's (start, end), as routes are written: (x, top, bottom) at the side of a box.

    The edges at one side of a box are spread along it in the order of where they go, so that they
    do not cross before they have begun.
    """
    upper, lower = {}, {}
    for i, (edge, route) in enumerate(zip(edges, plan.routes)):
        first = route[0][0] if route else plan.centers[edge.target][0]
        last = route[-1][0] if route else plan.centers[edge.source][0]
        lower.setdefault(edge.source, []).append((first, i))
        upper.setdefault(edge.target, []).append((last, i))
    wanted = 4.5 * ASIDE if gradients else 16

    def spread(sides, sign):
        at = {}
        for node, ends in sides.items():
            (x, y), (width, height) = plan.centers[node], sizes[node]
            step = min(wanted, (width - 16) / len(ends))
            side = y + sign * height / 2
            for k, (_, i) in enumerate(sorted(ends)):
                at[i] = (x + (k - (len(ends) - 1) / 2) * step, side, side)
        return at

    starts, ends = spread(lower, 1), spread(upper, -1)
    return [(starts[i], ends[i]) for i in range(len(edges))]


def _moved(path, dx):
    return [(x + dx, top, bottom) for x, top, bottom in path]


def _curve(path, colour, head, style=""):
    """A line through `path`: upright through each layer, and curved from one layer to the next."""
    x, _, y = path[0]
    steps = [f"M{x:.1f} {y:.1f}"]
    for to_x, enter, leave in path[1:]:
        half = (y + enter) / 2
        steps.append(f"C{x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {enter:.1f}")
        if leave != enter:
            steps.append(f"V{leave:.1f}")
        x, y = to_x, leave
    return (
        f'<path d="{" ".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.3" '
        f'marker-end="url(#rl-{head})" {style}/>'
    )


def _tag(x, y, text):
    """A small text on top of a line."""
    width = len(text) * LETTER * 10 / FONT + 4
    return (
        f'<rect x="{x - width / 2:.1f}" y="{y - 7:.1f}" width="{width:.1f}" height="14" '
        f'fill="{PAPER}"/><text x="{x:.1f}" y="{y + 3.5:.1f}" font-size="10" '
        f'text-anchor="middle" fill="{INK}">{escape(text)}</text>'
    )


def _arrow(name, colour):
    return (
        f'<marker id="rl-{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0.8L8 4L0 7.2z" fill="{colour}"/></marker>'
    )


def _legend(x, y):
    line = '<path d="M{0:.1f} {2:.1f}H{1:.1f}" stroke="{3}" stroke-width="1.3" {4}/>'
    text = '<text x="{0:.1f}" y="{1:.1f}" font-size="11" fill="{2}">{3}</text>'
    return (
        line.format(x - 104, x - 78, y, INK, "")
        + text.format(x - 72, y + 4, INK, "values")
        + line.format(x - 8, x + 18, y, BACK, 'stroke-dasharray="5 3"')
        + text.format(x + 24, y + 4, BACK, "gradients")
    )
