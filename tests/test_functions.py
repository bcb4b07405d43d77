"""Torch-level functions and methods against NumPy and against what they say of themselves."""

import numpy as np
import pytest

import rushlight as torch

X = np.arange(12.0, dtype=np.float32).reshape(3, 4) * 0.7 + 0.1
x = torch.from_numpy(X)

SAME_IN_NUMPY = [
    (lambda: torch.hstack((x, x)), lambda: np.hstack((X, X))),
    (lambda: torch.vstack((x, x)), lambda: np.vstack((X, X))),
    (lambda: torch.dstack((x, x)), lambda: np.dstack((X, X))),
    (lambda: torch.column_stack((x[0], x[1])), lambda: np.column_stack((X[0], X[1]))),
    (lambda: torch.rot90(x, 3), lambda: np.rot90(X, 3)),
    (lambda: torch.fliplr(x), lambda: np.fliplr(X)),
    (lambda: torch.vander(x[0]), lambda: np.vander(X[0])),
    (lambda: torch.diff(x, 2), lambda: np.diff(X, 2)),
    (lambda: torch.trapezoid(x), lambda: np.trapezoid(X)),
    (lambda: torch.gradient(x, spacing=2.0)[1], lambda: np.gradient(X, 2.0)[1]),
    (lambda: torch.gradient(x, edge_order=2)[0], lambda: np.gradient(X, edge_order=2)[0]),
    (lambda: torch.quantile(x, 0.3, 1), lambda: np.quantile(X, np.float32(0.3), 1)),
    (lambda: torch.take(x, torch.tensor([1, -1])), lambda: np.take(X, [1, -1])),
    (lambda: torch.take_along_dim(x, x.argsort(0), 0), lambda: np.sort(X, 0)),
    (lambda: torch.repeat_interleave(x, torch.tensor([1, 0, 2]), 0), lambda: np.repeat(X, [1, 0, 2], 0)),
    (lambda: torch.sinc(x), lambda: np.sinc(X)),
    (lambda: torch.deg2rad(x), lambda: np.deg2rad(X)),
    (lambda: torch.frexp(x)[0], lambda: np.frexp(X)[0]),
    (lambda: torch.block_diag(x[:, :1], x[:1]), lambda: np.block([[X[:, :1], np.zeros((3, 4), np.float32)], [np.zeros((1, 1), np.float32), X[:1]]])),
    (lambda: torch.logcumsumexp(x * 200, 1), lambda: np.logaddexp.accumulate(X * 200, 1)),
    (lambda: torch.sum(x, axis=0, keepdims=True), lambda: X.sum(0, keepdims=True)),
    (lambda: torch.maximum(x1=x, x2=x * 2), lambda: X * 2),
]


@pytest.mark.parametrize("ours, numpys", SAME_IN_NUMPY)
def test_as_numpy(ours, numpys):
    got, want = ours(), numpys()
    assert got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid(indexing):
    for got, want in zip(torch.meshgrid(x[0], x[:, 0], indexing=indexing), np.meshgrid(X[0], X[:, 0], indexing=indexing)):
        np.testing.assert_array_equal(got.numpy(), want)


def test_splits_are_views():
    y = torch.zeros(4, 6)
    torch.hsplit(y, 3)[1].fill_(1)
    assert y.sum() == 8 and y[0, 2:4].sum() == 2


@pytest.mark.parametrize(
    "scatter, view",
    [
        (lambda t, s: torch.select_scatter(t, s, 0, 1), lambda t: t[1]),
        (lambda t, s: torch.slice_scatter(t, s, 1, 1, 4, 2), lambda t: t[:, 1:4:2]),
        (lambda t, s: torch.diagonal_scatter(t, s), lambda t: t.diagonal()),
        (lambda t, s: torch.as_strided_scatter(t, s, (2, 2), (4, 1), 1), lambda t: t.as_strided((2, 2), (4, 1), 1)),
    ],
)
def test_window_scatters_write_where_the_view_reads(scatter, view):
    t = x.clone().requires_grad_()
    s = (view(x) * 0 + 5).detach().requires_grad_()
    out = scatter(t, s)
    assert (view(out) == 5).all() and t.grad is None
    g = torch.arange(12.0).reshape(3, 4)
    out.backward(g)
    inside = torch.zeros(3, 4)
    view(inside).fill_(1)
    assert torch.equal(s.grad, view(g))
    assert torch.equal(t.grad, g * (1 - inside))


def test_resize_keeps_what_fits():
    y = torch.arange(6.0)
    assert y.resize_(2, 2).tolist() == [[0, 1], [2, 3]]
    assert y.resize_(6)[:6].tolist() == [0, 1, 2, 3, 4, 5]
    y.resize_(10)
    assert y[:6].tolist() == [0, 1, 2, 3, 4, 5] and y.numel() == 10
    with pytest.raises(RuntimeError, match="require grad"):
        torch.ones(2, requires_grad=True).resize_(3)


def test_set_shares_memory():
    y, z = torch.arange(6.0), torch.empty(0)
    z.set_(y, 2, (2, 2), (2, 1))
    z.fill_(-1)
    assert y.tolist() == [0, 1, -1, -1, -1, -1]
    assert z.is_set_to(y.as_strided((2, 2), (2, 1), 2))


def test_python_functions_element_by_element():
    y = torch.tensor([1, 2, 3])
    assert y.apply_(lambda v: v * 10).tolist() == [10, 20, 30]
    assert y.map_(torch.tensor([1, 2, 3]), lambda a, b: a + b).tolist() == [11, 22, 33]
    with pytest.raises(RuntimeError, match="requires grad"):
        torch.ones(1, requires_grad=True).apply_(lambda v: v)


def test_index_put_adds_up():
    y = torch.zeros(3).index_put((torch.tensor([0, 0, 2]),), torch.ones(3), accumulate=True)
    assert y.tolist() == [2, 0, 1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduce, want", [("amax", [-1, 0]), ("amin", [-3, 0]), ("mean", [-2, 0]), ("prod", [3, 0])])
def test_reductions_into_half_types(dtype, reduce, want):
    y = torch.zeros(2, dtype=dtype).scatter_reduce(0, torch.tensor([0, 0]), torch.tensor([-1.0, -3.0], dtype=dtype), reduce, include_self=False)
    assert y.tolist() == want


def test_names_of_numpy_are_no_names_of_others():
    with pytest.raises(TypeError, match="axis"):
        x.sum(axis=0, dim=0)
    with pytest.raises(TypeError, match="foo"):
        torch.exp(x, foo=1)
    with pytest.raises(TypeError, match="must be Tensor, not numpy.ndarray"):
        torch.cumsum(X, 0)
    with pytest.raises(TypeError, match="'boundaries' .* must be Tensor, not list"):
        torch.bucketize(x, [1, 2])


def test_arrays_and_tensors():
    assert isinstance(x + X, torch.Tensor) and isinstance(np.exp(x), torch.Tensor)
    assert bool((x == X).all())
    with pytest.raises(TypeError):
        X * x


def test_settings_are_remembered():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.get_deterministic_debug_mode() == 1
    torch.use_deterministic_algorithms(False)
    with torch.backends.cudnn.flags(enabled=False):
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled and not torch.backends.mps.is_available()
    with pytest.raises(AttributeError):
        torch.backends.cuda.matmul.allow_tf23 = True


def test_dlpack():
    y = torch.arange(3.0)
    array = np.from_dlpack(y)
    array[0] = 7
    assert y[0] == 7 and torch.from_dlpack(y).data_ptr() == y.data_ptr()


def test_what_is_absent_says_so():
    with pytest.raises(NotImplementedError, match="to_sparse"):
        x.to_sparse()
    with pytest.raises(NotImplementedError, match="quantize_per_tensor"):
        torch.quantize_per_tensor(x, 1.0, 0, torch.int8)


def test_assert_close():
    torch.testing.assert_close({"a": [x, 1.0]}, {"a": [x.clone(), 1.0]})
    with pytest.raises(AssertionError, match=r"(?s)Mismatched elements: 1 / 12 .*index \(2, 3\).*item \['a'\]\[0\]"):
        y = x.clone()
        y[2, 3] += 1
        torch.testing.assert_close({"a": [x]}, {"a": [y]})
    with pytest.raises(ValueError, match="atol"):
        torch.testing.assert_close(x, x, rtol=1.0)


@pytest.mark.parametrize("a, b", [((3, 4), (1, 5)), ((3, 1), (4, 5)), ((4,), (1, 5)), ((1, 4), (1, 4))])
def test_small_products_do_not_spread_a_dimension_of_size_one(a, b):
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        torch.ones(a) @ torch.ones(b)
