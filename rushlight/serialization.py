"""torch.save and torch.load: PyTorch's own checkpoint files, in both directions.

A file is a zip archive, uncompressed: `data.pkl`, the pickled object in which each storage is a persistent id
`("storage", type, key, location, number of elements)`, and the bytes of storage `key` in `data/key`, aligned to 64 bytes
so that they can be mapped. Names in the pickle are PyTorch's (`torch._utils._rebuild_tensor_v2`), so PyTorch reads what
is written here and the other way round.

Invariants: storages are written once, however many tensors view them, and shared again after loading; a file at a path is
written beside it and renamed when it is whole, so that a crash leaves the old checkpoint or the new one; loading with
`weights_only=True` (the default) runs no code (_weights_only_unpickler.py).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import mmap as mmap_
import os
import pickle
import struct
import sys
import threading
import zipfile
import zlib

import numpy as np

import rushlight
from rushlight import _weights_only_unpickler as weights_only_
from rushlight.nn import parameter

Storage, TypedStorage = rushlight.UntypedStorage, rushlight.TypedStorage
_get_layout = rushlight._namespace("serialization")["_get_layout"]

DEFAULT_PROTOCOL = 2
ALIGNMENT = 64
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
add_safe_globals = weights_only_._add_safe_globals
get_safe_globals = weights_only_._get_safe_globals
clear_safe_globals = weights_only_._clear_safe_globals
safe_globals = weights_only_._safe_globals

#: names in files of what has another home here: (module, name) -> object
ELSEWHERE = {
    ("torch._utils", "_rebuild_parameter"): parameter._rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): parameter._rebuild_parameter_with_state,
    ("torch._C", "Generator"): rushlight.Generator,
}
_HOMES = {id(obj): home for home, obj in ELSEWHERE.items()}


class SourceChangeWarning(Warning):
    """The source of a pickled class has changed (old files only)."""


# ---- where storages belong -------------------------------------------------------------------------------------

_packages = []  # (priority, tagger, deserializer), lowest first


def register_package(priority, tagger, deserializer):
    """Enter a kind of device: tagger(storage) -> location or None, deserializer(storage, location) -> storage or None."""
    _packages.append((priority, tagger, deserializer))
    _packages.sort(key=lambda p: p[0])


def _restore_cuda(storage, location):
    if not location.startswith("cuda"):
        return None
    device = rushlight.device(location)
    if not rushlight.cuda.is_available():
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are running on a CPU-only machine, please "
            "use torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
        )
    count = rushlight.cuda.device_count()
    if (device.index or 0) >= count:
        raise RuntimeError(
            f"Attempting to deserialize object on CUDA device {device.index} but torch.cuda.device_count() is {count}. Please use torch.load with "
            "map_location to map your storages to an existing device."
        )
    return storage.cuda(device)


register_package(10, lambda s: "cpu" if s.device.type == "cpu" else None, lambda s, location: s if location == "cpu" else None)
register_package(20, lambda s: str(s.device) if s.device.type == "cuda" else None, _restore_cuda)
register_package(
    22,
    lambda s: "meta" if s.device.type == "meta" else None,
    lambda s, location: Storage(s.nbytes(), device="meta") if location == "meta" else None,
)


def location_tag(storage):
    """Where a storage is, as files say it: 'cpu', 'cuda:0'."""
    for _, tagger, _ in _packages:
        found = tagger(storage)
        if found:
            return found
    raise RuntimeError(f"don't know how to determine data location of {type(storage).__name__}")


def default_restore_location(storage, location):
    """A storage just read, on the device that the file names."""
    for _, _, deserializer in _packages:
        found = deserializer(storage, location)
        if found is not None:
            return found
    raise RuntimeError(f"don't know how to restore data location of {type(storage).__name__} (tagged with {location})")


def _restorer(map_location):
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, map_location.get(location, location))
    if isinstance(map_location, (str, rushlight.device)):
        return lambda storage, location: default_restore_location(storage, str(map_location))

    def restore(storage, location):
        found = map_location(storage, location)
        return default_restore_location(storage, location) if found is None else found

    return restore


# ---- saving ----------------------------------------------------------------------------------------------------


class _Pickler(pickle._Pickler):
    """Writes PyTorch's names, and storages as persistent ids. (Python's own pickler: the C one refuses other names.)"""

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = {}  # id of the memory -> (key, storage, dtype)

    def persistent_id(self, obj):
        if isinstance(obj, TypedStorage):
            storage, dtype, kind = obj._untyped_storage, obj.dtype, getattr(rushlight, obj._pickle_storage_type())
        elif isinstance(obj, Storage):
            storage, dtype, kind = obj, rushlight.uint8, Storage
        else:
            return None
        key, _, seen = self.storages.setdefault(storage._cdata, (str(len(self.storages)), storage, dtype))
        if seen is not dtype and storage.nbytes():
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        return ("storage", kind, key, location_tag(storage), storage.nbytes() // dtype.itemsize)

    def reducer_override(self, obj):
        if isinstance(obj, (rushlight.dtype, rushlight.memory_format)):
            return str(obj)[6:]
        return (_get_layout, (str(obj),)) if isinstance(obj, rushlight.layout) else NotImplemented

    def save_global(self, obj, name=None):
        home = _HOMES.get(id(obj))
        if home is None and isinstance(obj, (rushlight.dtype, rushlight.memory_format)):
            home = ("torch", name)
        if home is None:
            module = getattr(obj, "__module__", None) or ""
            if module.partition(".")[0] != "rushlight":
                return super().save_global(obj, name)
            home = ("torch" + module[len("rushlight") :], name or obj.__qualname__)
        if self.proto >= 4:
            self.save(home[0])
            self.save(home[1])
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + home[0].encode() + b"\n" + home[1].encode() + b"\n")
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch}


def _save_type(self, obj):
    """As Python's, but through this class's save_global."""
    if obj in (type(None), type(NotImplemented), type(...)):
        return pickle._Pickler.save_type(self, obj)
    return self.save_global(obj)


_Pickler.dispatch[type] = _save_type
_Pickler.dispatch[type(lambda: 0)] = _Pickler.save_global


def _write_archive(obj, file, name, protocol):
    """The archive `name` of obj, written to a seekable binary file."""
    data = io.BytesIO()
    pickler = _Pickler(data, protocol)
    pickler.dump(obj)
    data = data.getvalue()
    start = file.tell()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:

        def record(path, content):
            info = zipfile.ZipInfo(f"{name}/{path}")
            used = file.tell() - start + 30 + len(info.filename.encode()) + 4
            pad = -used % ALIGNMENT
            info.extra = b"FB" + struct.pack("<H", pad) + b"Z" * pad
            archive.writestr(info, content)

        record("data.pkl", data)
        record(".format_version", b"1")
        record(".storage_alignment", str(ALIGNMENT).encode())
        record("byteorder", sys.byteorder.encode())
        check = zlib.crc32(data)
        for key, storage, _ in pickler.storages.values():
            content = storage.cpu()._bytes()
            check = zlib.crc32(content, check)
            record(f"data/{key}", memoryview(content))
        record("version", b"3\n")
        record(".data/serialization_id", f"{zlib.crc32(name.encode()):020d}{check:020d}".encode())


@contextlib.contextmanager
def _whole_file(path):
    """A new file that takes the place of `path` when the block ends well, and is gone when it does not."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe
        with open(path, "wb") as file:
            whole = io.BytesIO()
            yield whole
            file.write(whole.getbuffer())
        return
    beside = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(beside, "wb+") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            os.chmod(beside, os.stat(path).st_mode & 0o7777)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    with contextlib.suppress(OSError):  # the name itself reaches the disk; not every system lets a folder be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def save(obj, f, pickle_module=pickle, pickle_protocol=DEFAULT_PROTOCOL, _use_new_zipfile_serialization=True, _disable_byteorder_record=False):
    """Write `obj` (a state_dict, tensors, containers of them, any picklable object) to a path or a binary file.

    The file is PyTorch's zip format. At a path it appears whole or not at all. AttributeError for an `f` that is neither.
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("torch.save writes the zip format only: leave _use_new_zipfile_serialization out (torch.load reads both)")
    if isinstance(f, (str, os.PathLike)):
        path = os.fspath(f)
        name = os.path.splitext(os.path.basename(path))[0] or "archive"
        if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
            raise RuntimeError(f"Parent directory {os.path.dirname(path)} does not exist.")
        with _whole_file(path) as file:
            _write_archive(obj, file, name, pickle_protocol)
        return
    if not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    whole = io.BytesIO()
    _write_archive(obj, whole, "archive", pickle_protocol)
    f.write(whole.getbuffer())


# ---- loading ---------------------------------------------------------------------------------------------------


def _ours(module, name):
    """What a file's global is here."""
    found = ELSEWHERE.get((module, name))
    if found is not None:
        return found
    if module == "torch" or module.startswith("torch."):
        module = "rushlight" + module[len("torch") :]
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _unpickled(data, persistent_load, pickle_module, weights_only, arguments):
    if weights_only:
        unpickler = weights_only_.Unpickler(data)
        unpickler.persistent_load = persistent_load
        try:
            return unpickler.load()
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(
                "Weights only load failed. Loading with weights_only=True runs no code, and this file asks for something outside the allow-list. If you "
                "trust where it comes from, allow the name below, or load with weights_only=False, which runs what the file says.\n\t"
                f"WeightsUnpickler error: {error}"
            ) from None

    class _Unpickler(pickle_module.Unpickler):
        def find_class(self, module, name):
            if module.partition(".")[0] == "torch":
                return _ours(module, name)
            return super().find_class(module, name)

        def persistent_load(self, pid):
            return persistent_load(pid)

    return _Unpickler(io.BytesIO(data), **arguments).load()


class _Storages:
    """persistent_load: the storage of a key, read once."""

    def __init__(self, read, restore, swapped):
        self.read, self.restore, self.swapped, self.found = read, restore, swapped, {}

    def __call__(self, pid):
        pid = tuple(p.decode("ascii") if isinstance(p, bytes) else p for p in pid)
        if pid[0] != "storage":
            raise RuntimeError(f"Unknown typename for persistent_load, expected 'storage' but got '{pid[0]}'")
        kind, key, location, count = pid[1:5]
        dtype = getattr(kind, "dtype", None) or rushlight.uint8
        if key not in self.found:
            storage = Storage(self.read(key, count * dtype.itemsize))
            if self.swapped and dtype.itemsize > 1:
                storage.byteswap(dtype)
            self.found[key] = self.restore(storage, location)
        found = self.found[key]
        if isinstance(found, TypedStorage):
            found = found._untyped_storage
        return TypedStorage(wrap_storage=found, dtype=dtype, _internal=True)


def _load_archive(file, restore, pickle_module, weights_only, path, arguments):
    """`path` is set where the storages are to be mapped from the file."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        prefix = names[0].split("/")[0]
        if f"{prefix}/constants.pkl" in names:
            raise RuntimeError("this is a TorchScript archive (torch.jit.save), which only PyTorch runs; save the model's state_dict there")
        order = archive.read(f"{prefix}/byteorder").decode() if f"{prefix}/byteorder" in names else sys.byteorder
        mapped = None
        if path is not None:
            with open(path, "rb") as whole:
                mapped = np.frombuffer(mmap_.mmap(whole.fileno(), 0, access=mmap_.ACCESS_COPY), np.uint8)

        def read(key, size):
            info = archive.getinfo(f"{prefix}/data/{key}")
            if mapped is not None and info.compress_type == zipfile.ZIP_STORED:
                at = info.header_offset
                name, extra = struct.unpack("<HH", mapped[at + 26 : at + 30].tobytes())
                at += 30 + name + extra
                return mapped[at : at + size]
            memory = np.empty(info.file_size, np.uint8)
            with archive.open(info) as entry:
                if entry.readinto(memoryview(memory)) != info.file_size:
                    raise RuntimeError(f"the record of storage {key} is cut off")
            return memory[:size]

        storages = _Storages(read, restore, order != sys.byteorder)
        return _unpickled(archive.read(f"{prefix}/data.pkl"), storages, pickle_module, weights_only, arguments)


def _one_pickle(file):
    """The bytes of the pickle that starts here, and the file behind it."""
    start = file.tell()
    for op, _, _ in weights_only_.pickletools.genops(file):
        if op.name == "STOP":
            break
    end = file.tell()
    file.seek(start)
    return file.read(end - start)


class _LegacyStorages:
    """The storages of the old format: their bytes stand behind the pickle, so memory is filled in afterwards."""

    def __init__(self, restore):
        self.restore, self.found = restore, {}

    def __call__(self, pid):
        pid = tuple(p.decode("ascii") if isinstance(p, bytes) else p for p in pid)
        kind, key, location, count, view = pid[1:6]
        dtype = getattr(kind, "dtype", None) or rushlight.uint8
        if view is not None:
            raise NotImplementedError("storages that are views of others (files of PyTorch before 0.4); save the file again with a newer PyTorch")
        if key not in self.found:
            memory = np.zeros(count * dtype.itemsize, np.uint8)
            self.found[key] = (memory, dtype, self.restore(Storage(memory), location))
        found = self.found[key][2]
        return TypedStorage(wrap_storage=found, dtype=dtype, _internal=True)


def _load_legacy(file, restore, pickle_module, weights_only, arguments):
    """PyTorch's format before 1.6: five pickles, then for each storage its length and its bytes."""

    def plain():
        return weights_only_.load(_one_pickle(file))

    if plain() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    if plain() != PROTOCOL_VERSION:
        raise RuntimeError("Invalid protocol version of the file")
    system = plain()
    storages = _LegacyStorages(lambda storage, location: storage)
    result = _unpickled(_one_pickle(file), storages, pickle_module, weights_only, arguments)
    for key in plain():
        memory, dtype, storage = storages.found[key]
        count = struct.unpack("<q", file.read(8))[0]
        memory[:] = np.frombuffer(file.read(count * dtype.itemsize), np.uint8)
        if system.get("little_endian", True) != (sys.byteorder == "little"):
            storage.byteswap(dtype)
        if restore(storage, "cpu") is not storage:
            raise NotImplementedError("map_location for files of the old format: load on the CPU and move the tensors")
    return result


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None, **pickle_load_args):
    """Read what torch.save wrote, here or in PyTorch, from a path or a seekable binary file.

    Args:
        map_location: a device for all storages, a dict of locations, or a function (storage, location) -> storage or None.
        weights_only: True (the default) builds tensors, numbers and containers and runs no code; False unpickles anything
            and so runs whatever the file says.
        mmap: map the storages of a file at a path into memory (copy on write) instead of reading them.

    Raises pickle.UnpicklingError for a name outside the allow-list, RuntimeError for a device that is not there.
    """
    if weights_only is None:
        weights_only = pickle_module is None and os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0").lower() not in ("1", "y", "yes", "true")
    if os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0").lower() in ("1", "y", "yes", "true"):
        weights_only = True
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    pickle_module = pickle_module or pickle
    pickle_load_args.setdefault("encoding", "utf-8")
    is_path = isinstance(f, (str, os.PathLike))
    restore = _restorer(map_location)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(f, "rb")) if is_path else f
        for needed in ("read", "seek", "tell"):
            if not hasattr(file, needed):
                raise AttributeError(
                    f"'{type(f).__name__}' object has no attribute '{needed}'. You can only torch.load from a file that is seekable. Please pre-load the "
                    "data into a buffer like io.BytesIO and try to load from it instead."
                )
        start = file.tell()
        head = file.read(4)
        file.seek(start)
        if not head:
            raise EOFError("the file is empty")
        if head == b"PK\x03\x04":
            if mmap and not is_path:
                raise ValueError("f must be a file path in order to use the mmap argument")
            return _load_archive(file, restore, pickle_module, weights_only, os.fspath(f) if mmap else None, pickle_load_args)
        if mmap:
            raise RuntimeError("mmap can only be used with files saved with `torch.save(..., _use_new_zipfile_serialization=True)`")
        if head[:1] != b"\x80":
            raise pickle.UnpicklingError("Weights only load failed. " * bool(weights_only) + f"this is no file of torch.save: it starts with {head!r}")
        return _load_legacy(file, restore, pickle_module, weights_only, pickle_load_args)


def get_unsafe_globals_in_checkpoint(f):
    """The names in a file that weights_only=True would refuse."""
    with zipfile.ZipFile(f) as archive:
        prefix = archive.namelist()[0].split("/")[0]
        return weights_only_.unsafe_globals(archive.read(f"{prefix}/data.pkl"))


__all__ = ["DEFAULT_PROTOCOL", "MAGIC_NUMBER", "PROTOCOL_VERSION", "SourceChangeWarning", "add_safe_globals", "clear_safe_globals",
           "default_restore_location", "get_safe_globals", "get_unsafe_globals_in_checkpoint", "load", "location_tag",
           "register_package", "safe_globals", "save"]  # fmt: skip
