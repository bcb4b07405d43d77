"""Ready-made parametrizations: orthogonal, weight_norm, spectral_norm."""

from __future__ import annotations

from enum import Enum, auto

import rushlight
from rushlight import Tensor, no_grad

from ..functional import normalize
from ..modules.module import Module
from . import parametrize
from ._norms import as_matrix, default_dim, norm_except, require_positive, scaled_direction

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _is_orthogonal(q):
    n, k = q.size(-2), q.size(-1)
    identity = rushlight.eye(k, dtype=q.dtype, device=q.device)
    eps = 10.0 * n * rushlight.finfo(q.dtype).eps
    return rushlight.allclose(q.mH @ q, identity, atol=eps)


def _make_orthogonal(a):
    """The orthogonal factor of `a` nearest in sign: q of qr with a positive diagonal of r."""
    q, r = rushlight.linalg.qr(a)
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """Maps a matrix (..., n, k) to one with orthonormal columns (rows when n < k).

    matrix_exp and cayley map a skew-symmetric matrix; householder multiplies reflections. With
    `use_trivialization` the result is `base @ map(x)`, base the last matrix that was assigned, so
    that any orthogonal matrix can be assigned (Lezcano-Casado, 2019).
    """

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X):
        n, k = X.size(-2), X.size(-1)
        transposed = n < k
        if transposed:
            X = X.mT
            n, k = k, n
        if self.orthogonal_map is _OrthMaps.householder:
            # The diagonal, +1 or -1, holds the signs of the columns; it gets no gradient.
            a = X.tril(diagonal=-1)
            tau = 2.0 / (1.0 + (a * a).sum(dim=-2))
            q = rushlight.linalg.householder_product(a, tau)
            q = q * X.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            q = self._from_skew(X.tril(), n, k)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if transposed else q

    def _from_skew(self, lower, n, k):
        if n != k:
            pad = lower.new_zeros(n, n - k).expand(*lower.shape[:-2], -1, -1)
            lower = rushlight.cat([lower, pad], dim=-1)
        skew = lower - lower.mH
        if self.orthogonal_map is _OrthMaps.matrix_exp:
            q = rushlight.matrix_exp(skew)
        else:  # (I - A/2)^-1 (I + A/2)
            identity = rushlight.eye(n, dtype=skew.dtype, device=skew.device)
            q = rushlight.linalg.solve(identity - 0.5 * skew, identity + 0.5 * skew)
        return q[..., :k] if n != k else q

    def right_inverse(self, Q):
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of "
                f"shape {Q.shape}."
            )
        start = Q
        n, k = Q.size(-2), Q.size(-1)
        transposed = n < k
        if transposed:
            Q = Q.mT
            n, k = k, n
        if not hasattr(self, "base"):
            return self._to_reflections(Q, transposed)
        if n == k:
            Q = Q.clone() if _is_orthogonal(Q) else _make_orthogonal(Q)
        else:
            rest = rushlight.randn(*Q.size()[:-2], n, n - k, dtype=Q.dtype, device=Q.device)
            Q = _make_orthogonal(rushlight.cat([Q, rest], dim=-1))
        self.base = Q
        # -I maps to the identity in all three maps' conventions; base alone remains.
        minus = rushlight.zeros_like(start)
        minus.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return minus

    def _to_reflections(self, q, transposed):
        if self.orthogonal_map is not _OrthMaps.householder:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley "
                "parametrizations when use_trivialization=False."
            )
        a, tau = rushlight.geqrf(q)
        signs = a.diagonal(dim1=-2, dim2=-1)
        signs.sign_()
        # A reflection of strength zero is the identity, of the other sign than LAPACK's others.
        signs[tau == 0.0] *= -1
        return a.mT if transposed else a


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keep the matrix (or batch of matrices) `name` orthogonal.

    Args:
        orthogonal_map: "matrix_exp", "cayley" or "householder"; None: matrix_exp for square or
            complex matrices, else householder.
        use_trivialization: allow any orthogonal matrix to be assigned, at the cost of a buffer.

    Returns the module.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    kind = getattr(_OrthMaps, orthogonal_map, None)
    if kind is None:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
            f"{orthogonal_map}"
        )
    orth = _Orthogonal(weight, kind, use_trivialization=use_trivialization)
    parametrize.register_parametrization(module, name, orth, unsafe=True)
    return module


class _WeightNorm(Module):
    """weight = g * v / |v|."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return scaled_direction(weight_v, weight_g, self.dim)

    def right_inverse(self, weight):
        return norm_except(weight, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Split parameter `name` into a magnitude (original0) and a direction (original1).

    Args:
        dim: the dimension that keeps a magnitude for each index; None: one magnitude for all.

    State dicts of the older `nn.utils.weight_norm` can be loaded. Returns the module.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename_old_keys(
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        old = [f"{prefix}{name}_{part}" for part in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename_old_keys)
    return module


class _SpectralNorm(Module):
    """weight / sigma, sigma its largest singular value by power iteration."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but "
                f"got {dim})"
            )
        require_positive(n_power_iterations)
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = as_matrix(weight, self.dim)
            height, width = matrix.size()
            u = matrix.new_empty(height).normal_(0, 1)
            v = matrix.new_empty(width).normal_(0, 1)
            self.register_buffer("_u", normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _power_method(self, matrix, n_power_iterations):
        with no_grad():
            for _ in range(n_power_iterations):
                u = normalize(rushlight.mv(matrix, self._v), dim=0, eps=self.eps)
                self._u.copy_(u)
                v = normalize(rushlight.mv(matrix.mH, self._u), dim=0, eps=self.eps)
                self._v.copy_(v)

    def forward(self, weight):
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # The tape keeps them; the next call must be free to change the buffers.
        u = self._u.clone()
        v = self._v.clone()
        return weight / rushlight.vdot(u, rushlight.mv(matrix, v))

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divide tensor `name` by its largest singular value, so that its spectral norm is 1.

    Args:
        n_power_iterations: steps of power iteration, each time it is read in training mode.
        eps: lower bound of norms that are divided by.
        dim: the dimension of the outputs; None: 1 for transposed convolutions, else 0.

    Returns the module. Miyato et al., 2018.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = default_dim(module)
    norm = _SpectralNorm(weight, n_power_iterations, dim, eps)
    parametrize.register_parametrization(module, name, norm)
    return module
