"""Where tensors are made: allocation and moves between devices.

`allocate` and `placed` are all that the factory functions know of devices. A backend for another kind of device enters
an allocator and a mover in MEMORY; 'cpu' and 'meta' are here.
"""

from __future__ import annotations

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.core import device as device_
from rushlight.core.window import Window
from rushlight.dispatch import BACKENDS
from rushlight.tensor import wrap

#: device type -> (allocate(shape, dtype, device, fill) -> data, move(tensor, device) -> data)
MEMORY = {}


def _meta_allocate(shape, dtype, device, fill):
    return Window(shape, dtype.np, device=device)


def _meta_move(x, device):
    data = x._data
    return Window(data.shape, data.dtype, data.strides, device=device)


MEMORY["meta"] = (_meta_allocate, _meta_move)


def allocate(shape, dtype, device, fill):
    """A tensor made by fill(shape, dtype) on a device."""
    device = device_.resolve(device)
    if device.type == "cpu":
        return captured(wrap(fill(shape, dtype.np)))
    return wrap(_memory(device)[0](shape, dtype, device, fill))


def captured(x):
    """Fresh memory under an interposed backend is that backend's: a program that is run again starts from it anew."""
    if modes.diverted and STATE.backend is not None:
        return wrap(STATE.backend.constant(x._data))
    return x


def placed(x, device):
    """Tensor `x` (fresh, on the CPU) on the device asked for."""
    device = device_.resolve(device)
    return captured(x) if device.type == "cpu" else wrap(_memory(device)[1](x, device))


def _memory(device):
    found = MEMORY.get(device.type)
    if found is None:
        if device.type == "cuda":
            raise AssertionError("Torch not compiled with CUDA enabled: rushlight runs on the CPU here; write device='cpu' or leave .cuda() out")
        raise NotImplementedError(f"device type {device.type!r} is not there; devices are {sorted(['cpu', *MEMORY])}")
    return found


def moved(x, device):
    """A tensor with the values of `x` on another device (no history)."""
    if device.type == "cpu":
        if x.device.type == "meta":
            raise NotImplementedError("Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving module from meta to a different device.")
        return wrap(np.array(BACKENDS[x.device.type].numpy(x)))
    return wrap(_memory(device)[1](x, device))
