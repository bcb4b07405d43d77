"""Storage: the only owner of aliasing. Tensors that share memory share one Storage, and so one version.

Most tensors never meet another that shares their memory, so a Storage is made when the first view, alias or in-place
op asks for it (`Tensor._shared()`); a tensor without one is at version 0. To users it is `torch.UntypedStorage`: a row
of bytes with a length, indexing and copies. `memory` is an ndarray on the CPU and a Window elsewhere.

Invariants: `version` only grows, by one for each in-place op on any tensor of the storage; `memory` is the array with
the storage's lowest address, and a tensor's offset is counted from there. `change`, where it is set, says what wrote to
it: (op, code object, instruction, the version that this made).
"""

from __future__ import annotations

import gc

import numpy as np

from rushlight.autograd import modes
from rushlight.core.device import CPU, resolve
from rushlight.core.naming import Public, published
from rushlight.core.window import Window

ndarray = np.ndarray
#: device type -> allocate(shape, NumPy dtype, device): uninitialised memory (api/devices.py enters the devices there are)
ALLOCATORS = {"cpu": lambda shape, dtype, device: np.empty(shape, dtype)}


class Storage(metaclass=Public):
    """Shared memory and its version: `UntypedStorage(n)` is n uninitialised bytes, `UntypedStorage([1, 2])` those given."""

    __slots__ = ("memory", "version", "change", "__weakref__", "__dict__")
    is_sparse = is_sparse_csr = is_hpu = False

    def __init__(self, memory=0, *, device=None):
        if memory.__class__ is not ndarray and not isinstance(memory, Window):
            memory = _bytes_of(memory, resolve(device))
        self.memory = memory
        self.version = 0

    # ---- what it is
    def address(self):
        """The address of the first byte."""
        return address(self.memory)

    def data_ptr(self):
        """The address of the first byte; 0 where there is none."""
        return address(self.memory) if self.memory.size and hasattr(self.memory, "__array_interface__") else 0

    def nbytes(self):
        """The bytes from the first to the last element."""
        memory = self.memory
        if memory.size == 0:
            return 0
        return sum((n - 1) * s for n, s in zip(memory.shape, memory.strides)) + memory.itemsize

    size = __len__ = nbytes

    @property
    def device(self):
        """Where the bytes are."""
        return CPU if self.memory.__class__ is ndarray else self.memory.device

    @property
    def is_cuda(self):
        return self.device.type == "cuda"

    @property
    def _cdata(self):
        """One number for each piece of memory, by which checkpoints tell storages apart."""
        return id(self.memory)

    @property
    def filename(self):
        """The file that the bytes are mapped from, or None."""
        return self.__dict__.get("path")

    def get_device(self):
        """The index of its device; -1 for the CPU."""
        return -1 if self.device.index is None else self.device.index

    def element_size(self):
        return 1

    def resizable(self):
        return True

    def untyped(self):
        return self

    def is_shared(self):
        """Whether share_memory_() was called on it."""
        return self.__dict__.get("shared", False)

    def share_memory_(self):
        """Accepted: the storage says from now on that it is shared. Processes made by fork() see a copy of it, as of all memory."""
        self.shared = True
        return self

    def is_pinned(self, device=None):
        """Whether the memory is page-locked for a GPU: never here."""
        return False

    def pin_memory(self, device=None):
        """A copy in page-locked memory; RuntimeError where there is no accelerator."""
        raise RuntimeError("Cannot access accelerator device when none is available. (leave pin_memory out on a machine without one)")

    def count(self, what):
        """Count an in-place change, and note the line of the program that asked for it, for error texts."""
        self.version = version = self.version + 1
        frame = modes.user_frame()
        if frame is not None:
            self.change = (what, frame.f_code, frame.f_lasti, version)

    # ---- bytes
    def _bytes(self):
        """The whole memory as one row of bytes; NotImplementedError where there is none."""
        memory = self.memory
        if memory.__class__ is not ndarray:
            memory = host(memory)
        return flat_bytes(memory) if memory.size else np.empty(0, np.uint8)

    def __getitem__(self, key):
        data = self._bytes()
        if isinstance(key, slice):
            if key.step not in (None, 1):
                raise RuntimeError(f"Trying to slice with a step of {key.step}, but only a step of 1 is supported")
            return Storage(data[key])
        return int(data[_index(key, len(data))])

    def __setitem__(self, key, value):
        data = self._bytes()
        if isinstance(value, int):
            value &= 255
        if isinstance(key, slice):
            if key.step not in (None, 1):
                raise RuntimeError(f"Trying to slice with a step of {key.step}, but only a step of 1 is supported")
            data[key] = value
        else:
            data[_index(key, len(data))] = value
        self.count("storage[...]")

    def __iter__(self):
        return iter(self.tolist())

    def tolist(self):
        """The bytes as a list of ints."""
        return self._bytes().tolist()

    def fill_(self, value):
        """Set every byte to `value`."""
        self._bytes()[:] = int(value) & 255
        self.count("storage.fill_")
        return self

    def copy_(self, src, non_blocking=False):
        """Write the bytes of another storage of the same length."""
        src = getattr(src, "_untyped_storage", src)
        if not isinstance(src, Storage):
            raise TypeError(f"copy_(): argument 'src' (position 1) must be torch.Storage, not {type(src).__name__}")
        if src.nbytes() != self.nbytes():
            raise RuntimeError(f"size does not match, self was {self.nbytes()} bytes but src was {src.nbytes()} bytes")
        if self.memory.__class__ is ndarray or self.device.type != "meta":
            self._bytes()[:] = src._bytes()
        self.count("storage.copy_")
        return self

    def clone(self):
        """A copy of the bytes, on the same device."""
        return Storage(self.nbytes(), device=self.device).copy_(self)

    def new(self):
        """An empty storage on the same device."""
        return Storage(0, device=self.device)

    def to(self, *, device, non_blocking=False):
        """The storage on another device; itself where it is there."""
        device = resolve(device)
        return self if device == self.device else Storage(self.nbytes(), device=device).copy_(self)

    def cpu(self):
        """The storage on the CPU; itself where it is there."""
        return self.to(device=CPU)

    def cuda(self, device=None, non_blocking=False):
        """The storage on a CUDA device."""
        return self.to(device=resolve("cuda:0" if device is None else device))

    def byteswap(self, dtype):
        """Reverse the bytes of each element of `dtype`, in place."""
        size = dtype.itemsize // (2 if dtype.is_complex else 1)
        data = self._bytes()
        data[:] = data.reshape(-1, size)[:, ::-1].reshape(-1)

    def type(self):
        """The name of its class."""
        return "torch.storage.UntypedStorage"

    def resize_(self, size):
        """Change the length in bytes; the first bytes stay. Tensors over the storage see the new memory.

        A storage keeps no list of its tensors, so the garbage collector is asked for them.
        """
        if size < 0:
            raise RuntimeError(f"a storage cannot have {size} bytes")
        have = self.nbytes()
        if size == have:
            return self
        old = self.memory
        kind = old.dtype if size % old.itemsize == 0 else np.dtype(np.uint8)
        new = ALLOCATORS[self.device.type]((size // kind.itemsize,), kind, self.device)
        if self.device.type != "meta":
            kept = min(size, have)
            host(new).view(np.uint8)[:kept] = flat_bytes(host(old))[:kept] if kept else 0
        offsets = [(t, t.storage_offset()) for t in gc.get_referrers(self) if hasattr(t, "_rewindow")]
        self.memory = new
        for t, offset in offsets:
            t._rewindow(offset)
        return self

    def window(self, dtype, shape, strides, offset):
        """An array over this memory; strides (in elements) and offset must lie inside, or RuntimeError."""
        itemsize = dtype.itemsize
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1
        if 0 not in shape and (last * itemsize > self.nbytes() or offset < 0):
            raise RuntimeError(
                f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {itemsize} requiring a "
                f"storage size of {last * itemsize} are out of bounds for storage of size {self.nbytes()}"
            )
        steps = tuple(s * itemsize for s in strides)
        memory = self.memory
        if memory.__class__ is not ndarray:
            return memory.windowed(dtype, shape, steps, offset)
        return strided_bytes(memory, dtype, shape, steps, offset)

    # ---- copies and names
    def __reduce_ex__(self, proto):
        memory = self.memory
        if memory.__class__ is not ndarray:
            memory = host(memory)
        elif not memory.flags.c_contiguous:  # NumPy would pickle its elements in another order
            memory = self.memory = flat_bytes(memory)
        return _stored, (memory, str(self.device))

    def __copy__(self):
        return self.clone()

    def __deepcopy__(self, memo):
        found = memo.get(self._cdata)
        if found is None:
            found = memo[self._cdata] = self.clone()
        return found

    def __eq__(self, other):
        return isinstance(other, Storage) and (self is other or self.memory is other.memory)

    def __hash__(self):
        return id(self.memory)

    def __str__(self):
        if self.device.type == "meta":
            values = "..."
        else:
            values = "\n ".join(map(str, self.tolist()))
        return f" {values}\n[torch.storage.UntypedStorage(device={self.device}) of size {len(self)}]" if values != "..." else f"...\n[torch.storage.UntypedStorage(device=meta) of size {len(self)}]"

    __repr__ = __str__


published(Storage, "UntypedStorage", "rushlight.storage")
UntypedStorage = Storage


def _stored(memory, device="cpu"):
    """The storage of a pickle."""
    storage = Storage(memory)
    return storage if device == "cpu" else storage.to(device=device)


def _bytes_of(values, device):
    """Memory of a length, or holding the bytes listed."""
    if isinstance(values, int):
        if values < 0:
            raise RuntimeError(f"a storage cannot have {values} bytes")
        return _allocator(device)((values,), np.dtype(np.uint8), device)
    bad = [v for v in values if not isinstance(v, int)] if hasattr(values, "__iter__") else None
    if bad is None:
        raise TypeError(f"torch.UntypedStorage() received an invalid combination of arguments - got ({type(values).__name__}); write UntypedStorage(length) or UntypedStorage([bytes])")
    if bad:
        raise RuntimeError(
            f"torch.UntypedStorage(): tried to construct a storage from a sequence ({type(values).__name__}), but one of the items was of type {type(bad[0]).__name__} instead of int"
        )
    memory = _allocator(device)((len(values),), np.dtype(np.uint8), device)
    if device.type != "meta":
        host(memory)[:] = [v & 255 for v in values]
    return memory


def _allocator(device):
    found = ALLOCATORS.get(device.type)
    if found is None:
        raise RuntimeError(f"there is no memory on {device} here; devices are {sorted(ALLOCATORS)}")
    return found


def _index(key, length):
    if not hasattr(key, "__index__"):
        raise TypeError(f"can't index a torch.UntypedStorage with {type(key).__name__}")
    i = key.__index__()
    if not -length <= i < length:
        raise IndexError(f"index {i} out of range for storage of size {length}")
    return i % length


def host(memory):
    """The ndarray that holds the bytes of `memory`; NotImplementedError for a Window without any."""
    return memory if memory.__class__ is ndarray else memory.host()


def strided_bytes(memory, dtype, shape, steps, offset):
    """A window on an ndarray's memory, counted in elements of `dtype` from its first byte; steps in bytes."""
    if 0 in shape and (memory.size == 0 or offset < 0 or offset * dtype.itemsize > memory.nbytes):
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, flat_bytes(memory), offset * dtype.itemsize, steps)


def flat_bytes(array):
    """The memory of an array, from its first byte to its last, as one row of bytes (no copy)."""
    size = sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8)
    return np.lib.stride_tricks.as_strided(array[(slice(0, 1),) * array.ndim].reshape(-1).view(np.uint8), (size,), (1,))


def address(array):
    """The address of an array's first element."""
    return array.__array_interface__["data"][0]
