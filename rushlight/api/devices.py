"""Where tensors are made: allocation and moves between devices.

`allocate`, `placed` and `moved` are all that the factory functions and conversions know of devices: 'cpu', 'meta', and
'cuda' where an accelerator is active (backends/accelerator.py).
"""

from __future__ import annotations

import os

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.backends import accelerator as accelerator_
from rushlight.backends import meta
from rushlight.backends.simulated import Simulated, SimulatedBackend
from rushlight.core import device as device_
from rushlight.core.window import Window
from rushlight.dispatch import BACKENDS
from rushlight.storage import ALLOCATORS
from rushlight.tensor import wrap

NO_GPU = "Torch not compiled with CUDA enabled: rushlight runs on the CPU here; write device='cpu' or leave .cuda() out"


def exact(device):
    """A device from what users write, with the index of the current one where they gave none; errors for what is not there."""
    device = device_.resolve(device)
    if device is device_.CPU or device.type in ("cpu", "meta"):
        return device
    if device.type != "cuda":
        raise NotImplementedError(f"device type {device.type!r} is not there; devices are {sorted({'cpu', 'cuda', 'meta'})}")
    accelerator = accelerator_.active()
    if accelerator is None:
        raise AssertionError(NO_GPU)
    if device.index is None:
        return device_.Device("cuda", accelerator.current)
    if device.index >= accelerator.count:
        raise RuntimeError(f"CUDA error: invalid device ordinal (cuda:{device.index}; there are {accelerator.count})")
    return device


def allocate(shape, dtype, device, fill):
    """A tensor made by fill(shape, dtype) on a device."""
    if device is None and device_._default[0] is None and not modes.diverted:
        return wrap(fill(shape, dtype.np))
    device = exact(device)
    if device.type == "cpu":
        return captured(wrap(fill(shape, dtype.np)))
    if device.type == "meta":
        return wrap(Window(shape, dtype.np, device=device))
    return wrap(accelerator_.active().upload(fill(shape, dtype.np), device))


def captured(x):
    """Fresh memory under an interposed backend is that backend's: a program that is run again starts from it anew."""
    if modes.diverted and STATE.backend is not None:
        return wrap(STATE.backend.constant(x._data))
    return x


def placed(x, device):
    """Tensor `x` (fresh, on the CPU) on the device asked for."""
    device = exact(device)
    return captured(x) if device.type == "cpu" else moved(x, device)


def moved(x, device):
    """A tensor with the values of `x` on another device (no history)."""
    data = x._data
    if device.type == "meta":
        return wrap(Window(data.shape, data.dtype, meta.strides_like(data, data.itemsize), device=device))
    if data.__class__ is not np.ndarray:
        if x.device.type == "meta":
            raise NotImplementedError(
                "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving module from meta to a different device."
            )
        data = data.host()
    return wrap(np.array(data, order="K") if device.type == "cpu" else accelerator_.active().upload(data, device))


BACKENDS["meta"] = meta.BACKEND
ALLOCATORS["meta"] = lambda shape, dtype, device: Window(shape, dtype, device=device)


def use(accelerator, backend=None):
    """Make an accelerator the one behind 'cuda'; None takes it away again."""
    accelerator_.activate(accelerator)
    if accelerator is None:
        BACKENDS.pop("cuda", None), ALLOCATORS.pop("cuda", None)
        return
    BACKENDS["cuda"] = backend
    ALLOCATORS["cuda"] = lambda shape, dtype, device: accelerator.allocate(shape, dtype, exact(device))


def simulate(count):
    """Pretend that there are `count` CUDA devices (RUSHLIGHT_SIMULATE_CUDA does it from the start); 0 ends it."""
    simulated = Simulated(count)
    use(simulated if count else None, SimulatedBackend(simulated))


simulate(int(os.environ.get("RUSHLIGHT_SIMULATE_CUDA") or 0))
