"""class Tensor: memory, history and gradient; only what is not an op.

`_data` is an ndarray (a strided view of its storage) on the CPU and a Window elsewhere; NumPy's own views are the eager
reading of view ops. Everything else is bookkeeping in slots:

    _storage   the shared Storage, or None while nobody shares it (then the version is 0)
    _node      the tape node that made it (or Output of one); None for a leaf
    _rg        whether it requires grad by itself (a view does also where its base does)
    _base      the tensor that it is a view of (never itself a view), or None
    _hist      0; in a view, the storage's version when its node was made, or, where it must not be written to while
               recording, that version with the reason (`marked`, below); None for a tensor of inference mode
    _grad      the accumulated gradient
    _hooks     hooks of a leaf, or None

Views and history. A recorded in-place op on a view rewrites the base's node (CopySlices in dispatch.py) and counts the
version up; every view notices on its next use and takes a new node, an `as_strided` of the base. No list of views is
kept. A view without a node whose base requires grad (it was made under no_grad, or the base was told afterwards) is a
leaf whose gradient goes nowhere, as in PyTorch.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import NOWHERE, Hooks, Node, Output
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core.hooks import registered
from rushlight.core.naming import Public, published
from rushlight.core.shape import Size, dense, is_dense
from rushlight.core.warning import once
from rushlight.core.window import Window, element_strides
from rushlight.storage import Storage, address

ndarray = np.ndarray
NO_GRAD_VIEW, MULTI_VIEW, CUSTOM_VIEW, INFERENCE_VIEW = 1, 2, 3, 4  # reasons why a view must not be written to while recording


def marked(reason, version):
    """The `_hist` of a view that must not be written to while recording."""
    return -(8 * version + reason)


class InferenceStorage(Storage):
    """The storage of a tensor made in inference mode: it has no version, so that nothing can save it for backward."""

    __slots__ = ()

    @property
    def version(self):
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
            "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` "
            "instead of `torch.inference_mode()`."
        )

    @version.setter
    def version(self, value):
        pass

    def count(self, what):
        """Nothing is counted."""


class LeafHooks:
    """Hooks of a leaf: on its gradient, and after accumulation."""

    __slots__ = ("tensor", "accumulated", "metadata", "grad_dtype")

    def __init__(self):
        self.tensor, self.accumulated, self.metadata = OrderedDict(), OrderedDict(), {}
        self.grad_dtype = ()  # what Tensor.grad_dtype was set to, if it was


class Tensor(metaclass=Public):
    """A multi-dimensional array of one dtype, with automatic differentiation."""

    __slots__ = ("_data", "_storage", "_node", "_rg", "_grad", "_base", "_hist", "_hooks", "__dict__", "__weakref__")
    __array_priority__ = 1000

    # ---- making (the public constructor is in api/creation.py)
    def _alias(self):
        """The same memory and version without history."""
        return share(self, self._data)

    def _shared(self):
        """The storage, made now if nobody asked before."""
        storage = self._storage
        if storage is None:
            storage = self._storage = Storage(self._data)
        return storage

    def _fresh_like(self, leaf):
        """A copy of a gradient in the memory layout of `leaf` (or dense, where that has gaps)."""
        data = self._data
        if isinstance(data, ndarray):
            if leaf._data.shape == data.shape and 0 not in leaf._data.strides:
                out = np.empty_like(leaf._data, dtype=data.dtype)
            else:
                out = np.empty(data.shape, data.dtype)
            out[...] = data
            t = wrap(out)
        else:
            t = self.clone()
        if self._rg and STATE.grad:
            t._node, t._rg = self._node, True
        return t

    def _rewindow(self, offset):
        """The same window after the storage got other memory; one that lies outside it has no values until that grows."""
        data = self._data
        strides = element_strides(data)
        try:
            self._data = self._storage.window(data.dtype if data.__class__ is ndarray else self.dtype.np, data.shape, strides, offset)
        except RuntimeError:
            self._data = Window(data.shape, data.dtype, data.strides, offset, self.device)

    # ---- what it is
    @property
    def shape(self):
        """The sizes of its dimensions."""
        return tuple.__new__(Size, self._data.shape)

    @property
    def dtype(self):
        """The type of its elements."""
        return D.BY_NUM[self._data.dtype.num]

    @property
    def device(self):
        """Where its memory is."""
        data = self._data
        return device_.CPU if data.__class__ is ndarray else data.device

    @property
    def ndim(self):
        """The number of dimensions."""
        return self._data.ndim

    def dim(self):
        """The number of dimensions."""
        return self._data.ndim

    ndimension = dim

    def numel(self):
        """The number of elements."""
        return self._data.size

    nelement = numel

    def size(self, dim=None):
        """The shape, or the size of one dimension."""
        if dim is None:
            return tuple.__new__(Size, self._data.shape)
        shape = self._data.shape
        n = len(shape)
        if type(dim) is not int or not -n <= dim < n:
            from_range = f"[{-max(n, 1)}, {max(n, 1) - 1}]"
            if n == 0:
                raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
            if not hasattr(dim, "__index__"):
                raise TypeError(f"size(): argument 'dim' must be int, not {type(dim).__name__}")
            dim = dim.__index__()
            if not -n <= dim < n:
                raise IndexError(f"Dimension out of range (expected to be in range of {from_range}, but got {dim})")
        return shape[dim]

    def stride(self, dim=None):
        """The step in elements along each dimension, or along `dim`."""
        strides = element_strides(self._data)
        if not self._data.size and not any(strides):  # NumPy forgets them
            strides = dense(self._data.shape)
        if dim is None:
            return strides
        n = len(strides)
        if not -n <= dim < n:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-max(n, 1)}, {max(n, 1) - 1}], but got {dim})")
        return strides[dim]

    def storage_offset(self):
        """The number of elements between the start of its storage and its first element."""
        data = self._data
        if data.__class__ is not ndarray:
            return data.offset
        if self._storage is None or self._storage.memory.size == 0:
            return 0
        return (address(data) - self._storage.address()) // data.itemsize

    def data_ptr(self):
        """The address of its first element (0 where it has none)."""
        data = self._data
        return address(data) if data.size and (data.__class__ is ndarray or hasattr(data, "__array_interface__")) else 0

    def element_size(self):
        """Bytes per element."""
        return self._data.itemsize

    @property
    def itemsize(self):
        return self._data.itemsize

    @property
    def nbytes(self):
        return self._data.size * self._data.itemsize

    def is_contiguous(self, memory_format=None):
        """Whether elements lie in row-major order (or in the order of `memory_format`) without gaps."""
        shape, strides = self._data.shape, element_strides(self._data)
        order = getattr(memory_format, "order", None)
        if order is None:
            return is_dense(shape, strides) or not self._data.size
        if len(shape) != len(order):
            return False
        return is_dense([shape[i] for i in order], [strides[i] for i in order])

    def is_floating_point(self):
        return self.dtype.category == D.FLOAT

    def is_complex(self):
        return self._data.dtype.kind == "c"

    def is_signed(self):
        return self.dtype.is_signed

    @property
    def is_meta(self):
        return self.device.type == "meta"

    @property
    def is_cuda(self):
        return self.device.type == "cuda"

    @property
    def is_cpu(self):
        return self.device.type == "cpu"

    # kinds of tensor that do not exist here
    is_sparse = is_sparse_csr = is_quantized = is_mkldnn = is_nested = is_mps = is_xla = is_xpu = is_ipu = False
    is_vulkan = is_maia = is_mtia = is_hpu = False
    name = None

    def is_conj(self):
        """False: conj() is computed at once here."""
        return False

    def is_neg(self):
        return False

    def _is_zerotensor(self):
        return False

    def is_inference(self):
        """Whether it was made in inference mode."""
        return self._hist is None

    def is_shared(self):
        """Whether share_memory_() was called on its storage."""
        return self._storage is not None and self._storage.is_shared()

    @property
    def _version(self):
        storage = self._storage
        if self._hist is None:
            raise RuntimeError("Inference tensors do not track version counter.")
        return 0 if storage is None else storage.version

    # ---- history
    @property
    def requires_grad(self):
        """Whether operations on it are recorded for differentiation."""
        return self._rg if self._base is None else needs(self)

    @requires_grad.setter
    def requires_grad(self, flag):
        self.requires_grad_(flag)

    def requires_grad_(self, requires_grad=True):
        """Set whether it requires grad, in place, and return it. Only leaves can change, only float and complex can require."""
        requires_grad = bool(requires_grad)
        if self._node is not None and needs(self):
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph "
                    "that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self.dtype.category < D.FLOAT:
            raise RuntimeError(
                f"only Tensors of floating point and complex dtype can require gradients (this one is {self.dtype}; write x.float().requires_grad_())"
            )
        if requires_grad and self._hist is None and not STATE.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed. (write x.clone().requires_grad_())")
        self._rg = requires_grad
        return self

    @property
    def is_leaf(self):
        """Whether its gradient would be accumulated: made by the user, or not requiring grad."""
        if self._base is not None:
            refresh(self)
        return self._node is None

    @property
    def grad_fn(self):
        """The tape node that made it, or None for a leaf."""
        if self._base is not None:
            refresh(self)
        node = self._node
        return node.node if type(node) is Output else node

    @property
    def output_nr(self):
        node = self._node
        return node.index if type(node) is Output else 0

    @property
    def grad(self):
        """The gradient that backward has accumulated, or None."""
        g = self._grad
        if g is None and self._node is not None and needs(self) and not _retained(self, self._node):
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad is not filled by backward(): call .retain_grad() "
                "on it before backward(), or look at the leaf that it was made from, if that was meant.",
                UserWarning,
                stacklevel=2,
            )
        return g

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type '{type(value).__name__}'")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if not self._takes(value.dtype):
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{value.dtype.title}' to a tensor with grad_dtype '{self.dtype.title}': assigned grad has "
                    "data of a different type; write .to(x.dtype) behind it, or set x.grad_dtype"
                )
            if value._data.shape != self._data.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size '{list(self.shape)}': assigned grad has data of "
                    "a different size; the gradient of a tensor has its shape"
                )
            if value.device != self.device:
                raise RuntimeError(f"assigned grad has data located on a different device: {value.device} instead of {self.device}")
        self._grad = value

    @grad.deleter
    def grad(self):
        self._grad = None

    @property
    def grad_dtype(self):
        """The dtype that gradients of this leaf are converted to before they are accumulated; None takes them as they come."""
        if self.grad_fn is not None:
            raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
        hooks = self._hooks
        return self.dtype if hooks is None or hooks.grad_dtype == () else hooks.grad_dtype

    @grad_dtype.setter
    def grad_dtype(self, dtype):
        if self.grad_fn is not None:
            raise RuntimeError("grad_dtype can only be set on leaf tensors.")
        if dtype is not None and not isinstance(dtype, D.DType):
            raise RuntimeError(f"grad_dtype must be a torch.dtype or None, not {type(dtype).__name__}")
        if dtype is not None and self._grad is not None and self._grad.dtype is not dtype:
            raise RuntimeError(f"Cannot set grad_dtype to {dtype} while there is a gradient of {self._grad.dtype}; set .grad to None first")
        self._leaf_hooks().grad_dtype = dtype

    def _takes(self, dtype):
        """Whether a gradient of this dtype may be assigned."""
        hooks = self._hooks
        return dtype is self.dtype if hooks is None or hooks.grad_dtype == () else hooks.grad_dtype in (None, dtype)

    @property
    def data(self):
        """The same memory without history, and with a version of its own; assigning replaces the memory."""
        t = share(self, self._data)
        t._storage = Storage(self._shared().memory)
        return t

    @data.setter
    def data(self, value):
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._rg and value.dtype.category < D.FLOAT:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        version = self._version
        self._data = value._data
        self._storage = Storage(value._shared().memory)
        self._storage.version = version

    def detach(self):
        """The same memory and version, without history: not recorded, never requires grad."""
        return share(self, self._data)

    def detach_(self):
        """Forget the history of this very tensor."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._rg = None, False
        return self

    def retain_grad(self):
        """Keep the gradient of this non-leaf in `.grad` when backward comes through."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None:
            return
        node = self.grad_fn
        if node is not None:
            node._hooks().retain[self.output_nr] = weakref.ref(self)

    @property
    def retains_grad(self):
        """Whether retain_grad() was called on this non-leaf."""
        node = self.grad_fn
        if node is None or node.hooks is None:
            return False
        ref = node.hooks.retain.get(self.output_nr)
        return ref is not None and ref() is self

    def register_hook(self, hook):
        """Call hook(grad) when the gradient of this tensor is known; a returned tensor replaces it."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = self.grad_fn
        if node is None:
            return registered(self._leaf_hooks().tensor, hook)
        return registered(node._hooks().tensor.setdefault(self.output_nr, OrderedDict()), hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call hook(tensor) after a gradient has been added to the `.grad` of this leaf."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.grad_fn is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return registered(self._leaf_hooks().accumulated, hook)

    def _register_accumulated(self, hook):
        return registered(self._leaf_hooks().accumulated, hook)

    def _leaf_metadata(self):
        return self._leaf_hooks().metadata

    def _leaf_hooks(self):
        if self._hooks is None:
            self._hooks = LeafHooks()
        return self._hooks

    @property
    def _backward_hooks(self):
        return self._hooks.tensor if self._hooks is not None else None

    def _edge(self):
        return edge(self)

    def _is_view(self):
        return self._base is not None

    # ---- host
    def item(self):
        """Its single element as a Python number."""
        data = self._data
        if data.size != 1:
            raise RuntimeError(f"a Tensor with {data.size} elements cannot be converted to Scalar; shape {list(data.shape)}: reduce or index it first")
        if modes.diverted and STATE.backend is not None:
            return STATE.backend.item(self)
        if data.__class__ is not ndarray:
            if self.is_meta:
                raise RuntimeError(f"Tensor.item() cannot be called on {self.device} tensors: they have no data")
            data = data.host()
        value = data.item()
        return float(value) if data.dtype.kind == "V" else value

    def __bool__(self):
        data = self._data
        if data.size != 1:
            if data.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError(
                f"Boolean value of Tensor with more than one value is ambiguous (shape {list(data.shape)}); write .any() or .all()"
            )
        return bool(self.item())

    def __float__(self):
        if self._rg:
            once(
                "float",
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior: no gradient flows through a Python number.\n"
                "Consider using tensor.detach() first.",
                stacklevel=2,
            )
        value = self._number()
        if value.__class__ is complex and value.imag:
            raise RuntimeError(f"value cannot be converted to type double without overflow: {value} (write x.real or x.abs())")
        return float(value.real if value.__class__ is complex else value)

    def _number(self):
        """item() for the conversions to Python's numbers, which have an error of their own."""
        if self._data.size != 1:
            raise ValueError(f"only one element tensors can be converted to Python scalars (this one has shape {list(self._data.shape)})")
        return self.item()

    def __int__(self):
        value = self._number()
        if value.__class__ is complex:
            if value.imag:
                raise RuntimeError(f"value cannot be converted to type int64_t without overflow: {value}")
            value = value.real
        return int(value)

    def __complex__(self):
        return complex(self._number())

    def __index__(self):
        if self.dtype.category > D.INTEGER or self._data.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self):
        shape = self._data.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    __hash__ = object.__hash__  # by identity, in C

    @property
    def __cuda_array_interface__(self):
        raise AttributeError(
            f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()} If CUDA data is required use tensor.cuda() to copy tensor to device memory."
        )

    @classmethod
    def _make_subclass(cls, subclass, data, requires_grad=False):
        """A tensor of class `subclass` over the memory of `data`."""
        t = object.__new__(subclass)
        t._data, t._storage, t._base, t._hist = data._data, data._shared(), None, 0
        t._node = t._grad = t._hooks = None
        t._rg = False
        if requires_grad:
            t.requires_grad_(True)
        return t


published(Tensor, "Tensor")


_new = object.__new__


def wrap(data):
    """A plain tensor over fresh memory that nobody else has."""
    t = _new(Tensor)
    t._data = data
    t._storage = t._node = t._grad = t._base = t._hooks = None
    t._rg = False
    t._hist = 0
    if modes.diverted and STATE.inference:
        t._hist, t._storage = None, InferenceStorage(data)
    return t


def beside(x, array):
    """A plain tensor over fresh host memory, brought to the device of `x`."""
    data = x._data
    return wrap(array if data.__class__ is ndarray else data.beside(array))


def share(x, data):
    """A tensor over `data`, memory of x's storage, without history and not a view in the sense of the tape."""
    t = _new(Tensor)
    t._data = data
    t._storage = x._storage if x._storage is not None else x._shared()
    t._node = t._grad = t._base = t._hooks = None
    t._rg = False
    t._hist = x._hist and 0  # None stays None
    return t


def view_of(x, data):
    """A view of x over `data`, without a node yet; what must not be written to hands that on to its views."""
    t = _new(Tensor)
    t._data = data
    storage = x._storage
    if storage is None:
        storage = x._shared()
    t._storage = storage
    t._node = t._grad = t._hooks = None
    t._rg = False
    base, hist = x._base, x._hist
    t._base = x if base is None else base
    if hist is None:
        t._hist = None
        return t
    version = storage.version
    if hist < 0:
        t._hist = marked(-hist & 7, version)
    elif STATE.grad:
        t._hist = version
    else:
        t._hist = marked(INFERENCE_VIEW if STATE.inference else NO_GRAD_VIEW, version)
    return t


def _retained(x, node):
    """Whether retain_grad() was called on `x`, whose node is `node`."""
    hooks = getattr(node, "node", node).hooks
    ref = None if hooks is None else hooks.retain.get(getattr(node, "index", 0))
    return ref is not None and ref() is x


REGENERATE = None  # set by dispatch.py: gives a view whose base has a new history its as_strided node


def needs(x):
    """Whether `x` requires grad: by itself or, for a view, by its base."""
    return x._rg or x._base is not None and x._base._rg


def refresh(x):
    """Bring the node of a view up to date with its base; RuntimeError where that is forbidden."""
    base, hist = x._base, x._hist
    if hist is not None and (base._rg or x._node is not None) and hist != x._storage.version:
        REGENERATE(x)


def edge(x):
    """Where the gradient of `x` goes (tape.Node, Output, the leaf itself), or None.

    A view without a node that requires grad only because its base does leads nowhere, as in PyTorch.
    """
    base = x._base
    if base is not None:
        if not (x._rg or base._rg):
            return None
        refresh(x)
        if x._node is None and not x._rg:
            return NOWHERE
    elif not x._rg:
        return None
    node = x._node
    return x if node is None else node


__all__ = ["Tensor", "Node", "Window", "Hooks", "beside", "edge", "needs", "share", "view_of", "wrap"]
