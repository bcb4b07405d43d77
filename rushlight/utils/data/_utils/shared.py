"""Shared memory: how the bytes of a batch get from a worker to the loop without being copied twice.

A worker owns blocks of shared memory and writes each batch into one of them; the loop has the same
block mapped and makes the batch's tensors on it where they lie. When the last tensor of a batch is
gone the block goes back to its worker with the next message (`Borrower`, `Lender`), so a steady loop
makes no memory, maps none and takes no page faults.

A block is a file without a name, handed over as a descriptor and closed on both sides as soon as it
is mapped. There is nothing that a killed process could leave behind, and no descriptor for each
tensor that a program keeps. Linux has such files in memory (memfd), outside of /dev/shm and its
limit; elsewhere, or where RUSHLIGHT_SHARED_MEMORY names a folder, it is a file that is deleted at
once. Its memory is reserved before anything is written: what does not fit is an OSError (`NoRoom`)
and not a bus error, and the batch then travels through the worker's socket.

Who keeps many batches gets copies: beyond `MOST_LENT` blocks in the program's hands, a batch is
copied out when it arrives and its block goes back at once.
"""

import collections
import ctypes
import os
import tempfile

import numpy as np

from rushlight.utils.data._utils.channel import can_pass_descriptors

__all__ = ["Block", "Borrower", "Lender", "NoRoom", "available", "make_file", "memory_left"]

ALIGN = 64
SMALL = 1 << 14  # bytes below which an array travels inside its message: keeping it holds no block
GRAIN = 1 << 16  # a block's size is a multiple
MOST_LENT = 48  # blocks of one worker that the program may hold before it gets copies
VARIABLE = "RUSHLIGHT_SHARED_MEMORY"

available = can_pass_descriptors and os.name == "posix"


class NoRoom(OSError):
    """Shared memory could not be reserved; the text says where, how much and what is there."""


def _place():
    """The folder of the files, or None for files in memory."""
    folder = os.environ.get(VARIABLE)
    if folder:
        return folder
    if hasattr(os, "memfd_create"):
        return None
    return "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


def make_file(size):
    """The descriptor of a file of `size` bytes without a name, its memory reserved, or NoRoom."""
    folder = _place()
    fd = -1
    try:
        if folder is None:
            fd = os.memfd_create("rushlight-loader", os.MFD_CLOEXEC)
        else:
            fd, path = tempfile.mkstemp(prefix="rushlight-loader-", dir=folder)
            os.unlink(path)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
        return fd
    except OSError as error:
        if fd >= 0:
            os.close(fd)
        raise NoRoom(error.errno, _no_room(error, folder, size)) from error


def _no_room(error, folder, size):
    where = "memory (memfd)" if folder is None else folder
    text = f"{size / 2**20:.1f} MB of shared memory in {where} could not be reserved: {error.strerror}"
    if folder is not None:
        try:
            disk = os.statvfs(folder)
            free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
            text += f" ({free / 2**20:.1f} MB of {total / 2**20:.1f} MB are free)"
        except OSError:
            pass
    return text


class _Mapping:
    """The C library's mmap: Python's keeps a descriptor open for each mapping."""

    def __init__(self):
        library = ctypes.CDLL(None, use_errno=True)
        self.map, self.unmap = library.mmap, library.munmap
        self.map.restype = ctypes.c_void_p
        size, offset = ctypes.c_size_t, ctypes.c_int64
        self.map.argtypes = [ctypes.c_void_p, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, offset]
        self.unmap.argtypes = [ctypes.c_void_p, size]


_MAPPING = []


class Block:
    """`size` bytes of a file, mapped; `array` is them as uint8. Unmapped with its last user."""

    __slots__ = ("id", "size", "address", "array", "__weakref__")

    def __init__(self, id, fd, size):
        """Map the file and close the descriptor."""
        if not _MAPPING:
            _MAPPING.append(_Mapping())
        self.id, self.size, self.address = id, size, None
        try:
            read_write, shared = 3, 1
            address = _MAPPING[0].map(None, size, read_write, shared, fd, 0)
            if address in (None, ctypes.c_void_p(-1).value):
                code = ctypes.get_errno()
                raise NoRoom(code, f"{size} bytes of shared memory cannot be mapped: {os.strerror(code)}")
        finally:
            os.close(fd)
        self.address = address
        self.array = np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)

    def __del__(self, mapping=_MAPPING):
        if self.address is not None:
            mapping[0].unmap(self.address, self.size)
            self.address = None


class _Lease:
    """A block in the hands of one batch's tensors: their arrays' common base."""

    __slots__ = ("block", "home", "__array_interface__")

    def __init__(self, block, home):
        self.block, self.home = block, home
        self.__array_interface__ = {
            "shape": (block.size,),
            "typestr": "|u1",
            "data": (block.address, False),
            "version": 3,
        }

    def __del__(self):
        self.home.append(self.block.id)


class Borrower:
    """The loop's side of one worker's blocks."""

    def __init__(self):
        self.blocks = {}
        self.returned = collections.deque()  # ids of blocks whose batch is gone (from any thread)
        self.lent = 0

    def add(self, id, fd, size):
        self.blocks[id] = Block(id, fd, size)

    def drop(self, ids):
        for id in ids:
            self.blocks.pop(id, None)

    def give_back(self):
        """The ids to tell the worker."""
        ids = []
        while self.returned:
            ids.append(self.returned.popleft())
        self.lent -= len(ids)
        return ids

    def views(self, refs):
        """uint8 arrays for (block, begin, end) of a batch, on the blocks or copied out of them."""
        ids = {id for id, _, _ in refs}
        self.lent += len(ids)
        copied = self.lent - len(self.returned) > MOST_LENT
        bases = {id: np.asarray(_Lease(self.blocks[id], self.returned)) for id in ids}
        found = [bases[id][begin:end] for id, begin, end in refs]
        return [v.copy() for v in found] if copied else found

    def close(self):
        self.blocks.clear()


class Lender:
    """The worker's side: free blocks, and the one that the batch being made is written into."""

    def __init__(self, keep):
        self.keep = keep  # free blocks to hold on to
        self.blocks, self.free = {}, []
        self.made, self.dropped = [], []  # to be told: (id, descriptor, size), ids
        self.reason = None  # why shared memory is not used, once it could not be had
        self._usual = 0  # bytes of the largest batch so far
        self._serial = 0
        self.begin()

    def begin(self):
        """A new batch."""
        self.used, self.at, self.total = [], 0, 0

    def returned(self, ids):
        for id in ids:
            block = self.blocks.get(id)
            if block is not None:
                self.free.append(block)
        while len(self.free) > self.keep:
            self._drop(self.free.pop(0))

    def _drop(self, block):
        del self.blocks[block.id]
        self.dropped.append(block.id)

    def _block(self, size):
        """A free block of at least `size` bytes, or a new one."""
        for wanted in (max(size, self._usual), size):
            fitting = [b for b in self.free if b.size >= wanted]
            if fitting:
                block = min(fitting, key=lambda b: b.size)
                self.free.remove(block)
                return block
        if self.free:
            # one that is too small makes room for a larger one
            smallest = min(self.free, key=lambda b: b.size)
            self.free.remove(smallest)
            self._drop(smallest)
        size = -(-max(size, self._usual) // GRAIN) * GRAIN
        fd = make_file(size)
        self._serial += 1
        kept = os.dup(fd)
        try:
            block = Block(self._serial, fd, size)
        except OSError:
            os.close(kept)
            raise
        self.blocks[block.id] = block
        self.made.append((block.id, kept, size))
        return block

    def take(self, size):
        """(block, begin) with room for `size` bytes, or None where there is none to be had."""
        if self.reason is not None:
            return None
        if not self.used or self.at + size > self.used[-1].size:
            try:
                self.used.append(self._block(size))
            except OSError as error:
                self.reason = error.strerror or str(error)
                return None
            self.at = 0
        begin, self.at = self.at, -(-(self.at + size) // ALIGN) * ALIGN
        self.total += size + ALIGN
        return self.used[-1], begin

    def empty(self, shape, dtype):
        """An uninitialised array in this batch's memory; None if it is small or there is no room."""
        size = dtype.itemsize
        for n in shape:
            size *= n
        if size < SMALL:
            return None
        found = self.take(size)
        if found is None:
            return None
        block, begin = found
        return block.array[begin : begin + size].view(dtype).reshape(shape)

    def place(self, raw):
        """(block, begin, end) of some bytes: where they lie already, or where they were copied to."""
        data = np.frombuffer(raw, np.uint8)
        address, size = data.__array_interface__["data"][0], data.nbytes
        for block in self.used:
            begin = address - block.address
            if 0 <= begin and begin + size <= block.size:
                return block.id, begin, begin + size
        found = self.take(size)
        if found is None:
            return None
        block, begin = found
        block.array[begin : begin + size] = data
        return block.id, begin, begin + size

    def finish(self, refs):
        """The batch is made: blocks that no reference names are free again."""
        self._usual = max(self._usual, self.total)
        named = {id for id, _, _ in refs}
        self.free += [b for b in self.used if b.id not in named]
        self.used = []

    def news(self):
        """(made, dropped) since the last message."""
        found = self.made, self.dropped
        self.made, self.dropped = [], []
        return found


def memory_left():
    """(bytes that can still be had, bytes in all) of the machine or the container; None, None
    where it cannot be read.
    """
    left = total = None
    try:
        with open("/proc/meminfo") as file:
            lines = dict(line.split(":", 1) for line in file)
        left, total = (int(lines[k].split()[0]) * 1024 for k in ("MemAvailable", "MemTotal"))
        with open("/sys/fs/cgroup/memory.max") as file:
            most = int(file.read())  # "max", no limit, is a ValueError
        with open("/sys/fs/cgroup/memory.current") as file:
            left, total = min(left, most - int(file.read())), min(total, most)
    except (OSError, KeyError, ValueError):
        pass
    return left, total
