"""torch.nn.attention: which kernels scaled_dot_product_attention may use.

On the CPU there are two: the fused row (FLASH_ATTENTION), which takes 4-d inputs without dropout, and
the composite of products and a softmax (MATH), which takes all. The other names can be chosen, and
attention then says that nothing is left.
"""

import enum
from contextlib import contextmanager

import rushlight

__all__ = [
    "SDPBackend",
    "WARN_FOR_UNFUSED_KERNELS",
    "activate_flash_attention_impl",
    "current_flash_attention_impl",
    "list_flash_attention_impls",
    "register_flash_attention_impl",
    "restore_flash_attention_impl",
    "sdpa_kernel",
]

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.Enum):
    """The kernels of scaled_dot_product_attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self):
        return self.value


_SWITCH = {
    SDPBackend.CUDNN_ATTENTION: "cudnn",
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.EFFICIENT_ATTENTION: "mem_efficient",
    SDPBackend.MATH: "math",
}


def _cur_sdpa_kernel_backends(with_priority=False):
    """The kernels that are allowed now."""
    return [
        b
        for b, name in _SWITCH.items()
        if getattr(rushlight.backends.cuda, f"{name}_sdp_enabled")()
    ]


@contextmanager
def sdpa_kernel(backends, set_priority=False):
    """Inside the block (or the decorated function) attention uses only these kernels.

    backends: an SDPBackend or a list of them. set_priority: the order of the list is the order of
    preference; without effect here, since the CPU's two kernels never take each other's place.
    Errors: AssertionError for anything else; attention raises RuntimeError where no kernel that is
    allowed takes its arguments.
    """
    chosen = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(chosen, list):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, "
            f"got {type(backends).__name__}"
        )
    before = _cur_sdpa_kernel_backends()
    _allow(chosen)
    try:
        yield {}
    finally:
        _allow(before)


def _allow(backends):
    for backend, name in _SWITCH.items():
        getattr(rushlight.backends.cuda, f"enable_{name}_sdp")(backend in backends)


def list_flash_attention_impls():
    """The names of flash attention kernels for GPUs that can be registered: none."""
    return []


def current_flash_attention_impl():
    """The flash attention kernel that is active: None, the built-in one."""
    return None


def register_flash_attention_impl(impl, *, register_fn):
    """Not implemented: kernels are not exchanged."""
    raise NotImplementedError(
        f"register_flash_attention_impl({impl!r}) is not implemented: there is one kernel"
    )


def activate_flash_attention_impl(impl):
    """Not implemented: kernels are not exchanged."""
    raise NotImplementedError(
        f"activate_flash_attention_impl({impl!r}) is not implemented: there is one kernel"
    )


def restore_flash_attention_impl(_raise_warn=True):
    """Back to the built-in flash attention kernel, which is always active."""
