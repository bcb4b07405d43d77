"""What a tensor says about itself beyond shape and dtype, its old spellings, and what it is not (sparse, quantized).

A strided tensor answers questions about sparsity as PyTorch's does: dense dimensions only, nothing to coalesce. What
belongs to kinds of tensor that do not exist here raises and names it.
"""

from __future__ import annotations

import warnings

from rushlight.api import placing, products
from rushlight.api.creation import construct
from rushlight.api.shaping import _in_place_view
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.layout import strided
from rushlight.tensor import Tensor

# ---- where and how it is stored --------------------------------------------------------------------------------


@method
def get_device(self):
    """The index of its device; -1 for the CPU."""
    index = self.device.index
    return -1 if index is None and self.device.type == "cpu" else index or 0


@method
def is_distributed(self):
    """False: no tensor is spread over processes."""
    return False


@method
def const_data_ptr(self):
    """data_ptr() of memory that is only read."""
    return self.data_ptr()


METHODS["layout"] = property(lambda self: strided, doc="torch.strided: every tensor here is.")


@method
def is_pinned(self, device=None):
    """Whether the memory is page-locked for a GPU: never here."""
    return False


for _name, _text in {
    "xpu": (AssertionError, "Torch not compiled with XPU enabled"),
    "mtia": (AssertionError, "Torch not compiled with MTIA enabled"),
    "ipu": (RuntimeError, "PyTorch is not linked with support for ipu devices"),
}.items():

    def _elsewhere(self, device=None, non_blocking=False, memory_format=None, _error=_text):
        raise _error[0](_error[1])

    _elsewhere.__doc__ = f"Moves the tensor to {_name}; there is no such backend."
    _elsewhere.__name__ = _elsewhere.__qualname__ = _name
    method(_elsewhere)


# ---- the strided tensor among the sparse ones ------------------------------------------------------------------


@method
def to_dense(self, dtype=None, *, masked_grad=True):
    """The tensor itself, or in another dtype."""
    return self if dtype is None else self.to(dtype)


@method
def dense_dim(self):
    """All its dimensions."""
    return self._data.ndim


@method
def sparse_dim(self):
    """0."""
    return 0


def _not_sparse(name, layout):
    def f(self, *args, **kwargs):
        raise RuntimeError(f"{name} expected sparse {layout} but got Strided")

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{name} of a sparse tensor; RuntimeError, since this one is strided."
    return method(f)


for _name in ("coalesce", "is_coalesced", "indices", "_nnz", "_indices", "_values"):
    _not_sparse(_name, "coordinate tensor layout")
_not_sparse("values", "tensor layout")
for _name in ("crow_indices", "col_indices"):
    _not_sparse(_name, "row compressed tensor layout")
for _name in ("ccol_indices", "row_indices"):
    _not_sparse(_name, "column compressed tensor layout")


def _absent(name, what):
    def f(*args, **kwargs):
        raise NotImplementedError(f"{name} is not implemented: {what}")

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"NotImplementedError: {what}."
    return f


_SPARSE = "there are no sparse tensors here; keep the values strided, or use scipy.sparse"
for _name in (
    "to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr", "to_sparse_bsc", "sparse_mask", "sparse_resize_",
    "sparse_resize_and_clear_", "resize_as_sparse_", "smm", "sspaddmm", "to_padded_tensor", "_coalesced_",
):  # fmt: skip
    METHODS[_name] = _absent(f"Tensor.{_name}", _SPARSE)
for _name in (
    "sparse_coo_tensor", "sparse_csr_tensor", "sparse_csc_tensor", "sparse_bsr_tensor", "sparse_bsc_tensor", "sparse_compressed_tensor",
    "smm", "sspaddmm", "hspmm", "hsmm", "dsmm", "saddmm", "spmm", "resize_as_sparse_",
):  # fmt: skip
    FUNCTIONS[_name] = _absent(f"torch.{_name}", _SPARSE)
_QUANTIZED = "there are no quantized tensors here"
METHODS["qscheme"] = _absent("Tensor.qscheme", _QUANTIZED)
for _name in ("q_scale", "q_zero_point", "q_per_channel_scales", "q_per_channel_zero_points", "q_per_channel_axis", "int_repr"):
    METHODS[_name] = FUNCTIONS[_name] = _absent(_name, _QUANTIZED)
for _name in ("quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic"):
    FUNCTIONS[_name] = _absent(f"torch.{_name}", _QUANTIZED)
METHODS["to_mkldnn"] = _absent("Tensor.to_mkldnn", "there is no MKL-DNN layout here")
METHODS["chalf"] = _absent("Tensor.chalf", "complex32 has no arithmetic here; use cfloat() (complex64)")


@both
def dequantize(input):
    """The tensor in float32: what a tensor that is not quantized gives."""
    return input.to(D.float32)


# ---- shared with other libraries -------------------------------------------------------------------------------


# ---- old spellings ---------------------------------------------------------------------------------------------


@method
def new(self, *args, device=None):
    """torch.Tensor(...) with this tensor's dtype."""
    if len(args) == 1 and isinstance(args[0], Tensor):
        return args[0].detach()
    return construct(Tensor, *args, device=device, dtype=self.dtype)


@method
def __reversed__(self):
    """The first dimension reversed."""
    return self if self._data.ndim == 0 else self.flip(0)


METHODS["__div__"], METHODS["__rdiv__"], METHODS["__idiv__"] = (METHODS[n] for n in ("__truediv__", "__rtruediv__", "__itruediv__"))
METHODS["__long__"] = lambda self: int(self.item())
METHODS["__nonzero__"] = lambda self: bool(self)


def _volatile(self):
    """False, with a warning: it was removed."""
    warnings.warn("volatile was removed (Variable.volatile is always False)", UserWarning, stacklevel=2)
    return False


METHODS["volatile"] = property(_volatile)


@method
def reinforce(self, reward):
    """Removed from PyTorch: RuntimeError with what to write instead."""
    raise RuntimeError("reinforce() was removed.\nUse torch.distributions instead: m = Categorical(probs); action = m.sample(); loss = -m.log_prob(action) * reward")


@method
def module_load(self, other, assign=False):
    """What load_state_dict makes of `other` for this parameter: a detached alias with assign, else this tensor's memory filled."""
    return other.detach() if assign else self.detach().copy_(other)


@both
def _is_all_true(input):
    """all() of a bool tensor."""
    return _bool_only("_is_all_true", input).all()


@both
def _is_any_true(input):
    """any() of a bool tensor."""
    return _bool_only("_is_any_true", input).any()


def _bool_only(name, input):
    if input.dtype is not D.bool_:
        raise RuntimeError(f"{name}: expected a bool tensor, got {input.dtype}")
    return input


_in_place_view("as_strided_", FUNCTIONS["as_strided"])
METHODS["_conj"], METHODS["_conj_physical"], METHODS["_neg_view"] = METHODS["conj"], METHODS["conj_physical"], METHODS["neg"]


# ---- functions that write into their argument ------------------------------------------------------------------


def _as_functions():
    """torch.f_(x, ...) for the methods x.f_(...) that PyTorch also has as functions; `OWNERS` have published theirs by now."""
    for name in (
        "as_strided_", "clamp_", "clamp_max_", "clamp_min_", "clip_", "conj_physical_", "detach_", "fill_", "gcd_", "index_put_", "lcm_", "ldexp_",
        "negative_", "round_", "xlogy_", "square_", "relu_", "nan_to_num_", "logit_", "sinc_", "deg2rad_", "rad2deg_", "zero_", "addmv_",
    ):  # fmt: skip
        if name not in FUNCTIONS and name in METHODS:
            FUNCTIONS[name] = METHODS[name]


OWNERS = (placing, products)
_as_functions()


@function
def detach(input):
    """The same memory without history."""
    return input.detach()


FUNCTIONS["detach_"] = Tensor.detach_
