"""The random streams against numbers recorded from PyTorch 2.13, and against the laws they obey.

A row of RECORDED holds the first two numbers of five, the CRC-32 of the bytes of 5, 24 and 1000
numbers (each drawn from a freshly seeded generator), and the CRC-32 of the generator's state after
the last.
"""

import copy
import math
import pickle
import platform
import threading
import zlib
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from rushlight.backends import arithmetic, samplers, streams
from rushlight.core.generator import BLOCK, DEFAULT_SEED, Generator

bf16 = ml_dtypes.bfloat16
SEED = 2**33 + 7

# fmt: off
RECORDED = [
    ("uniform f4", [0.53492254, 0.198803186], [2070254675, 3775019509, 424614700], 4222384614),
    ("uniform f4 -0.7 2.6", [1.06524432, -0.0439494811],
     [4037761305, 177153087, 497874125], 4222384614),
    ("uniform f8 -0.7 2.6", [0.22195541869113317, 0.20318925505082663],
     [2166603617, 2479070651, 3973728249], 2786221855),
    ("uniform f2", [0.53515625, 0.198852539], [3425797734, 998986368, 1246593436], 4222384614),
    ("uniform bf 1 1.03", [1.015625, 1.0078125], [3459815640, 1800714927, 1018211886], 4222384614),
    ("normal f4", [-0.146795094, 0.786141276], [3639504356, 4241351397, 682472891], 2324669024),
    ("normal f4 0.3 1.7", [0.0504483357, 1.63644016],
     [612341665, 2888998262, 739603022], 2324669024),
    ("normal f8 0.3 1.7", [0.05044833427550816, 1.6364402078300109],
     [1856702077, 2336514846, 3336618079], 1009587911),
    ("normal bf", [-0.146484375, 0.78515625], [3225514076, 2316539764, 1064892347], 3854592797),
    ("normal strided", [-0.146795094, 0.786141276],
     [3639504356, 2554923056, 2493971801], 2786221855),
    ("exponential f4 3.7", [0.0885524079, 0.0864279643],
     [2872757998, 3145417943, 1021194979], 2786221855),
    ("geometric i8 0.3", [4, 4], [2194154654, 1190951116, 218096480], 2786221855),
    ("cauchy f4 0.3 1.7", [-1.11194479, -1.16404521],
     [435254083, 2228492104, 954774378], 2786221855),
    ("log_normal f4 0.3 1.2", [1.13184142, 3.46727705],
     [459502783, 2220420715, 4279437648], 2786221855),
    ("random f4", [8974492.0, 3335306.0], [481446211, 3033885389, 2017465553], 4222384614),
    ("random i8", [1407639518939636932, 5163590386780219894],
     [2928801765, 2781299711, 3705461758], 2786221855),
    ("random u1", [175, 196], [1941850341, 2877920020, 3585645947], 4222384614),
    ("randint i8 0 10", [5, 2], [4074236444, 855768286, 1063505233], 4222384614),
    ("randint i8 -5 2**40", [752589289487, 108678733351],
     [1203723304, 1556991195, 2509320576], 2786221855),
    ("randint f4 0 2**31", [1126410110.0, 2053835390.0],
     [4115474918, 3408180740, 797984106], 2786221855),
    ("randint all", [1407639518939636932, -4059781650074555914],
     [2287355193, 1047690975, 2082172770], 2786221855),
    ("bernoulli f4 0.3", [1.0, 1.0], [4256445094, 1508131996, 2862730983], 2786221855),
    ("randperm", [0, 1], [1136835242, 2045385970, 1622599416], 4119217983),
    ("poisson", [0.0, 16.0], [2572188846, 945378152, 4061433188], 499325416),
    ("binomial", [0.0, 20.0], [1937276161, 1181550596, 3933071229], 3767679295),
    ("standard_gamma", [0.002670435, 6.343925], [557135153, 625252025, 1806296785], 2308573964),
    ("dirichlet", [0.000414872367, 0.985576868], [1867118599, 2347276005, 1601308237], 3700670216),
    ("multinomial 5", [1, 3], [1628511349, 289208513, 3116840250], 2786221855),
    ("multinomial 5 again", [1, 1], [1945538059, 1062062655, 715878594], 1335529576),
]
# fmt: on


def spread(n):
    return ((np.arange(n) * 37 % 63 + 1) / 64).astype("f4")


DRAW = {
    "uniform f4": lambda g, n: streams.uniform(g, n),
    "uniform f4 -0.7 2.6": lambda g, n: streams.uniform(g, n, -0.7, 2.6),
    "uniform f8 -0.7 2.6": lambda g, n: streams.uniform(g, n, -0.7, 2.6, "f8"),
    "uniform f2": lambda g, n: streams.uniform(g, n, dtype="f2"),
    "uniform bf 1 1.03": lambda g, n: streams.uniform(g, n, 1, 1.03, bf16),
    "normal f4": lambda g, n: streams.normal(g, n),
    "normal f4 0.3 1.7": lambda g, n: streams.normal(g, n, 0.3, 1.7),
    "normal f8 0.3 1.7": lambda g, n: streams.normal(g, n, 0.3, 1.7, "f8"),
    "normal bf": lambda g, n: streams.normal(g, n, dtype=bf16),
    "normal strided": lambda g, n: streams.normal(g, n, contiguous=False),
    "exponential f4 3.7": lambda g, n: streams.exponential(g, n, 3.7),
    "geometric i8 0.3": lambda g, n: streams.geometric(g, n, 0.3, "i8"),
    "cauchy f4 0.3 1.7": lambda g, n: streams.cauchy(g, n, 0.3, 1.7),
    "log_normal f4 0.3 1.2": lambda g, n: streams.log_normal(g, n, 0.3, 1.2),
    "random f4": lambda g, n: streams.random(g, n),
    "random i8": lambda g, n: streams.random(g, n, "i8"),
    "random u1": lambda g, n: streams.random(g, n, "u1"),
    "randint i8 0 10": lambda g, n: streams.randint(g, n, 0, 10),
    "randint i8 -5 2**40": lambda g, n: streams.randint(g, n, -5, 2**40),
    "randint f4 0 2**31": lambda g, n: streams.randint(g, n, 0, 2**31, "f4"),
    "randint all": lambda g, n: streams.randint(g, n, -(2**63), 2**63),
    "bernoulli f4 0.3": lambda g, n: streams.bernoulli(g, n, 0.3),
    "randperm": lambda g, n: streams.randperm(g, n),
    "poisson": lambda g, n: samplers.poisson(g, spread(n) * 32),
    "binomial": lambda g, n: samplers.binomial(g, np.full(n, 40, "f4"), spread(n)),
    "standard_gamma": lambda g, n: samplers.standard_gamma(g, spread(n) * 4),
    "dirichlet": lambda g, n: samplers.dirichlet(g, spread(3 * n).reshape(n, 3) * 4),
    "multinomial 5": lambda g, n: samplers.multinomial(g, spread(n), min(5, n)),
    "multinomial 5 again": lambda g, n: samplers.multinomial(g, spread(n), 5, True),
}


@pytest.mark.parametrize("name, first, sums, state", RECORDED, ids=[row[0] for row in RECORDED])
def test_numbers_recorded_from_torch(name, first, sums, state):
    g = Generator().manual_seed(SEED)
    np.testing.assert_allclose(DRAW[name](g, 5).astype("f8").ravel()[:2], first, rtol=1e-6)
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the last digits of log, cos and tan are those of the C library")
    for n, crc in zip((5, 24, 1000), sums):
        g.manual_seed(SEED)
        assert zlib.crc32(DRAW[name](g, n).tobytes()) == crc, n
    assert zlib.crc32(g.get_state().tobytes()) == state


def test_every_draw_is_recorded():
    assert list(DRAW) == [row[0] for row in RECORDED]


# -- generator -----------------------------------------------------------------------------------


def test_words_are_those_of_the_mersenne_twister():
    words = np.random.RandomState(5).randint(0, 2**32, 50_000, dtype=np.uint32)
    g, at = Generator().manual_seed(5), 0
    for n in (1, 0, 3, 620, 0, 1, 624, 623, 2, 1248, 20_000, 7, 19_968, 5000):
        assert np.array_equal(g.u32(n), words[at : at + n])
        at += n
    g.manual_seed(5).u32(1)
    pairs = words[1:2001].astype(np.uint64)
    assert np.array_equal(g.u64(1000), pairs[0::2] << np.uint64(32) | pairs[1::2])


def test_words_are_read_only():
    g = Generator()
    for n in (3, 3, 5000):
        with pytest.raises(ValueError):
            g.u32(n)[0] = 0


def test_rewind():
    g = Generator().manual_seed(1)
    words = g.u32(10).copy()
    g.rewind(4)
    assert np.array_equal(g.u32(4), words[6:]) and g.remaining == BLOCK - 10
    with pytest.raises(ValueError, match="cannot give back 11"):
        g.rewind(11)
    with pytest.raises(ValueError):
        Generator().rewind(1)


@pytest.mark.parametrize("words", [0, 1, 17, 624, 625, 5000])
def test_state_goes_round(words):
    g = Generator().manual_seed(-3)
    g.u32(words)
    streams.normal(g, 3)
    for other in (g.clone(), pickle.loads(pickle.dumps(g)), copy.deepcopy(g), Generator()):
        other.set_state(g.get_state())
        assert other.initial_seed() == 2**64 - 3
        assert np.array_equal(other.get_state(), g.get_state())
        assert np.array_equal(streams.normal(other, 700), streams.normal(g.clone(), 700))


def test_state_layout():
    g = Generator()
    state = g.get_state()
    assert state.dtype == np.uint8 and state.shape == (5056,) and state.flags.writeable
    assert state[:8].view("u8")[0] == DEFAULT_SEED == g.initial_seed()
    assert state[8:16].view("i4").tolist() == [1, 1] and state[16:24].view("u8")[0] == 0
    streams.normal(g, 1)
    state = g.get_state()
    assert state[8:16].view("i4").tolist() == [621, 1] and state[16:24].view("u8")[0] == 4
    assert state[5024:5032].view("f8")[0] == g.next_normal and state[5040:5044].view("i4")[0] == 1


def test_a_subclass_keeps_its_class():
    class Mine(Generator):
        __slots__ = ()

    assert type(Mine().clone()) is Mine and type(copy.deepcopy(Mine())) is Mine


def test_seeds():
    g = Generator()
    for seed in (0, 7, -1, -(2**63), 2**64 - 1):
        assert g.manual_seed(seed) is g and g.initial_seed() == seed % 2**64
    assert g.seed() == g.initial_seed()
    wrong = {2**64: ValueError, -(2**63) - 1: ValueError, 1.5: RuntimeError, "3": RuntimeError}
    for seed, error in (*wrong.items(), (True, RuntimeError), (np.int64(1), TypeError)):
        with pytest.raises(error):
            g.manual_seed(seed)


def test_bad_states():
    g = Generator()
    with pytest.raises(TypeError, match="ByteTensor"):
        g.set_state(np.zeros(5056))
    with pytest.raises(RuntimeError, match="size 5056 but found the input RNG state size to be 7"):
        g.set_state(np.zeros(7, np.uint8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.set_state(np.zeros(5056, np.uint8))


def test_threads_share_one_stream():
    g, parts = Generator().manual_seed(0), []

    def work():
        for _ in range(50):
            parts.append(streams.uniform(g, 37))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    everything = streams.uniform(Generator().manual_seed(0), 37 * 200).reshape(200, 37)
    assert sorted(map(bytes, parts)) == sorted(map(bytes, everything))


# -- arithmetic ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [20, 2000])
def test_fma64_rounds_once(n):
    rng = np.random.default_rng(0)
    for y, z in ((1.7, 0.3), (-0.1, 1e-17), (1 / 3, -1 / 9), (1e8, -12345.678)):
        x = rng.standard_normal(n)
        x[: n // 2] = (-z / y) * (1 + rng.standard_normal(n // 2) * 1e-15)  # cancels
        expected = [float(Fraction(v) * Fraction(y) + Fraction(z)) for v in x.tolist()]
        assert np.array_equal(arithmetic.fma64(x, y, z), expected)


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "cos", "sin", "tan"])
def test_libm_has_the_digits_of_the_c_library(name):
    x = np.random.default_rng(1).random(3000) * (-0.999 if name == "log1p" else 1.5)
    assert np.array_equal(arithmetic.libm(name)(x), [getattr(math, name)(v) for v in x.tolist()])


def test_libm_number_by_number():
    x = np.random.default_rng(3).random((40, 50))[:, ::2]
    for name in ("log", "log1p", "exp"):
        f = arithmetic._one_by_one(getattr(np, name), getattr(math, name))
        assert np.array_equal(f(x), [[getattr(math, name)(v) for v in row] for row in x.tolist()])
    with np.errstate(divide="ignore"):
        edge = arithmetic._one_by_one(np.log, math.log)(np.array([0.0, 1.0]))
    assert edge.tolist() == [-math.inf, 0]


def test_single_precision_functions():
    x = np.random.default_rng(2).random(10_000).astype("f4") * np.float32(6.28)
    sin, cos = arithmetic.sincos32(x)
    wide = x.astype("f8")
    np.testing.assert_allclose(sin, np.sin(wide), atol=1e-7)
    np.testing.assert_allclose(cos, np.cos(wide), atol=1e-7)
    np.testing.assert_allclose(arithmetic.log32(x), np.log(wide), rtol=2e-7, atol=1e-7)


# -- draws ---------------------------------------------------------------------------------------


def swaps(g, n):
    out = list(range(n))
    for i, word in enumerate(g.u32(max(n - 1, 0)).tolist()):
        j = i + word % (n - i)
        out[i], out[j] = out[j], out[i]
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, 1001, 1500, 20_000])
def test_randperm_is_the_swaps_in_order(n):
    g = Generator().manual_seed(n)
    assert streams.randperm(g.clone(), n).tolist() == swaps(g, n)


def test_randperm_refuses_what_it_cannot_draw():
    with pytest.raises(NotImplementedError, match="randperm of 1000000000"):
        streams.randperm(Generator(), 10**9)


def test_an_odd_normal_waits_for_the_next_call():
    g = Generator().manual_seed(4)
    one_by_one = [streams.normal(g, 1, dtype="f8")[0] for _ in range(40)]
    together = streams.normal(Generator().manual_seed(4), 40, dtype="f8", contiguous=False)
    assert np.array_equal(one_by_one, together) and g.next_normal is None


def test_uniform_never_reaches_its_end():
    for dtype, low, high in (("f2", 0, 1), (bf16, 1000, 1004), ("f4", 1e6, 1e6 + 0.25)):
        x = streams.uniform(Generator(), 5000, low, high, dtype)
        assert (x >= np.dtype(dtype).type(low)).all() and (x < np.dtype(dtype).type(high)).all()


def test_complex_numbers_are_pairs():
    parts = streams.normal(Generator(), 40, 0, math.sqrt(0.5)).view("c8")
    assert np.array_equal(streams.normal(Generator(), (4, 5), dtype="c8").ravel(), parts)
    assert np.array_equal(
        streams.uniform(Generator(), 20, dtype="c16"),
        streams.uniform(Generator(), 40, dtype="f8").view("c16"),
    )


@pytest.mark.parametrize("shape", [(), 0, 7, (3, 0), (2, 3)])
def test_shapes(shape):
    expected = (shape,) if isinstance(shape, int) else shape
    for draw in (streams.uniform, streams.normal, streams.exponential, streams.random):
        assert draw(Generator(), shape).shape == expected
    assert streams.randint(Generator(), shape, 0, 5).shape == expected
    assert streams.keep_mask(Generator(), shape, 0.5).shape == expected
    assert samplers.poisson(Generator(), np.ones(shape)).shape == expected


def test_place_follows_memory():
    for view in (
        np.zeros((3, 4)).T,
        np.zeros((2, 3, 4)).transpose(2, 0, 1),
        np.zeros((6, 8))[::2, 1:4],
    ):
        streams.place(view, np.arange(view.size))
        addresses = [
            sum(i * s for i, s in zip(index, view.strides)) for index in np.ndindex(view.shape)
        ]
        assert np.array_equal(view.ravel()[np.argsort(addresses)], np.arange(view.size))


def test_dropout_and_rrelu_draw_as_documented():
    keep = streams.keep_mask(Generator(), 1000, 0.3)
    assert keep.dtype == bool
    assert np.array_equal(keep, streams.uniform(Generator(), 1000, dtype="f8") < 0.7)
    x = np.array([1.0, -1.0, 0.0, 2.0, -3.0])
    slopes = streams.rrelu_noise(Generator(), x, 0.1, 0.3)
    u = streams.uniform(Generator(), 3, dtype="f8")
    np.testing.assert_allclose(slopes, [1, 0.1 + 0.2 * u[0], 0.1 + 0.2 * u[1], 1, 0.1 + 0.2 * u[2]])


def test_edges_of_the_samplers():
    g = Generator()
    zero = np.zeros(3, "f4")
    assert samplers.poisson(g, zero).tolist() == [0, 0, 0]
    assert samplers.binomial(g, np.full(3, 9.0), np.array([0.0, 1.0, 0.0])).tolist() == [0, 9, 0]
    assert (samplers.standard_gamma(g, zero) == np.finfo("f4").tiny).all()
    assert (
        samplers.dirichlet(g, np.ones((2, 1), "f4")).tolist()
        == [[np.nextafter(np.float32(1), 0)]] * 2
    )
    picks = samplers.multinomial(g, np.array([0.0, 1.0, 0.0, 2.0]), 2)
    assert sorted(picks.tolist()) == [1, 3]


# -- laws ----------------------------------------------------------------------------------------

N = 20_000
CONTINUOUS = {
    "uniform": (lambda g: streams.uniform(g, N, -1, 3), (-1, 4)),
    "norm": (lambda g: streams.normal(g, N, 0.5, 2), (0.5, 2)),
    "expon": (lambda g: streams.exponential(g, N, 4.0), (0, 0.25)),
    "cauchy": (lambda g: streams.cauchy(g, N, 1, 2), (1, 2)),
    "lognorm": (lambda g: streams.log_normal(g, N, 0, 0.5), (0.5,)),
    "gamma": (lambda g: samplers.standard_gamma(g, np.full(N, 0.7)), (0.7,)),
    "beta": (lambda g: samplers.dirichlet(g, np.full((N, 3), 1.5))[:, 0], (1.5, 3.0)),
}
DISCRETE = {
    "geom": (lambda g: streams.geometric(g, N, 0.3, "i8"), (0.3,)),
    "bernoulli": (lambda g: streams.bernoulli(g, N, 0.3), (0.3,)),
    "randint": (lambda g: streams.randint(g, N, -3, 9), (-3, 9)),
    "poisson": (lambda g: samplers.poisson(g, np.full(N, 20.0)), (20,)),
    "binom": (lambda g: samplers.binomial(g, np.full(N, 60.0), np.full(N, 0.6)), (60, 0.6)),
}


@pytest.mark.parametrize("law", CONTINUOUS)
def test_continuous_laws(law):
    stats = pytest.importorskip("scipy.stats")
    draw, arguments = CONTINUOUS[law]
    x = draw(Generator().manual_seed(11)).astype("f8")
    assert stats.kstest(x, law, arguments).pvalue > 1e-3


@pytest.mark.parametrize("law", DISCRETE)
def test_discrete_laws(law):
    stats = pytest.importorskip("scipy.stats")
    draw, arguments = DISCRETE[law]
    values, counts = np.unique(draw(Generator().manual_seed(12)), return_counts=True)
    expected = getattr(stats, law)(*arguments).pmf(values) * N
    often = expected > 10
    chi2 = ((counts - expected)[often] ** 2 / expected[often]).sum()
    assert stats.chi2(often.sum() - 1).sf(chi2) > 1e-3


def test_multinomial_follows_the_weights():
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    counts = np.bincount(samplers.multinomial(Generator(), weights, N, True))
    np.testing.assert_allclose(counts / N, weights / 10, atol=0.015)
    first = samplers.multinomial(Generator(), np.tile(weights, (N, 1)), 1)
    np.testing.assert_allclose(np.bincount(first[:, 0]) / N, weights / 10, atol=0.015)
