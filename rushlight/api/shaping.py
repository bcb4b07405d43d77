"""Views and rearrangements: arguments checked and normalised here, algebra in ops/views.py."""

from __future__ import annotations

import operator

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import Node, Output, note_origin
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.promotion import can_cast
from rushlight.core.shape import expand_strides, infer, reduced, view_strides, wrap_dim, wrap_dims
from rushlight.core.warning import once
from rushlight.core.window import element_strides
from rushlight.dispatch import apply, check_history, make_view, node_of, view
from rushlight.ops import views as V
from rushlight.ops.op import TABLE
from rushlight.tensor import MULTI_VIEW, Tensor, edge, marked, needs, view_of

ndarray = np.ndarray


def _ints(args, name):
    """f(1, 2), f((1, 2)) or f([1, 2]) as a tuple of ints."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    try:
        return tuple(n if type(n) is int else operator.index(n) for n in args)
    except TypeError:
        bad = next((a for a in args if not hasattr(a, "__index__")), args[0])
        raise TypeError(f"{name}(): argument 'shape' must be tuple of ints, but found element of type {type(bad).__name__}") from None


def _viewed(op, x, data, attrs):
    """A view whose window NumPy has made already."""
    return make_view(op, x, data, attrs) if x._rg or x._base is not None else view_of(x, data)


@method(name="view")
def view_(self, *shape, dtype=None):
    """The same memory in another shape (one size may be -1), or read as another dtype. Never copies; RuntimeError where it would have to."""
    a = self._data
    if a.__class__ is ndarray and not modes.diverted and dtype is None and a.flags.c_contiguous:
        try:  # NumPy checks shapes as strictly; what it refuses is looked at again below
            data = a.reshape(*shape)
        except (TypeError, ValueError):
            pass
        else:
            return _viewed(V.VIEW, self, data, {"shape": data.shape})
    if dtype is not None or len(shape) == 1 and shape[0].__class__ is D.DType:
        return _view_dtype(self, dtype or shape[0])
    if not shape:
        raise TypeError("view() received an invalid combination of arguments - got (), but expected (dtype) or (size), such as view(-1)")
    shape = _ints(shape, "view")
    a = self._data
    shape = infer(shape, a.size)
    if not (a.__class__ is ndarray and a.flags.c_contiguous) and view_strides(a.shape, element_strides(a), shape) is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous subspaces). "
            f"Use .reshape(...) instead. (shape {list(a.shape)}, strides {list(element_strides(a))}, asked for {list(shape)})"
        )
    return view(V.VIEW, self, shape=shape)


def _view_dtype(x, dtype):
    """x.view(dtype): the same bytes read as another type; the last dimension scales with the element size."""
    a = x._data
    have, want = a.itemsize, dtype.itemsize
    if x.requires_grad and dtype is not x.dtype:
        x = x.detach()
    if dtype is x.dtype:
        return view(V.ALIAS, x)
    if have != want:
        if a.ndim == 0:
            raise RuntimeError(f"self.dim() cannot be 0 to view {x.dtype} as {dtype} (different element sizes)")
        if element_strides(a)[-1] != 1 and a.shape[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 to view {x.dtype} as {dtype} (different element sizes), but got {element_strides(a)[-1]}")
        if a.shape[-1] * have % want:
            raise RuntimeError(f"self.size(-1) must be divisible by {want // have} to view {x.dtype} as {dtype} (different element sizes), but got {a.shape[-1]}")
    return view(V.VIEW_DTYPE, x, dtype=dtype)


@both
def reshape(input, *shape, **kw):
    """The tensor in another shape: a view where memory allows, else a copy. One size may be -1."""
    a = input._data
    if a.__class__ is ndarray and not kw and not modes.diverted and a.flags.c_contiguous:
        try:
            data = a.reshape(*shape)
        except (TypeError, ValueError):
            pass
        else:
            return _viewed(V.VIEW, input, data, {"shape": data.shape})
    shape = _ints((kw["shape"],) if kw else shape, "reshape")
    a = input._data
    shape = infer(shape, a.size)
    if shape == a.shape and a.__class__ is not ndarray:
        return view(V.ALIAS, input)
    if a.__class__ is ndarray and a.flags.c_contiguous:
        return view(V.VIEW, input, shape=shape)
    if view_strides(a.shape, element_strides(a), shape) is not None:
        return view(V.RESHAPE_ALIAS, input, shape=shape)
    out = view(V.UNSAFE, apply(TABLE["clone"], (input,), {"order": "C"}), shape=shape)
    out._base, out._hist = None, out._hist and 0  # of a copy that nobody else has
    return out


@method
def view_as(self, other):
    """view in the shape of `other`."""
    return self.view(other.shape)


@method
def reshape_as(self, other):
    """reshape to the shape of `other`."""
    return self.reshape(other.shape)


@both
def flatten(input, start_dim=0, end_dim=-1):
    """Dimensions start_dim..end_dim as one."""
    a = input._data
    n = a.ndim
    start, end = wrap_dim(start_dim, n), wrap_dim(end_dim, n)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if n == 0:
        return input.reshape(1)
    if start == end:
        return input
    size = 1
    for d in a.shape[start : end + 1]:
        size *= d
    return input.reshape(a.shape[:start] + (size,) + a.shape[end + 1 :])


@both
def ravel(input):
    """All dimensions as one."""
    return input.reshape(-1)


@both
def unflatten(input, dim, sizes):
    """One dimension split into `sizes` (one may be -1)."""
    a = input._data
    d = wrap_dim(dim, a.ndim)
    sizes = tuple(sizes)
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        sizes = infer(sizes, a.shape[d])
    except RuntimeError:
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({a.shape[d]}) in the input tensor") from None
    return input.view(a.shape[:d] + sizes + a.shape[d + 1 :])


@both
def transpose(input, dim0, dim1):
    """Two dimensions exchanged (a view)."""
    n = input._data.ndim
    d0, d1 = wrap_dim(dim0, n), wrap_dim(dim1, n)
    return view(V.TRANSPOSE, input, dim0=d0, dim1=d1)


for _alias in ("swapaxes", "swapdims"):
    FUNCTIONS[_alias] = METHODS[_alias] = transpose


@both
def t(input):
    """The transpose of a matrix; vectors and numbers as they are."""
    n = input._data.ndim
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return view(V.T, input)


@both
def permute(input, *dims, **kw):
    """The dimensions in another order (a view)."""
    dims = _ints((kw["dims"],) if kw else dims, "permute")
    n = input._data.ndim
    if len(dims) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. input.dim() = {n} is not equal to len(dims) = {len(dims)}"
        )
    order = tuple(wrap_dim(d, n) for d in dims)
    if len(set(order)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return view(V.PERMUTE, input, order=order)


@both
def movedim(input, source, destination):
    """Dimensions moved to other positions, the rest in order."""
    n = input._data.ndim
    source = wrap_dims(source, n)
    destination = wrap_dims(destination, n)
    if len(source) != len(destination):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({list(source)} dims) should contain the same number of dims as destination ({list(destination)} dims)")
    rest = [d for d in range(n) if d not in source]
    order = [None] * n
    for s, d in zip(source, destination):
        order[d] = s
    it = iter(rest)
    return permute(input, tuple(next(it) if o is None else o for o in order))


FUNCTIONS["moveaxis"] = METHODS["moveaxis"] = movedim


def _property(f):
    METHODS[f.__name__] = property(f)
    return f


@_property
def T(self):
    """All dimensions reversed."""
    if self._data.ndim not in (0, 2):
        once(
            "T",
            f"The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated (this one has {self._data.ndim} dimensions): write "
            "x.mT to transpose batches of matrices, or x.permute(*range(x.ndim - 1, -1, -1)) to reverse the dimensions.",
            stacklevel=2,
        )
    return permute(self, tuple(reversed(range(self._data.ndim))))


@_property
def mT(self):
    """The last two dimensions exchanged."""
    if self._data.ndim < 2:
        raise RuntimeError(f"tensor.mT is only supported on matrices or batches of matrices. Got {self._data.ndim}-D tensor.")
    return transpose(self, -2, -1)


@_property
def H(self):
    """The conjugate transpose of a matrix."""
    if self._data.ndim not in (0, 2):
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {self._data.ndim}-D tensor.")
    return t(self).conj()


@_property
def mH(self):
    """The conjugate transpose of the last two dimensions."""
    return mT(self).conj()


@both
def adjoint(input):
    """The conjugate transpose of the last two dimensions."""
    return mT(input).conj()


@method
def expand(self, *sizes, implicit=False, **kw):
    """Dimensions of size 1 repeated without a copy; -1 keeps a size."""
    a = self._data
    if len(sizes) == 1 and sizes[0].__class__ is tuple and not a.shape and not self._rg and self._base is None and a.__class__ is ndarray and not modes.diverted:
        return view_of(self, V.strided(a, sizes[0], (0,) * len(sizes[0])))  # sum's gradient comes this way
    if kw:
        if "size" not in kw:
            raise TypeError(f"expand() got an unexpected keyword argument '{next(iter(kw))}'")
        sizes = (kw["size"],)
    sizes = _ints(sizes, "expand")
    shape, strides = expand_strides(a.shape, element_strides(a), sizes)
    return view(V.EXPAND, self, shape=shape, strides=strides)


@method
def expand_as(self, other):
    """expand to the shape of `other`."""
    if not isinstance(other, Tensor):
        raise TypeError(f"expand_as(): argument 'other' (position 1) must be Tensor, not {type(other).__name__}")
    return self.expand(other.shape)


@both
def broadcast_to(input, *size):
    """expand as a function."""
    if not size:
        raise TypeError('broadcast_to() missing 1 required positional arguments: "size"')
    return input.expand(*size)


@function
def broadcast_tensors(*tensors):
    """All tensors expanded to their common shape."""
    tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}")
    shape = FUNCTIONS["broadcast_shapes"](*[x.shape for x in tensors])
    return tuple(x if x.shape == shape else x.expand(shape) for x in tensors)


@method
def sum_to_size(self, *size):
    """Summed over what broadcasting from `size` would have repeated."""
    size = _ints(size, "sum_to_size")
    shape = self._data.shape
    if shape == size:
        return self if size or self.dtype is not D.bool_ else self.to(D.int64)
    lead = len(shape) - len(size)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(size) if n == 1 != shape[i + lead])
    if lead < 0 or reduced(shape, axes, True)[lead:] != size:
        raise RuntimeError(f"size {{{list(size)}}} is not expandable to size {{{list(shape)}}}.")
    out = apply(TABLE["sum_dim"], (self,), {"axes": axes, "keepdim": True, "dtype": D.int64 if self.dtype.category < D.FLOAT else self.dtype}) if axes else self
    return out.view(size) if lead else out


@both
def squeeze(input, dim=None):
    """Without its dimensions of size 1, all or those named."""
    a = input._data
    if dim is None:
        return view(V.SQUEEZE, input, shape=tuple(n for n in a.shape if n != 1))
    axes = wrap_dims(tuple(dim) if isinstance(dim, (tuple, list)) else dim, a.ndim)
    shape = tuple(n for i, n in enumerate(a.shape) if i not in axes or n != 1)
    return view(V.SQUEEZE2 if isinstance(dim, (tuple, list)) else V.SQUEEZE1, input, shape=shape)


@both
def unsqueeze(input, dim):
    """With a dimension of size 1 inserted before `dim`."""
    return view(V.UNSQUEEZE, input, dim=wrap_dim(dim, input._data.ndim + 1))


_IN_PLACE_NUMBER = {"SqueezeBackward0": 3, "SqueezeBackward1": 4, "SqueezeBackward2": 5}
_IN_PLACE_NODES = {}


def _in_place_node(cls):
    """The node class of a view row's in-place form: PyTorch numbers it apart."""
    found = _IN_PLACE_NODES.get(cls)
    if found is None:
        name = cls.__name__
        name = f"{name.rstrip('0123456789')}{_IN_PLACE_NUMBER.get(name, 1)}"
        found = _IN_PLACE_NODES[cls] = type(name, (cls,), {"__slots__": (), "__module__": cls.__module__})
    return found


def _in_place_view(name, f):
    """x.f_(...): the tensor itself becomes the view."""

    def f_(self, *args, **kwargs):
        recorded = STATE.grad and needs(self)
        if recorded:
            check_history(self, True)
        t_ = f(self, *args, **kwargs)
        storage = self._shared()
        self._data = t_._data
        if self._hist is not None:
            storage.count(name)
        if recorded:
            node = t_._node
            node.__class__ = _in_place_node(type(node))
            self._node, self._rg = node, True
            if self._base is not None:
                self._hist = storage.version
        return self

    f_.__name__ = f_.__qualname__ = name
    f_.__doc__ = f"The in-place form of {name[:-1]}: changes this tensor's own shape."
    METHODS[name] = f_


for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims"):
    _in_place_view(_name + "_", FUNCTIONS[_name])


@both
def diagonal(input, offset=0, dim1=0, dim2=1):
    """The diagonal of two dimensions, as the last one (a view)."""
    n = input._data.ndim
    d1, d2 = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if d1 == d2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return view(V.DIAGONAL, input, offset=offset, dim1=d1, dim2=d2)


@method
def unfold(self, dimension, size, step):
    """Windows of `size` along a dimension, `step` apart, as a new last dimension (a view)."""
    a = self._data
    d = wrap_dim(dimension, a.ndim)
    n = a.shape[d] if a.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if a.ndim == 0:
        return view(V.UNSQUEEZE, self, dim=0)[: size or None]
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return view(V.UNFOLD, self, dim=d, size=size, step=step)


@method
def _unfold_backward(self, shape, dim, size, step):
    attrs = {"shape": tuple(shape), "dim": dim, "size": size, "step": step}
    return apply(TABLE["unfold_backward"], (self,), attrs)


@both
def as_strided(input, size, stride, storage_offset=None):
    """A window on the storage with any shape, strides and offset (in elements)."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}")
    here = input.storage_offset()
    offset = here if storage_offset is None else storage_offset
    if input._data.__class__ is ndarray:
        input._shared().window(input._data.dtype, size, stride, offset)  # raises where it leaves the storage
    base = (input._data.shape, element_strides(input._data))
    return view(V.AS_STRIDED, input, shape=size, strides=stride, offset=offset - here, base=base)


@both
def narrow(input, dim, start, length):
    """Elements start..start+length of a dimension (a view)."""
    a = input._data
    if a.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, a.ndim)
    if isinstance(start, Tensor):
        if start._data.ndim or start.dtype.category != D.INTEGER:
            raise RuntimeError("start must be an 0-dim integral Tensor.")
        start = start.item()
    n = a.shape[d]
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return view(V.SLICE, input, key=(slice(None),) * d + (slice(start, start + length),))


@both
def select(input, dim, index):
    """One element of a dimension, which goes away (a view)."""
    a = input._data
    if a.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, a.ndim)
    index = operator.index(index)
    n = a.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(a.shape)} at dimension {d}")
    return view(V.SELECT, input, key=(slice(None),) * d + (index, Ellipsis))


# ---- several views ---------------------------------------------------------------------------------------------


def _pieces(op, x, dim, bounds):
    """Views of x at `bounds` (pairs of start and end, or single places) along `dim`; recorded as one node with as many results."""
    lead = (slice(None),) * dim
    keys = [(*lead, slice(*b) if b.__class__ is tuple else b, Ellipsis) for b in bounds]
    if modes.diverted and STATE.backend is not None or x._data.__class__ is not ndarray:
        return tuple(view(V.SLICE if k[dim].__class__ is slice else V.SELECT, x, key=k) for k in keys)
    out = tuple([view_of(x, x._data[k]) for k in keys])
    e = edge(x) if STATE.grad else None
    if e is not None:
        node = SPLITS[op.name]((e,))
        node.outputs, node.dim, node.shapes = len(out), dim, [t._data.shape for t in out]
        node.result = [(s, x._data.dtype) for s in node.shapes]
        if modes.anomaly:
            note_origin(node)
        for i, t in enumerate(out):
            t._node, t._rg = Output(node, i) if len(out) > 1 else node, True
    if STATE.grad:
        for t in out:
            if t._hist is not None and t._hist >= 0:
                t._hist = marked(MULTI_VIEW, t._hist)
    return out


def _join(self, g):
    """The pieces' gradients joined again, zeros where a piece was not used."""
    g = g if type(g) is list else [g]
    like = next(v for v in g if v is not None)
    parts = [like.new_zeros(s) if v is None else v for v, s in zip(g, self.shapes)]
    return [stack(parts, self.dim) if self.op is V.UNBIND else cat(parts, self.dim)]


SPLITS = {
    op.name: type(op.node, (node_of(op),), {"__slots__": ("outputs", "dim", "shapes"), "__module__": Node.__module__, "backward": _join})
    for op in (V.SPLIT, V.SPLIT_WITH_SIZES, V.UNBIND)
}


@both
def split(tensor, split_size_or_sections, dim=0):
    """Consecutive pieces of a dimension: of one size (the last may be smaller), or of the sizes listed."""
    if isinstance(split_size_or_sections, (list, tuple)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    a = tensor._data
    size = operator.index(split_size_or_sections)
    if a.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, a.ndim)
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    n = a.shape[d]
    if size == 0 and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    bounds = [(i, min(i + size, n)) for i in range(0, n, size)] if n else [(0, 0)]
    return _pieces(V.SPLIT, tensor, d, bounds)


@both
def split_with_sizes(input, split_sizes, dim=0):
    """Consecutive pieces of a dimension with the sizes listed."""
    a = input._data
    d = wrap_dim(dim, a.ndim)
    if any(s < 0 for s in split_sizes):
        raise RuntimeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={list(split_sizes)}")
    if sum(split_sizes) != a.shape[d]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {a.shape[d]} (input tensor's size at dimension {d}), but got split_sizes={list(split_sizes)}"
        )
    ends = np.cumsum([0, *split_sizes]).tolist()
    return _pieces(V.SPLIT_WITH_SIZES, input, d, list(zip(ends, ends[1:])))


@both
def chunk(input, chunks, dim=0):
    """At most `chunks` pieces of equal size along a dimension."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if input._data.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, input._data.ndim)
    n = input._data.shape[d]
    size = -(-n // chunks)
    if size == 0:
        return _pieces(V.SPLIT, input, d, [(0, 0)] * chunks)
    return split(input, size, d)


@both
def unbind(input, dim=0):
    """The elements of a dimension, each a view."""
    a = input._data
    if a.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim(dim, a.ndim)
    return _pieces(V.UNBIND, input, d, range(a.shape[d]))


@method
def __iter__(self):
    """Iterate over the first dimension."""
    if self._data.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


# ---- complex ---------------------------------------------------------------------------------------------------


def _real(self):
    """The real part (a view); the tensor itself if it is real."""
    return view(V.REAL, self) if self._data.dtype.kind == "c" else self


def _imag(self):
    """The imaginary part (a view) of a complex tensor."""
    if self._data.dtype.kind != "c":
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return view(V.IMAG, self)


METHODS["real"], METHODS["imag"] = property(_real), property(_imag)


@function
def real(input):
    """The real part (a view); the tensor itself if it is real."""
    return _real(input)


@function
def imag(input):
    """The imaginary part (a view) of a complex tensor."""
    return _imag(input)


@function
def view_as_real(input):
    """A complex tensor as real and imaginary parts in a new last dimension (a view)."""
    if input._data.dtype.kind != "c":
        raise RuntimeError(f"view_as_real is only supported for complex tensors (got {input.dtype})")
    return view(V.AS_REAL, input)


@function
def view_as_complex(input):
    """Pairs in the last dimension as complex numbers (a view)."""
    a = input._data
    if a.dtype.kind != "f":
        raise RuntimeError(f"view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: {input.dtype.title}")
    if a.ndim == 0 or a.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if element_strides(a)[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if a.itemsize == 2:
        return D.complex32.np  # raises: nothing is stored in it
    return view(V.AS_COMPLEX, input)


@method
def _as_real(self):
    return view_as_real(self.contiguous())


@method
def _as_complex(self):
    return view_as_complex(self)


# ---- joining ---------------------------------------------------------------------------------------------------


def _tensors(name, tensors):
    if isinstance(tensors, Tensor):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    tensors = tuple(tensors)
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}")
    return tensors


@function
def cat(tensors, dim=0, *, out=None):
    """Tensors joined along an existing dimension; shapes must agree in all others (empty 1-d tensors are skipped)."""
    tensors = _tensors("cat", tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    _check_joined(tensors, out)
    return apply(TABLE["cat"], tensors, {"dim": dim}, out=out)


def _check_joined(tensors, out):
    for x in tensors if isinstance(out, Tensor) else ():
        if not can_cast(x.dtype, out.dtype):
            raise TypeError(f"torch.cat(): input types can't be cast to the desired output type {out.dtype.title} ({x.dtype} is among them)")


for _alias in ("concat", "concatenate"):
    FUNCTIONS[_alias] = cat


@method
def _cat(self, other, dim):
    return cat((self, other), dim)


@function
def stack(tensors, dim=0, *, out=None):
    """Tensors of one shape joined along a new dimension."""
    tensors = _tensors("stack", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0]._data.shape
    for i, x in enumerate(tensors):
        if x._data.shape != first:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x._data.shape)} at entry {i}")
    _check_joined(tensors, out)
    return apply(TABLE["stack"], tensors, {"dim": wrap_dim(dim, len(first) + 1)}, out=out)


@both
def flip(input, dims, *more):
    """The order of some dimensions reversed (a copy)."""
    dims = (dims, *more) if more or isinstance(dims, int) else tuple(dims)
    return apply(TABLE["flip"], (input,), {"axes": wrap_dims(tuple(dims), input._data.ndim)})


@both
def roll(input, shifts, dims=None):
    """Elements shifted along dimensions, those that leave coming back at the other end."""
    if not isinstance(shifts, int) and len(shifts) == 0:
        raise RuntimeError("`shifts` required: by how much to roll, such as 1 or (1, 2)")
    if dims is None or not isinstance(dims, int) and len(dims) == 0:
        shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return apply(TABLE["roll"], (input,), {"shifts": shifts, "axes": ()})
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input._data.ndim:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    return apply(TABLE["roll"], (input,), {"shifts": shifts, "axes": tuple(wrap_dim(d, input._data.ndim) for d in dims)})


@method
def repeat(self, *repeats):
    """The tensor tiled `repeats` times along each dimension (a copy)."""
    repeats = _ints(repeats, "repeat")
    a = self._data
    if len(repeats) < a.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    return apply(TABLE["repeat"], (self,), {"repeats": repeats})


@both
def tile(input, dims, *more):
    """repeat, with missing leading repeats taken as 1."""
    dims = (dims, *more) if more or isinstance(dims, int) else tuple(dims)
    return input.repeat((1,) * (input._data.ndim - len(dims)) + tuple(dims))

