"""From a row and its arguments to a result: the general path, which every op can take and the rare ones always do.

`apply(op, args, attrs, out)` infers the result, chooses the backend by device, checks what is written to, runs, wraps,
records. The fast paths of bind.py do the same for the common cases and fall back to it whenever they see anything else.

In-place ops. `out=InPlace(x)` writes into `x`: shape, dtype, overlap and leaf rules are checked before anything is
written; the version rises by one; if the op is recorded, `x` takes the new node, or its base does (CopySlices).
"""

from __future__ import annotations

import warnings

import numpy as np

from rushlight import tensor as tensor_
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import Node, Output, fit, keep, node_class, record
from rushlight.backends import plans
from rushlight.backends.cpu import BACKEND as CPU_BACKEND
from rushlight.core import dtype as D
from rushlight.core import promotion
from rushlight.core.device import CPU as CPU_DEVICE
from rushlight.core.shape import overlaps
from rushlight.core.window import element_strides
from rushlight.ops.layouts import laid_out
from rushlight.ops.op import TABLE, Op, Spec
from rushlight.storage import Storage
from rushlight.tensor import (
    INFERENCE_VIEW,
    MULTI_VIEW,
    NO_GRAD_VIEW,
    Tensor,
    edge,
    needs,
    share,
    view_of,
    wrap,
)

ndarray = np.ndarray
BACKENDS = {"cpu": CPU_BACKEND}  # by device type; cuda and meta enter themselves
NODES: dict[Op, type] = {}
FOREIGN = [lambda op, args: None]  # set by api/overrides.py: the overridable function behind a row, for operands that override


class InPlace:
    """Marks `out` as the in-place form: write into `target`, under the rules of in-place ops."""

    __slots__ = ("target",)

    def __init__(self, target):
        self.target = target


class Unsupported(TypeError):
    """An argument is neither a tensor nor a number; operators turn this into NotImplemented. Users see a TypeError."""


Unsupported.__name__ = Unsupported.__qualname__ = "TypeError"
Unsupported.__module__ = "builtins"


def kind_of(value):
    """The type of an argument as error texts name it: 'int', 'numpy.ndarray'."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"


def node_of(op):
    """The Node class of a row, made on first use."""
    found = NODES.get(op)
    if found is None:
        found = NODES[op] = node_class(op)
    return found


def node_in_place(op):
    """The Node class of a row's in-place form: the same under the name that PyTorch gives it."""
    if not op.node_in_place:
        return node_of(op)
    key = (op, "in place")
    found = NODES.get(key)
    if found is None:
        found = NODES[key] = type(op.node_in_place, (node_of(op),), {"__slots__": (), "__module__": node_of(op).__module__})
    return found


NUMBERS = (int, float, complex, np.generic)
LAZY = {}  # class of a number that is known later -> the 0-dim tensor that stands for one (entered by compiler/)


def operand(op, value, position):
    """A tensor or a Python number; TypeError with the place of the argument otherwise."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, NUMBERS):
        return value.item() if isinstance(value, np.generic) else value
    if value is None and op.optional and op.inputs[position] in op.optional:
        return None
    if value.__class__ in LAZY:
        return LAZY[value.__class__](value)
    name = "input" if position == 0 else "other" if position == 1 else op.inputs[position]
    raise Unsupported(f"{op.name}(): argument '{name}' (position {position + 1}) must be Tensor, not {kind_of(value)}")


def backend_for(op, args):
    """The backend of the tensors' device; RuntimeError where they are on different ones."""
    device = None
    for a in args:
        if isinstance(a, Tensor):
            d = a._data
            kind = None if d.__class__ is ndarray or d.device is CPU_DEVICE else d.device
            if device is None:
                device = (kind, d.ndim)
            elif kind != device[0]:
                if d.ndim == 0 and kind is None:
                    continue  # a 0-dim CPU tensor joins any device, as a number does
                if device[1] == 0 and device[0] is None:
                    device = (kind, d.ndim)
                    continue
                found = [str(t.device) for t in args if isinstance(t, Tensor)]
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(dict.fromkeys(found))}! "
                    f"({op.name}: move one with .to({found[0]!r}))"
                )
    if modes.diverted and STATE.backend is not None:
        return STATE.backend
    return BACKENDS["cpu" if device is None or device[0] is None else device[0].type]


def apply(op, args, attrs=None, out=None):
    """Run row `op` on `args` (tensors and numbers) with `attrs`, and record it if a gradient may be asked for."""
    attrs = {} if attrs is None else attrs
    if out is None and not modes.diverted and op.family in plans.FAMILIES:
        t = known(op, args, attrs)
        if t is not None:
            return t
    args = tuple([operand(op, a, i) for i, a in enumerate(args)])
    if modes.diverted and STATE.autocast is not None and op.autocast is not None and out is None:
        args = autocasted(op, args)
    backend = backend_for(op, args)
    spec = op.infer(op, args, attrs)
    if modes.diverted and STATE.watcher is not None:
        STATE.watcher(op, args, spec)
    if out is not None:
        return into(op, spec, args, attrs, out, backend)
    node = record(node_of(op), args, attrs) if STATE.grad and op.grads else None
    data = laid_out(op, run(backend, op, spec, args, attrs), args)
    if type(spec) is tuple and type(spec) is not Spec:
        return finish_several(op, node, tuple([wrap(d) for d in data]))
    t = wrap(data)
    if node is not None and spec.dtype.category >= D.FLOAT:
        t._node, t._rg = node, True
        keep(node, (t,))
    return t


_PLANS = {}
_MOST = 4096  # plans that are kept


def known(op, args, attrs):
    """apply on plain operands by what an earlier call on such ones has found out; None where there is more to it."""
    key, live, dense = [op, D.get_default_dtype()], False, True
    for a in args:
        kind = a.__class__
        if kind is float or kind is int and -0x80000000 < a < 0x80000000:
            key.append(kind)
        elif a is None and op.optional:
            key.append(None)
        else:
            data = getattr(a, "_data", None)
            if data.__class__ is not ndarray or not isinstance(a, Tensor):
                return None
            key.append(data.shape)
            key.append(data.dtype)
            if a._rg or a._base is not None:
                live = True
            if not data.flags.c_contiguous:
                dense = False
    if attrs:
        key.extend(attrs.items())
    key = tuple(key)
    try:
        plan = _PLANS.get(key)
    except TypeError:  # an attribute that cannot be a key
        return None
    if plan is None:
        if len(_PLANS) >= _MOST:
            _PLANS.clear()
        try:
            plan = plans.plan(op, op.infer(op, args, attrs), args)
        except Exception:
            return None  # the general path says what is wrong
        _PLANS[key] = plan or False
    if not plan:
        return None
    node = record(node_of(op), args, attrs) if live and STATE.grad and op.grads else None
    data = plans.carry_out(plan, op, args, attrs, dense)
    if plan.several:
        if not dense or not all([d.flags.c_contiguous for d in data]):
            data = laid_out(op, data, args)
        return finish_several(op, node, tuple([wrap(d) for d in data]))
    if not dense or not data.flags.c_contiguous:
        data = laid_out(op, data, args)
    t = wrap(data)
    if node is not None and plan.spec.dtype.category >= D.FLOAT:
        t._node, t._rg = node, True
        keep(node, (t,))
    return t


def run(backend, op, spec, args, attrs, out=None):
    """Have a backend compute the row, numbers beside a half type rounded to it."""
    if op.family == "pointwise" and spec.half is not None:
        args, attrs = narrowed(op, spec.half, args, attrs)
    return backend.apply(op, spec, args, attrs) if out is None else backend.apply(op, spec, args, attrs, out=out)


def narrowed(op, half, args, attrs):
    """Operands and attributes with the numbers that meet a half type rounded to it (weak 0-dim tensors count as numbers)."""
    given = []
    for i, a in enumerate(args):
        if i not in op.wide:
            if not isinstance(a, Tensor):
                a = half_number(a, half)
            elif a._data.__class__ is ndarray and not a._data.ndim and a._data.dtype != half.np and a._data.dtype.kind != "b":
                a = wrap(a._data.astype(half.np))
        given.append(a)
    if any(n in attrs for n in op.narrow):
        attrs = {n: half_number(v, half) if n in op.narrow else v for n, v in attrs.items()}
    return tuple(given), attrs


def half_number(number, half):
    """A Python number as the half type holds it."""
    return number if isinstance(number, complex) else float(np.float64(number).astype(half.np))


def autocasted(op, args):
    """The operands as autocast wants them for this row: float tensors (float64 excepted) recast, recorded."""
    to = STATE.autocast if op.autocast == "lower" else D.float32
    out = []
    for a in args:
        if isinstance(a, Tensor):
            dtype = a.dtype
            if dtype.category == D.FLOAT and dtype is not D.float64 and dtype is not to:
                a = apply(TABLE["cast"], (a,), {"dtype": to})
        out.append(a)
    return tuple(out)


_RENAMED = {}  # (node class, name) -> the same class under that name


def under_name(name, *results):
    """Let the nodes of a composite's results print by the name that PyTorch's own node has; gives the result, or all of them."""
    for t in results:
        node = t._node
        node = getattr(node, "node", node)
        if node is not None and type(node).__name__ != name:
            key = type(node), name
            if key not in _RENAMED:
                _RENAMED[key] = type(name, (type(node),), {"__slots__": (), "__module__": "builtins"})
            node.__class__ = _RENAMED[key]
    return results[0] if len(results) == 1 else results


def finish_several(op, node, outs):
    """Attach `node` to the differentiable ones of several results."""
    if node is not None:
        for i in op.differentiable:
            if outs[i].dtype.category >= D.FLOAT:
                outs[i]._node, outs[i]._rg = Output(node, i), True
        keep(node, outs)
    return outs


# ---- writing ---------------------------------------------------------------------------------------------------


def into(op, spec, args, attrs, out, backend):
    """Write the result into existing tensors: the in-place form, or `out=`."""
    if type(out) is InPlace:
        return in_place(op, spec, args, attrs, out.target, backend)
    several = type(spec) is tuple and type(spec) is not Spec
    outs, specs = (tuple(out), spec) if several else ((out,), (spec,))
    for o in outs:
        if not isinstance(o, Tensor):
            raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {kind_of(o)}")
    if STATE.grad and (any(isinstance(a, Tensor) and needs(a) for a in args) or any(needs(o) for o in outs)):
        raise RuntimeError(
            f"{op.name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad."
        )
    exact = (op.exact or op.family in _EXACT) and not (op.result == "real" and args[0].dtype.category == D.COMPLEX)
    for o, s in zip(outs, specs):
        if exact and o.dtype is not s.dtype:
            raise wrong_out(op, o.dtype, s.dtype)
        check_castable(s.dtype, o.dtype)
        check_memory(o)
    for o, s in zip(outs, specs):
        if o._data.shape != tuple(s.shape) and any(a is o for a in args):
            raise RuntimeError(f"output with shape {list(o.shape)} doesn't match the broadcast shape {list(s.shape)}")
        resize_out(op, o, s.shape)
        if op.apart is not None:
            check_overlap(o, args[op.apart :], apart=True)
        elif op.family in ("pointwise", "scan"):
            check_overlap(o, args)
    if several:
        for o, d in zip(outs, run(backend, op, spec, args, attrs)):
            write_whole(o, wrap(d), backend)
    else:
        run(backend, op, spec, args, attrs, out)
    for o in outs:
        changed(o, op)
    return out


_EXACT = ("index", "contraction")  # families that move elements or multiply matrices convert nothing on the way out


def wrong_out(op, found, wanted):
    """The error for an `out=` tensor of another dtype than the result, where nothing is converted."""
    if op.family == "pointwise":
        return RuntimeError(f"Found dtype {found.title} but expected {wanted.title} ({op.name}: give out= a tensor of {wanted})")
    return RuntimeError(f"Expected out tensor to have dtype {wanted.c_name}, but got {found.c_name} instead ({op.name}: give out= a tensor of {wanted})")


def changed(x, op):
    """Count an in-place change of `x`, and note the line of the program that asked for it."""
    storage = x._storage
    if storage is None:
        storage = x._shared()
    if x._hist is None:
        return  # an inference tensor has no version
    storage.count(op.name)


def write_whole(target, source, backend):
    """Copy the values of `source` into `target` (no history, no version)."""
    copy = TABLE["copy"]
    backend.apply(copy, Spec(target._data.shape, target.dtype), (target, source), {}, out=target)


def resize_out(op, out, shape):
    """Give an `out=` tensor the shape of the result, as PyTorch does (with a warning if it had elements)."""
    if out._data.shape == tuple(shape):
        return
    if out._data.size:
        warnings.warn(
            f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not match the required output shape "
            f"{list(shape)}. This behavior is deprecated, and in a future PyTorch release outputs will not be resized unless they have zero elements. "
            "You can explicitly reuse an out tensor t by resizing it, inplace, to zero elements with t.resize_(0).",
            UserWarning,
            stacklevel=4,
        )
    out.resize_(shape)


def check_castable(source, target):
    """RuntimeError where a result of dtype `source` must not be written into `target`."""
    if not promotion.can_cast(source, target):
        raise RuntimeError(
            f"result type {source.title} can't be cast to the desired output type {target.title}"
            f" (compute out of place, then .to({target}))"
        )


def check_memory(x):
    """RuntimeError where writing to `x` would write one element twice, or into read-only memory."""
    data = x._data
    if overlaps(data.shape, data.strides):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            f"Please clone() the tensor before performing the operation. (shape {list(data.shape)}, strides {list(element_strides(data))})"
        )
    if data.__class__ is ndarray and not data.flags.writeable:
        raise RuntimeError("the tensor's memory is a read-only NumPy array: write to x.clone(), or copy the array before from_numpy")


_SPREADS = {"fill", "fill_tensor", "zero", "masked_set"}  # may write one element twice
_PARTIAL = {"copy", "index_put", "scatter", "scatter_value", "scatter_add", "scatter_reduce"}  # besides the pointwise and scan families


def check_writable(op, x, args):
    """check_memory for an in-place op, and that what it reads does not partly overlap what it writes."""
    if op.name in _SPREADS:
        if x._data.__class__ is ndarray and not x._data.flags.writeable:
            check_memory(x)
        return
    check_memory(x)
    if op.apart is not None:
        check_overlap(x, args[op.apart :], apart=True)
    elif op.family in ("pointwise", "scan") or op.name in _PARTIAL:
        check_overlap(x, args)


def check_overlap(x, args, apart=False):
    """RuntimeError where a dense operand lies over a part of the dense `x`, over all of it in another order, or (`apart`) at all."""
    storage, data = x._storage, x._data
    if storage is None and any(a is x for a in args):
        storage = x._shared()
    if storage is None or data.__class__ is not ndarray:
        return
    for a in args:
        if a is x and not apart or not isinstance(a, Tensor) or a._storage is not storage or not a._data.size or not data.size:
            continue
        b = a._data
        if not (is_dense_somehow(data) and is_dense_somehow(b)):
            continue
        first, other = x.storage_offset() * data.itemsize, a.storage_offset() * b.itemsize
        if first == other and data.nbytes == b.nbytes:
            same = all(n == 1 or s == t for n, s, t in zip(data.shape, data.strides, b.strides)) and data.ndim == b.ndim
            if same and not apart:
                continue
        elif not (first < other + b.nbytes and other < first + data.nbytes):
            continue
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. Please clone() "
            "the tensor before performing the operation."
        )


def is_dense_somehow(array):
    """Whether the elements fill their memory without gaps and overlaps, in any order of dimensions."""
    if array.flags.c_contiguous:
        return True
    reach = array.itemsize
    for step, n in sorted((s, n) for s, n in zip(array.strides, array.shape) if n > 1):
        if step != reach:
            return False
        reach *= n
    return True


def check_history(x, recorded):
    """RuntimeError where autograd forbids an in-place op on `x` in this thread's mode."""
    if not STATE.grad:
        return
    if x._hist is None:
        if recorded or not STATE.inference:
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed."
                "You can make a clone to get a normal tensor before doing inplace update."
            )
        return
    base, required = x._base, needs(x)
    if base is not None and x._hist < 0 and (recorded or required):
        raise forbidden(x, "is a view and is being")
    if required:
        if base is None:
            if x._node is None:
                raise RuntimeError(
                    "a leaf Variable that requires grad is being used in an in-place operation. (wrap the update in torch.no_grad(), or work on x.clone())"
                )
        elif base._node is None:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place operation. (wrap the update in torch.no_grad(), or work on x.clone())"
            )


def forbidden(x, what):
    """The error of a recorded write that a view does not allow: to itself, or to its base."""
    reason = -x._hist & 7
    if reason in (NO_GRAD_VIEW, INFERENCE_VIEW):
        mode = "no_grad" if reason == NO_GRAD_VIEW else "inference"
        return RuntimeError(
            f"A view was created in {mode} mode and {what.removeprefix('is a view and ')} modified inplace with grad mode enabled. Given that this use "
            "case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace either both inside "
            f"the {mode} block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked)."
        )
    node = x._node
    number, node = getattr(node, "index", 0), getattr(node, "node", node)
    text = f"Output {number} of {type(node).__name__.split('Backward')[0]} {what} modified inplace. "
    if node is None:
        text = f"A view (shape {list(x._data.shape)}) {what.removeprefix('is a view and ')} modified inplace. "
    if reason == MULTI_VIEW:
        return RuntimeError(
            text + "This view is the output of a function that returns multiple views. Such functions do not allow the output views to be modified "
            "inplace. You should replace the inplace operation by an out-of-place one."
        )
    return RuntimeError(
        text + "This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to handle view+inplace "
        "would override the custom backward associated with the custom Function, leading to incorrect gradients. This behavior is forbidden. You can "
        "fix this by cloning the output of the custom Function."
    )


def in_place(op, spec, args, attrs, x, backend):
    """The in-place form: result into `x`, one of `args`."""
    if type(spec) is tuple and type(spec) is not Spec:
        raise RuntimeError(f"{op.name} has several results and no in-place form")
    shape = x._data.shape
    if tuple(spec.shape) != shape:
        raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape {list(spec.shape)}")
    check_castable(spec.dtype, x.dtype)
    if op.result == "real" and x.dtype.category == D.COMPLEX:
        raise RuntimeError(f"In-place {op.name} is not supported for complex tensors. (its result is real: write x.{op.name}())")
    check_writable(op, x, args)
    node = record(node_in_place(op), args, attrs) if STATE.grad and op.grads else None
    check_history(x, node is not None)
    if node is not None:
        keep_old_value(node, op, x)
    run(backend, op, spec, args, attrs, x)
    changed(x, op)
    if node is not None and x.dtype.category >= D.FLOAT:
        rebase(x, node, op)
    return x


def keep_old_value(node, op, x):
    """Save a copy of `x` where its own gradient formula asks for what is about to be overwritten."""
    if op.inputs[0] in node.names:
        k = node.names.index(op.inputs[0])
        if node.saved[k] is x:
            node.saved = (*node.saved[:k], x.clone(), *node.saved[k + 1 :])
            node.versions = (*node.versions[:k], 0, *node.versions[k + 1 :])


def rebase(x, node, op=None):
    """Make `node` the history of `x` after an in-place write; for a view, the history of its base."""
    base = x._base
    keep(node, (x,))
    if base is None:
        move_retained(x, node)
        x._node, x._rg = node, True
    else:  # x itself takes a new node when it is used next: its storage has a new version
        slices = CopySlices(node, base, x)
        move_retained(base, slices)
        base._node, base._rg = slices, True


def move_retained(x, node):
    """retain_grad() is about the tensor: it goes along when the tensor gets a new node (hooks stay with the old value)."""
    old = x._node
    index = old.index if type(old) is Output else 0
    hooks = getattr(old, "node", old) if old is not None else None
    hooks = hooks.hooks if hooks is not None else None
    if hooks is not None and index in hooks.retain and hooks.retain[index]() is x:
        node._hooks().retain[0] = hooks.retain.pop(index)


COMPLEX_IN_REAL, REAL_IN_COMPLEX = "view_as_complex", "view_as_real"


def _geometry(x, base):
    """(shape, strides, offset) of view `x` within the memory of `base`, and how its elements are read from there.

    Where one of the two is complex and the other real they are counted in real numbers: those of a complex view have one
    dimension more.
    """
    shape, strides = x._data.shape, element_strides(x._data)
    mine, its = x._data.dtype.kind == "c", base._data.dtype.kind == "c"
    if mine == its:
        return (shape, strides, x.storage_offset() - base.storage_offset()), None
    if mine:
        return ((*shape, 2), (*[2 * n for n in strides], 1), 2 * x.storage_offset() - base.storage_offset()), COMPLEX_IN_REAL
    return (shape, strides, x.storage_offset() - 2 * base.storage_offset()), REAL_IN_COMPLEX


def _as_real(shape, strides):
    """Shape and strides of a complex tensor's memory as real numbers."""
    return (*shape, 2), (*[2 * n for n in strides], 1)


class CopySlices(Node):
    """The history of a base after an in-place op on one of its views: the op's gradient inside the window, the incoming one outside."""

    __slots__ = ("inner", "window", "read", "base_spec", "base_strides")

    def name(self):
        return "torch::autograd::CopySlices"

    def _next_functions(self):
        return (self._sources[0], *self.inner.next_functions[1:])

    def __init__(self, inner, base, x):
        self.window, self.read = _geometry(x, base)
        self.base_spec = Spec(base._data.shape, base.dtype)
        self.base_strides = element_strides(base._data)
        super().__init__((edge(base), *inner.edges[1:]), (), (), None)
        self.inner, self.result = inner, (base._data.shape, base._data.dtype)

    def backward(self, g):
        shape, strides, offset = self.window
        whole = apply(TABLE["lay_out"], (g,), {"strides": self.base_strides})
        inside = (view(TABLE["view_as_real"], whole) if self.read is REAL_IN_COMPLEX else whole).as_strided(shape, strides, offset)
        if self.read is COMPLEX_IN_REAL:
            inside = view(TABLE["view_as_complex"], inside)
        results = self.inner.backward(inside.clone())
        first = results[0]
        if first is None:
            inside.zero_()
        else:
            inside.copy_(first)
        return [whole, *results[1:]]

    def release(self):
        self.inner.release()


class AsStridedBackward0(Node):
    """The node of a view that was taken before its base got a new history."""

    __slots__ = ("window", "read", "base_spec", "base_strides")

    def __init__(self, x, base):
        self.window, self.read = _geometry(x, base)
        self.base_spec = Spec(base._data.shape, base.dtype)
        self.base_strides = element_strides(base._data)
        super().__init__((edge(base),), (), (), None)
        self.result = (x._data.shape, x._data.dtype)

    def backward(self, g):
        (shape, strides, offset), base = self.window, (self.base_spec.shape, self.base_strides)
        dtype = self.base_spec.dtype
        if self.read is COMPLEX_IN_REAL:
            g = view(TABLE["view_as_real"], g)
        elif self.read is REAL_IN_COMPLEX:
            base, dtype = _as_real(*base), dtype.to_real()
        g = fit(g, Spec(shape, dtype))
        g = apply(TABLE["put_window"], (g,), {"strides": strides, "offset": offset, "base_shape": base[0], "base_strides": base[1]})
        return [view(TABLE["view_as_complex"], g.contiguous()) if self.read is REAL_IN_COMPLEX else g]


def regenerate(x):
    """Bring a view up to date with its base, whose memory has changed since the view's node was made."""
    version = x._storage.version
    if x._hist < 0:
        if -x._hist >> 3 == version:
            return
        raise forbidden(x, "is a view and its base or another view of its base has been")
    x._hist = version
    node = AsStridedBackward0(x, x._base)
    move_retained(x, node)
    x._node, x._rg = node, True


tensor_.REGENERATE = regenerate


# ---- views -----------------------------------------------------------------------------------------------------


def make_view(op, x, data, attrs):
    """A view of x over `data`, recorded as row `op`."""
    t = view_of(x, data)
    if STATE.grad and needs(x):
        node = record(node_of(op), (x,), attrs)
        if node is not None:
            node.result = (data.shape, data.dtype)
            t._node, t._rg = node, True
    return t


def apart(t):
    """`t` without being a view of its base any more: its history stays, its version is its own. For results that PyTorch does not count as views."""
    t._storage = Storage(t._storage.memory)
    t._base, t._hist = None, t._hist and 0
    return t


def view(op, x, **attrs):
    """Apply a view row: its NumPy reading is the eager one."""
    if not isinstance(x, Tensor):
        raise Unsupported(f"{op.name}(): argument 'input' (position 1) must be Tensor, not {kind_of(x)}")
    if modes.diverted and STATE.backend is not None:
        return STATE.backend.view(op, x, attrs, make_view)
    data = x._data
    return make_view(op, x, op.numpy(data, **attrs) if data.__class__ is ndarray else data.viewed(op.numpy, attrs), attrs)


__all__ = ["InPlace", "Unsupported", "apart", "apply", "make_view", "node_of", "share", "under_name", "view"]
