"""A captured program ready to be called again: inputs, the run, and what it leaves behind.

A call binds the inputs (memory of arguments, numbers that are read anew), runs the executable, then does what the
function did to objects: versions of what it wrote, `.grad` of leaves, the returned structure. The steps of a call are one
generated Python function (`source`), so that a call pays for what its program has and for nothing else.

Results are fresh memory. A gradient is written into the memory of the last one where nobody but the leaf and the
program holds that.

Invariants: the guards were checked by the caller, so nothing here can fail before the first write; one thread at a
time runs a program (`lock`).
"""

from __future__ import annotations

import threading
from sys import getrefcount

import numpy as np

from rushlight.autograd.tape import Output
from rushlight.compiler.executable import Executable, aligned
from rushlight.compiler.graph import covers
from rushlight.compiler.joint import Backward, CompiledBackward
from rushlight.storage import address, flat_bytes
from rushlight.tensor import Tensor, edge, share

_new = object.__new__


def bare(data, kind, rg, node):
    """A tensor over fresh memory."""
    t = _new(kind)
    t._data = data
    t._storage = t._grad = t._base = t._hooks = None
    t._node, t._rg = node, rg
    t._hist = 0
    return t


class Replay:
    """One program for one state of the guards.

    Everything is given by paths, Python expressions over `args`, `kwargs` and `constants`.
    """

    def __init__(self, plan, constants):
        self.plan, self.lock = plan, threading.Lock()
        template = plan.template
        outputs = {leaf[1].buffer for leaf in template.leaves if leaf[0] in ("new", "number", "open")}
        outputs |= {place.buffer for _, place in plan.grads if place is not None}
        self.outputs = {b for b in outputs if b.kind != "input"}
        self.backward = None
        if plan.joint is not None:
            self.backward = Backward(plan.joint, self)
            self.outputs |= {b for b in self.backward.keeps if b.kind != "input"}
        self.executable = Executable(plan.nodes, {b: (data if path is None else None) for b, path, data in plan.inputs}, self.outputs, plan.constants)
        self.run = self._make(dict(constants))

    def _make(self, scope):
        """The generated function run(args, kwargs)."""
        x, plan = self.executable, self.plan
        lines, made, arrays = [], {}, {}

        def name(value, prefix="v"):
            n = f"{prefix}{len(made)}_"
            made[n] = value
            return n

        flats, bases = name(x.flats), name(x.bases)
        for source, data in plan.slots:
            lines.append(f"{name(data)}[()] = {source}")
        for data, start in x.restored:
            lines.append(f"{name(data)}[...] = {name(start)}")
        for b, path, _ in plan.inputs:
            if path is not None and b in x.base_of:
                a = arrays[b] = f"a{b.number}"
                lines.append(f"{a} = {path}._data")
                lines.append(f"{bases}[{x.base_of[b]}] = address({a})")
                if b in x.called:
                    lines.append(f"{flats}[{name(b)}] = {a}")
        whole = {}  # results that are all of their memory: made as arrays of their own
        for place in (*(leaf[1] for leaf in plan.template.leaves if leaf[0] in ("new", "number", "open")), *(p for _, p in plan.grads if p is not None)):
            if place.buffer in x.fresh:
                whole[place.buffer] = place if place.buffer not in whole and covers(place) and place.size else None
        grads = {}
        for path, place in plan.grads:
            if place is not None and whole.get(place.buffer) is place:
                grads[place.buffer] = path
        scope.update(address=address, getrefcount=getrefcount, bare=bare, share=share, new=np.empty, empty=aligned)
        for b in x.fresh:
            m = f"m{b.number}"
            place = whole.get(b)
            if place is None:
                lines.append(f"{m} = {flats}[{name(b)}] = empty({b.nbytes})")
                lines.append(f"{bases}[{x.base_of[b]}] = address({m})")
                continue
            make = f"new({name(place.shape)}, {name(place.dtype)})"
            called = f"; {flats}[{name(b)}] = {m}.reshape(-1).view('u1')" if b in x.called else ""
            if b in grads:
                slot, g, held = name([None]), f"g{b.number}", f"{grads[b]}._grad"
                lines += [
                    f"{g} = {slot}[0]",
                    f"if {g} is None or {g}._storage is not None or {g}._hooks is not None or getrefcount({g}) != (4 if {held} is {g} else 3) or getrefcount({g}._data) != 2:",
                    f"  {m} = {make}; {g} = {slot}[0] = bare({m}, {name(Tensor)}, False, None); {bases}[{x.base_of[b]}] = address({m}){called}; {m} = None",
                ]
            else:
                lines.append(f"{m} = {make}; {bases}[{x.base_of[b]}] = address({m}){called}")
        for compiled, what in x.segments:
            if compiled:
                run, given = what
                lines.append(f"{name(run)}({', '.join(name(g) for g in given)})")
                if x.checks:
                    lines.append("if " + " or ".join(f"{name(word)}[0]" for word, _ in x.checks) + f": {name(x.look)}()")
            else:
                lines.append(f"{name(x.call)}({name(what)})")
        for target, source in plan.stores:
            lines.append(f"{target} = {source}")
        for path, rise in plan.written:
            held = path in scope  # planting has given it a storage
            lines.append(f"{path}.{'_storage' if held else '_shared()'}.version += {rise}")
        value = name(x.value)

        def array(place):
            """The array of a result."""
            return f"m{place.buffer.number}" if whole.get(place.buffer) is place else f"{value}({name(place)})"

        for path, place in plan.grads:
            if place is None:
                lines.append(f"{path}._grad = None")
            elif grads.get(place.buffer) == path and whole.get(place.buffer) is place:
                lines.append(f"{path}._grad = g{place.buffer.number}")
            else:
                lines.append(f"{path}._grad = bare({array(place)}, {name(Tensor)}, False, None)")
        results = []
        if self.backward is not None:
            joint, back = plan.joint, self.backward
            numbers = {b: data for b, path, data in plan.inputs if path is None and b not in plan.path_of}
            saved = ", ".join(f"{name(b)}: {arrays[b] if b in arrays else f'{name(numbers[b])}.copy()' if b in numbers else f'm{b.number}' if whole.get(b) is not None else f'{flats}[{name(b)}]'}" for b in back.keeps)
            checks = [self.plan.path_of[b] for b in [*back.held, *(b for b in back.keeps if b in arrays)]]
            checks = ", ".join(f"({path}, {path}._version)" for path in checks)
            edges = ", ".join(f"edge({path})" for path in joint.sources)
            scope.update(edge=edge, Node=CompiledBackward, Output=Output)
            lines.append(f"node = Node({name(back)}, ({edges}{',' if edges else ''}), ({{{saved}}},), [{checks}])")
        first, scope["over"] = {}, over  # a buffer -> the first tensor over it: the others share its storage
        kept = set() if self.backward is None else set(self.backward.keeps)
        for leaf in plan.template.leaves:
            word = leaf[0]
            if word in ("open", "new"):
                kind, rg, node = leaf[2] if word == "new" else (leaf[2][0], True, None)
                node = name(node) if word == "new" else "node" if len(plan.joint.incoming) == 1 else f"Output(node, {leaf[2][1]})"
                b, r = leaf[1].buffer, f"r{len(results)}"
                if b in first:
                    lines.append(f"{r} = over(share({first[b]}, {array(leaf[1])}), {name(kind)}, {rg}, {node})")
                else:
                    lines.append(f"{r} = bare({array(leaf[1])}, {name(kind)}, {rg}, {node})")
                    if b in kept:
                        lines.append(f"node.checks.append((share({r}, {r}._data), 0))")
                    first[b] = r
                results.append(r)
            elif word == "input":
                results.append(leaf[1])
            elif word == "number":
                results.append(f"{array(leaf[1])}.item()")
            elif word == "alias":
                kind, rg, node = leaf[2]
                b = leaf[1].buffer
                a = f"{name(leaf[1])}.array(flat_bytes({arrays[b]}))" if b in arrays else f"{value}({name(leaf[1])})"
                results.append(f"over(share({plan.path_of[b]}, {a}), {name(kind)}, {rg}, {name(node)})")
                scope["flat_bytes"] = flat_bytes
            else:
                results.append(name(leaf[1]))
        for b in arrays:  # no memory of the caller's is kept
            if b in x.called:
                lines.append(f"{flats}.pop({name(b)}, None)")
        if plan.template.shape == 0:
            lines.append(f"return {results[0]}")
        else:
            lines.append(f"return {name(plan.template.build)}([{', '.join(results)}])")
        self.source = "def run(args, kwargs):\n  " + "\n  ".join(lines)
        scope.update(made)
        exec(compile(self.source, "<replay>", "exec"), scope)  # text that this file wrote
        return scope["run"]


def over(t, kind, rg, node):
    """`t`, which shares another one's storage, as a tensor of its own kind and history."""
    t._node, t._rg = node, rg
    if kind is not Tensor:
        t.__class__ = kind
    return t


__all__ = ["Replay", "bare"]
