"""Backward of a compiled function as one node with a program of its own.

The forward program keeps, besides its results, the memory that backward reads (`saved`); each call makes a node that holds it.
Backward binds the incoming gradients and what was saved, runs the second program, and gives one gradient for each source.

Invariants: what a node saved is nobody else's memory, or its version is looked at, so that a change in between is an error
as it is in eager execution; a node runs once, unless retain_graph is given.
"""

from __future__ import annotations

import threading

import numpy as np

from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import FREED, Node
from rushlight.compiler.executable import Executable
from rushlight.tensor import wrap


class CompiledBackward(Node):
    """The node of all results of one call of a compiled function."""

    __slots__ = ("program", "checks", "outputs", "__dict__")

    def __init__(self, program, edges, saved, checks):
        super().__init__(edges, saved, (), None, None)
        self.program, self.checks, self.outputs = program, checks, len(program.joint.incoming)
        self.result = [(p.shape, p.dtype) for p in program.joint.incoming] if self.outputs > 1 else (program.joint.incoming[0].shape, program.joint.incoming[0].dtype)

    def name(self):
        return "CompiledFunctionBackward"

    def backward(self, g):
        if STATE.grad:
            raise RuntimeError(
                "a compiled function's backward cannot itself be differentiated (create_graph=True): compile the whole step, "
                "with the call of backward in it, or leave this function eager"
            )
        if self.saved is FREED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved "
                "intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need "
                "to backward through the graph a second time or if you need to access saved tensors after calling backward."
            )
        for t, version in self.checks:
            if t._version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: "
                    f"[torch.{t.dtype.legacy} {list(t.shape)}] is at version {t._version}; expected version {version} instead. (it was changed between the "
                    "call of a compiled function and backward; change a clone() instead)"
                )
        return self.program.run(g if g.__class__ is list else [g], self.saved[0])


class Backward:
    """The second program of a Joint; `keeps` are the buffers of the first one that it reads."""

    def __init__(self, joint, forward):
        self.joint, self.lock = joint, threading.Lock()
        made = {w.buffer for n in joint.nodes if n.fresh for w in n.writes}
        read = {p.buffer for n in joint.nodes for p in (*n.places_read(), *n.writes)} | {p.buffer for p in joint.outgoing}
        read -= made
        incoming = {p.buffer for p in joint.incoming}
        constants = {b for b in joint.constants if b in read}
        held = {b: data for b, path, data in joint.inputs.list if path is None and b in joint.inputs.path_of}  # numbers that are read anew are kept
        self.keeps = [b for b in read - incoming - constants if b not in held]
        inputs = {b: held.get(b) for b in read - constants} | {b: None for b in incoming}
        self.held = [b for b in read if b in held]
        outputs = {p.buffer for p in joint.outgoing}
        self.executable = Executable(joint.nodes, inputs, outputs - set(inputs), constants)
        self.own = outputs - set(inputs) - constants
        self.forward = forward

    def run(self, gradients, saved):
        x, joint = self.executable, self.joint
        with self.lock:
            arguments = dict(saved)
            for g, p in zip(gradients, joint.incoming):
                arguments[p.buffer] = np.zeros(p.shape, p.dtype) if g is None else np.ascontiguousarray(g._data, dtype=p.dtype)
            x(arguments)
            results, given = [], set()
            for p in joint.outgoing:  # each is memory of its own: the engine may keep it as a .grad
                a = x.value(p)
                results.append(wrap(a.copy("K") if p.buffer in given or p.buffer not in self.own else a))
                given.add(p.buffer)
            for b in arguments:
                x.flats.pop(b, None)
        return results


__all__ = ["Backward", "CompiledBackward"]
