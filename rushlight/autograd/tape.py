"""The tape: what one recorded op leaves behind.

A `Node` holds the edges to where its inputs came from and what the row's gradient formulas asked for. Each row has a
Node class of its own, named as PyTorch prints it. An edge is a Node, an `Output` (one of several results of a node),
a leaf tensor (its gradient is accumulated), or None (no gradient wanted).

Tensors are duck-typed here: what is used is `_data`, `_node`, `_rg`, `_storage` and the operators of the formulas.

Invariants
- A saved tensor is stored with its version; backward refuses it if an in-place op has raised the version since.
- A node's own result is saved as an alias without a node, or result and node would keep each other alive.
- `saved` is dropped when backward has used it; edges stay, so that a graph that saved nothing may be walked again.
- `seq` grows with creation: an edge always leads to a smaller one.
"""

from __future__ import annotations

import linecache
import traceback
from collections import OrderedDict
from itertools import count
from weakref import WeakValueDictionary

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.core.dtype import BY_NUM
from rushlight.core.hooks import registered
from rushlight.core.shape import Size
from rushlight.ops.op import MISSING, ZERO, Spec, _names

next_sequence = count(1).__next__
FREED = object()
GRADIENTS = None  # set by api/adjoints.py: the gradients of a pointwise row's inputs by one kernel, or None
AWAITED = object()  # stands for a result that the op has not given yet


class Output:
    """Result number `index` of a node that has several."""

    __slots__ = ("node", "index")

    def __init__(self, node, index):
        self.node, self.index = node, index


class Metadata:
    """What is known of one result of a node."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape, dtype):
        self.shape, self.dtype = Size(shape), BY_NUM[dtype.num]

    def __repr__(self):
        return f"<{self.dtype} of shape {tuple(self.shape)}>"


class Packed:
    """A saved tensor as a pack hook left it; `edge` is its place in the graph, which the hooks do not see."""

    __slots__ = ("packed", "hook", "edge")

    def __init__(self, value, hooks):
        self.hook, self.edge = hooks[1], value._edge()
        version = value._version
        self.packed = hooks[0](value)
        if value._version != version:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors passed as input to pack hook can not be modified in place. "
                "(work on a clone)"
            )

    def unpack(self):
        value = self.hook(self.packed)
        if not hasattr(value, "_data"):
            raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(value).__name__}")
        if self.edge is not None and STATE.grad:  # backward is recorded: the value's own history, whatever the hooks did
            value = value._alias()
            value._node, value._rg = self.edge, True
        return value


class Hooks:
    """What users attached to a node: functions before and after it, and on single results."""

    __slots__ = ("pre", "post", "tensor", "retain")

    def __init__(self):
        self.pre, self.post, self.tensor, self.retain = OrderedDict(), OrderedDict(), {}, {}


class Node:
    """One recorded op. `edges` and `saved` are tuples; `specs` the (shape, dtype) of each input where they matter.

    Slots and no __dict__ (custom Functions have one): a node is made for every recorded op, so making one must be quick.
    """

    __slots__ = ("edges", "saved", "versions", "specs", "attrs", "seq", "hooks", "result", "meta", "shown", "__weakref__")
    op = None
    outputs = 1
    names = ()  # the saved values' names, in order
    plan = ()  # for each input: (formula, place of its first and second argument in the saved values, caller if it takes others)
    own = ()  # (place in the saved values, number) of the node's own differentiable results
    analytic = True
    variadic = False
    takes_absent = False  # whether backward runs where no gradient has arrived
    readings = None  # of pointwise rows: what api/adjoints.py keeps of their formulas

    def __init__(self, edges, saved=(), versions=(), specs=None, attrs=None):
        self.edges, self.saved, self.versions, self.specs, self.attrs = edges, saved, versions, specs, attrs
        self.seq, self.hooks, self.result = next_sequence(), None, None

    # ---- what users see
    def name(self):
        """The name as printed in `grad_fn=<...>`."""
        name = type(self).__name__
        return f"torch::autograd::{name}" if name in ("CopyBackwards", "NotImplemented") else name

    def __repr__(self):
        return f"<{type(self).__name__} object at {hex(id(self))}>"

    @property
    def next_functions(self):
        """Where the differentiable inputs came from: ((node, result number), ...), in PyTorch's order."""
        try:
            return self.shown
        except AttributeError:  # made when it is first asked for, and kept: programs tell nodes apart by identity
            self.shown = self._next_functions()
            return self.shown

    def _next_functions(self):
        op = self.op
        if op is None or self.variadic:
            return self._sources
        parts = op.shown or [i for i, formula in enumerate(op.grads) if formula is not None and formula is not MISSING]
        return tuple([_shown(self.edges, part, type(self).__name__) for part in parts])

    @property
    def _sources(self):
        """Where the inputs came from, as backward sees it: no steps that only PyTorch has, the row's own order."""
        return tuple([_public_edge(e) for e in self.edges])

    @property
    def _input_metadata(self):
        """Shape and dtype of each result (the inputs of the way back); empty where it is not known."""
        result = self.result
        if result is None:
            return ()
        return tuple([Metadata(*r) for r in (result if type(result) is list else (result,))])

    @property
    def metadata(self):
        """A dict for the user's own notes on this node."""
        try:
            return self.meta
        except AttributeError:
            self.meta = {}
            return self.meta

    def register_hook(self, hook):
        """Call hook(grad_inputs, grad_outputs) after this node; what it returns replaces grad_inputs."""
        return registered(self._hooks().post, hook)

    def register_prehook(self, hook):
        """Call hook(grad_outputs) before this node; what it returns replaces grad_outputs."""
        return registered(self._hooks().pre, hook)

    def _hooks(self):
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def _sequence_nr(self):
        return self.seq

    # ---- what the engine calls
    def pack(self, hooks):
        """Hand each saved tensor to the pack hook of `saved_tensors_hooks` and keep what it gives instead."""
        saved, versions = list(self.saved), list(self.versions)
        for k, value in enumerate(saved):
            if versions[k] is not None:
                saved[k], versions[k] = Packed(value, hooks), None
            elif value.__class__ is tuple:  # index tensors
                saved[k] = tuple([Packed(v, hooks) if hasattr(v, "_data") else v for v in value])
        self.saved, self.versions = tuple(saved), tuple(versions)

    def unpack(self):
        """The saved values, each checked against the version at which it was saved."""
        saved = self.saved
        if saved is FREED:
            self._freed()
        packed = False
        for value, version in zip(saved, self.versions):
            if version is not None:
                storage = value._storage
                if storage is not None and storage.version != version:
                    self._changed(value, version)
            elif value.__class__ is Packed or value.__class__ is tuple and value and value[0].__class__ is Packed:
                packed = True
        return tuple([_unpacked(v) for v in saved]) if packed else saved

    def edge(self, index=0):
        """Where the gradient of result `index` arrives."""
        return self if self.outputs == 1 else Output(self, index)

    def _freed(self):
        raise RuntimeError(
            "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
            "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
            "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
            f"saved tensors after calling backward. (the op was {type(self).__name__})"
        )

    def _changed(self, value, version):
        kind = type(value).__name__
        raise RuntimeError(
            "one of the variables needed for gradient computation has been modified by an inplace operation: "
            f"[torch.{value.dtype.legacy or kind} {list(value.shape)}], which {self._origin(value)} is at version "
            f"{value._version}; expected version {version} instead. {type(self).__name__} needs the value as it was in the "
            f"forward pass{last_change(value)}: write the change out of place (x = x + 1 instead of x += 1) or change a clone(). "
            + (
                "Hint: the warning above shows the operation that failed to compute its gradient."
                if modes.anomaly
                else "Hint: enable anomaly detection to find the operation that failed to compute its gradient, with "
                "torch.autograd.set_detect_anomaly(True)."
            )
        )

    def _origin(self, value):
        node = value._node
        if node is None:
            return "is a leaf and"
        return f"is output {getattr(node, 'index', 0)} of {type(getattr(node, 'node', node)).__name__},"

    def backward(self, g):
        """The gradient of each input (None where no edge wants one), from the gradient of the result, as a new list."""
        values, attrs = self.unpack() if self.saved else (), self.attrs
        if values and STATE.grad and self.own:
            values = self.with_history(values)
        if (values or attrs) and self.analytic is not None and _is_complex(g):
            values = tuple(v.conj() if hasattr(v, "_data") else v.conjugate() if isinstance(v, complex) else v for v in values)
            if attrs:
                attrs = {k: v.conjugate() if isinstance(v, complex) else v for k, v in attrs.items()}
        specs = self.specs
        if self.readings is not None:
            out = GRADIENTS(self, g, values)
            if out is not None:
                if specs is not None:
                    out = [None if r is None else fit(r, s) for r, s in zip(out, specs)]
                return out
        out = []
        i = 0
        for edge in self.edges:
            r = None
            if edge is not None:
                formula, first, second, rest = self.plan[i]
                if rest is not None:
                    r = rest(g, values, attrs, specs)
                elif first is None:
                    r = formula(g)
                elif second is None:
                    r = formula(g, values[first])
                else:
                    r = formula(g, values[first], values[second])
                if specs is not None and r is not None:
                    r = fit(r, specs[i])
            out.append(r)
            i += 1
        return out

    def with_history(self, values):
        """The saved values with this node's own results as its results again, for a backward that is itself recorded."""
        values = list(values)
        for k, i in self.own:
            if values[k] is not None:
                t = values[k] = values[k]._alias()
                t._node, t._rg = self if self.outputs == 1 else Output(self, i), True
        return tuple(values)

    def release(self):
        """Drop what was saved."""
        if self.saved:
            self.saved = FREED

    def __getattr__(self, name):
        if name.startswith("_saved_"):
            return self._saved_value(name[7:])
        if name.startswith("_raw_saved_") and (place := self._saved_place(name[11:])) is not None:
            return SavedTensor(self, place)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _saved_place(self, name):
        """Where PyTorch's saved tensor `name` is among the saved values, or None."""
        return next((k for k, have in enumerate(self.names) if have == name or have in _SAVED_AS.get(name, ())), None)

    def __call__(self, *grads):
        """The gradients of the inputs, from those of the results: what backward does at this node."""
        results = self.backward(list(grads) if self.outputs > 1 else grads[0])
        return results[0] if len(results) == 1 else tuple(results)

    def _saved_value(self, name):
        place = self._saved_place(name)
        if place is not None:
            return self.with_history(self.unpack())[place]
        for ours in (name, *_SAVED_AS.get(name, ())):
            if self.attrs and ours in self.attrs:
                return self.attrs[ours]
        if name == "self_sym_sizes" and self.specs:
            return tuple(self.specs[0][0])
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '_saved_{name}'")


#: PyTorch's names of what nodes save -> ours
_SAVED_AS = {"result": ("out",), "self": ("x",), "other": ("y",), "dim": ("axes", "axis"), "mat1": ("x",), "mat2": ("y",), "weight": ("w",)}


class SavedTensor:
    """One tensor that a node has saved, as `grad_fn._raw_saved_x` gives it, for hooks of its own."""

    __slots__ = ("_node", "_place")

    def __init__(self, node, place):
        self._node, self._place = node, place

    def register_hooks(self, pack_hook, unpack_hook):
        """Save pack_hook(tensor) in place of the tensor; backward gets unpack_hook of that. Once for each saved tensor."""
        node, k = self._node, self._place
        if node.saved is FREED:
            node._freed()
        if node.versions[k] is None:
            raise RuntimeError("Setting hooks on a saved tensor whose hooks have already been set is not allowed" if node.saved[k].__class__ is Packed else "this saved value is no tensor")
        value = Packed(node.saved[k], (pack_hook, unpack_hook))
        node.saved = (*node.saved[:k], value, *node.saved[k + 1 :])
        node.versions = (*node.versions[:k], None, *node.versions[k + 1 :])


def _unpacked(value):
    if value.__class__ is Packed:
        return value.unpack()
    return tuple([_unpacked(v) for v in value]) if value.__class__ is tuple else value


def last_change(x):
    """Where the storage of `x` was last written to in place, as far as it was noted, for error texts."""
    change = getattr(x._storage, "change", None)
    if change is None or change[3] != x._storage.version:  # the quick way keeps no lines
        return "" if modes.anomaly else ", and which line changed it was not noted (torch.autograd.set_detect_anomaly(True) before the forward pass has it noted)"
    op, code, at, _ = change
    line = next((n for start, end, n in code.co_lines() if start <= at < end and n), code.co_firstlineno)
    text = linecache.getline(code.co_filename, line).strip()
    return f", and {op} changed it at {code.co_filename}:{line}" + (f" ({text})" if text else "")


def note_origin(node):
    """In anomaly mode: keep the lines of the program that recorded `node`, and the node whose backward did it, if one did."""
    lines = traceback.format_stack(modes.user_frame())
    node.metadata["traceback_"] = lines
    if STATE.running is not None:
        node.metadata["parent_"] = STATE.running


def _is_complex(g):
    if type(g) is list:
        return any(v is not None and v._data.dtype.kind == "c" for v in g)
    return g._data.dtype.kind == "c"


def fit(g, spec):
    """The gradient brought to an input's shape and dtype: what was broadcast is summed, what was promoted is cast back."""
    if g._data.shape != spec[0]:
        g = g.sum_to_size(spec[0])
    dtype = spec[1]
    if g._data.dtype != dtype.np:
        if g._data.dtype.kind == "c" and dtype.np.kind != "c":
            g = g.real
        g = g.to(dtype)
    return g


class AccumulateGrad(Node):
    """The end of the graph at a leaf: adds the gradient to `variable.grad`. Made only when somebody asks for it; no edge leads to one."""

    __slots__ = ("variable",)

    def __init__(self, variable):
        super().__init__(())
        self.variable = variable
        self.result = (variable._data.shape, variable._data.dtype)

    def edge(self, index=0):
        return self.variable

    def name(self):
        return "torch::autograd::AccumulateGrad"

    @property
    def metadata(self):
        return self.variable._leaf_metadata()

    def register_hook(self, hook):
        return self.variable._register_accumulated(lambda t: hook((), (t.grad,)))

    def register_prehook(self, hook):
        def call(g):
            got = hook((g,))
            return got[0] if isinstance(got, tuple) else got

        return self.variable.register_hook(call)


NOWHERE = Node(())  # takes gradients that nobody gets


def _public_edge(edge):
    if edge is None or edge is NOWHERE:
        return (None, 0)
    if isinstance(edge, Node):
        return (edge, 0)
    if isinstance(edge, Output):
        return (edge.node, edge.index)
    found = _ENDS.get(id(edge))
    if found is None:
        found = _ENDS[id(edge)] = AccumulateGrad(edge)
    return (found, 0)


_ENDS = WeakValueDictionary()  # id of a leaf -> its AccumulateGrad, which holds the leaf


class Joint(Node):
    """The node of a row whose formula gives the gradients of all inputs at once."""

    __slots__ = ()

    def backward(self, g):
        values = self.unpack()
        if STATE.grad and self.own:
            values = self.with_history(values)
        found = self.plan[0][3](g, values, self.attrs, self.specs)
        return [None if e is None or r is None else fit(r, s) for e, r, s in zip(self.edges, found, self.specs)]


class Variadic(Node):
    """The node of a row with any number of inputs: `op.grads[0](i)` is the formula of input i, given `specs` and attributes."""

    __slots__ = ()
    variadic = True

    def backward(self, g):
        make = self.op.grads[0]
        names = _names(make(0))
        values = [self.specs if n == "specs" else self.attrs[n] for n in names]
        return [None if e is None else fit(make(i)(g, *values), self.specs[i]) for i, e in enumerate(self.edges)]


class Shown(Node):
    """A step that PyTorch records by itself and that is inside one node here, such as the transpose of linear's weight.

    It stands in `next_functions` for whoever walks the graph; no edge leads to it and backward never comes to it. A row's
    column `shown` describes its place: the number of an input, or (name, part, ...) for a step with parts of its own.
    """

    __slots__ = ("parts", "owner")

    def _next_functions(self):
        return tuple([_shown(self.edges, part, self.owner) for part in self.parts])

    def _hooks(self):
        raise NotImplementedError(
            f"hooks on {type(self).__name__}: this step is part of {self.owner} here, and its gradient is never formed by itself; register the hook on "
            "the tensor, or on the node that it leads to"
        )


_SHOWN = {}  # name of a step -> its class


def _shown(edges, part, owner):
    """One entry of next_functions: an edge of the node called `owner`, or a step in front of it; (None, 0) where no gradient is wanted."""
    if part.__class__ is int:
        return _public_edge(edges[part]) if part < len(edges) else (None, 0)
    name, *parts = part
    if name not in _SHOWN:
        _SHOWN[name] = type(name, (Shown,), {"__slots__": (), "__module__": "builtins"})
    step = _SHOWN[name](edges)
    step.owner, step.parts = owner, parts
    return (step, 0) if any(n is not None for n, _ in step.next_functions) else (None, 0)


# ---- node classes of rows ------------------------------------------------------------------------------------


def _zero(g):
    return g.new_zeros(g._data.shape)


def _missing(op, name):
    def formula(g, *_):
        raise NotImplementedError(f"the derivative for '{name}' of {op.name} is not implemented; detach() that argument if none is needed")

    return formula


def saved_names(op):
    """The inputs and results that the row's formulas ask for, in the order in which a node keeps them."""
    names = []
    for wants in op.wants:
        for w in wants:
            if (w in op.inputs or "*" + w == op.inputs[-1] or w in _outputs(op)) and w not in names:
                names.append(w)
    return tuple(names)


def node_class(op):
    """The Node class of a row: its formulas, and where each finds its arguments."""
    if op.inputs[0].startswith("*"):
        return type(op.node, (Variadic,), {"__slots__": (), "__module__": "builtins", "op": op})
    names, plan = saved_names(op), []
    for i, (formula, wants) in enumerate(zip(op.grads, op.wants)):
        if formula is ZERO:
            formula, wants = _zero, ()
        elif formula is MISSING:
            formula, wants = _missing(op, op.inputs[i]), ()
        take = [_position(op, names, w) for w in wants]
        short = len(take) <= 2 and all(type(t) is int for t in take)
        first, second = (take + [None, None])[:2]
        plan.append((formula, first, second if short else None, None if short else _caller(formula, take)))
    return type(
        op.node,
        (Joint if op.joint else Node,),
        {
            "__slots__": (),
            "__module__": "builtins",
            "op": op,
            "names": tuple(names),
            "plan": tuple(plan),
            "outputs": op.outputs,
            "own": tuple((names.index(o), i) for i, o in enumerate(_outputs(op)) if o in names and o not in op.inputs and i in op.differentiable),
            "analytic": True if op.analytic else None,
            "readings": {} if op.family == "pointwise" and not op.joint and op.outputs == 1 else None,
        },
    )


def _caller(formula, take):
    """call(g, values, attrs, specs): the formula with each argument fetched from where it is kept."""
    text = "".join(f", v[{t}]" if type(t) is int else f", a[{t!r}]" if type(t) is str else f", s[{t[0]}]" for t in take)
    return eval(f"lambda g, v, a, s: formula(g{text})", {"formula": formula})


def _outputs(op):
    return ("out",) if op.outputs == 1 else tuple(f"out{i}" for i in range(op.outputs))


def _position(op, names, want):
    if want in names:
        return names.index(want)
    if want.endswith("_spec"):
        return (op.inputs.index(want[:-5]),)
    return want


def record(cls, args, attrs=None):
    """A node of class `cls` for inputs `args` (tensors or numbers), or None if no input wants a gradient.

    Called before the op runs, so that an in-place op's edges and versions are those from before the write; `keep`
    completes it afterwards. Only what the formulas of the wanted gradients ask for is saved.
    """
    node = _recorded(cls, args, attrs)
    if node is not None and modes.anomaly:
        note_origin(node)
    return node


def _recorded(cls, args, attrs):
    if modes.diverted and STATE.inference:
        return None
    op = cls.op
    if cls.variadic:
        edges = tuple([a._edge() for a in args])
        if not any(e is not None for e in edges):
            return None
        return cls(edges, (), (), tuple([Spec(a._data.shape, a.dtype) for a in args]), attrs)
    grads, wants, inputs = op.grads, op.wants, op.inputs
    edges, asked, live = [], set(), False
    for i, a in enumerate(args):
        edge = None
        if i < len(grads) and grads[i] is not None and hasattr(a, "_data"):
            edge = a._edge()
            if edge is not None:
                live = True
                if edge is NOWHERE:
                    edge = None
                else:
                    asked.update(wants[i])
        edges.append(edge)
    if not live:
        return None
    saved, versions = [], []
    for name in cls.names:
        value, version = None, None
        if name in asked and "*" + name == inputs[-1]:
            value = args[len(inputs) - 1 :]
        elif name in asked and name in inputs:
            value = args[inputs.index(name)]
            if hasattr(value, "_data"):
                version = 0 if value._storage is None else value._storage.version
        elif name in asked:
            value = AWAITED
        saved.append(value)
        versions.append(version)
    specs = tuple([Spec(a._data.shape, a.dtype) if hasattr(a, "_data") else None for a in args])
    return cls(tuple(edges), tuple(saved), tuple(versions), specs, attrs)


def keep(node, outs):
    """Complete a node with the shapes of its results, and with the results that its formulas ask for."""
    known = [(t._data.shape, t._data.dtype) for t in outs]
    node.result = known[0] if len(known) == 1 else known
    if any([v is AWAITED for v in node.saved]):  # not `in`: it would compare tensors
        saved, versions = list(node.saved), list(node.versions)
        for k, name in enumerate(node.names):
            if saved[k] is AWAITED:
                out = outs[int(name[3:] or 0)]
                saved[k] = out._alias()
                versions[k] = 0 if out._storage is None else out._storage.version
        node.saved, node.versions = tuple(saved), tuple(versions)
    if STATE.saved_hooks:
        node.pack(STATE.saved_hooks[-1])
