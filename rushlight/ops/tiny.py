"""Products and inverses of tiny matrices in the order of plain loops.

PyTorch's BLAS treats tiny matrices with plain loops, without fused multiply-add, while NumPy's picks vector kernels that
add in another order. The difference is in the last digit, and it is what an introduction prints: `a @ a.inverse()`.
Here the loops' order is kept: sums over k from 0; elimination by reciprocals of the pivots (the last column of up to
4 rows divides); back substitution with the sum taken from the last column on. Checked bit for bit against torch 2.13.
"""

from __future__ import annotations

import numpy as np

try:
    from numpy._core.multiarray import c_einsum as _einsum
except ImportError:  # other versions of NumPy
    _einsum = np.einsum

PRODUCT_LIMIT, INVERSE_LIMIT = 8, 7  # beyond these PyTorch's library takes blocked kernels
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def product(x, y):
    """x @ y of two matrices."""
    n = y.shape[1]
    if 1 < n <= PRODUCT_LIMIT and x.shape[0] <= PRODUCT_LIMIT and x.dtype in _FLOATS and x.shape[1] == y.shape[0]:  # einsum would spread a 1
        return _einsum("ik,kj->ij", x, y)
    return x.dot(y)


def is_tiny(x):
    """Whether `inverse` takes x: one small square float matrix."""
    return x.ndim == 2 and 0 < x.shape[0] <= INVERSE_LIMIT and x.dtype in _FLOATS


def lu(x):
    """(LU, row order) by partial pivoting, or None where a pivot is zero or not finite."""
    a = x.copy()
    n = len(a)
    rows = list(range(n))
    for k in range(n):
        column = np.abs(a[k:, k])
        p = k + int(column.argmax())
        pivot = a[p, k]
        if not np.isfinite(pivot) or pivot == 0:
            return None
        if p != k:
            a[[k, p]] = a[[p, k]]
            rows[k], rows[p] = rows[p], rows[k]
        if k == n - 1:
            break
        if n <= 4 and k == n - 2:
            a[k + 1 :, k] /= pivot
        else:
            a[k + 1 :, k] *= 1 / pivot
        a[k + 1 :, k + 1 :] -= a[k + 1 :, k : k + 1] * a[k, k + 1 :]
    return a, rows


def inverse(x):
    """The inverse of a tiny matrix, or None where it has none."""
    found = lu(x)
    if found is None:
        return None
    a, rows = found
    n = len(a)
    out = np.eye(n, dtype=x.dtype)[rows]
    for k in range(n):
        out[k + 1 :] -= a[k + 1 :, k : k + 1] * out[k]
    for i in reversed(range(n)):
        total = np.zeros(n, x.dtype)
        for k in reversed(range(i + 1, n)):
            total += a[i, k] * out[k]
        out[i] = (out[i] - total) * (1 / a[i, i])
    return out
