"""Arrays on disk, row by row: NumPy's files mapped into memory, so that only what is asked for is read."""

import os

import numpy

import rushlight
from rushlight.utils.data import Dataset

__all__ = ["MemoryMap"]


class MemoryMap(Dataset):
    """The rows (first dimension) of `.npy` files, or of raw files with a shape and dtype.

    arrays: a path, or a dict from name to path; of one path a sample is a tensor, of a dict a dict of
    tensors. dtype, shape: of a raw file (shape may begin with -1). The files stay on disk: a batch
    reads its rows, and all workers share what the system keeps of them in memory.
    """

    def __init__(self, arrays, *, dtype=None, shape=None) -> None:
        self.single = not isinstance(arrays, dict)
        self.paths = {None: arrays} if self.single else dict(arrays)
        self.paths = {name: os.fspath(path) for name, path in self.paths.items()}
        if isinstance(dtype, rushlight.dtype):
            dtype = rushlight.empty(0, dtype=dtype).numpy().dtype
        self.dtype, self.shape = dtype, shape
        self._open()
        lengths = {name: len(array) for name, array in self.maps.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the arrays have different numbers of rows: {lengths}")
        self._length = next(iter(lengths.values()))

    def _open(self):
        self.maps = {name: self._map(path) for name, path in self.paths.items()}

    def _map(self, path):
        if path.endswith(".npz"):
            raise ValueError(f"{path} is an archive, which cannot be mapped; numpy.save each array")
        if self.dtype is None:
            found = numpy.load(path, mmap_mode="r", allow_pickle=False)
        else:
            shape = self.shape
            if shape is not None and shape[0] == -1:
                row = int(numpy.prod(shape[1:])) * numpy.dtype(self.dtype).itemsize
                shape = (os.path.getsize(path) // row, *shape[1:])
            found = numpy.memmap(path, dtype=self.dtype, mode="r", shape=shape)
        if found.ndim == 0:
            raise ValueError(f"{path} holds one number and no rows")
        return found

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index):
        # a copy: the map cannot be written to, and a tensor can
        row = {name: rushlight.as_tensor(numpy.array(m[index])) for name, m in self.maps.items()}
        return row[None] if self.single else row

    def __getitems__(self, indices):
        order = numpy.asarray(indices)
        columns = [rushlight.from_numpy(m[order]) for m in self.maps.values()]
        if self.single:
            return list(columns[0])
        return [dict(zip(self.maps, row)) for row in zip(*columns)]

    def __getstate__(self):
        # a pickled map would be the data itself
        return {k: v for k, v in self.__dict__.items() if k != "maps"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._open()
