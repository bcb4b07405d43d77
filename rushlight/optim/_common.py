"""What the update rules share: checks of hyper-parameters, and hyper-parameters that are tensors.

Invariant. A hyper-parameter may be a Python number or a one-element tensor. Arithmetic between them
keeps tensors (so that PyTorch's rounding in the tensor's dtype is kept); `number` makes the Python
number that an operation's scalar argument takes, and refuses to cut a gradient.
"""

import rushlight
from rushlight import Tensor


def require(ok, message: str) -> None:
    """Raise ValueError(message) unless ok."""
    if not ok:
        raise ValueError(message)


def check_nonnegative(what: str, value) -> None:
    require(0.0 <= value, f"Invalid {what}: {value}; expected a number >= 0")


def check_lr(
    lr, text: str = "Invalid learning rate: {}; expected a number >= 0, such as lr=1e-3"
) -> None:
    """A learning rate is a number >= 0 or a tensor of one such element."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element, but it has shape {tuple(lr.shape)}")
    require(0.0 <= lr, text.format(lr))


def check_betas(betas) -> None:
    for i in (0, 1):
        require(
            0.0 <= betas[i] < 1.0,
            f"Invalid beta parameter at index {i}: {betas[i]}; expected 0 <= beta < 1",
        )


def check_fused(fused, foreach, differentiable) -> None:
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def scalar_dtype():
    """The dtype of step counts: float64 where that is the default dtype, else float32."""
    wide = rushlight.get_default_dtype() == rushlight.float64
    return rushlight.float64 if wide else rushlight.float32


def scalar(x):
    """A hyper-parameter for arithmetic: a number as it is, a one-element tensor as a 0-dim one."""
    return x.reshape(()) if isinstance(x, Tensor) and x.ndim else x


def number(x):
    """The Python number of a hyper-parameter, for an operation's `alpha=` or `value=`."""
    if not isinstance(x, Tensor):
        return x
    if x.requires_grad:
        raise TypeError(
            "this optimizer reads lr as a Number, not Tensor, so no gradient can reach lr; "
            "pass lr.item(), or use "
            "SGD, Adam, AdamW, NAdam or RAdam with differentiable=True"
        )
    return x.item()
