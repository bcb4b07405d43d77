"""Capture: an ordinary Python function runs once, its ops are recorded instead of computed, nothing outside is written.

Mechanism. Every tensor that the function can reach is planted: its `_data` becomes a `Captured` window, shape, dtype and
strides without values, on an input Buffer. The interposed backend (modes.interpose) gives such windows as results too. So
the front end, the tape, `backward()` and the optimizers run as always, and each op becomes a graph.Node.

Whoever asks for values gets them: `Captured.host()` ends the capture. `finish` runs what was recorded (compiler/
interpret.py), puts real memory into every tensor that is still there, and the function goes on eagerly from that point.
So Python runs exactly once, and an exception leaves what eager execution would have left. The end of the function is
such a point as well.

`.item()` gives a `Number`, which stands for the value in arithmetic and as an argument of ops, and ends the capture where
Python looks at it.

Invariants: a capture belongs to one thread; while it is live, no memory that existed before has changed; after `finish`
no `Captured` window is left in a tensor or storage.
"""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.tape import Node as TapeNode
from rushlight.backends.base import Backend
from rushlight.compiler import interpret
from rushlight.compiler.discover import foreign
from rushlight.compiler.graph import Buffer, Node, Place
from rushlight.compiler.numbers import Number
from rushlight.core import dtype as D
from rushlight.core.device import CPU
from rushlight.core.generator import DEFAULT
from rushlight.core.shape import is_dense
from rushlight.core.window import Window, element_strides
from rushlight.ops.layouts import laid_out
from rushlight.ops.op import TABLE, Spec
from rushlight.storage import Storage, address, flat_bytes
from rushlight.tensor import Tensor, wrap

ndarray = np.ndarray


class Captured(Window, np.lib.mixins.NDArrayOperatorsMixin):
    """The layout of a tensor of a captured program. `offset` counts from the start of its buffer."""

    __slots__ = ("buffer", "capture", "__weakref__")

    def __init__(self, shape, dtype, strides=None, offset=0, *, buffer, capture):
        super().__init__(shape, dtype, strides, offset, CPU)
        self.buffer, self.capture = buffer, capture
        capture.windows.add(self)

    def host(self):
        """The values: the program is run as far as it was captured."""
        return self.capture.values(self)

    def __array_ufunc__(self, ufunc, method, *operands, **more):
        operands = [a.host() if a.__class__ is Captured else a for a in operands]
        more = {n: tuple([a.host() if a.__class__ is Captured else a for a in v]) if n == "out" else v for n, v in more.items()}
        return getattr(ufunc, method)(*operands, **more)

    def __getitem__(self, key):
        return self.host()[key]

    def __setitem__(self, key, value):
        self.host()[key] = value

    def __len__(self):
        return len(self.host())

    def __iter__(self):
        return iter(self.host())

    def __bool__(self):
        return bool(self.host())

    __hash__ = object.__hash__

    def windowed(self, dtype, shape, strides, offset):
        return Captured(shape, dtype, strides, offset, buffer=self.buffer, capture=self.capture)

    def beside(self, array):
        return self.capture.constant(array)

    def zeros(self):
        """An array of its shape and dtype."""
        return np.zeros(self.shape, self.dtype)

    @property
    def place(self):
        """Where it is in the program's memory."""
        return Place(self.buffer, self.dtype, self.shape, element_strides(self), self.offset)

    @property
    def flags(self):
        """Layout questions that are asked of arrays."""
        return _Flags(self)


class _Flags:
    __slots__ = ("c_contiguous", "f_contiguous", "writeable")

    def __init__(self, window):
        shape, strides = window.shape, element_strides(window)
        self.c_contiguous = is_dense(shape, strides)
        self.f_contiguous = is_dense(shape[::-1], strides[::-1])
        self.writeable = True


class Broken(Exception):
    """fullgraph=True and the function asked for a value."""


class Capture(Backend):
    """The interposed backend, and everything that it knows of the program."""

    name = "capture"

    def __init__(self, fullgraph=False):
        self.fullgraph = fullgraph
        self.nodes, self.count = [], 0
        self.windows = weakref.WeakSet()
        self.numbers = []  # weak references to the Numbers that were made
        self.slots = {}  # source of a number that is read at every call -> the tensor that holds it
        self.guards = []  # what Python found when it compared such numbers
        self.inputs = []  # (tensor, array, window) of planted tensors
        self.storages = {}  # id of storage -> (buffer, address of its first byte, storage): input buffers
        self.constants = []
        self.versions = []  # (storage, version when it was planted)
        self.live = False
        self.reason = None  # why the capture ended early: (text, file, line)
        self.memory = None
        self.found = []  # tensors that held windows when the capture ended, besides those that were known to
        self.stray = None  # a tensor of unknown origin was used
        self.draws, self.moved = None, False
        self.states = []  # what else is known of planted tensors: see `changed`
        self.first = TapeNode((), ()).seq  # nodes before this one were made outside

    # ---- begin and end
    def plant(self, tensors):
        """Replace the memory of `tensors` by windows; tensors of one storage share a buffer."""
        groups = {}
        for t in tensors:
            data = t._data
            if data.__class__ is not ndarray:
                continue
            groups.setdefault(id(t._shared()), []).append(t)
        for group in groups.values():
            first = min(group, key=lambda t: address(t._data))
            base = address(first._data)
            storage = first._storage
            ends = max(address(t._data) + _extent(t._data) for t in group)
            buffer = self._buffer("input", ends - base)
            self.storages[id(storage)] = (buffer, base, storage)
            self.versions.append((storage, storage.version))
            for t in group:
                data = t._data
                offset = (address(data) - base) // max(1, data.itemsize)
                window = Captured(data.shape, data.dtype, data.strides, offset, buffer=buffer, capture=self)
                self.inputs.append((t, data, window))
                t._data = window
                node = t._node
                if node is not None:
                    t._node = Boundary(node, data, self)
                self.states.append((t, window, node, t._node, t._rg, t._base, _hooks(t), dict(t.__dict__)))

    def changed(self):
        """What the function changed about outside tensors besides their values and gradients; None where a replay can do it all."""
        for t, window, _, node, rg, base, hooks, attributes in self.states:
            if t._data is not window:
                return "it gives a tensor from outside other memory (.data=, set_, resize_)"
            if t._node is not node or t._base is not base or t._rg is not rg:
                return "it changes the history of a tensor from outside (an in-place op that is recorded, requires_grad_, detach_)"
            if _hooks(t) != hooks:
                return "it registers hooks on a tensor from outside"
            now = t.__dict__
            if len(now) != len(attributes) or any(now.get(n) is not v for n, v in attributes.items()):
                return "it sets attributes of a tensor from outside"
        return None

    def backward(self, nodes):
        """A backward inside the function is about to run these nodes."""
        if any(isinstance(n, TapeNode) and n.seq < self.first for n in nodes):
            self.stray = self.stray or "it calls backward through a graph that was made outside"

    def __enter__(self):
        self.live = True
        self.before = modes.STATE.backend
        self.draws = _position()
        modes.STATE.backend = self
        modes.divert(+1)
        return self

    def __exit__(self, kind, error, trace):
        if self.live:
            self.finish("an exception" if kind is not None else None)
        return False

    def stop(self):
        """Stop recording; tensors keep their windows until `restore`."""
        self.live = False
        modes.STATE.backend = self.before
        modes.divert(-1)
        self.moved = self.moved or _position() != self.draws

    def resume(self):
        """Record again after `stop`."""
        self.live = True
        self.before = modes.STATE.backend
        modes.STATE.backend = self
        modes.divert(+1)

    def finish(self, reason=None):
        """Run what was recorded and give every tensor its memory; `reason` says why Python could not wait."""
        if not self.live:
            return
        self.stop()
        if reason is not None and self.reason is None:
            self.reason = (reason, *_line())
        self.realise()

    def realise(self, known=()):
        """Run the program on the CPU backend; `known` are tensors that hold its windows. The others that do are in `found`."""
        memory = {}
        for t, data, window in self.inputs:
            buffer = window.buffer
            if buffer not in memory:
                _, base, storage = self.storages[id(t._storage)] if id(t._storage) in self.storages else (None, address(data), None)
                memory[buffer] = _bytes_from(base, buffer.nbytes, data if storage is None else storage.memory)
        for buffer in self.constants:
            memory[buffer] = buffer.data.copy()
        interpret.run(self.nodes, memory, {w.buffer for w in self.windows})
        self.memory = memory
        self.restore(known)

    def restore(self, known=(), memory=None):
        """Put real memory into every tensor and storage that holds a window."""
        memory = self.memory if memory is None else memory
        for t, data, window in self.inputs:
            if t._data is window:
                t._data = data
        for t, _, node, boundary, *_ in self.states:
            if t._node is boundary:
                t._node = node
        known = [k for t in known for k in ((t,) if t._base is None else (t, t._base))]
        arrays = {}
        numbers = [n._tensor for n in (ref() for ref in self.numbers) if n is not None and n._tensor is not None]
        for t in (*known, *numbers):
            self._settle(t, memory, arrays)
        if self._alive():
            gc.collect(1)  # the graph of a step is full of cycles where hooks were set
        if self._alive():
            for o in gc.get_objects():
                if issubclass(type(o), Tensor):  # isinstance would ask strangers for their __class__
                    if self._settle(o, memory, arrays):
                        self.found.append(o)
                elif issubclass(type(o), Storage) and o.memory.__class__ is Captured and o.memory.capture is self:
                    o.memory = self._array(o.memory, memory, arrays)
        for ref in self.numbers:
            n = ref()
            if n is not None:
                n.settle()
        if self.memory is not None and not self._alive():  # views of inputs are all that can still be asked for
            self.memory = {b: m for b, m in self.memory.items() if b.kind == "input"}

    def _alive(self):
        """Whether windows of results are left somewhere."""
        planted = {id(w) for _, _, w in self.inputs}
        return any(id(w) not in planted for w in self.windows)

    def _settle(self, t, memory, arrays):
        """Real memory for a tensor of this capture; whether it was one."""
        data = getattr(t, "_data", None)
        if data.__class__ is not Captured or data.capture is not self:
            return False
        t._data = self._array(data, memory, arrays)
        storage = t._storage
        if storage is not None and storage.memory.__class__ is Captured:
            storage.memory = self._array(storage.memory, memory, arrays)
        return True

    def _array(self, window, memory, arrays):
        found = arrays.get(id(window))
        if found is None:
            found = arrays[id(window)] = window.place.array(memory[window.buffer])
        return found

    def values(self, window):
        """The array of a window that Python wants to look into."""
        if self.live:
            self.asked(f"the values of a tensor of shape {list(window.shape)} were asked for")
        return window.place.array(self.memory[window.buffer])

    def asked(self, why):
        """Python looks at a value."""
        self.finish(why)
        if self.fullgraph:
            text, file, line = self.reason
            raise Broken(f"fullgraph=True, but the function cannot be captured whole: {text} at {file}:{line}")

    # ---- recording
    def slot(self, source, value):
        """The 0-dim tensor for a number that is read at every call."""
        found = self.slots.get(source)
        if found is None:
            found = self.slots[source] = wrap(np.array(value, np.int64 if value.__class__ is int else np.float64))
            self.plant([found])
        return found

    def _buffer(self, kind, nbytes, data=None):
        self.count += 1
        return Buffer(self.count, kind, nbytes, data)

    def _read(self, a):
        if a.__class__ is Number:
            return a.place
        if not isinstance(a, Tensor):
            return a
        data = a._data
        if data.__class__ is not Captured:
            data = self._adopt(a)
        return data.place

    def _adopt(self, t):
        """A tensor that no path from the function's arguments, closure and globals leads to: captured, but not to be replayed."""
        known = self.storages.get(id(t._storage))
        if known is None:
            self.stray = self.stray or f"a tensor of shape {list(t._data.shape)} that was made outside and reached in a way that cannot be followed"
            self.plant([t])
            return t._data
        buffer, base, storage = known
        data = t._data
        offset = (address(data) - base) // max(1, data.itemsize)
        if offset < 0 or address(data) + _extent(data) > base + buffer.nbytes:
            self.stray = self.stray or "a wider view of an argument's memory"
            end = max(base + buffer.nbytes, address(data) + _extent(data))
            if offset < 0:
                raise NotImplementedError("compile(): a tensor that begins before an argument in the same memory; pass the whole tensor")
            buffer.nbytes = end - base
        window = Captured(data.shape, data.dtype, data.strides, offset, buffer=buffer, capture=self)
        self.inputs.append((t, data, window))
        t._data = window
        return window

    def apply(self, op, spec, args, attrs, out=None):
        reads = [self._read(a) for a in args]
        if any([v.__class__ is Number for v in attrs.values()]):
            attrs = {n: v.place if v.__class__ is Number else v for n, v in attrs.items()}
        if out is not None:
            self._read(out)
            self.nodes.append(Node(op, spec, reads, attrs, (out._data.place,), False))
            return out._data
        results = [self._fresh(s.shape, s.dtype.np) for s in (spec if type(spec) is tuple else (spec,))]
        self._lay_out(op, results, args, attrs)
        self.nodes.append(Node(op, spec, reads, attrs, tuple(r.place for r in results), True))
        return tuple(results) if type(spec) is tuple else results[0]

    def _lay_out(self, op, results, args, attrs):
        """Give results the strides that eager execution gives them: the same rules, on arrays that nobody looks into."""
        if op.name == "lay_out":
            results[0].strides = tuple([s * results[0].itemsize for s in attrs["strides"]])
            return
        if all(r.ndim < 2 for r in results):
            return
        if all(a._data.flags.c_contiguous for a in args if isinstance(a, Tensor)) and op.family != "opaque":
            return
        given = [_Phantom(a._data) if isinstance(a, Tensor) else a for a in args]
        if op.name in _KEEPING and attrs.get("order") is None and (op.name != "clone" or 0 not in given[0]._data.strides):
            made = np.empty_like(given[0]._data, results[0].dtype)
            if made.shape == results[0].shape:
                results[0].strides = made.strides
            return
        made = laid_out(op, tuple([np.empty(r.shape, np.dtype(r.dtype.str)) for r in results]), given)
        for r, m in zip(results, made):
            if m.size:
                r.strides = m.strides

    def _fresh(self, shape, dtype):
        size = dtype.itemsize
        for n in shape:
            size *= n
        return Captured(shape, dtype, buffer=self._buffer("local", size), capture=self)

    def constant(self, data):
        if data.__class__ is not ndarray:
            return data
        data = data.copy("K")  # in the order in which it lies
        buffer = self._buffer("constant", data.nbytes, data=data.ravel("K").view(np.uint8))
        self.constants.append(buffer)
        return Captured(data.shape, data.dtype, data.strides if data.size else None, buffer=buffer, capture=self)

    def own_constants(self, seen, joint=None):
        """Make copies of the constants that the program writes to, or that are in `seen` (windows): memory that no two calls share.

            zeros = constant; zeros += x    ->    own = clone(constant); own += x

        Gives the number of nodes that were put in front.
        """
        written = {w.buffer for n in self.nodes for w in n.writes if w.buffer.kind == "constant"}
        written |= {w.buffer for w in seen if w.__class__ is Captured and w.buffer.kind == "constant"}
        if not written:
            return 0
        own, first = {}, []
        for b in sorted(written, key=lambda b: b.number):
            own[b] = new = self._buffer("local", b.nbytes)
            dtype = next((w.dtype for w in self.windows if w.buffer is b), np.dtype(np.uint8))
            dtype = dtype if b.nbytes % dtype.itemsize == 0 else np.dtype(np.uint8)
            shape = (b.nbytes // dtype.itemsize,)
            read, write = (Place(at, np.dtype(dtype.str), shape, (1,), 0) for at in (b, new))
            first.append(Node(TABLE["clone"], Spec(shape, D.BY_NUM[dtype.num]), [read], {"order": None}, (write,), True))

        def moved(p):
            return p._replace(buffer=own[p.buffer]) if p.__class__ is Place and p.buffer in own else p

        for n in (*self.nodes, *(() if joint is None else joint.nodes)):
            n.reads = [moved(r) for r in n.reads]
            n.writes = tuple([moved(w) for w in n.writes])
            if any(v.__class__ is Place for v in n.attrs.values()):
                n.attrs = {k: moved(v) for k, v in n.attrs.items()}
        for w in self.windows:
            w.buffer = own.get(w.buffer, w.buffer)
        if joint is not None:
            joint.outgoing = [moved(p) for p in joint.outgoing]
        self.nodes[:0] = first
        return len(first)

    def view(self, op, x, attrs, make_view):
        if x._data.__class__ is not Captured:
            self._read(x)
        return make_view(op, x, x._data.viewed(op.numpy, attrs), attrs)

    def item(self, x):
        if x._data.__class__ is not Captured:
            self._read(x)
        if x.dtype.category in (D.FLOAT, D.INTEGER) and not x.dtype.is_complex:
            return Number.of(self, x)
        return x._data.host().item()

    def numpy(self, x):
        return x._data.host()


_KEEPING = frozenset(("clone", "cast", "flip"))  # rows that keep the order of their operand


class _Phantom:
    """An operand's layout as an array that nobody looks into."""

    __slots__ = ("_data",)

    def __init__(self, window):
        self._data = np.lib.stride_tricks.as_strided(np.empty(1, np.dtype(window.dtype.str)), window.shape, window.strides)


class Boundary(TapeNode):
    """Stands before the history of an outside tensor: gradients pass. The end of what a program differentiates itself."""

    __slots__ = ("capture",)

    def __init__(self, edge, data, capture):
        super().__init__((edge,))
        self.result, self.capture = (data.shape, data.dtype), capture

    def backward(self, g):
        if self.capture.live:
            self.capture.stray = self.capture.stray or "it calls backward through a graph that was made outside"
        return (g,)


def _hooks(t):
    """How many hooks a leaf has, by kind."""
    h = t._hooks
    return None if h is None else (len(h.tensor), len(h.accumulated))


def _extent(array):
    return 0 if not array.size else sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize


def _bytes_from(at, nbytes, memory):
    """`nbytes` of `memory` from an address on."""
    if not nbytes:
        return np.empty(0, np.uint8)
    start = at - address(memory)
    return flat_bytes(memory)[start : start + nbytes]


def _position():
    """Where the default generator and Python's and NumPy's own stand: a draw that is no op moves them."""
    random = sys.modules.get("random")
    numpy_random = sys.modules.get("numpy.random")
    state = numpy_random.mtrand._rand._bit_generator.state["state"] if numpy_random is not None else None
    return (
        DEFAULT._at, id(DEFAULT._words), DEFAULT._seed, DEFAULT._fresh, DEFAULT.next_normal,
        hash(random.getstate()) if random is not None else None,
        (state["pos"], int(state["key"][0]), int(state["key"][-1])) if state is not None else None,
    )  # fmt: skip


def _line():
    """File and line of the program that is being captured: its own line, not a library's."""
    frame = found = modes.user_frame()
    while frame is not None and (foreign(frame.f_code.co_filename) or frame.f_code.co_filename.startswith("<")):
        frame = frame.f_back
    found = frame or found
    return (found.f_code.co_filename, found.f_lineno) if found is not None else ("?", 0)


__all__ = ["Broken", "Capture", "Captured"]
