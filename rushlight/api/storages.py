"""Storages with a dtype: `torch.TypedStorage`, `torch.FloatStorage` and its sisters, and the methods that give storages.

The bytes are an UntypedStorage (storage.py); a typed one reads and writes numbers in it. Typed storages are kept for the
programs and checkpoint files that name them; new programs use `untyped_storage()`.
"""

from __future__ import annotations

import warnings

import numpy as np

from rushlight import storage as storage_
from rushlight.bind import FUNCTIONS, method
from rushlight.core import dtype as D
from rushlight.core.device import resolve
from rushlight.core.naming import Public, published
from rushlight.storage import Storage, host, strided_bytes
from rushlight.tensor import wrap


def _warn():
    warnings.warn(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. This should only matter to you "
        "if you are using storages directly.  To access UntypedStorage directly, use tensor.untyped_storage() instead of tensor.storage()",
        UserWarning,
        stacklevel=3,
    )


class TypedStorage(metaclass=Public):
    """A row of numbers of one dtype: TypedStorage(n), TypedStorage([1, 2], dtype=...), TypedStorage(wrap_storage=untyped, dtype=...)."""

    is_sparse = False
    dtype = None

    def __init__(self, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        if not _internal:
            _warn()
        dtype = dtype or type(self).dtype or D.get_default_dtype()
        if wrap_storage is not None:
            if args:
                raise RuntimeError("No positional arguments should be given when using 'wrap_storage'")
            if not isinstance(wrap_storage, Storage):
                raise TypeError(f"Argument 'wrap_storage' must be UntypedStorage, but got {type(wrap_storage)}")
        elif len(args) > 1:
            raise RuntimeError(f"Too many positional arguments: {len(args)}; write TypedStorage(length) or TypedStorage([values])")
        elif not args or isinstance(args[0], int):
            wrap_storage = Storage((args[0] if args else 0) * dtype.itemsize, device=device)
        elif isinstance(args[0], Storage):
            wrap_storage = args[0]
        elif hasattr(args[0], "__iter__"):
            wrap_storage = FUNCTIONS["tensor"](list(args[0]), dtype=dtype, device=device)._shared()
        else:
            raise TypeError(f"Argument type not recognized: {type(args[0])}; write TypedStorage(length) or TypedStorage([values])")
        self._untyped_storage, self.dtype = wrap_storage, dtype

    # ---- what it is
    def __len__(self):
        return self._untyped_storage.nbytes() // self.dtype.itemsize

    size = _size = __len__

    def untyped(self):
        """The bytes."""
        return self._untyped_storage

    def element_size(self):
        return self.dtype.itemsize

    def nbytes(self):
        return self._untyped_storage.nbytes()

    _nbytes = nbytes

    def data_ptr(self):
        return self._untyped_storage.data_ptr()

    _data_ptr = data_ptr

    def resizable(self):
        return True

    def is_shared(self):
        return self._untyped_storage.is_shared()

    def is_pinned(self, device=None):
        return False

    def get_device(self):
        return self._untyped_storage.get_device()

    device = property(lambda self: self._untyped_storage.device)
    is_cuda = property(lambda self: self._untyped_storage.is_cuda)
    filename = property(lambda self: self._untyped_storage.filename)
    _cdata = property(lambda self: self._untyped_storage._cdata)

    def pickle_storage_type(self):
        """The name of the typed class, such as 'FloatStorage'."""
        if self.dtype.legacy is None:
            raise KeyError(self.dtype)
        return self.dtype.legacy[:-6] + "Storage"

    _pickle_storage_type = pickle_storage_type

    def type(self, dtype=None, non_blocking=False):
        """Without an argument the name of its class; with one, a copy of that dtype."""
        if dtype is None:
            return f"torch.{'cuda.' if self.is_cuda else ''}{self.pickle_storage_type()}"
        return self._as(getattr(dtype, "dtype", dtype))

    # ---- numbers
    def _array(self):
        untyped = self._untyped_storage
        return strided_bytes(host(untyped.memory), self.dtype.np, (len(self),), (self.dtype.itemsize,), 0)

    def __getitem__(self, key):
        if isinstance(key, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not isinstance(key, int):
            raise RuntimeError(f"can't index a {type(self)} with {type(key)}")
        value = self._array()[self._place(key)]
        return value.item() if value.dtype.num < 256 else float(value)

    def _place(self, key):
        if not -len(self) <= key < len(self):
            raise IndexError(f"index {key} out of range for storage of size {len(self)}")
        return key

    def __setitem__(self, key, value):
        if not isinstance(key, (int, slice)):
            raise RuntimeError(f"can't index a {type(self)} with {type(key)}")
        self._tensor()[key if isinstance(key, slice) else self._place(key)] = value

    def _tensor(self):
        """A tensor over the whole of it."""
        untyped = self._untyped_storage
        t = wrap(untyped.window(self.dtype.np, (len(self),), (1,), 0))
        t._storage = untyped
        return t

    def __iter__(self):
        return iter(self.tolist())

    def tolist(self):
        """The numbers as a list."""
        return self._tensor().tolist()

    def fill_(self, value):
        """Set every number to `value`."""
        self._tensor().fill_(value)
        return self

    def copy_(self, source, non_blocking=False):
        """Write the bytes of another storage of the same length (nothing is converted)."""
        self._untyped_storage.copy_(source)
        return self

    def resize_(self, size):
        """Change the number of elements."""
        self._untyped_storage.resize_(size * self.dtype.itemsize)

    def _with(self, untyped):
        return TypedStorage(wrap_storage=untyped, dtype=self.dtype, _internal=True)

    def clone(self):
        """A copy."""
        return self._with(self._untyped_storage.clone())

    def cpu(self):
        """The storage on the CPU."""
        return self._with(self._untyped_storage.cpu())

    def cuda(self, device=None, non_blocking=False):
        """The storage on a CUDA device."""
        return self._with(self._untyped_storage.cuda(device))

    def to(self, *, device, non_blocking=False):
        """The storage on another device."""
        return self._with(self._untyped_storage.to(device=device))

    def pin_memory(self, device=None):
        return self._with(self._untyped_storage.pin_memory(device))

    def share_memory_(self):
        """See UntypedStorage.share_memory_."""
        self._untyped_storage.share_memory_()
        return self

    def _as(self, dtype):
        return TypedStorage(wrap_storage=self._tensor().to(dtype)._shared(), dtype=dtype, _internal=True)

    # ---- copies and names
    def __reduce_ex__(self, proto):
        return _typed, (self._untyped_storage, self.dtype)

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        return self._with(self._untyped_storage.__deepcopy__(memo))

    def __eq__(self, other):
        return isinstance(other, TypedStorage) and self._untyped_storage == other._untyped_storage

    __hash__ = None

    def __str__(self):
        values = "..." if self.device.type == "meta" else "\n ".join(map(str, self.tolist()))
        return f"{'' if values == '...' else ' '}{values}\n[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {len(self)}]"

    __repr__ = __str__


for _name, _dtype in {
    "float": D.float32, "double": D.float64, "half": D.float16, "bfloat16": D.bfloat16, "int": D.int32, "long": D.int64, "short": D.int16,
    "char": D.int8, "byte": D.uint8, "bool": D.bool_, "complex_float": D.complex64, "complex_double": D.complex128,
}.items():  # fmt: skip

    def _cast(self, _dtype=_dtype):
        return self._as(_dtype)

    def _cast_bytes(self, _dtype=_dtype):
        return _typed(self, D.uint8)._as(_dtype)

    for _owner, _f in ((TypedStorage, _cast), (Storage, _cast_bytes)):
        _f.__name__ = _f.__qualname__ = _name
        _f.__doc__ = f"The numbers as {_dtype}."
        setattr(_owner, _name, _f)


def _typed(untyped, dtype):
    """A typed storage over an untyped one (pickles call it)."""
    return TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)


published(TypedStorage, "TypedStorage", "rushlight.storage")
storage_.TypedStorage = TypedStorage


class _LegacyMeta(Public):
    """FloatStorage and its sisters: TypedStorages of one dtype."""

    def __instancecheck__(cls, x):
        if cls is _Legacy:
            return super().__instancecheck__(x)
        return isinstance(x, TypedStorage) and x.dtype is cls.dtype and x.is_cuda == cls.on_cuda


class _Legacy(TypedStorage, metaclass=_LegacyMeta):
    on_cuda = False

    def __new__(cls, *args, wrap_storage=None, dtype=None, device=None, _internal=False):
        device = device or ("cuda" if cls.on_cuda else None)
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=cls.dtype, device=device, _internal=_internal)


def _legacy(dtype, on_cuda):
    cls = _LegacyMeta(dtype.legacy[:-6] + "Storage", (_Legacy,), {"dtype": dtype, "on_cuda": on_cuda, "__doc__": f"TypedStorage of {dtype}."})
    return published(cls, cls.__name__, "rushlight.cuda" if on_cuda else "rushlight")


#: by dtype name: the classes that checkpoint files name
LEGACY = {d.name: _legacy(d, False) for d in D.ALL.values() if d.legacy}
for _d in D.ALL.values():
    if _d.legacy:
        FUNCTIONS[LEGACY[_d.name].__name__] = LEGACY[_d.name]
        FUNCTIONS[f"cuda.{LEGACY[_d.name].__name__}"] = _legacy(_d, True)
FUNCTIONS["UntypedStorage"], FUNCTIONS["TypedStorage"] = Storage, TypedStorage

# ---- methods of tensors ----------------------------------------------------------------------------------------


@method
def untyped_storage(self):
    """The storage that this tensor's memory belongs to."""
    return self._shared()


@method
def _typed_storage(self):
    """The storage with the tensor's dtype, without the warning of storage()."""
    return _typed(self._shared(), self.dtype)


@method
def storage(self):
    """The storage with the tensor's dtype (deprecated in favour of untyped_storage)."""
    _warn()
    return _typed(self._shared(), self.dtype)


@method
def storage_type(self):
    """The class of the typed storage, such as torch.FloatStorage."""
    return LEGACY[self.dtype.name]


@method
def share_memory_(self):
    """Mark the storage as shared (see UntypedStorage.share_memory_)."""
    self._shared().share_memory_()
    return self


def _new_shared(cls, size, *, device="cpu"):
    return Storage(np.zeros(size, np.uint8) if resolve(device).type == "cpu" else size, device=device).share_memory_()


Storage._new_shared = classmethod(_new_shared)


def _from_buffer(cls, buffer, byte_order=None, dtype=None, count=-1, offset=0):
    """The bytes of an object with the buffer protocol (a copy)."""
    data = np.frombuffer(buffer, np.uint8, count if count < 0 else count * (dtype.itemsize if dtype else 1), offset).copy()
    return Storage(data)


def _from_file(cls, filename, shared=False, nbytes=0):
    """The bytes of a file, mapped: writes go to the file if `shared`."""
    data = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,) if nbytes else None).view(np.ndarray)
    out = Storage(data)
    out.path = str(filename)
    return out


Storage.from_buffer, Storage.from_file = classmethod(_from_buffer), classmethod(_from_file)
