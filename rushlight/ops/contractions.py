"""The contraction rows: products summed over shared indices. BLAS through NumPy; half types compute in float32.

Shape rules are stated as index letters where one row differs from another only by them. `addmm`, `addbmm`, `linear`
are products with an epilogue, so that a backend may fuse it.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.dtype import is_half
from rushlight.core.shape import broadcast
from rushlight.ops.families import checked, dtype_of
from rushlight.ops.op import Spec, row
from rushlight.ops.tiny import product


def same_dtype(op, x, y):
    """The common dtype; RuntimeError where PyTorch wants equal ones."""
    a, b = dtype_of(x), dtype_of(y)
    if a is not b:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {a.c_name} != {b.c_name} ({op.name} of {a} with {b}: convert one with .to({a}))"
        )
    return checked(op, a)


def _mm(op, args, attrs):
    x, y = args
    a, b = x._data.shape, y._data.shape
    if len(a) != 2:
        raise RuntimeError("self must be a matrix" + f" (mm of shapes {list(a)} and {list(b)}; use matmul for batches)")
    if len(b) != 2:
        raise RuntimeError("mat2 must be a matrix" + f" (mm of shapes {list(a)} and {list(b)}; use matmul for batches)")
    if a[1] != b[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a[0]}x{a[1]} and {b[0]}x{b[1]})")
    d = same_dtype(op, x, y)
    return Spec((a[0], b[1]), d, d.compute)


def _bmm(op, args, attrs):
    x, y = args
    a, b = x._data.shape, y._data.shape
    if len(a) != 3 or len(b) != 3:
        raise RuntimeError(f"batch1 must be a 3D tensor (bmm of shapes {list(a)} and {list(b)})")
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but got: [{b[0]}, {b[1]}]."
        )
    d = same_dtype(op, x, y)
    return Spec((a[0], a[1], b[2]), d, d.compute)


def _mv(op, args, attrs):
    x, y = args
    a, b = x._data.shape, y._data.shape
    if len(a) != 2 or len(b) != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {len(b)}, {len(a)}, {len(b)} (mv of shapes {list(a)} and {list(b)})")
    if a[1] != b[0]:
        raise RuntimeError(f"size mismatch, got input ({a[0]}), mat ({a[0]}x{a[1]}), vec ({b[0]})")
    d = same_dtype(op, x, y)
    return Spec((a[0],), d, d.compute)


def _dot(op, args, attrs):
    x, y = args
    a, b = x._data.shape, y._data.shape
    if len(a) != 1 or len(b) != 1:
        raise RuntimeError(f"1D tensors expected, but got {len(a)}D and {len(b)}D tensors")
    if dtype_of(x) is not dtype_of(y):
        raise RuntimeError(f"dot : expected both vectors to have same dtype, but found {dtype_of(x).title} and {dtype_of(y).title}")
    if a != b:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of elements, but got {a[0]} and {b[0]} elements respectively"
        )
    d = checked(op, dtype_of(x))
    return Spec((), d, d.compute)


def _matmul(op, args, attrs):
    x, y = args
    a, b = x._data.shape, y._data.shape
    if a[-1] != b[-2]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b[0]}, {a[-1]}] but got: [{b[0]}, {b[-2]}]."
            f" (matmul of shapes {list(a)} and {list(b)})"
        )
    d = same_dtype(op, x, y)
    return Spec((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]), d, d.compute)


def _scaled(op, args, product_shape):
    d = checked(op, dtype_of(args[1]))
    if dtype_of(args[0]) is not d:
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {dtype_of(args[0]).title} and {dtype_of(args[2]).title}")
    bias = args[0]._data.shape
    if broadcast(bias, product_shape) != tuple(product_shape):
        raise RuntimeError(
            f"The expanded size of the tensor ({product_shape[-1]}) must match the existing size ({bias[-1] if bias else 1}) at non-singleton dimension "
            f"{len(product_shape) - 1}.  Target sizes: {list(product_shape)}.  Tensor sizes: {list(bias)}"
        )
    return Spec(tuple(product_shape), d, d.compute)


def _affine(z, product, beta, alpha):
    """beta * z + alpha * product; a beta of 0 ignores z, NaN included."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return product + (z if beta == 1 else z * beta)


def _addbmm_spec(op, args, attrs):
    z, x, y = args
    b, n, m = _bmm(op, (x, y), attrs).shape
    return _scaled(op, args, (n, m))._replace(compute=None)


def _addbmm(z, x, y, beta, alpha):
    """One product for the whole batch; half types are rounded after each matrix, as PyTorch adds them one by one."""
    b, n, k = x.shape
    if not is_half(z):
        return _affine(z, x.transpose(1, 0, 2).reshape(n, b * k).dot(y.reshape(b * k, y.shape[2])), beta, alpha)
    half, out = z.dtype, np.broadcast_to(z, (n, y.shape[2])).astype(np.float32)
    if not b:
        return (out * np.float32(beta)).astype(half) if beta else np.zeros_like(out, half)
    for i in range(b):
        product = x[i].astype(np.float32).dot(y[i].astype(np.float32))
        out = _affine(out, product, beta if i == 0 else 1, alpha).astype(half).astype(np.float32)
    return out.astype(half)


def _linear(op, args, attrs):
    x, w = args[0]._data.shape, args[1]._data.shape
    if not x or x[-1] != w[-1]:
        rows = 1
        for n in x[:-1]:
            rows *= n
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x[-1] if x else 1} and {w[-1]}x{w[0]})")
    if dtype_of(args[0]) is not dtype_of(args[1]):
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {dtype_of(args[0]).title} and {dtype_of(args[1]).title}")
    d = checked(op, dtype_of(args[0]))
    return Spec((*x[:-1], w[0]) if len(w) > 1 else x[:-1], d, d.compute)


def _linear_numpy(x, w, b=None):
    if x.ndim > 2 and x.flags.c_contiguous:
        out = x.reshape(-1, x.shape[-1]).dot(w.T).reshape(*x.shape[:-1], *w.shape[:-1])
    else:
        out = x.dot(w.T)
    if b is not None:
        out += b
    return out


def _linear_w(g, x):
    if g.dim() == 2:
        return g.t().mm(x)
    if g.dim() == 1:
        return g.unsqueeze(1) * x
    return g.reshape(-1, g.shape[-1]).t().mm(x.reshape(-1, x.shape[-1]))


def _outer_rows(g):
    return g.reshape(-1, g.shape[-1]).sum(0)


# fmt: off
MM     = row("mm",     "contraction", _mm, dtypes="ifc",     autocast="lower", inputs=("x", "y"), numpy=product,                   grads=(lambda g, y: g.mm(y.t()), lambda g, x: x.t().mm(g)))
BMM    = row("bmm",    "contraction", _bmm, dtypes="ifc",    autocast="lower", inputs=("x", "y"), numpy=np.matmul,                 grads=(lambda g, y: g.bmm(y.transpose(1, 2)), lambda g, x: x.transpose(1, 2).bmm(g)))
MV     = row("mv",     "contraction", _mv, dtypes="ifc",     autocast="lower", inputs=("x", "y"), numpy=lambda x, y: x.dot(y),     grads=(lambda g, y: g.unsqueeze(1) * y, lambda g, x: x.t().mv(g)))
DOT    = row("dot",    "contraction", _dot, dtypes="ifc",    autocast="lower", inputs=("x", "y"), numpy=lambda x, y: x.dot(y),     grads=(lambda g, y: g * y, lambda g, x: g * x))
MATMUL = row("matmul", "contraction", _matmul, dtypes="ifc", autocast="lower", inputs=("x", "y"), numpy=np.matmul,                 grads=(lambda g, y: g.matmul(y.mT), lambda g, x: x.mT.matmul(g)), node="UnsafeViewBackward0",
             shown=(("BmmBackward0", ("ViewBackward0", ("ExpandBackward0", 0)), ("ViewBackward0", ("ExpandBackward0", 1))),))
ADDMM  = row("addmm",  "contraction", lambda op, a, k: _scaled(op, a, _mm(op, a[1:], k).shape), dtypes="ifc", autocast="lower", inputs=("z", "x", "y"),
             numpy=lambda z, x, y, beta, alpha: _affine(z, x.dot(y), beta, alpha),
             grads=(lambda g, beta: g * beta, lambda g, y, alpha: g.mm(y.t()) * alpha, lambda g, x, alpha: x.t().mm(g) * alpha))
ADDMV  = row("addmv",  "contraction", lambda op, a, k: _scaled(op, a, _mv(op, a[1:], k).shape), dtypes="ifc", autocast="lower", inputs=("z", "x", "y"),
             numpy=lambda z, x, y, beta, alpha: _affine(z, x.dot(y), beta, alpha),
             grads=(lambda g, beta: g * beta, lambda g, y, alpha: g.unsqueeze(1) * (y * alpha), lambda g, x, alpha: x.t().mv(g) * alpha))
BADDBMM = row("baddbmm", "contraction", lambda op, a, k: _scaled(op, a, _bmm(op, a[1:], k).shape), dtypes="ifc", autocast="lower", inputs=("z", "x", "y"),
             numpy=lambda z, x, y, beta, alpha: _affine(z, np.matmul(x, y), beta, alpha),
             grads=(lambda g, beta: g * beta, lambda g, y, alpha: g.bmm(y.transpose(1, 2)) * alpha, lambda g, x, alpha: x.transpose(1, 2).bmm(g) * alpha))
ADDBMM = row("addbmm", "contraction", _addbmm_spec, dtypes="ifc", autocast="lower", inputs=("z", "x", "y"), numpy=_addbmm,
             grads=(lambda g, beta: g * beta, lambda g, y, alpha: g.matmul(y.mT) * alpha, lambda g, x, alpha: x.mT.matmul(g) * alpha))
LINEAR = row("linear", "contraction", _linear, dtypes="ifc", autocast="lower", inputs=("x", "w", "b"), numpy=_linear_numpy,
             grads=(lambda g, w: g.matmul(w), _linear_w, _outer_rows), node="AddmmBackward0", shown=(2, 0, ("TBackward0", 1)))
LINEAR_BATCH = row("linear_batch", "contraction", _linear, dtypes="ifc", autocast="lower", inputs=("x", "w", "b"), numpy=_linear_numpy,
             grads=(lambda g, w: g.matmul(w), _linear_w, _outer_rows), node="ViewBackward0", shown=(("AddmmBackward0", 2, ("ViewBackward0", 0), ("TBackward0", 1)),))
LINEAR_PLAIN = row("linear_plain", "contraction", _linear, dtypes="ifc", autocast="lower", inputs=("x", "w"), numpy=_linear_numpy,
             grads=(lambda g, w: g.matmul(w), _linear_w), node="MmBackward0", shown=(0, ("TBackward0", 1)))
LINEAR_PLAIN_BATCH = row("linear_plain_batch", "contraction", _linear, dtypes="ifc", autocast="lower", inputs=("x", "w"), numpy=_linear_numpy,
             grads=(lambda g, w: g.matmul(w), _linear_w), node="UnsafeViewBackward0", shown=(("MmBackward0", ("ViewBackward0", 0), ("TBackward0", 1)),))
# fmt: on
