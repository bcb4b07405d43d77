"""Every random stream against torch's own, bit for bit, with the generator's state after each draw.

Both sides walk one long sequence of mixed draws, so that cached normals and block ends are met at
all places.
"""

# ruff: noqa: B023  (the closures over loop variables are run at once)

import warnings

import ml_dtypes
import numpy as np
import pytest

from rushlight.backends import samplers, streams
from rushlight.core.generator import Generator

torch = pytest.importorskip("torch")

bf16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = [np.dtype("f2"), bf16, np.dtype("f4"), np.dtype("f8")]
WHOLE = [np.dtype(name) for name in ("?", "u1", "i1", "i2", "i4", "i8")]
COMPLEX = [np.dtype("c8"), np.dtype("c16")]
TORCH = {
    np.dtype("f2"): torch.float16, bf16: torch.bfloat16, np.dtype("f4"): torch.float32,
    np.dtype("f8"): torch.float64, np.dtype("c8"): torch.complex64,
    np.dtype("c16"): torch.complex128, np.dtype("?"): torch.bool, np.dtype("u1"): torch.uint8,
    np.dtype("i1"): torch.int8, np.dtype("i2"): torch.int16, np.dtype("i4"): torch.int32,
    np.dtype("i8"): torch.int64,
}  # fmt: skip
SIZES = [0, 1, 2, 5, 15, 16, 17, 24, 31, 32, 100, 1000]
BIG = 100_003


def to_numpy(x):
    x = x.detach()
    return x.view(torch.int16).numpy().view(bf16) if x.dtype == torch.bfloat16 else x.numpy()


def to_torch(x):
    x = np.ascontiguousarray(x)
    return (
        torch.from_numpy(x.view("i2")).view(torch.bfloat16)
        if x.dtype == bf16
        else torch.from_numpy(x)
    )


class Pair:
    """Our generator and torch's, side by side."""

    def __init__(self, seed):
        self.g = Generator().manual_seed(seed)
        self.t = torch.Generator().manual_seed(seed)

    def check(self, ours, theirs):
        expected, found = to_numpy(theirs(self.t)), ours(self.g)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        assert found.tobytes() == expected.tobytes(), f"{(found != expected).sum()} of {found.size}"
        assert np.array_equal(self.g.get_state(), self.t.get_state().numpy())

    def check_default(self, ours, theirs):
        """For what draws from torch's default generator."""

        def run(t):
            torch.default_generator.set_state(t.get_state())
            out = theirs()
            t.set_state(torch.default_generator.get_state())
            return out

        before = torch.get_rng_state()
        self.check(ours, run)
        torch.set_rng_state(before)


@pytest.fixture(params=[0, -7, 12345678901])
def pair(request):
    return Pair(request.param)


def names(dtypes):
    return {"argvalues": dtypes, "ids": [d.name for d in dtypes]}


def empty(n, dtype):
    return torch.empty(n, dtype=TORCH[dtype])


@pytest.mark.parametrize("dtype", **names(FLOATS + COMPLEX))
def test_uniform_and_normal(pair, dtype):
    for n in [*SIZES, BIG]:
        for low, high in ((0, 1), (-0.7, 2.6), (0, 2.6), (1000, 1003.3)):
            pair.check(
                lambda g: streams.uniform(g, n, low, high, dtype),
                lambda t: empty(n, dtype).uniform_(low, high, generator=t),
            )
        for mean, std in ((0, 1), (0, 0.02), (0.3, 1), (0.3, 1.7)):
            pair.check(
                lambda g: streams.normal(g, n, mean, std, dtype),
                lambda t: empty(n, dtype).normal_(mean, std, generator=t),
            )
        pair.check(
            lambda g: streams.normal(g, n, 0.3, 1.7, dtype, contiguous=False),
            lambda t: empty(2 * n, dtype)[::2].normal_(0.3, 1.7, generator=t),
        )


@pytest.mark.parametrize("dtype", **names(FLOATS))
def test_continuous(pair, dtype):
    for n in [*SIZES, BIG]:
        for rate in (1.0, 3.7):
            pair.check(
                lambda g: streams.exponential(g, n, rate, dtype),
                lambda t: empty(n, dtype).exponential_(rate, generator=t),
            )
        pair.check(
            lambda g: streams.cauchy(g, n, 0.3, 1.7, dtype),
            lambda t: empty(n, dtype).cauchy_(0.3, 1.7, generator=t),
        )
        pair.check(
            lambda g: streams.log_normal(g, n, 0.3, 1.2, dtype),
            lambda t: empty(n, dtype).log_normal_(0.3, 1.2, generator=t),
        )


@pytest.mark.parametrize("dtype", **names(FLOATS + WHOLE))
def test_discrete(pair, dtype):
    for n in [*SIZES, BIG]:
        for p in (0.0, 0.013, 0.3, 0.5, 0.97, 1.0):
            if dtype.kind != "b" and 0 < p < 1:
                pair.check(
                    lambda g: streams.geometric(g, n, p, dtype),
                    lambda t: empty(n, dtype).geometric_(p, generator=t),
                )
            pair.check(
                lambda g: streams.bernoulli(g, n, p, dtype),
                lambda t: empty(n, dtype).bernoulli_(p, generator=t),
            )
        pair.check(
            lambda g: streams.random(g, n, dtype),
            lambda t: empty(n, dtype).random_(generator=t),
        )
        if n <= 100 and dtype.kind != "b":
            pair.check(
                lambda g: streams.randperm(g, n, dtype),
                lambda t: torch.randperm(n, dtype=TORCH[dtype], generator=t),
            )


RANGES = [
    (0, 1), (0, 2), (0, 100), (-50, 77), (0, 2**28 - 1), (0, 2**28), (-(2**30), 2**30),
    (0, 2**31 - 1), (-(2**31), 2**31 - 1), (0, 2**32), (-(2**33), 2**40), (0, 2**63 - 1),
    (-(2**63), 2**63 - 1), (-(2**60), 2**62 + 12345),
]  # fmt: skip


@pytest.mark.parametrize("dtype", **names(FLOATS + WHOLE))
def test_randint(pair, dtype):
    if dtype in WHOLE:
        least, most = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    else:
        most = 2**63 if dtype.itemsize > 2 else 100
        least = -most
    for low, high in RANGES:
        if low < least or high - 1 > most:
            continue
        for n in (1, 17, 1000):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "to - 1 is out of bounds" of the float types
                pair.check(
                    lambda g: streams.randint(g, n, low, high, dtype),
                    lambda t: empty(n, dtype).random_(low, high, generator=t),
                )


def test_randint_of_all_numbers(pair):
    pair.check(
        lambda g: streams.randint(g, 1000, -(2**63), 2**63),
        lambda t: torch.empty(1000, dtype=torch.int64).random_(-(2**63), None, generator=t),
    )


def test_long_randperm(pair):
    for n in (1000, 1001, 50_000):
        pair.check(
            lambda g: streams.randperm(g, n),
            lambda t: torch.randperm(n, generator=t),
        )


@pytest.mark.parametrize("dtype", **names(FLOATS))
def test_arrays_of_parameters(pair, dtype):
    rng = np.random.default_rng(0)
    for n in (1, 15, 16, 33, 1000):
        p, q = rng.random((2, n)).astype(dtype)
        for out in (np.dtype("f4"), np.dtype("?"), np.dtype("i8"), bf16):
            pair.check(
                lambda g: streams.bernoulli(g, n, p, out),
                lambda t: empty(n, out).bernoulli_(to_torch(p), generator=t),
            )
        pair.check(
            lambda g: streams.bernoulli(g, n, p, dtype),
            lambda t: torch.bernoulli(to_torch(p), generator=t),
        )
        for mean, std in ((p, 0.7), (0.7, p), (p, q)):
            pair.check(
                lambda g: streams.normal_tensors(g, mean, std),
                lambda t: torch.normal(
                    *(to_torch(v) if isinstance(v, np.ndarray) else v for v in (mean, std)),
                    generator=t,
                ),
            )


@pytest.mark.parametrize("dtype", **names(FLOATS))
def test_poisson(pair, dtype):
    rng = np.random.default_rng(1)
    for top in (8, 40, 1e4):
        rate = (rng.random(700) * top).astype(dtype)
        rate[::5] = 0
        pair.check(
            lambda g: samplers.poisson(g, rate),
            lambda t: torch.poisson(to_torch(rate), generator=t),
        )


@pytest.mark.parametrize("dtype", **names(FLOATS[2:]))
def test_samplers(pair, dtype):
    rng = np.random.default_rng(2)
    for n in (1, 7, 700):
        for top in (0.5, 5, 500):
            alpha = (rng.random(n) * top).astype(dtype)
            alpha[::9] = 0
            pair.check(
                lambda g: samplers.standard_gamma(g, alpha),
                lambda t: torch._standard_gamma(to_torch(alpha), generator=t),
            )
        for top in (20, 3000):
            count, p = np.floor(rng.random(n) * top).astype(dtype), rng.random(n).astype(dtype)
            p[::7], p[::11] = 0, 1
            pair.check(
                lambda g: samplers.binomial(g, count, p),
                lambda t: torch.binomial(to_torch(count), to_torch(p), generator=t),
            )
        for k in (1, 2, 3, *((10, 40) if dtype == np.float32 else ())):
            alpha = (rng.random((n, k)) * 3 + 0.1).astype(dtype)
            pair.check(
                lambda g: samplers.dirichlet(g, alpha),
                lambda t: torch._sample_dirichlet(to_torch(alpha), generator=t),
            )


@pytest.mark.parametrize("dtype", **names(FLOATS))
def test_multinomial(pair, dtype):
    rng = np.random.default_rng(3)
    for shape in ((1,), (7,), (1000,), (4, 50)):
        weights = rng.random(shape).astype(dtype)
        for n, replacement in ((1, False), (1, True), (9, True), (2, False), (5, False)):
            if n > shape[-1] or (n > 1 and not replacement and dtype.itemsize == 2):
                continue  # equal quotients in 16 bits come in another order
            pair.check(
                lambda g: samplers.multinomial(g, weights, n, replacement),
                lambda t: torch.multinomial(to_torch(weights), n, replacement, generator=t),
            )


@pytest.mark.parametrize("dtype", **names(FLOATS[1:]))
def test_masks_of_modules(pair, dtype):
    functional, kind = torch.nn.functional, TORCH[dtype]
    ones, planes = torch.ones(500, dtype=kind), torch.ones(30, 4, 2, 3, dtype=kind)
    keep = lambda shape: lambda g: streams.keep_mask(g, shape, 0.3)
    pair.check_default(keep(500), lambda: functional.dropout(ones, 0.3) != 0)
    pair.check_default(keep(500), lambda: torch.native_dropout(ones, 0.3, True)[1])
    pair.check_default(keep(500), lambda: functional.alpha_dropout(ones, 0.3, True) > 0)
    pair.check_default(keep((30, 4)), lambda: functional.dropout2d(planes, 0.3)[:, :, 0, 0] != 0)
    x = np.random.default_rng(4).standard_normal(500).astype(dtype)

    def slopes():
        noise = torch.empty(500, dtype=kind)
        torch._C._nn.rrelu_with_noise(to_torch(x), noise, 0.1, 0.3, True)
        return noise

    pair.check_default(lambda g: streams.rrelu_noise(g, x, 0.1, 0.3), slopes)


def layouts():
    return [
        torch.empty(7, 9).t(),
        torch.empty(3, 4, 5).permute(2, 0, 1),
        torch.empty(8, 10)[::2, 1:7],
        torch.empty(8, 10, 6)[:, ::3].transpose(0, 2),
        torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.empty(2, 1, 4, 5).to(memory_format=torch.channels_last),
        torch.empty(1, 5, 1, 4).permute(3, 2, 1, 0),
        torch.empty(3, 5).t()[:2],
        torch.empty(40)[::2],
    ]


@pytest.mark.parametrize("at", range(len(layouts())))
def test_strided_tensors_are_filled_in_the_order_of_memory(pair, at):
    x, p = layouts()[at], layouts()[at].uniform_()
    n = x.numel()
    for name, draw in {
        "uniform_": lambda g: streams.uniform(g, n),
        "normal_": lambda g: streams.normal(g, n, contiguous=x.is_contiguous()),
        "exponential_": lambda g: streams.exponential(g, n),
        "log_normal_": lambda g: streams.log_normal(g, n),
        "random_": lambda g: streams.random(g, n),
    }.items():
        ours = layouts()[at].numpy()
        pair.check(
            lambda g: streams.place(ours, draw(g)),
            lambda t: getattr(x, name)(generator=t),
        )
    # new tensors are filled row by row, whatever the parameters' layout
    for ours, theirs in (
        (lambda g, p: streams.bernoulli(g, p.shape, p), torch.bernoulli),
        (lambda g, p: samplers.poisson(g, p), torch.poisson),
        (lambda g, p: samplers.standard_gamma(g, p), torch._standard_gamma),
    ):
        pair.check(lambda g: ours(g, p.numpy()), lambda t: theirs(p, generator=t))


def test_states_travel_both_ways(pair):
    for n in (0, 1, 300, 624, 1000):
        streams.uniform(pair.g, n)
        streams.normal(pair.g, 1)
        pair.t.set_state(torch.from_numpy(pair.g.get_state()))
        torch.empty(n).uniform_(generator=pair.t)
        torch.empty(3).normal_(generator=pair.t)
        pair.g.set_state(pair.t.get_state().numpy())
        assert pair.g.initial_seed() == pair.t.initial_seed()
        pair.check(lambda g: streams.normal(g, 40), lambda t: torch.empty(40).normal_(generator=t))


def test_fresh_generators_are_equal():
    assert np.array_equal(Generator().get_state(), torch.Generator().get_state().numpy())
    assert Generator().initial_seed() == torch.Generator().initial_seed()
    for seed in (2**64, -(2**63) - 1, 1.0, "3", True, None, np.int64(3)):
        with pytest.raises(Exception) as theirs:
            torch.Generator().manual_seed(seed)
        with pytest.raises(type(theirs.value)) as ours:
            Generator().manual_seed(seed)
        assert str(theirs.value) in str(ours.value)
