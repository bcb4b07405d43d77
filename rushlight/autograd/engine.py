"""Backward: walks the graph from its roots and brings every gradient to where it is wanted.

Mechanism. One pass counts how many consumers each node and leaf has within this backward; a second runs the nodes that
are ready, newest first (`seq` order, as PyTorch does), adds up what arrives at each edge, and gives leaves their
gradient as soon as it is complete. Nothing recurses, so the depth of a graph has no limit.

Invariants
- A node runs once, after all its consumers; what it saved is dropped at once unless the graph is to be kept.
- With `inputs`, only nodes on a path to one of them run, and `.grad` of nothing else is touched.
- A gradient is stored in `.grad` without a copy only where nobody else can hold its memory: `store` counts references,
  and the loop below keeps none of its own to what it hands over.
- Gradients are formed with recording off unless `create`.
"""

from __future__ import annotations

import os
import warnings
from heapq import heappop, heappush
from sys import getrefcount
from threading import RLock

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE, set_autocast
from rushlight.autograd.tape import NOWHERE, Node, Output


def run(roots, grads, retain=False, create=False, inputs=None, accumulate=True):
    """Backward from tensors `roots` with their gradients `grads`.

    With `inputs` (tensors) gradients go to these alone; without `accumulate` they are returned, None where there is none.
    """
    before, autocast, outer = STATE.grad, STATE.autocast, STATE.task
    STATE.grad = create
    if autocast is not None:  # gradients have the dtypes of the forward pass
        set_autocast(None)
    try:
        starts = [r._edge() for r in roots]
        waiting = count(starts)
        targets = None if inputs is None else Targets(inputs, waiting, accumulate)
        if modes.diverted and STATE.backend is not None:
            STATE.backend.backward(waiting if targets is None else targets.nodes)
        STATE.task = Task(waiting, targets)
        pending = {}
        for edge, g in zip(starts, grads):
            deliver(pending, edge, g)
        roots = grads = g = None
        walk(starts, pending, waiting, retain or create, create, targets)
        return None if targets is None else targets.results()
    finally:
        STATE.grad, STATE.task = before, outer
        if autocast is not None:
            set_autocast(autocast)


class Task:
    """A backward that is running, as hooks may ask about it."""

    __slots__ = ("waiting", "targets")

    def __init__(self, waiting, targets):
        self.waiting, self.targets = waiting, targets

    def reaches(self, x):
        """Whether the gradient of tensor `x` will be known in this backward."""
        edge = x._edge()
        key = _key(edge)
        if key[0] not in self.waiting:
            return False
        return self.targets is None or key in self.targets.wanted or key[0] in self.targets.nodes


def checked(node, g):
    """node.backward in anomaly mode: says where the op was recorded if it fails or gives NaN."""
    outer, STATE.running = STATE.running, node
    try:
        results = node.backward(g)
    except Exception:
        report_origin(node)
        raise
    finally:
        STATE.running = outer
    if modes.anomaly > 1:
        for i, r in enumerate(results):
            if r is not None and bool((r != r).any()):
                report_origin(node)
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
    return results


def report_origin(node):
    """Warn with the lines of the program that recorded `node`, and those of the nodes whose backward recorded it."""
    lines = node.metadata.get("traceback_")
    if lines is None:
        warnings.warn(f"Error detected in {node.name()}. No forward pass information available. Enable detect anomaly during forward pass for more information.", UserWarning, stacklevel=2)
        return
    warnings.warn(f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n{''.join(lines)}", UserWarning, stacklevel=2)
    parent = node.metadata.get("parent_")
    while parent is not None:
        lines = "".join(parent.metadata.get("traceback_", ()))
        warnings.warn(f"\n\nPrevious calculation was induced by {parent.name()}. Traceback of forward call that induced the previous calculation:\n{lines}", UserWarning, stacklevel=2)
        parent = parent.metadata.get("parent_")


def count(starts):
    """The number of consumers of everything that can be reached: positive for nodes, negative for leaves."""
    waiting, todo = {}, []
    for edge in starts:
        if edge.__class__ is Output:
            edge = edge.node
        if edge not in waiting:
            waiting[edge] = 0
            if isinstance(edge, Node):
                todo.append(edge)
    while todo:
        for edge in todo.pop().edges:
            if edge is not None:
                if edge.__class__ is Output:
                    edge = edge.node
                n = waiting.get(edge)
                if n:
                    waiting[edge] = n + 1 if n > 0 else n - 1
                elif isinstance(edge, Node):
                    waiting[edge] = 1
                    if n is None:
                        todo.append(edge)
                else:
                    waiting[edge] = -1
    return waiting


def walk(starts, pending, waiting, retain, create, targets):
    """Run every node once its consumers have run."""
    ready, done, node = [], [], None  # `node` is the next one where only one is ready, else they are in the heap `ready`
    for edge in starts:
        edge = edge.node if edge.__class__ is Output else edge
        if waiting[edge] == 0:
            waiting[edge] = None  # started
            if not isinstance(edge, Node):
                done.append(edge)
            elif node is None and len(starts) == 1:
                node = edge
            else:
                heappush(ready, (-edge.seq, edge))
    g = r = results = None
    anomaly = modes.anomaly
    while True:
        while done:
            finish(done.pop(), pending, create, targets)
        if node is None:
            if not ready:
                return
            node = heappop(ready)[1]
        g = pending.pop(node, None)
        if g is not None and (targets is not None or node.hooks is not None):
            if targets is not None and node not in targets.nodes and node not in targets.ends:
                g = None
            elif node.hooks is not None:
                g = before_node(node, g)
            if targets is not None:
                targets.see(node, g)
                if node not in targets.nodes:
                    g = None
        edges = node.edges
        if g is None:
            if node.takes_absent and (targets is None or node in targets.nodes):
                results = node.backward(None)
                if not retain and node.saved:
                    node.release()
            else:
                results = (None,) * len(edges)
        else:
            results = checked(node, g) if anomaly else node.backward(g)
            if node.hooks is not None and node.hooks.post:
                results = after_node(node, results, g)
            if not retain and node.saved:
                node.release()
            g = None
        node = None
        for edge, r in zip(edges, results):
            if edge is None:
                continue
            if edge.__class__ is Output:
                deliver(pending, edge, r)
                edge = edge.node
            elif r is not None:
                have = pending.get(edge)
                if have is None:
                    pending[edge] = r
                else:
                    pending[edge] = have + r
                    have = None
            n = waiting[edge]
            if n > 0:
                waiting[edge] = n = n - 1
                if not n:
                    if node is not None:
                        heappush(ready, (-node.seq, node))
                    node = edge
            else:
                waiting[edge] = n = n + 1
                if not n:
                    done.append(edge)
        if node is not None and ready:
            heappush(ready, (-node.seq, node))
            node = None
        r = results = None  # a finished leaf must hold the only reference to its gradient


def deliver(pending, edge, g):
    """Add gradient `g` to what has arrived at `edge`."""
    if g is None:
        return
    if edge.__class__ is not Output:
        have = pending.get(edge)
        pending[edge] = g if have is None else have + g
        return
    slots = pending.get(edge.node)
    if slots is None:
        slots = pending[edge.node] = [None] * edge.node.outputs
    have = slots[edge.index]
    slots[edge.index] = g if have is None else have + g


def finish(leaf, pending, create, targets):
    """The gradient of a leaf is complete: hooks, then `.grad` or the results."""
    hooks = leaf._hooks
    if hooks is None and targets is None:
        if leaf in pending and leaf._rg:
            store(leaf, pending.pop(leaf), create)
        return
    g = pending.pop(leaf, None)
    if g is None:
        return
    if hooks is not None:
        for hook in list(hooks.tensor.values()):
            new = hook(g)
            g = g if new is None else hooked(hook, g, new)
        if hooks.grad_dtype and g.dtype is not hooks.grad_dtype:
            g = g.to(hooks.grad_dtype)
    if targets is not None and not targets.leaf(leaf, g) or not leaf._rg:
        return
    store(leaf, g, create)
    if hooks is not None:
        for hook in list(hooks.accumulated.values()):
            if hook(leaf) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None. (change p.grad in place, or set it)")


class Targets:
    """What `inputs=` restricts a backward to: the edges wanted, the nodes on the way, the gradients found."""

    def __init__(self, inputs, waiting, accumulate):
        self.accumulate = accumulate
        self.keys = [_key(x._edge()) for x in inputs]
        self.keys = [None if k[0] is NOWHERE else k for k in self.keys]
        self.found = {}
        wanted, nodes = set(self.keys), set()
        for node in sorted((n for n in waiting if isinstance(n, Node)), key=lambda n: n.seq):
            for edge in node.edges:
                if edge is not None and (_key(edge) in wanted or (edge.node if edge.__class__ is Output else edge) in nodes):
                    nodes.add(node)
                    break
        self.wanted, self.nodes = wanted, nodes
        self.ends = {k[0] for k in self.keys if k is not None and isinstance(k[0], Node)}

    def see(self, node, g):
        """Note the gradients that arrive at `node` if they are wanted."""
        if g is None:
            return
        for index, value in enumerate(g if g.__class__ is list else [g]):
            if (node, index) in self.wanted:
                self.found[(node, index)] = value

    def leaf(self, leaf, g):
        """Note a leaf's gradient; whether it is to be accumulated as well."""
        if _key(leaf) in self.wanted:
            self.found[_key(leaf)] = g
            return self.accumulate
        return False

    def results(self):
        """The gradients of the inputs in order."""
        return [self.found.get(k) for k in self.keys]


def _key(edge):
    if edge.__class__ is Output:
        return (edge.node, edge.index)
    return (edge, 0)


def hooked(hook, g, new):
    """What a tensor hook gave in place of `g`, if it may stand there."""
    name = getattr(hook, "__name__", type(hook).__name__)
    if not hasattr(new, "_data"):
        raise TypeError(f"expected Variable, but hook returned '{type(new).__name__}'")
    if new._data.dtype != g._data.dtype:
        raise RuntimeError(f"hook '{name}' has changed the type of value (was torch.{g.dtype.legacy} got torch.{new.dtype.legacy})")
    if new._data.shape != g._data.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value (was {list(g.shape)}, got {list(new.shape)})")
    return new


def before_node(node, g):
    """Tensor hooks, retained gradients and pre-hooks of a node."""
    hooks = node.hooks
    single = g.__class__ is not list
    slots = [g] if single else list(g)
    for index, table in hooks.tensor.items():
        for hook in list(table.values()):
            if slots[index] is not None:
                new = hook(slots[index])
                slots[index] = slots[index] if new is None else hooked(hook, slots[index], new)
    for index, ref in hooks.retain.items():
        x = ref()
        if x is not None and slots[index] is not None:
            x._grad = slots[index] if x._grad is None else x._grad + slots[index]
    for hook in list(hooks.pre.values()):
        got = hook(tuple(slots))
        if got is not None:
            slots = list(got) if isinstance(got, (tuple, list)) else [got]
    return slots[0] if single else slots


def after_node(node, results, g):
    """Post-hooks of a node."""
    given = tuple(g) if g.__class__ is list else (g,)
    for hook in list(node.hooks.post.values()):
        got = hook(tuple(results), given)
        if got is not None:
            results = list(got) if isinstance(got, (tuple, list)) else [got]
    return list(results)


_ACCUMULATION = RLock()
if hasattr(os, "register_at_fork"):  # a thread that the child does not have may hold it
    os.register_at_fork(after_in_child=lambda: globals().update(_ACCUMULATION=RLock()))


def store(leaf, g, create):
    """Accumulate `g` into leaf.grad: in place where there is one, else as it is if nobody else holds its memory."""
    if leaf._node is not None:
        raise RuntimeError("leaf variable has been moved into the graph interior (it was changed in place after it was used; change a clone() instead)")
    with _ACCUMULATION:  # two backward passes may reach a leaf at once, and adding in place is no single step
        have = leaf._grad
        if have is not None:
            if create:
                leaf._grad = have + g
            else:
                if modes.alias_watch and modes.holders(have) > 1:
                    modes.report_alias(have, "backward()")
                have.add_(g)
            return
        data = g._data
        alone = getrefcount(g) <= ALONE[0] and getrefcount(data) <= ALONE[1]
        if create:
            leaf._grad = g if alone or data is not leaf._data else g.clone()
        elif alone and data.base is None and data.strides == leaf._data.strides and g._node is None:
            leaf._grad = g
        else:
            leaf._grad = g._fresh_like(leaf)


class _Probe:
    """A stand-in gradient that measures, through `store` itself, how many references an unshared one has."""

    _node = None
    base = None
    strides = ()

    def __init__(self):
        self._data = _ProbeData()

    def _fresh_like(self, leaf):
        return None


class _ProbeData:
    base = None
    strides = ()


class _ProbeLeaf:
    _grad = _node = None
    _rg = True

    def __init__(self):
        self._data = _ProbeData()
        self._hooks = None


def _calibrate():
    """The reference counts of a gradient that nobody else holds: they differ between versions of Python."""
    global ALONE
    for limit in range(1, 8):
        ALONE = (limit, 8)
        leaf, probe = _ProbeLeaf(), {}
        probe[leaf] = _Probe()
        finish(leaf, probe, False, None)
        if leaf._grad is not None:
            first = limit
            break
    for limit in range(1, 8):
        ALONE = (first, limit)
        leaf, probe = _ProbeLeaf(), {}
        probe[leaf] = _Probe()
        finish(leaf, probe, False, None)
        if leaf._grad is not None:
            return ALONE
    return (0, 0)


ALONE = (0, 0)
ALONE = _calibrate()
