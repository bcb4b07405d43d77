"""Random words by the kernel are those of NumPy's twister, and the stream goes on after them."""

import numpy as np
import pytest

import rushlight
from rushlight.codegen import native
from rushlight.core import generator

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import twister  # noqa: E402


@pytest.mark.parametrize("blocks", [1, 2, 57])
@pytest.mark.parametrize("in_place", [True, False])
def test_words_and_state(blocks, in_place, monkeypatch):
    if not in_place:
        monkeypatch.setattr(twister, "_in_place", lambda: False)
    plain, quick = np.random.MT19937(5), np.random.MT19937(5)
    for t in (plain, quick):
        t.random_raw(624 - t.state["state"]["pos"])
    out = np.empty(blocks * 624, np.uint32)
    twister.fill(quick, out)
    np.testing.assert_array_equal(out, plain.random_raw(out.size).astype(np.uint32))
    np.testing.assert_array_equal(quick.random_raw(1000), plain.random_raw(1000))


@pytest.mark.parametrize("draws", [(100_000,), (7, 40_001, 3), (16_384, 624, 50_000), (99_999, 99_999)])
def test_streams_do_not_depend_on_it(draws, monkeypatch):
    def drawn():
        rushlight.manual_seed(3)
        out = [f(n).float().numpy() for n in draws for f in (rushlight.rand, rushlight.randn, lambda n: rushlight.empty(n).bernoulli_(0.3), lambda n: rushlight.randint(0, 9, (n,)))]
        return [*out, rushlight.get_rng_state().numpy()]

    quick = drawn()
    monkeypatch.setattr(generator, "MANY", 1 << 62)
    for a, b in zip(quick, drawn(), strict=True):
        np.testing.assert_array_equal(a, b)
