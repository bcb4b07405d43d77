"""What a replay needs of a capture, in paths: inputs, results, gradients, versions, and the guards that follow from them.

A function that calls backward itself is one program. Where it returns tensors whose graph is still open, backward will be
called later: then `_backward` captures that too, and the program is two, with what the second needs of the first
handed over (compiler/joint.py).
"""

from __future__ import annotations

from rushlight.autograd import engine
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import FREED, Node, Output
from rushlight.compiler.capture import Boundary, Captured
from rushlight.compiler.graph import overlap
from rushlight.compiler.results import Template, Unreplayable, tensors, windows
from rushlight.tensor import Tensor, needs, wrap


class Plan:
    """A program in paths: see replay.py."""

    __slots__ = ("nodes", "inputs", "path_of", "slots", "template", "grads", "written", "constants", "joint", "stores")

    def __init__(self, **fields):
        self.joint, self.stores = None, ()
        for name, value in fields.items():
            setattr(self, name, value)


class Inputs:
    """The input buffers of a capture: [(buffer, path or None, array)], and how a buffer's tensor is reached."""

    def __init__(self, cap, walk, used):
        self.list, self.path_of, self.slots, self.guards, self.held, self.moving = [], {}, [], [], [], []
        paths = {id(i.tensor): i for i in walk.inputs}
        sources = {id(t): source for source, t in cap.slots.items()}
        groups = {}
        for t, data, window in cap.inputs:
            groups.setdefault(window.buffer, []).append((t, data, window))
        for buffer, members in groups.items():
            if id(members[0][0]) in sources:
                self.slots.append((sources[id(members[0][0])], members[0][1]))
                self.list.append((buffer, None, members[0][1]))
                continue
            if any(id(t) not in paths for t, _, _ in members):
                if buffer in used:
                    raise Unreplayable(cap.stray or "a tensor of unknown origin was used")
                continue
            first = next((m for m in members if m[2].offset == 0), members[0])
            found = paths[id(first[0])]
            self.path_of[buffer] = found.path
            bring = [m for m in members if paths[id(m[0])].argument or paths[id(m[0])].grad_of is not None]
            if not bring:
                self.list.append((buffer, None, first[1]))
                self.held.append(first[0])
                continue
            if buffer not in used:
                continue
            if len(members) > 1:
                raise Unreplayable("arguments share memory with each other or with what the function holds")
            self.list.append((buffer, found.path, first[1]))
            if found.grad_of is not None:
                layout = walk.name((first[1].shape, first[1].strides, first[1].dtype))
                self.guards.append(f"({found.path}._data.shape, {found.path}._data.strides, {found.path}._data.dtype) == {layout}")
            else:
                self.moving.append(found.path)
        self._apart(walk)

    def _apart(self, walk):
        """Guards that arguments do not share memory with each other or with what is held."""
        if not self.moving:
            return
        root = walk.name(root_of)
        held = walk.name(frozenset(id(root_of(t)) for t in self.held))
        names = [f"id({root}({p}))" for p in self.moving]
        if len(names) > 1:
            self.guards.append(f"len({{{', '.join(names)}}}) == {len(names)}")
        self.guards += [f"{n} not in {held}" for n in names]


def root_of(t):
    """The memory that a tensor lies in."""
    s = t._storage
    return t._data if s is None else s.memory


def make(cap, walk, result, grads):
    """(Plan, guards) of a capture that has just ended (its tensors still hold windows); Unreplayable with the reason otherwise."""
    if STATE.inference or STATE.saved_hooks:
        raise Unreplayable("inference mode or hooks on saved tensors are active")
    reason = cap.stray or cap.changed()
    if reason:
        raise Unreplayable(reason)
    open_ = _open(result)
    _apart(open_, result)
    joint = None
    forward = len(cap.nodes)
    if open_:
        joint = _backward(cap, walk, open_)
    paths = {id(i.tensor): i.path for i in walk.inputs}
    forward += cap.own_constants([t._data for t in tensors(result)] + [i.tensor._grad._data for i in walk.inputs if i.tensor._grad is not None], joint)
    nodes = cap.nodes[:forward]
    used = {p.buffer for n in nodes for p in (*n.places_read(), *n.writes)}
    results = windows(result)
    used |= {w.buffer for w in results.values()}
    if joint is not None:
        used |= {p.buffer for n in joint.nodes for p in (*n.places_read(), *n.writes)} | {p.buffer for p in joint.outgoing}
    inputs = Inputs(cap, walk, used)
    template = Template(result, results, paths, joint)
    gradients, guards = _gradients(walk, grads, used)
    written, seen = [], set()
    for storage, version in cap.versions:
        rise = storage.version - version
        if rise and id(storage) not in seen:
            seen.add(id(storage))
            t = next(t for t, _, _ in cap.inputs if t._storage is storage)
            if id(t) in paths:
                written.append((paths[id(t)], rise))
    plan = Plan(nodes=nodes, inputs=inputs.list, path_of=inputs.path_of, slots=inputs.slots, template=template, grads=gradients, written=written, constants=cap.constants, joint=joint)
    if joint is not None:
        joint.inputs = inputs
    return plan, inputs.guards + guards + cap.guards


def _gradients(walk, grads, used):
    """[(path of a leaf, place of its new .grad or None)], and guards on what .grad was."""
    found, guards = [], []
    for i in walk.inputs:
        t = i.tensor
        if i.grad_of is not None or id(t) not in grads:
            continue
        before, now = grads[id(t)], t._grad
        if now is before:
            if before is not None and before._data.__class__ is Captured and before._data.buffer in used:
                guards.append(f"{i.path}._grad is not None")
            continue
        guards.append(f"{i.path}._grad is {'None' if before is None else 'not None'}")
        if now is None:
            found.append((i.path, None))
        elif now._data.__class__ is not Captured:
            raise Unreplayable("a gradient was assigned that is no result of the function")
        elif now._node is not None or type(now) is not Tensor:
            raise Unreplayable("a gradient has a history (create_graph=True), and it is kept")
        elif now._data.buffer.kind == "input":
            raise Unreplayable("a gradient is another tensor's memory")
        else:
            found.append((i.path, now._data.place))
    return found, guards


# ---- results whose graph is open


def _open(result):
    """The captured tensors of a result that backward can still be called on."""
    found = []
    for t in dict.fromkeys(tensors(result)):
        if t._data.__class__ is Captured and needs(t) and t._edge() is not t and not _finished(t.grad_fn):
            found.append(t)
    return found


def _apart(open_, result):
    """Unreplayable where a write to one result would change another one's history."""
    others = [t for t in dict.fromkeys(tensors(result)) if t._data.__class__ is Captured]
    for t in open_:
        place = t._data.place
        if place.buffer.kind == "input":
            raise Unreplayable("it returns a view of a tensor from outside that requires grad")
        if any(o is not t and overlap(o._data.place, place) and needs(o) for o in others):
            raise Unreplayable("it returns two tensors in the same memory that require grad")


def _finished(node):
    """Whether backward has run over the graph of a result: nothing can be asked of it any more."""
    return any(n.saved is FREED for n in _graph([node]))


def _hooked(results):
    """Whether hooks wait in the graph of the results (those of outside tensors stand before it)."""
    return any(n.hooks is not None for n in _graph([t.grad_fn for t in results]))


def _graph(nodes):
    """The nodes that can be reached, as far as this capture made them."""
    seen, todo = set(nodes), list(nodes)
    while todo:
        n = todo.pop()
        if not isinstance(n, Node):
            continue
        yield n
        for e in n.edges if not isinstance(n, Boundary) else ():
            e = e.node if e.__class__ is Output else e
            if e is not None and e not in seen:
                seen.add(e)
                todo.append(e)


class Joint:
    """The second program: nodes of backward, the places of incoming gradients and of those that go out to `sources` (paths)."""

    __slots__ = ("nodes", "incoming", "outgoing", "sources", "results", "inputs", "constants")

    def __init__(self, nodes, incoming, outgoing, sources, results, constants):
        self.nodes, self.incoming, self.outgoing, self.sources, self.results = nodes, incoming, outgoing, sources, results
        self.constants, self.inputs = constants, None


def _backward(cap, walk, results):
    """Capture backward from `results` to everything outside that requires grad."""
    leaves = [i for i in walk.inputs if i.grad_of is None and needs(i.tensor)]
    if not leaves:
        raise Unreplayable("its results require grad, but nothing that leads to them can be followed")
    if _hooked(results):
        raise Unreplayable("hooks are registered inside its graph, and backward is called outside")
    cap.resume()
    try:
        begin = len(cap.nodes)
        incoming = []
        for t in results:
            g = wrap(t._data.zeros())
            cap.plant([g])
            incoming.append(g)
        ends = [(b, b.edges) for b in (t._node for t in (i.tensor for i in leaves)) if isinstance(b, Boundary)]
        hooks = [(i.tensor, i.tensor._hooks) for i in leaves]  # they run where the gradient is delivered
        for b, _ in ends:
            b.edges = (None,)
        for t, _ in hooks:
            t._hooks = None
        try:
            outgoing = engine.run([t for t in results], incoming, retain=True, create=False, inputs=[i.tensor for i in leaves], accumulate=False)
        except Exception as e:  # the function itself has ended well: whoever calls backward will see the error
            raise Unreplayable(f"its backward raises {type(e).__name__}: {e}") from None
        finally:
            for b, edges in ends:
                b.edges = edges
            for t, h in hooks:
                t._hooks = h
    finally:
        if cap.live:
            cap.stop()
    if cap.memory is not None:
        reason, cap.reason = cap.reason, None
        raise Unreplayable("its backward cannot be captured: {} ({}:{})".format(*reason))
    if cap.stray:
        raise Unreplayable(cap.stray)
    nodes = cap.nodes[begin:]
    del cap.nodes[begin:]
    for n in nodes:
        if any(w.buffer.kind == "input" for w in n.writes):
            raise Unreplayable("backward changes a tensor that was there before")
    places = [None if g is None else g._data.place if g._data.__class__ is Captured else None for g in outgoing]
    ends = [(i.path, p) for i, p in zip(leaves, places) if p is not None]
    sources = {id(g) for g in incoming}
    given = [g._data.place for g in incoming]
    cap.inputs = [entry for entry in cap.inputs if id(entry[0]) not in sources or _unplant(entry)]
    return Joint(nodes, given, [p for _, p in ends], [path for path, _ in ends], {id(t): n for n, t in enumerate(results)}, cap.constants)


def _unplant(entry):
    t, data, _ = entry
    t._data = data
    return False


__all__ = ["Joint", "Plan", "make", "root_of"]
