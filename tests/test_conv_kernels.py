"""Convolution on the generated kernels, all three directions, against the NumPy readings in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.codegen import native

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import conv as kernels
from rushlight.codegen import winograd
from rushlight.core.settings import SETTINGS
from rushlight.ops.op import TABLE


class reference:
    """The NumPy readings of the rows."""

    @staticmethod
    def conv(x, w, b, stride, padding, dilation, groups):
        return TABLE["conv"].numpy(x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups)

    @staticmethod
    def conv_transpose(g, w, b, stride, padding, dilation, groups, size):
        return TABLE["conv_transpose"].numpy(g, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)

    @staticmethod
    def conv_weight(g, x, stride, padding, dilation, groups, size):
        return TABLE["conv_weight"].numpy(g, x, stride=stride, padding=padding, dilation=dilation, groups=groups, size=size)


@pytest.fixture(autouse=True)
def no_size_is_small(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 0)


@st.composite
def cases(draw):
    """(x, w, b, stride, padding, dilation, groups)"""
    dims = draw(st.sampled_from([1, 2, 2, 2, 3]))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels = st.sampled_from([1, 1, 2, 3, 4, 7, 16, 33])
    inside, outside = draw(channels), draw(channels)

    def numbers(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(dims))

    if draw(st.booleans()):
        kernel, stride, dilation = (3,) * dims, (1,) * dims, (1,) * dims
    else:
        kernel, stride, dilation = numbers(1, 4), numbers(1, 3), numbers(1, 2)
    padding = numbers(0, 3)
    most = (40, 20, 7)[dims - 1]
    size = tuple(max(draw(st.integers(1, most)), d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding))
    dtype = draw(st.sampled_from([np.float32, np.float32, np.float64]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    samples = draw(st.integers(1, 4))
    x = generator.standard_normal((samples, inside * groups, *size)).astype(dtype)
    layout = draw(st.sampled_from(["plain", "plain", "last", "gaps"]))
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    elif layout == "gaps":
        x = np.repeat(x, 2, -1)[..., ::2]
    w = generator.standard_normal((outside * groups, inside, *kernel)).astype(dtype)
    b = generator.standard_normal(outside * groups).astype(dtype) if draw(st.booleans()) else None
    return x, w, b, stride, padding, dilation, groups


def close(got, wanted, terms):
    assert got.shape == wanted.shape and got.flags.c_contiguous
    assert np.abs(got - wanted).max(initial=0) <= 16 * np.finfo(got.dtype).eps * (terms**0.5 + 4) * (1 + np.abs(wanted).max(initial=0)) ** 0.5


def wide(x):
    return None if x is None else x.astype(np.float64)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_forward(case):
    x, w, b, *geometry = case
    close(kernels.conv(x, w, b, *geometry), reference.conv(wide(x), wide(w), wide(b), *geometry), w[0].size)


@settings(max_examples=80, deadline=None)
@given(cases(), st.booleans())
def test_input_gradient(case, biased):
    x, w, _, *geometry = case
    size = x.shape[2:]
    places = reference.conv(x, w, None, *geometry).shape
    g = np.random.default_rng(1).standard_normal(places).astype(x.dtype)
    b = np.arange(x.shape[1]).astype(x.dtype) if biased else None
    wanted = reference.conv_transpose(wide(g), wide(w), wide(b), *geometry, size)
    close(kernels.conv_transpose(g, w, b, *geometry, size), wanted, w[:, 0].size)


@settings(max_examples=80, deadline=None)
@given(cases())
def test_weight_gradient(case):
    x, w, _, *geometry = case
    g = reference.conv(x, w, None, *geometry)
    g = np.random.default_rng(2).standard_normal(g.shape).astype(x.dtype)
    wanted = reference.conv_weight(wide(g), wide(x), *geometry, w.shape[2:])
    close(kernels.conv_weight(g, x, *geometry, w.shape[2:]), wanted, g[:, 0].size)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_winograd(data):
    """3 x 3 windows by way of tiles of 2 x 2, forward and in the input, whether it is quicker or not."""

    def number(low, high):
        return data.draw(st.integers(low, high))

    groups, n, c, o = data.draw(st.sampled_from([1, 1, 2])), number(1, 3), number(2, 40), number(2, 40)
    size, padding = (number(3, 21), number(3, 40)), (number(0, 2), number(0, 2))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    generator = np.random.default_rng(number(0, 99))
    x = generator.standard_normal((n, c * groups, *size)).astype(dtype)
    w, b = generator.standard_normal((o * groups, c, 3, 3)).astype(dtype), generator.standard_normal(o * groups).astype(dtype)
    geometry = (1, 1), padding, (1, 1), groups
    wanted = reference.conv(wide(x), wide(w), wide(b), *geometry)
    g = generator.standard_normal(wanted.shape).astype(dtype)
    before, worth = SETTINGS.threads, winograd.worth
    winograd.worth = lambda *_: True
    results = []
    try:
        for threads in (1, 3):
            SETTINGS.threads = threads
            results.append((kernels.conv(x, w, b, *geometry), kernels.conv_transpose(g, w, None, *geometry, size)))
    finally:
        SETTINGS.threads, winograd.worth = before, worth
    assert all(np.array_equal(a, b) for a, b in zip(*results))
    close(results[0][0], wanted, 4 * w[0].size)
    close(results[0][1], reference.conv_transpose(wide(g), wide(w), None, *geometry, size), 4 * w[:, 0].size)


LAYERS = [
    # samples, channels, result channels, size, window, stride, groups: parts of images, blocks of channels, many panels
    (2, 96, 80, (30, 41), 3, 1, 1),
    (1, 130, 20, (9, 9), 3, 1, 1),
    (9, 20, 40, (7, 7), 3, 1, 1),
    (1, 3, 33, (90, 300), 7, 2, 1),
    (2, 40, 30, (26, 27), 1, 2, 1),
    (2, 40, 100, (25, 25), 1, 1, 1),
    (3, 24, 48, (200, 70), 5, 2, 24),
    (1, 8, 8, (700, 120), 3, 1, 8),
    (1, 12, 24, (8, 20, 24), 3, 1, 1),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_networks(layer):
    n, c, o, size, k, s, groups = layer
    generator = np.random.default_rng(3)
    window, stride, padding = (k,) * len(size), (s,) * len(size), (k // 2,) * len(size)
    geometry = stride, padding, (1,) * len(size), groups
    x = generator.standard_normal((n, c, *size)).astype(np.float32)
    w = generator.standard_normal((o, c // groups, *window)).astype(np.float32)
    y = reference.conv(wide(x), wide(w), None, *geometry)
    g = generator.standard_normal(y.shape).astype(np.float32)
    before = SETTINGS.threads
    results = []
    try:
        for threads in (1, 2, 5):
            SETTINGS.threads = threads
            results.append((kernels.conv(x, w, None, *geometry), kernels.conv_transpose(g, w, None, *geometry, size), kernels.conv_weight(g, x, *geometry, window)))
    finally:
        SETTINGS.threads = before
    for other in results[1:]:  # to the last digit
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other))
    close(results[0][0], y, w[0].size)
    close(results[0][1], reference.conv_transpose(wide(g), wide(w), None, *geometry, size), w[:, 0].size)
    close(results[0][2], reference.conv_weight(wide(g), wide(x), *geometry, window), g[:, 0].size)


def test_what_is_left_to_numpy():
    x, w = np.ones((1, 2, 8, 8), np.complex64), np.ones((2, 2, 3, 3), np.complex64)
    assert kernels.conv(x, w, None, (1, 1), (1, 1), (1, 1), 1) is NotImplemented
    assert kernels.conv(x.real[:0], w.real, None, (1, 1), (1, 1), (1, 1), 1) is NotImplemented
    assert kernels.conv(x.real, w.real.astype(np.float64), None, (1, 1), (1, 1), (1, 1), 1) is NotImplemented


def test_what_stands_beside_an_image_is_not_read():
    """Windows without padding may be read in place: NaN around the images must not come in."""
    generator = np.random.default_rng(4)
    for channels, size, k in ((5, (8, 9), 1), (26, (11, 13), 1), (7, (40, 50), 2), (64, (7, 97), 1)):
        whole = np.full((3, channels + 2, size[0] + 2, size[1] + 2), np.nan, np.float32)
        whole[1:2, 1:-1, 1:-1, 1:-1] = generator.standard_normal((1, channels, *size))
        x = whole[1:2, 1:-1, 1:-1, 1:-1]
        w = generator.standard_normal((20, channels, k, k)).astype(np.float32)
        geometry = (1, 1), (0, 0), (1, 1), 1
        y = reference.conv(wide(x), wide(w), None, *geometry)
        close(kernels.conv(x, w, None, *geometry), y, w[0].size)
        g = generator.standard_normal(y.shape).astype(np.float32)
        close(kernels.conv_weight(g, x, *geometry, (k, k)), reference.conv_weight(wide(g), wide(x), *geometry, (k, k)), g[0, 0].size)
