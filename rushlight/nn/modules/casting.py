"""Casting: changing dtype, device and memory of everything a Module owns, in one walk.

`_apply` is the walk. A converted tensor is written into the existing Parameter through `.data`,
so that optimizers and other holders of the Parameter see the change; a buffer is replaced.
"""

from __future__ import annotations

import warnings

import rushlight
from rushlight import Tensor, no_grad

from ..parameter import Parameter
from .attributes import table

_TO_FORMS = """
 * (torch.device device = None, torch.dtype dtype = None, bool non_blocking = False, bool copy = \
False, *, torch.memory_format memory_format = None)
 * (torch.dtype dtype, bool non_blocking = False, bool copy = False, *, torch.memory_format \
memory_format = None)
 * (Tensor tensor, bool non_blocking = False, bool copy = False, *, torch.memory_format \
memory_format = None)
"""

_TO_NAMES = {
    "device": ("device", "dtype", "non_blocking", "copy"),
    "dtype": ("dtype", "non_blocking", "copy"),
    "tensor": ("tensor", "non_blocking", "copy"),
}


def _parse_to(args, kwargs):
    """The arguments of `to` in its three forms, as (device, dtype, non_blocking, memory_format)."""
    first = args[0] if args else None
    if isinstance(first, Tensor) or "tensor" in kwargs:
        form = "tensor"
    elif isinstance(first, rushlight.dtype):
        form = "dtype"
    else:
        form = "device"
    given = dict(zip(_TO_NAMES[form], args, strict=False))
    taken = given.keys() & kwargs.keys()
    given.update(kwargs)
    memory_format = given.pop("memory_format", None)
    right = (
        len(args) <= len(_TO_NAMES[form])
        and not taken
        and given.keys() <= set(_TO_NAMES[form])
        and isinstance(given.get("tensor"), (Tensor, type(None)))
        and isinstance(given.get("dtype"), (rushlight.dtype, type(None)))
        and isinstance(given.get("device"), (rushlight.device, str, int, type(None)))
        and isinstance(given.get("non_blocking", False), bool)
    )
    if not right:
        found = [type(a).__name__ for a in args]
        found += [f"{name}={type(a).__name__}" for name, a in kwargs.items()]
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({', '.join(found)}), but "
            f"expected one of:{_TO_FORMS}"
        )
    like = given.get("tensor")
    if like is not None:
        device, dtype = like.device, like.dtype
    else:
        device, dtype = given.get("device"), given.get("dtype")
        device = None if device is None else rushlight.device(device)
    return device, dtype, given.get("non_blocking", False), memory_format


class Casting:
    """The converting methods of Module."""

    def _apply(self, fn, recurse=True):
        """Replace every parameter, gradient and buffer by `fn` of it."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in list(self._parameters.items()):
            if param is None:
                continue
            with no_grad():
                converted = fn(param)
            grad = param.grad
            # Memory of another kind cannot come in by `.data`: then it takes a new Parameter.
            same_kind = param.is_meta == converted.is_meta
            if same_kind:
                param.data = converted
            else:
                param = Parameter(converted, param.requires_grad)
                table(self, "_parameters")[name] = param
            if grad is not None:
                with no_grad():
                    grad_converted = fn(grad)
                if same_kind:
                    grad.data = grad_converted
                else:
                    param.grad = grad_converted.requires_grad_(grad.requires_grad)
        buffers = table(self, "_buffers")
        for name, buffer in list(buffers.items()):
            if buffer is not None:
                buffers[name] = fn(buffer)
        return self

    def to(self, *args, **kwargs):
        """Move and cast parameters and buffers, in place; returns the module.

        Forms: `to(device=None, dtype=None, non_blocking=False)`, `to(dtype)`, `to(tensor)`,
        `to(memory_format=torch.channels_last)`. The dtype must be floating point or complex and
        is applied to tensors of those kinds only; 4-d (5-d) tensors take the memory format.
        """
        device, dtype, non_blocking, memory_format = _parse_to(args, kwargs)
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(
                    "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                    f"dtype={dtype}"
                )
            if dtype.is_complex:
                warnings.warn(
                    "Complex modules are a new feature: some modules might not work as expected "
                    "when using complex tensors as parameters or buffers.",
                    stacklevel=2,
                )

        place = {} if device is None else {"device": device, "non_blocking": non_blocking}

        def convert(x):
            options = dict(place)
            if dtype is not None and (x.is_floating_point() or x.is_complex()):
                options["dtype"] = dtype
            if memory_format is not None and x.dim() in (4, 5):
                options["memory_format"] = memory_format
            try:
                return x.to(**options) if options else x
            except NotImplementedError as error:
                if str(error) != "Cannot copy out of meta tensor; no data!":
                    raise
                raise NotImplementedError(
                    f"{error} Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                ) from None

        return self._apply(convert)

    def to_empty(self, *, device, recurse=True):
        """Move to `device` without copying: the values are arbitrary afterwards."""
        return self._apply(lambda x: rushlight.empty_like(x, device=device), recurse=recurse)

    def cuda(self, device=None):
        """Move parameters and buffers to a CUDA device."""
        return self._apply(lambda x: x.cuda(device))

    def cpu(self):
        """Move parameters and buffers to the CPU."""
        return self._apply(lambda x: x.cpu())

    def type(self, dst_type):
        """Cast all parameters and buffers to `dst_type`."""
        return self._apply(lambda x: x.type(dst_type))

    def float(self):
        """Cast floating point parameters and buffers to float32."""
        return self._apply(lambda x: x.float() if x.is_floating_point() else x)

    def double(self):
        """Cast floating point parameters and buffers to float64."""
        return self._apply(lambda x: x.double() if x.is_floating_point() else x)

    def half(self):
        """Cast floating point parameters and buffers to float16."""
        return self._apply(lambda x: x.half() if x.is_floating_point() else x)

    def bfloat16(self):
        """Cast floating point parameters and buffers to bfloat16."""
        return self._apply(lambda x: x.bfloat16() if x.is_floating_point() else x)

    def share_memory(self):
        """Move the storage of all parameters and buffers into shared memory."""
        return self._apply(lambda x: x.share_memory_())
