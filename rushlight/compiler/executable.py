"""A graph made ready to run: steps, memory planned once, addresses filled in.

Memory. What lives inside one run lies in one arena, places given by lifetime. Inputs that are always the same tensor have
fixed addresses. Arguments, results and what Python makes (Call) have an address of their own in every run, an entry of `bases`; the
slots that refer to them are relocations, done in machine code at the start of a segment (compiler/driver.py).

`Executable(...)(arrays)` runs the program on the arguments' arrays; `value(place)` is then what a place holds, as an array.

Invariants: results never lie in the arena; a run that fails in a Call leaves what eager execution would have left.
"""

from __future__ import annotations

from array import array

import numpy as np

from rushlight.codegen import native, pool
from rushlight.compiler import driver, interpret
from rushlight.compiler.gather import Status
from rushlight.compiler.graph import Place
from rushlight.compiler.kernels import Work
from rushlight.compiler.lowering import Call, Launch, lower
from rushlight.compiler.passes import prepare
from rushlight.storage import address, flat_bytes

LINE = 64


class Executable:
    """`inputs`: {buffer: array of the tensor that is always there, or None for an argument}; `outputs`: the buffers whose
    memory is handed out; `constants`: buffers with data."""

    def __init__(self, nodes, inputs, outputs, constants):
        self.outputs = outputs
        nodes = prepare(nodes, outputs)
        self.nodes = nodes
        self.steps = lower(nodes, outputs) if native.available() else [Call(n) for n in nodes]
        self.inputs = inputs
        self.fixed, self.flats, self.keep = {}, {}, []
        self.bases, self.base_of = array("q"), {}
        self._constants(constants)
        self._addresses()
        self._arena()
        self._segments()
        self.called = {p.buffer for n in self.nodes_called for p in (*n.places_read(), *n.writes)}

    # ---- memory
    def _constants(self, constants):
        written = {w.buffer for n in self.nodes for w in n.writes}
        used = {p.buffer for n in self.nodes for p in n.places_read()} | written | self.outputs
        self.restored = []  # constants that the program writes to: copied anew for every run
        for b in constants:
            if b not in used:
                continue
            data = aligned(b.nbytes)
            data[...] = b.data
            self.flats[b] = data
            self.fixed[b] = address(data) if b.nbytes else 0
            if b in written or b in self.outputs:
                self.restored.append((data, b.data))

    def _addresses(self):
        for b, held in self.inputs.items():
            if held is None:
                self._base(b)
            else:
                self.fixed[b] = address(held)
                self.flats[b] = held
        self.made = {}  # buffers whose memory a Call makes
        for step in self.steps:
            if step.__class__ is Call and step.node.fresh:
                for w in step.node.writes:
                    self.made[w.buffer] = w
                    self._base(w.buffer)
        self.fresh = []  # results that a launch writes: allocated before the run
        for b in self.outputs:
            if b.kind == "local" and b not in self.made:
                self._base(b)
                self.fresh.append(b)

    def _base(self, b):
        if b not in self.base_of:
            self.base_of[b] = len(self.bases)
            self.bases.append(0)

    def _arena(self):
        """Offsets in the arena by lifetime: first fit among what is free then."""
        begin, end, size = {}, {}, {}
        for i, step in enumerate(self.steps):
            for item in _items(step):
                key = item.buffer if item.__class__ is Place else item
                if not isinstance(key, Work) and (key in self.fixed or key in self.base_of):
                    continue
                begin.setdefault(key, i)
                end[key] = i
                size[key] = key.nbytes
                if isinstance(key, Status):  # looked at whenever a segment is over
                    begin[key], end[key] = 0, len(self.steps)
        taken, top, self.offset = [], 0, {}
        for key in sorted(begin, key=lambda k: (begin[k], -size[k])):
            taken = [t for t in taken if t[2] >= begin[key]]
            taken.sort()
            at, need = 0, -(-max(size[key], 1) // LINE) * LINE
            for start, stop, _ in taken:
                if start - at >= need:
                    break
                at = max(at, stop)
            self.offset[key] = at
            taken.append((at, at + need, end[key]))
            top = max(top, at + need)
        self.arena = aligned(top + LINE)
        self.arena_bytes = top
        base = address(self.arena)
        for key, at in self.offset.items():
            self.fixed[key] = base + at
            if not isinstance(key, Work):
                self.flats[key] = self.arena[at : at + key.nbytes]

    # ---- commands
    def _segments(self):
        self.nodes_called = [s.node for s in self.steps if s.node is not None]
        self.checks = []  # (status word, node) of checked launches
        self.segments = []  # (True, (the driver, its arguments)) or (False, a node that Python runs)
        launches = []
        for step in [*self.steps, None]:
            if step.__class__ is Launch:
                launches.append(step)
                continue
            if launches:
                self.segments.append((True, self._commands(launches)))
                launches = []
            if step is not None:
                self.segments.append((False, step.node))

    def _commands(self, launches):
        slots = np.zeros(sum(-(-len(k.slots) // 8) * 8 for k in launches) + 8, np.int64)
        commands = np.zeros((len(launches), 5), np.int64)
        moves, at, base = [], 0, address(slots)
        for row, k in zip(commands, launches):
            row[:4] = (k.code, base + 8 * at, k.total, k.grain)
            if k.status is not None:
                at_word = self.offset[k.status]
                row[4] = self.fixed[k.status]
                word = self.arena[at_word : at_word + 8].view(np.int64)
                word[0] = 0
                self.checks.append((word, k.node))
            for i, s in enumerate(k.slots):
                if s.__class__ is not int:
                    b, skip = (s.buffer, s.offset * s.dtype.itemsize) if s.__class__ is Place else (s, 0)
                    if b in self.fixed:
                        slots[at + i] = self.fixed[b] + skip
                    else:
                        moves.append((base + 8 * (at + i), self.base_of[b], skip))
                else:
                    slots[at + i] = s
            at += -(-len(k.slots) // 8) * 8
        moves = np.array(moves, np.int64).reshape(-1, 3)
        self.keep += [slots, commands, moves]
        run = driver.segment()
        bases = self.bases.buffer_info()[0]
        return run, (1, 1, moves, len(moves), bases, commands, len(launches), pool.run_address())

    # ---- running
    def __call__(self, arguments):
        """Run on {buffer: array of the argument}."""
        bases, base_of, flats = self.bases, self.base_of, self.flats
        for data, start in self.restored:
            data[...] = start
        for b, a in arguments.items():
            bases[base_of[b]] = address(a)
            flats[b] = a
        for b in self.fresh:
            a = aligned(b.nbytes)
            flats[b] = a
            bases[base_of[b]] = address(a)
        for compiled, what in self.segments:
            if compiled:
                run, given = what
                run(*given)
                self.look()
            else:
                self.call(what)

    def look(self):
        """Raise what a row raises where a checked launch found an index out of bounds."""
        for word, node in self.checks:
            if word[0]:
                word[0] = 0
                self.call(node)

    def call(self, node):
        """Run a node in Python."""
        memory = _Memory(self)
        interpret.step(node, memory)
        for b, a in memory.made.items():
            self.flats[b] = a
            if b in self.base_of:
                self.bases[self.base_of[b]] = address(a)

    def value(self, place):
        """What a place holds after a run, over the memory itself."""
        return place.array(self.flat(place.buffer))

    def flat(self, b):
        """The bytes of a buffer."""
        a = self.flats[b]
        return a if a.ndim == 1 and a.dtype == np.uint8 and b.kind != "input" else flat_bytes(a)


class _Memory:
    """The memory of a run as compiler/interpret.py asks for it."""

    __slots__ = ("executable", "made")

    def __init__(self, executable):
        self.executable, self.made = executable, {}

    def __getitem__(self, b):
        return self.executable.flat(b)

    def __setitem__(self, b, a):
        self.made[b] = a


def _items(step):
    """The places and working memory of a step."""
    if step.__class__ is Call:
        yield from step.node.places_read()
        yield from step.node.writes
    else:
        yield from (s for s in step.slots if s.__class__ is not int)


def aligned(nbytes):
    """Memory that begins at a cache line."""
    whole = np.empty(nbytes + LINE, np.uint8)
    skip = -address(whole) % LINE
    return whole[skip : skip + nbytes]


__all__ = ["Executable", "aligned"]
