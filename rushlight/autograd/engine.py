"""Backward: walks the graph from its roots and brings every gradient to where it is wanted.

Mechanism. One pass counts how many consumers each node has within this backward; a second runs the nodes that are
ready, newest first (`seq` order, as PyTorch does), adds up what arrives at each edge, and gives leaves their gradient
as soon as it is complete. Nothing recurses, so the depth of a graph has no limit.

Invariants
- A node runs once, after all its consumers; what it saved is dropped at once unless the graph is to be kept.
- With `inputs`, only nodes on a path to one of them run, and `.grad` of nothing else is touched.
- A gradient is stored in `.grad` without a copy only where nobody else can hold its memory.
- Gradients are formed with recording off unless `create_graph`.
"""

from __future__ import annotations

from heapq import heappop, heappush
from sys import getrefcount

from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import Node, Output


def run(roots, grads, retain=False, create=False, inputs=None, accumulate=True, allow_unused=False):
    """Backward from tensors `roots` with their gradients `grads`.

    With `inputs` (tensors) and not `accumulate` the gradients of the inputs are returned, None where there is none.
    """
    before = STATE.grad
    STATE.grad = create
    try:
        return _Run(roots, grads, retain or create, create, inputs, accumulate).go()
    finally:
        STATE.grad = before


class _Run:
    def __init__(self, roots, grads, retain, create, inputs, accumulate):
        self.retain, self.create, self.accumulate = retain, create, accumulate
        self.roots, self.grads, self.inputs = roots, grads, inputs
        self.waiting = {}  # node -> consumers that have not run yet
        self.leaf_waiting = {}  # id of leaf -> the same
        self.pending = {}  # node -> gradient, or list of them for several results
        self.leaves = {}  # id of leaf -> [leaf, gradient]
        self.ready = []  # heap of (-seq, node)
        self.captured = {}  # for inputs: edge key -> gradient
        self.wanted = None  # nodes that must run, or None for all

    def go(self):
        roots = [r._edge() for r in self.roots]
        self.count(roots)
        if self.inputs is not None:
            self.select()
        for edge, g in zip(roots, self.grads):
            self.deliver(edge, g, counted=False)
        del edge, g
        self.roots = self.grads = None
        heap, waiting, started = self.ready, self.waiting, set()
        for edge in roots:
            node = edge.node if type(edge) is Output else edge
            if isinstance(node, Node) and not waiting[node] and node not in started:
                started.add(node)
                self.queue(node)
        self.flush_leaves()
        while heap:
            node = heappop(heap)[1]
            self.step(node)
        return self.results()

    def count(self, roots):
        """Consumers of every node and leaf that can be reached."""
        waiting, leaf_waiting, todo = self.waiting, self.leaf_waiting, []
        for edge in roots:
            node = edge.node if type(edge) is Output else edge
            if isinstance(node, Node):
                if node not in waiting:
                    waiting[node] = 0
                    todo.append(node)
            else:
                leaf_waiting.setdefault(id(node), 0)
        while todo:
            for edge in todo.pop().edges:
                if edge is None:
                    continue
                if type(edge) is Output:
                    edge = edge.node
                if isinstance(edge, Node):
                    if edge in waiting:
                        waiting[edge] += 1
                    else:
                        waiting[edge] = 1
                        todo.append(edge)
                else:
                    key = id(edge)
                    leaf_waiting[key] = leaf_waiting.get(key, 0) + 1

    def select(self):
        """Which nodes lie on a path to an input."""
        self.keys = [_key(x) for x in self.inputs]
        keys = set(self.keys)
        wanted = self.wanted = set()
        for node in sorted(self.waiting, key=lambda n: n.seq):
            for edge in node.edges:
                if edge is None:
                    continue
                target = edge.node if type(edge) is Output else edge
                if _edge_key(edge) in keys or (isinstance(target, Node) and target in wanted):
                    wanted.add(node)
                    break
        self.capture_keys = keys

    def queue(self, node):
        heappush(self.ready, (-node.seq, node))

    def deliver(self, edge, g, counted=True):
        """Add gradient `g` to what has arrived at `edge`; queue the node if that was the last."""
        kind = type(edge)
        if kind is Output:
            node = edge.node
            if g is not None:
                slots = self.pending.get(node)
                if slots is None:
                    slots = self.pending[node] = [None] * node.outputs
                have = slots[edge.index]
                slots[edge.index] = g if have is None else have + g
        elif isinstance(edge, Node):
            node = edge
            if g is not None:
                if node.outputs > 1:
                    slots = self.pending.setdefault(node, [None] * node.outputs)
                    slots[0] = g if slots[0] is None else slots[0] + g
                else:
                    have = self.pending.get(node)
                    self.pending[node] = g if have is None else have + g
        else:
            key = id(edge)
            if g is not None:
                entry = self.leaves.get(key)
                if entry is None:
                    self.leaves[key] = [edge, g]
                else:
                    entry[1] = entry[1] + g
                    del entry
            if counted:
                left = self.leaf_waiting[key] = self.leaf_waiting[key] - 1
                if not left:
                    del g
                    self.finish_leaf(key)
            return
        if counted:
            left = self.waiting[node] = self.waiting[node] - 1
            if not left:
                self.queue(node)

    def step(self, node):
        """Run one node and deliver what it gives."""
        g = self.pending.pop(node, None)
        run = self.wanted is None or node in self.wanted
        if g is not None and node.hooks is not None:
            g = self.before(node, g)
        if g is not None and self.wanted is not None:
            self.capture(node, g)
        edges = node.edges
        if g is None or not run:
            results = (None,) * len(edges)
        else:
            results = node.backward(g)
            if node.hooks is not None and node.hooks.post:
                results = _post_hooks(node, results, g)
            if not self.retain:
                node.release()
        del g
        i = 0
        results = list(results)
        for edge in edges:
            if edge is not None:
                r = results[i]
                results[i] = None
                self.deliver(edge, r)
                r = None
            i += 1

    def before(self, node, g):
        """Tensor hooks, retained gradients and pre-hooks of a node."""
        hooks = node.hooks
        single = node.outputs == 1
        slots = [g] if single else list(g)
        for index, table in hooks.tensor.items():
            for hook in list(table.values()):
                if slots[index] is not None:
                    slots[index] = _replaced(hook(slots[index]), slots[index])
        if self.accumulate:
            for index, ref in hooks.retain.items():
                x = ref()
                if x is not None and slots[index] is not None:
                    have = x._grad
                    x._grad = slots[index] if have is None else have + slots[index]
        for hook in list(hooks.pre.values()):
            got = hook(tuple(slots))
            if got is not None:
                slots = list(got) if isinstance(got, (tuple, list)) else [got]
        return slots[0] if single else slots

    def capture(self, node, g):
        keys = self.capture_keys
        if node.outputs == 1:
            if (node, 0) in keys:
                self.captured[(node, 0)] = g
        else:
            for index, value in enumerate(g):
                if (node, index) in keys:
                    self.captured[(node, index)] = value

    def finish_leaf(self, key):
        entry = self.leaves.pop(key, None)
        if entry is None:
            return
        leaf = entry[0]
        leaf_hooks = leaf._hooks
        if leaf_hooks is not None:
            for hook in list(leaf_hooks.tensor.values()):
                entry[1] = _replaced(hook(entry[1]), entry[1])
        if self.wanted is not None:
            if key in self.capture_keys:
                self.captured[key] = entry[1]
                if self.accumulate:
                    store(leaf, entry.pop(), self.create)
            elif self.accumulate and self.inputs is None:
                store(leaf, entry.pop(), self.create)
            else:
                return
        elif self.accumulate:
            store(leaf, entry.pop(), self.create)
        if leaf_hooks is not None and self.accumulate:
            for hook in list(leaf_hooks.accumulated.values()):
                hook(leaf)

    def flush_leaves(self):
        """Leaves that are roots themselves and have no consumer."""
        for key in [k for k, n in self.leaf_waiting.items() if not n]:
            self.finish_leaf(key)

    def results(self):
        if self.inputs is None:
            return None
        return [self.captured.get(k) for k in self.keys]


def _edge_key(edge):
    if type(edge) is Output:
        return (edge.node, edge.index)
    return (edge, 0) if isinstance(edge, Node) else id(edge)


def _key(x):
    return _edge_key(x._edge())


def _replaced(new, old):
    return old if new is None else new


def _post_hooks(node, results, g):
    given = (g,) if node.outputs == 1 else tuple(g)
    for hook in list(node.hooks.post.values()):
        got = hook(tuple(results), given)
        if got is not None:
            results = list(got) if isinstance(got, (tuple, list)) else [got]
    return results


def store(leaf, g, create):
    """Accumulate `g` into leaf.grad: in place where there is one, else as it is if nobody else holds its memory."""
    have = leaf._grad
    if have is not None:
        if create:
            leaf._grad = have + g
        else:
            have.add_(g)
        return
    if create:
        leaf._grad = g.clone() if g._data is leaf._data else g
        return
    data = g._data
    # the references counted: `data` here, `g._data`, and getrefcount's own argument; likewise for g
    alone = getrefcount(data) <= 3 and getrefcount(g) <= 3 and data.base is None
    if alone and data.strides == leaf._data.strides and g._node is None:
        leaf._grad = g
    else:
        leaf._grad = g._fresh_like(leaf)
