"""The history of a tensor as plain data: nodes and edges, with no tensor left in them.

Mechanism.  Every tensor that was computed from a leaf that requires gradients has a `grad_fn`; its
`next_functions` are the `grad_fn`s of the arguments, and an `AccumulateGrad`, which holds the leaf
as `.variable`, ends each path; reading that backwards is the computation. The walk keeps its own
stack, so the depth of a history is not limited.

Invariants.  An edge points from the producer of a value to its consumer, and the edges that enter a
node are in the order of its arguments. There is one edge at most from one node to another: an
argument that is given twice has a count of 2.
"""

import re
from dataclasses import dataclass, field

LEAF, OP, OUTPUT, CONSTANT = "leaf", "op", "output", "constant"


@dataclass(frozen=True)
class Node:
    """One box. `spec` is shape and dtype as text; `backward` says what takes the gradient."""

    kind: str
    title: str
    spec: str = ""
    backward: str = ""


@dataclass
class Edge:
    """A value on its way from node `source` to node `target` (indices)."""

    source: int
    target: int
    count: int = 1
    slots: list = field(default_factory=list)  # which results of a source that has several

    @property
    def label(self):
        parts = [f"[{', '.join(map(str, self.slots))}]"] if self.slots else []
        return " ".join(parts + ([f"×{self.count}"] if self.count > 1 else []))


@dataclass
class History:
    """The nodes, the edges, the names that no node answers to, and a title for the whole."""

    nodes: list
    edges: list
    unreached: list
    title: str


def op_name(node):
    """`NllLossBackward0` -> `nll_loss`."""
    stem = re.sub(r"Backward\d*$", "", type(node).__name__) or type(node).__name__
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()


def spec_text(x):
    """`(3, 4) float32` for anything with a shape and a dtype."""
    return f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"


def _checked(name, z):
    if not hasattr(z, "grad_fn"):
        raise TypeError(
            f"graph() draws the history of a tensor, but {name} is a {type(z).__name__}"
        )
    if z.grad_fn is None and not z.requires_grad:
        raise ValueError(
            f"graph(): {name}, a tensor of shape {tuple(z.shape)}, has no history: it was "
            "computed from no tensor that requires gradients, or under no_grad(). Mark an input "
            "before computing it: x.requires_grad_()"
        )
    return z


def origin(x):
    """What a tensor comes from: its grad_fn, or itself if it is a leaf."""
    return x if x.grad_fn is None else x.grad_fn


class _Walk:
    """Nodes and edges as they are found."""

    def __init__(self, names, constants):
        """`names`: {name: tensor}."""
        self.nodes, self.edges, self.constants = [], {}, constants
        self.found = {}  # id of a grad_fn or of a leaf -> index of its node
        self.held = []  # what those ids belong to: an id is unique only while its object lives
        self.pending = []
        self.names = {}
        for name, x in names.items():
            self.held.append(origin(x))
            self.names[id(self.held[-1])] = name

    def add(self, node):
        self.nodes.append(node)
        return len(self.nodes) - 1

    def connect(self, source, target, slot=None):
        edge = self.edges.get((source, target))
        if edge is None:
            edge = self.edges[source, target] = Edge(source, target)
        else:
            edge.count += 1
        if slot is not None:
            edge.slots.append(slot)

    def leaf(self, x):
        if id(x) not in self.found:
            default = "parameter" if "Parameter" in type(x).__name__ else "leaf"
            title = self.names.get(id(x), default)
            self.held.append(x)
            self.found[id(x)] = self.add(Node(LEAF, title, spec_text(x), ".grad"))
        return self.found[id(x)]

    def op(self, node):
        if type(node).__name__ == "AccumulateGrad":
            return self.leaf(node.variable)
        if id(node) not in self.found:
            name, title = self.names.get(id(node)), op_name(node)
            specs = [spec_text(m) for m in getattr(node, "_input_metadata", ())]
            more = f" and {len(specs) - 1} more" if len(specs) > 1 else ""
            self.held.append(node)
            self.found[id(node)] = self.add(
                Node(
                    OP,
                    f"{name} = {title}" if name else title,
                    specs[0] + more if specs else "",
                    type(node).__name__,
                )
            )
            self.pending.append(node)
        return self.found[id(node)]

    def arguments(self, node):
        target = self.found[id(node)]
        for source, slot in getattr(node, "_sources", node.next_functions):  # without steps that only PyTorch has
            if source is not None:
                several = len(getattr(source, "_input_metadata", ())) > 1
                self.connect(self.op(source), target, slot if several else None)
            elif self.constants:
                self.connect(self.add(Node(CONSTANT, "no gradient")), target)


def trace(outputs, names, constants=False):
    """`[(name, tensor)]` and `{name: tensor}` -> History."""
    outputs = [(name, _checked(name, z)) for name, z in outputs]
    if not outputs:
        raise ValueError("graph() was given no tensor to draw: expected a tensor, or some of them")
    named = {id(x): name for name, x in names.items()}
    ends = {id(z) for _, z in outputs if z.grad_fn is not None}
    # The name of an output stands in a box of its own, below that of the op.
    walk = _Walk({name: x for name, x in names.items() if id(x) not in ends}, constants)
    titles = []
    for default, z in outputs:
        titles.append(named.get(id(z), default))
        source = walk.leaf(z) if z.grad_fn is None else walk.op(z.grad_fn)
        walk.connect(source, walk.add(Node(OUTPUT, titles[-1], spec_text(z))))
        while walk.pending:
            walk.arguments(walk.pending.pop())
    unreached = [name for name, x in names.items() if id(origin(x)) not in walk.found]
    return History(walk.nodes, list(walk.edges.values()), unreached, ", ".join(titles))
