"""torch.masked: reductions and normalizations of the elements where a mask is true.

Each is the plain function of the input with the masked-out elements replaced by what leaves the result as it is: 0 in a
sum, 1 in a product, -inf under a maximum. Where everything is masked out that number is the result (nan for a mean).
"""

import math

import rushlight

__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median", "norm", "normalize",
           "prod", "softmax", "softmin", "std", "sum", "var"]  # fmt: skip


def _dims(dim, ndim):
    """Dimension numbers as a tuple; None and () are all."""
    if dim is None or isinstance(dim, (tuple, list)) and not dim:
        return tuple(range(ndim))
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    for d in dims:
        if not -max(ndim, 1) <= d < max(ndim, 1):
            raise IndexError(f"Dimension out of range (expected to be in range of [{-max(ndim, 1)}, {max(ndim, 1) - 1}], but got {d})")
    dims = tuple(d % max(ndim, 1) for d in dims)
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim={max(d for d in dims if dims.count(d) > 1)} appears multiple times in the list of dims")
    return dims if ndim else ()


def _in(input, dtype):
    return input if dtype is None else input.to(dtype)


def _only(input, mask, fill):
    """The input with `fill` where the mask is false."""
    if mask is None:
        return input
    if not isinstance(mask, rushlight.Tensor):
        raise TypeError(f"mask must be a Tensor, not {type(mask).__name__}")
    return input.where(mask.to(rushlight.bool), rushlight.tensor(fill, dtype=input.dtype))


def _wide(input, dtype):
    """Integers of a sum or product as int64."""
    if dtype is None and not (input.is_floating_point() or input.is_complex()):
        dtype = rushlight.int64
    return _in(input, dtype)


def _lowest(dtype):
    return -math.inf if dtype.is_floating_point else 0 if dtype is rushlight.bool else rushlight.iinfo(dtype).min


def _highest(dtype):
    return math.inf if dtype.is_floating_point else 1 if dtype is rushlight.bool else rushlight.iinfo(dtype).max


def _float(input, dtype):
    """The dtype that a mean or norm is computed in."""
    if dtype is None and not (input.is_floating_point() or input.is_complex()):
        dtype = rushlight.get_default_dtype()
    return _in(input, dtype)


def _count(input, dims, keepdim, mask):
    ones = rushlight.ones_like(input, dtype=rushlight.int64, requires_grad=False)
    ones = _only(ones, mask, 0)
    return ones.sum(dims, keepdim) if dims else ones


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):  # noqa: A001
    """The sum over `dim` of the elements where `mask` is true."""
    x, dims = _only(_wide(input, dtype), mask, 0), _dims(dim, input.ndim)
    return x.sum(dims, keepdim, dtype=x.dtype) if dims else x.clone()


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The product over `dim` of the elements where `mask` is true."""
    x = _only(_wide(input, dtype), mask, 1)
    for d in sorted(_dims(dim, input.ndim), reverse=True):
        x = x.prod(d, keepdim)
    return x


def cumsum(input, dim, *, dtype=None, mask=None):
    """The running sum along `dim`; what is masked out counts as 0."""
    x = _only(input if dtype is None else input.to(dtype), mask, 0)
    return x.cumsum(dim, dtype=x.dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """The running product along `dim`; what is masked out counts as 1."""
    x = _only(input if dtype is None else input.to(dtype), mask, 1)
    return x.cumprod(dim, dtype=x.dtype)


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The largest element over `dim` where `mask` is true."""
    x = _in(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).amax(_dims(dim, input.ndim), keepdim)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The smallest element over `dim` where `mask` is true."""
    x = _in(input, dtype)
    return _only(x, mask, _highest(x.dtype)).amin(_dims(dim, input.ndim), keepdim)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The place of the largest element along `dim` where `mask` is true, as a number of the input's dtype."""
    x = _in(input, dtype)
    return _only(x, mask, _lowest(x.dtype)).argmax(dim, keepdim).to(x.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The place of the smallest element along `dim` where `mask` is true, as a number of the input's dtype."""
    x = _in(input, dtype)
    return _only(x, mask, _highest(x.dtype)).argmin(dim, keepdim).to(x.dtype)


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The mean over `dim` of the elements where `mask` is true; nan where there is none."""
    dims = _dims(dim, input.ndim)
    total = sum(input, dims, keepdim=keepdim, dtype=dtype, mask=mask) if dims else _only(_wide(input, dtype), mask, 0)
    return total / _count(input, dims, keepdim, mask)


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """The median along `dim` of the elements where `mask` is true; nan where there is none."""
    x = _in(input, dtype)
    if not x.is_floating_point():
        raise ValueError(f"input must be of floating point type for masked median, got {x.dtype}")
    dims = _dims(dim, input.ndim)
    if not dims and input.ndim == 0:
        return _only(x, mask, math.nan)
    return _only(x, mask, math.nan).nanmedian(dims[0], keepdim)[0]


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):  # noqa: A002
    """The vector norm over `dim` of the elements where `mask` is true."""
    x = _float(input, dtype)
    return rushlight.linalg.vector_norm(_only(x, mask, math.inf if ord < 0 else 0), ord, _dims(dim, input.ndim), keepdim)


def _spread(input, dim, unbiased, correction, keepdim, dtype, mask):
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    less = correction if correction is not None else 0 if unbiased is False else 1
    x, dims = _float(input, dtype), _dims(dim, input.ndim)
    count = _count(input, dims, True, mask)
    centre = sum(x, dims, keepdim=True, mask=mask) / count
    apart = x - centre
    squares = (apart * apart.conj()).real if x.is_complex() else apart * apart
    total = sum(squares, dims, keepdim=keepdim, mask=mask)
    count = count if keepdim else count.reshape(total.shape)
    return (total / (count - less).clamp(min=0) if less else total / count).to(x.dtype)


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The variance over `dim` of the elements where `mask` is true; divides by their number less `correction` (1)."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The standard deviation: the square root of var."""
    return _spread(input, dim, unbiased, correction, keepdim, dtype, mask).sqrt()


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """log(sum(exp(x))) over `dim` of the elements where `mask` is true."""
    x = _float(input, dtype)
    out = _only(x, mask, -math.inf).logsumexp(_dims(dim, input.ndim), keepdim)
    return out.to(dtype or input.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(exp(input) + exp(other)), either left out where its mask is false."""
    x, y = _in(input, dtype), _in(other, dtype)
    return rushlight.logaddexp(_only(x, input_mask, -math.inf), _only(y, other_mask, -math.inf))


def softmax(input, dim, *, dtype=None, mask=None):
    """softmax along `dim` over the elements where `mask` is true; the others get 0."""
    x = _in(input, dtype)
    return _only(x, mask, -math.inf).softmax(dim)


def log_softmax(input, dim, *, dtype=None, mask=None):
    """log_softmax along `dim` over the elements where `mask` is true."""
    x = _in(input, dtype)
    return _only(x, mask, -math.inf).log_softmax(dim)


def softmin(input, dim, *, dtype=None, mask=None):
    """softmax of -input."""
    x = _in(input, dtype)
    return (-_only(x, mask, math.inf)).softmax(dim)


def normalize(input, ord, dim, *, eps=1e-12, dtype=None, mask=None):  # noqa: A002
    """The elements where `mask` is true divided by their norm along `dim` (or eps, if that is larger)."""
    x = _float(input, dtype)
    size = norm(x, ord, dim, keepdim=True, mask=mask)
    return _only(x, mask, 0) / size.clamp(min=eps)
