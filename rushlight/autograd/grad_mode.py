"""torch.autograd.grad_mode: the switches of recording, as torch also has them at its top."""

from rushlight import autograd

NAMES = (
    "no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "set_multithreading_enabled", "enforce_grad_layout_policy",
)  # fmt: skip
globals().update({name: getattr(autograd, name) for name in NAMES})

__all__ = [*NAMES]
