"""Products of matrices on the generated kernels: random shapes, layouts, batches and addends against NumPy in float64."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.codegen import native

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import gemm, matmul
from rushlight.codegen.llvm import const
from rushlight.codegen.tile import shape
from rushlight.core.settings import SETTINGS

SIZES = st.sampled_from([1, 2, 3, 5, 6, 7, 8, 9, 13, 15, 16, 17, 24, 31, 33, 47, 64, 65, 100, 129, 300])
FLOATS = st.sampled_from([np.float32, np.float64])


def laid_out(draw, size, dtype, seed):
    """An array of a shape in a random layout: permuted, with gaps, reversed."""
    order = draw(st.permutations(range(len(size))))
    gaps = [draw(st.sampled_from([1, 1, 1, 2])) for _ in size]
    whole = np.random.default_rng(seed).standard_normal([size[d] * g for d, g in zip(order, gaps)])
    x = whole.astype(dtype)[tuple(slice(None, None, g) for g in gaps)]
    x = x.transpose(np.argsort(order))
    for axis in range(x.ndim):
        if draw(st.integers(0, 7)) == 0:
            x = np.flip(x, axis)
    return x


@st.composite
def cases(draw):
    dtype = draw(FLOATS)
    m, n, k = draw(SIZES), draw(SIZES), draw(SIZES)
    lead = draw(st.lists(st.integers(1, 3), max_size=3)) if m * n * k < 1 << 17 else []
    seed = draw(st.integers(0, 99))

    def batch():
        own = [n if draw(st.booleans()) else 1 for n in lead]
        return own[draw(st.integers(0, len(lead))) :] if draw(st.booleans()) else own

    a = laid_out(draw, [*batch(), m, k], dtype, seed)
    b = laid_out(draw, [*batch(), k, n], dtype, seed + 100)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    addend = None
    if draw(st.booleans()):
        size = draw(st.sampled_from([[n], [m, 1], [m, n], [1, n], [1, 1], [*lead, m, n]]))
        addend = laid_out(draw, size, dtype, seed + 200)
    out = laid_out(draw, [*lead, m, n], dtype, seed + 300) if draw(st.booleans()) else None
    return a, b, out, addend, draw(st.sampled_from([1.0, 0.5, -2.0])), draw(st.sampled_from([1.0, 0.0, -0.5]))


def close(got, wanted, terms):
    rounding = np.finfo(got.dtype).eps
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max(initial=0) <= 8 * rounding * (terms**0.5 + 4) * (1 + np.abs(wanted).max(initial=0)) ** 0.5


@settings(max_examples=150, deadline=None)
@given(cases())
def test_products(case):
    a, b, out, addend, alpha, beta = case
    got = matmul.product(a, b, out, addend, alpha, beta)
    wanted = alpha * np.matmul(a.astype(float), b.astype(float))
    if addend is not None:
        wanted = wanted + beta * addend.astype(float)
    assert out is None or got is out
    close(got, wanted, a.shape[-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_blocks(dtype):
    """Several steps of k, several blocks, a packed B shared by the tasks."""
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((530, 700)).astype(dtype), generator.standard_normal((700, 270)).astype(dtype)
    z = generator.standard_normal((530, 270)).astype(dtype)
    for x, y in ((a, b), (np.asfortranarray(a), b), (a, np.asfortranarray(b)), (a[::-1], b[:, ::-1])):
        close(matmul.product(x, y), x.astype(float) @ y.astype(float), 700)
        close(matmul.product(x, y, addend=z, beta=2.0), x.astype(float) @ y.astype(float) + 2.0 * z, 700)


@pytest.mark.parametrize("size", [(200, 300, 400), (8, 1000, 700), (3, 2000, 900), (1, 500, 3000), (600, 10, 200)])
def test_digits_do_not_depend_on_threads(size):
    m, n, k = size
    generator = np.random.default_rng(1)
    a, b = generator.standard_normal((m, k)).astype(np.float32), generator.standard_normal((k, n)).astype(np.float32)
    before = SETTINGS.threads
    try:
        results = []
        for threads in (1, 2, 3, 8):
            SETTINGS.threads = threads
            results.append((matmul.product(a, b), matmul.product(a, np.asfortranarray(b))))
    finally:
        SETTINGS.threads = before
    for plain, transposed in results[1:]:
        assert np.array_equal(plain, results[0][0]) and np.array_equal(transposed, results[0][1])


def test_nothing_is_read_or_written_outside():
    """Operands that end with their memory, results between guards; NaN around them must not come in."""
    generator = np.random.default_rng(2)
    for m, n, k in itertools.product((1, 5, 7, 19), (1, 3, 17, 33), (1, 4, 21)):
        a = np.full((m + 2, k + 2), np.nan, np.float32)
        b = np.full((k + 2, n + 2), np.nan, np.float32)
        c = np.full((m + 2, n + 2), 7, np.float32)
        a[1:-1, 1:-1], b[1:-1, 1:-1] = generator.standard_normal((m, k)), generator.standard_normal((k, n))
        matmul.product(a[1:-1, 1:-1], b[1:-1, 1:-1], c[1:-1, 1:-1])
        close(c[1:-1, 1:-1].copy(), a[1:-1, 1:-1].astype(float) @ b[1:-1, 1:-1], k)
        c[1:-1, 1:-1] = 7
        assert (c == 7).all()


def test_infinities_and_nan_stay_in_their_rows():
    a, b = np.ones((20, 40), np.float32), np.ones((40, 50), np.float32)
    a[3, 5], a[7, 1] = np.inf, np.nan
    got = matmul.product(a, b)
    assert np.isinf(got[3]).all() and np.isnan(got[7]).all()
    assert (np.delete(got, (3, 7), 0) == 40).all()


def test_empty():
    a, b = np.ones((3, 0), np.float32), np.ones((0, 4), np.float32)
    assert (matmul.product(a, b) == 0).all()
    assert (matmul.product(a, b, addend=np.ones(4, np.float32), beta=3.0) == 3).all()
    assert matmul.product(np.ones((0, 5), np.float32), np.ones((5, 2), np.float32)).shape == (0, 2)


def test_the_text_is_the_same_each_time():
    """The disk cache is keyed by the text."""
    assert gemm.emit("float") == gemm.emit("float")


def test_epilogue():
    """A callback sees every value of C once, at its place, when the sum is complete."""

    def clipped(b, value, place):
        zero = b.splat(const(0, "float"), place.lanes)
        return b.select(b.cmp("olt", value, zero), zero, value)

    at = native.load(gemm.emit("float", clipped), ["gemm", "pack_b"], optimise=False)
    generator = np.random.default_rng(3)
    a, b = generator.standard_normal((37, 600)).astype(np.float32), generator.standard_normal((600, 45)).astype(np.float32)
    known, matmul.kernels = matmul.kernels, lambda element: (at["gemm"], at["pack_b"])
    matmul._prepare.cache_clear()
    try:
        got = matmul.product(a, b)
    finally:
        matmul.kernels = known
        matmul._prepare.cache_clear()
    close(got, np.maximum(a.astype(float) @ b, 0), 600)


def test_shape_fits_the_registers():
    for element in ("float", "double"):
        s = shape(element)
        assert s.rows * s.vectors + s.vectors + 1 <= native.vector_registers()
        assert s.variants[0] == s.rows and s.variants[-1] == 1
