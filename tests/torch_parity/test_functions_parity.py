"""Torch-level functions and methods against torch: one table of calls, each compared in result or in error.

A row is the text of an expression over `T` (the module), `x` (3 x 4 floats), `v` (longs 1, 2, 3), `i` (longs 0, 1)
and `np`. Results are compared by value, dtype and shape, errors by their type; where `GRADIENTS` names an expression
the gradient of its sum of squares with respect to `x` is compared too.
"""

import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytest.importorskip("torch.masked")

RESULTS = """
T.take(x, T.tensor([5, -1]))
T.take(x, T.tensor([12]))
T.take(x, i.float())
x.put(i, T.tensor([7., 8.]))
x.put(T.tensor([1, 1]), T.tensor([7., 8.]), accumulate=True)
x.put(i, T.tensor([7.]))
x.put(T.tensor([22]), T.tensor([7.]))
x.clone().put_(i, T.tensor([7., 8.]))
T.take_along_dim(x, x.argsort(1), 1)
T.take_along_dim(x, T.tensor([[-1, 0]]), 1)
T.take_along_dim(x, i)
T.take_along_dim(x, i, 0)
T.unravel_index(v, (2, 2))
T.unravel_index(x, (2, 2))
T.index_put(x, (i,), T.tensor(1.))
T.index_put(x, (T.tensor([0, 0]), T.tensor([1, 1])), T.tensor([1., 2.]), accumulate=True)
T.index_put(x, (i, i), T.tensor(1))
T.index_put(x, i, T.tensor(1.))
x.index_put((x > 3,), T.tensor(0.))
x.masked_scatter(x > 3, T.arange(12.))
x.masked_scatter(x > 3, T.arange(2.))
x.masked_scatter(x > 3, v)
T.nonzero_static(x, size=3)
T.nonzero_static(v, size=5, fill_value=-7)
T.nonzero_static(v, size=-1)
T.select_scatter(x, T.ones(3), 1, 2)
T.select_scatter(x, T.ones(4), 1, 2)
T.select_scatter(x, T.ones(3), 1, 7)
T.slice_scatter(x, T.ones(2, 4), 0, 0, 2)
T.slice_scatter(x, T.ones(2, 4), 0, 0, 2, -1)
x.slice_scatter(T.ones(3, 2), 1, 0, 4, 2)
T.diagonal_scatter(x, T.ones(3))
T.diagonal_scatter(x, T.ones(2))
T.as_strided_scatter(x, T.ones(3), (3,), (2,), 1)
T.index_reduce(x, 0, T.tensor([0, 0, 2]), x * 2, 'prod')
T.index_reduce(x, 0, T.tensor([0, 0, 2]), x * 2, 'mean', include_self=False)
T.index_reduce(x, 0, T.tensor([0, 0, 2]), x * 2, 'amax')
T.index_reduce(x, 0, i, x[:2], 'foo')
T.repeat_interleave(x, 2)
T.repeat_interleave(x, v, dim=0)
T.repeat_interleave(v)
T.repeat_interleave(x, v)
T.repeat_interleave(x, -2)
T.repeat_interleave(x, T.tensor([1, -2, 3]), 0)
T.segment_reduce(T.arange(4.), 'sum', lengths=T.tensor([1, 0, 3]))
T.segment_reduce(x, 'max', lengths=T.tensor([1, 2]))
T.atleast_1d(T.tensor(1.), v)
T.atleast_2d(v)
T.atleast_3d(x)
T.atleast_1d(1)
T.hstack((v, v))
T.hstack((x, x))
T.hstack(())
T.vstack((v, v))
T.dstack((v, v))
T.column_stack((v, v))
T.tensor_split(x, 3, 1)
T.tensor_split(x, [1, 2])
T.tensor_split(x, T.tensor([1, 2]))
T.tensor_split(x, 0)
T.hsplit(x, 2)
T.hsplit(x, 3)
T.vsplit(x, [1])
T.dsplit(x, 2)
T.meshgrid(v, i, indexing='ij')
T.meshgrid(v, i, indexing='xy')
T.meshgrid(v, i, indexing='k')
T.meshgrid(v, x, indexing='ij')
T.cartesian_prod(v, i)
T.cartesian_prod(x)
T.combinations(v)
T.combinations(v, 2, True)
T.combinations(v, 0)
T.combinations(x)
T.block_diag(x, v, T.tensor(3))
T.block_diag()
T.vander(v)
T.vander(x[0], 3, True)
T.vander(x)
T.fliplr(x)
T.fliplr(v)
T.flipud(x)
T.rot90(x)
T.rot90(x, -1, (1, 0))
T.rot90(x, 2)
T.rot90(x, 1, (0, 0))
T.rot90(v)
T.diff(x)
T.diff(x, 2, 1, T.ones(3, 1))
T.diff(x > 3)
T.diff(T.tensor(1.))
T.diff(x, -1)
T.trapezoid(x, dx=2, dim=0)
T.trapezoid(x, T.tensor([0., 1, 3, 4]))
T.trapezoid(x, v.float())
T.cumulative_trapezoid(x)
T.cumulative_trapezoid(v)
T.gradient(x)
T.gradient(x, spacing=2.)
T.gradient(x, spacing=(2., 3.), edge_order=2)
T.gradient(x, spacing=(T.tensor([0., 1, 3]),), dim=0, edge_order=2)
T.gradient(x, edge_order=3)
T.gradient(T.ones(1))
T.quantile(x, 0.3)
T.quantile(x, T.tensor([.1, .9]), 1, True)
T.quantile(x, .4, 0, interpolation='midpoint')
T.quantile(x, .4, 0, interpolation='nearest')
T.quantile(x, .4, 0, interpolation='foo')
T.quantile(x, 2.)
T.quantile(v, .5)
T.nanquantile(T.tensor([1., float('nan'), 2., 5.]), T.tensor([.2, .5]))
T.quantile(T.tensor([1., float('nan'), 2., 5.]), .5)
T.histogramdd(x[:, :2], bins=[2, 3])
T.histogramdd(v.float(), bins=2)
T.frexp(x)
T.frexp(v)
T.ldexp(x, v[:1])
T.complex(x, x)
T.complex(x, x.double())
T.complex(v, v)
T.polar(x, x)
T.isreal(T.tensor([1j, 1.]))
T.hash_tensor(x)
T.hash_tensor(v, 0, keepdim=True)
T.sinc(x)
T.deg2rad(v)
T.rad2deg(x)
T.rad2deg(T.tensor(1j))
x.narrow_copy(0, 1, 2)
x.narrow_copy(0, 1, 5)
T.unsafe_chunk(x, 2)
T.split_copy(x, 2)
T.unbind_copy(x)
T.view_copy(x, (4, 3))
x.clone().resize_(2, 2)
x.clone().resize_as_(v)
v.clone().set_(v[1:])
v.clone().set_(x)
x.is_set_to(x)
x.is_set_to(x[1:])
T.is_same_size(x, v)
x.t().dim_order()
T.ones(1, 1, 1).dim_order(ambiguity_check=True)
T.empty_permuted((2, 3, 4), (0, 2, 1)).stride()
T.empty_permuted((2, 3), (0, 0))
x.clone().apply_(lambda a: a + 1)
v.clone().map_(v, lambda a, b: a * b)
x.clone().map_(v, lambda a, b: a)
x.new([1, 2])
x.get_device()
x.to_dense()
x.coalesce()
x.dense_dim()
x.reinforce(1)
x.__reversed__()
2 & v
2 << v
v.__ror__(4)
v.__rmatmul__(v)
T.clamp(x, T.tensor(2.), T.tensor(5.))
T.clamp(x, 1, T.tensor(5.))
T.clamp(v, T.tensor(1.5))
T.clamp_min(v, 1.5)
T.clamp_min(1, v)
T.clamp_max(x, x.t().reshape(3, 4))
T.logcumsumexp(x * 300, 1)
T.heaviside(v - 2, v)
T.square(T.tensor([True]))
T.addmm(v[:, None], v[:, None], v[None], beta=.3, alpha=2.7)
T.addr(x[0, :3] > 0, x[0, :3] > 0, x[0, :3] > 1)
T.tensordot(T.ones(1, 1, 1), T.ones(2, 1, 2), dims=([0, 1], [2, 0]))
T.arange(0, 64, .5, dtype=T.int64)
T.linspace(5, -5, 4, dtype=T.int64)
T.logspace(0, 1.2, 4, dtype=T.int64)
T.pow(v, T.tensor(-1))
T.unique(T.tensor(3), return_inverse=True)
T.masked_select(T.tensor(3.), T.tensor(True))
T.sum(x, axis=0, keepdims=True)
T.add(x1=x, x2=x)
x.add(x2=1)
T.abs(a=x)
T.exp(x=x)
T.max(x, axis=0, keepdims=True)
T.softmax(x, axis=0)
T.cat((x, x), axis=1)
T.stack((x, x), axis=1)
T.where(x > 3, x=x, other=x * 0)
x.sum(axis=0, dim=0)
x.sum(foo=1)
T.exp(foo=1)
T.add(1, x)
T.add(x, 'a')
T.isclose(x, 1)
T.sum([1, 2])
x + np.ones((3, 4))
np.ones((3, 4)) * x
np.add(x, 1)
np.exp(x)
np.float32(2) * x
x == np.zeros((3, 4), np.float32)
np.concatenate([x, x])
T.take(x, i, out=T.ones(2).double())
T.typename(x)
T.typename(3)
T.sym_max(2, 3.)
T._check(False)
T._check(1)
T._check_index(False, lambda: 'no')
T.is_signed(v)
T.masked.sum(x, 1, mask=x > 3)
T.masked.mean(x, 0, mask=x > 3)
T.masked.amax(x, 1, keepdim=True, mask=x < 3)
T.masked.var(x, 1, mask=x > 1)
T.masked.softmax(x, 1, mask=x > 1)
T.masked.median(x, 1, mask=x > 3)
T.masked.sum(x, 5, mask=x > 3)
T.max(2, x)
""".strip().splitlines()

GRADIENTS = """
T.take(x, T.tensor([5, -1, 5]))
x.put(T.tensor([1, 1]), x[0, :2], accumulate=True)
x.put(T.tensor([1, 3]), x[0, :2])
T.index_put(x, (T.tensor([0, 0]),), x[1] * 2, accumulate=True)
T.index_put(x, (T.tensor([0, 2]),), x[1] * 2)
x.masked_scatter(x > 3, x * 2)
T.select_scatter(x, x[:, 0] * 2, 1, 2)
T.slice_scatter(x, x[:2] * 2, 0, 1)
T.diagonal_scatter(x, x[:, 0] * 2)
T.index_reduce(x, 0, T.tensor([0, 0, 2]), x * 2, 'mean')
T.index_reduce(x, 0, T.tensor([0, 0, 2]), x * 2, 'amax', include_self=False)
T.repeat_interleave(x, v, dim=0)
T.rot90(x, 3)
T.block_diag(x, x[0])
T.diff(x, 2)
T.trapezoid(x, x.cumsum(1))
T.gradient(x, spacing=2., edge_order=2)[1]
T.quantile(x, T.tensor([.1, .9]), 1)
T.quantile(x, T.tensor([.1, .9]), 0, interpolation='midpoint')
T.frexp(x)[0]
T.ldexp(x, v[:1])
T.complex(x, x * 2).abs()
T.polar(x, x * 2).real
T.sinc(x - 4)
T.deg2rad(x)
T.clamp(x, x[0], x[1])
T.clamp_max(x, x[1])
x.index_fill(0, i, x[1, 1])
T.logcumsumexp(x * 30, 1)
T.nextafter(x, x * 2)
T.unbind_copy(x)[1]
x.narrow_copy(0, 1, 2)
T.masked.var(x, 1, mask=x > .5)
T.masked.normalize(x, 2.0, 1, mask=x > .5)
""".strip().splitlines()


def namespace(T, grad=False):
    x = T.arange(12.0).reshape(3, 4) * 0.7 + 0.1
    return {"T": T, "x": x.requires_grad_() if grad else x, "v": T.tensor([1, 2, 3]), "i": T.tensor([0, 1]), "np": np}


def outcome(T, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return eval(text, namespace(T)), None
        except Exception as error:
            return None, error


def plain(value):
    """Something that == compares: tensors become (dtype, shape, rounded values)."""
    if isinstance(value, (rushlight.Tensor, torch.Tensor)):
        array = np.asarray(value.detach().numpy())
        return str(value.dtype), tuple(array.shape), array
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    return value


def agree(want, got):
    if isinstance(want, tuple) and len(want) == 3 and isinstance(want[2], np.ndarray):
        assert want[:2] == got[:2]
        np.testing.assert_allclose(got[2], want[2], rtol=2e-5, atol=1e-5)
    elif isinstance(want, list):
        assert len(want) == len(got)
        for a, b in zip(want, got):
            agree(a, b)
    else:
        assert want == got


@pytest.mark.parametrize("text", RESULTS)
def test_result_or_error(text):
    (want, failed), (got, error) = outcome(torch, text), outcome(rushlight, text)
    if failed is not None:
        assert error is not None, f"no error where torch raises {failed!r}"
        assert isinstance(error, type(failed)), repr(error)
        return
    assert error is None, repr(error)
    agree(plain(want), plain(got))


@pytest.mark.parametrize("text", GRADIENTS)
def test_gradient(text):
    found = []
    for T in (torch, rushlight):
        names = namespace(T, grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (grad,) = T.autograd.grad((eval(text, names) ** 2).sum(), names["x"])
        found.append(grad.numpy())
    np.testing.assert_allclose(found[1], found[0], rtol=2e-4, atol=1e-4)


COMPARISONS = """
[1., 2.] | [1., 2.5]
[1, 2] | [1, 3]
1. | 2.
[1.] | [1]
[1.] | [[1.]]
[float('nan')] | [float('nan')]
[1., float('inf')] | [1., 2.]
[True, False] | [True, True]
[1 + 1j, 2] | [1 + 1j, 3]
""".strip().splitlines()


@pytest.mark.parametrize("text", COMPARISONS)
@pytest.mark.parametrize("nested", [lambda x: x, lambda x: {"a": [x]}], ids=["tensor", "nested"])
def test_assert_close_says_the_same(text, nested):
    actual, expected = (eval(side) for side in text.split(" | "))
    texts = []
    for T in (torch, rushlight):
        with pytest.raises(AssertionError) as caught:
            T.testing.assert_close(nested(T.tensor(actual)), nested(T.tensor(expected)))
        texts.append(str(caught.value))
    assert texts[1] == texts[0]


@pytest.mark.parametrize("pair", [(1, 2), (1.0, 1.5), (1, 1.0), (True, False), ([1, 2], [1, 2, 3]), ({"a": 1}, {"b": 1}), (None, 1), ("a", "b")])
def test_assert_close_of_other_things(pair):
    texts = []
    for T in (torch, rushlight):
        with pytest.raises((AssertionError, TypeError)) as caught:
            T.testing.assert_close(*pair)
        texts.append((caught.type, str(caught.value)))
    assert texts[1] == texts[0]


@pytest.mark.parametrize(
    "options",
    [
        dict(dtype="float32"),
        dict(dtype="int64", low=-3, high=5),
        dict(dtype="bool"),
        dict(dtype="complex64"),
        dict(dtype="float64", low=0, high=1, requires_grad=True),
        dict(dtype="float32", noncontiguous=True),
        dict(dtype="uint8", exclude_zero=True),
    ],
)
def test_make_tensor_draws_the_same(options):
    made = []
    for T in (torch, rushlight):
        T.manual_seed(3)
        made.append(T.testing.make_tensor(4, 5, device="cpu", **{**options, "dtype": getattr(T, options["dtype"])}))
    agree(plain(made[0]), plain(made[1]))
    assert made[0].stride() == made[1].stride() and made[0].requires_grad == made[1].requires_grad
