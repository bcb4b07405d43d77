"""Where memory lives: `device('cpu')`, `device('cuda', 1)`, `device('meta')`.

A device is a value: equal when type and index are equal. Which backends exist is not known here.
"""

from __future__ import annotations

from rushlight.core.naming import Public, published

TYPES = ("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla",
         "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone")  # fmt: skip


class Device(metaclass=Public):
    """A place for tensors. `type` is its kind ('cpu', 'cuda', 'meta'), `index` its number or None."""

    __slots__ = ("type", "index")

    def __init__(self, type=None, index=None):
        if isinstance(type, Device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, int) and not isinstance(type, bool):
            type, index = ACCELERATOR, type
        elif not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be a string, an int or a device, not {_kind(type)}; write device('cpu') or device('cuda', 0)")
        text = type
        kind, colon, number = text.partition(":")
        if colon:
            if index is not None:
                raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {text}")
            if not number.isdigit() or (len(number) > 1 and number[0] == "0"):
                raise RuntimeError(f"Invalid device string: '{text}'")
            index = int(number)
        if kind not in TYPES:
            raise RuntimeError(f"Expected one of {', '.join(TYPES)} device type at start of device string: {text}")
        if index is not None and index < 0:
            raise RuntimeError(f"Device index must be non-negative, got {index}")
        set_type(self, kind)
        set_index(self, index)

    def __setattr__(self, name, value):
        raise AttributeError(f"attribute {name!r} of 'torch.device' objects is not writable")

    def __eq__(self, other):
        return isinstance(other, Device) and self.type == other.type and self.index == other.index

    def __hash__(self):
        return hash((self.type, self.index))

    def __repr__(self):
        return f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"

    def __str__(self):
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self):
        return (Device, (self.type,) if self.index is None else (self.type, self.index))

    def __call__(self, function):
        def decorated(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return decorated

    def __enter__(self):
        _stack.append(_default[0])
        set_default(self)
        return self

    def __exit__(self, *exc):
        set_default(_stack.pop())


published(Device, "device")
set_type, set_index = Device.type.__set__, Device.index.__set__
ACCELERATOR = "cuda"
CPU = Device("cpu")
META = Device("meta")
_default = [None]
_stack = []


def _kind(value):
    return value.__class__.__name__


def set_default(device):
    """Set the device that factory functions use when none is given; None means the CPU."""
    _default[0] = None if device is None else Device(device)


def get_default():
    """The device of factory functions when none is given."""
    return _default[0] or CPU


def resolve(device):
    """A Device from what users write: None (the default), a Device, a string, an index."""
    if device is None:
        return _default[0] or CPU
    return device if device.__class__ is Device else Device(device)
