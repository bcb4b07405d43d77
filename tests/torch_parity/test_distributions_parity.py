"""rushlight.distributions held to torch's, class by class and for parameters of several shapes.

Every question is put to both libraries from one seed; the answers (strings, arrays, kinds of errors) must agree.
"""

import warnings

import numpy as np
import pytest
from distributions_table import BETTER, CLASSES, LOOSE, SHAPES, Parameters

import rushlight
import rushlight.distributions

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

#: draws that both libraries are asked about: torch's, as arrays, by (name, shape)
_draws = {}


def _value(m, name, shapes, n=4):
    if (name, shapes) not in _draws:
        torch.manual_seed(11)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            d = CLASSES[name](torch.distributions, Parameters(torch, SHAPES[shapes]))
            try:
                _draws[name, shapes] = d.sample((n,)).numpy()
            except RuntimeError as e:
                pytest.skip(f"PyTorch can't draw from it: {e}")
    return m.tensor(_draws[name, shapes])


def _gradients(out, leaves):
    if not out.requires_grad:
        return ["no gradient"]
    (out * out.detach().cos()).sum().backward()  # unlike weights
    return ["none" if leaf.grad is None else leaf.grad for leaf in leaves]


def _expanded(d):
    return d.expand((4, 2) + tuple(d.batch_shape))


QUESTIONS = {
    "repr": lambda d, a, x: repr(d),
    "shapes": lambda d, a, x: repr((d.batch_shape, d.event_shape, d.has_rsample, d.has_enumerate_support)),
    "support": lambda d, a, x: repr(d.support),
    "constraints": lambda d, a, x: repr(d.arg_constraints),
    "mean": lambda d, a, x: d.mean,
    "mode": lambda d, a, x: d.mode,
    "variance": lambda d, a, x: d.variance,
    "stddev": lambda d, a, x: d.stddev,
    "sample": lambda d, a, x: d.sample((5, 2)),
    "one sample": lambda d, a, x: d.sample(),
    "rsample": lambda d, a, x: d.rsample((4,)),
    "rsample gradient": lambda d, a, x: _gradients(d.rsample((4,)), a.leaves),
    "log_prob": lambda d, a, x: d.log_prob(x),
    "log_prob gradient": lambda d, a, x: _gradients(d.log_prob(x), a.leaves),
    "entropy": lambda d, a, x: d.entropy(),
    "entropy gradient": lambda d, a, x: _gradients(d.entropy(), a.leaves),
    "perplexity": lambda d, a, x: d.perplexity(),
    "cdf": lambda d, a, x: d.cdf(x),
    "icdf": lambda d, a, x: d.icdf(a.m.linspace(0.05, 0.95, 3).view(3, *[1] * len(d.batch_shape))),
    "enumerate": lambda d, a, x: d.enumerate_support(),
    "enumerate once": lambda d, a, x: d.enumerate_support(expand=False),
    "expanded repr": lambda d, a, x: repr(_expanded(d)) + repr((_expanded(d).batch_shape, _expanded(d).event_shape)),
    "expanded sample": lambda d, a, x: _expanded(d).sample((2,)),
    "expanded log_prob": lambda d, a, x: _expanded(d).log_prob(x[0]),
    "expanded mean": lambda d, a, x: _expanded(d).mean,
    "expanded twice": lambda d, a, x: repr(_expanded(d).expand((2, 4, 2) + tuple(d.batch_shape))),
    "wrong type": lambda d, a, x: d.log_prob(3.0),
    "outside": lambda d, a, x: d.log_prob(a.m.full_like(x.double(), -0.7).float()),
    "wrong shape": lambda d, a, x: d.log_prob(a.m.ones((7, 5) + tuple(x.shape[1:]))[..., None].expand(7, 5, *x.shape[1:], 9)),
}


class _Library:
    """One library's answers about one line of the table."""

    def __init__(self, m, name, shapes):
        self.m, self.name, self.shapes = m, name, shapes
        self.a, self.d = self._made()
        self.x = _value(m, name, shapes)

    def _made(self):
        a = Parameters(self.m, SHAPES[self.shapes])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return a, CLASSES[self.name](self.m.distributions, a)

    def answer(self, ask):
        # a gradient needs a graph of its own
        a, d = self._made() if "gradient" in ask else (self.a, self.d)
        if "sample" in ask:
            self.m.manual_seed(5)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out = QUESTIONS[ask](d, a, self.x)
        except (NotImplementedError, ValueError) as e:
            return [type(e).__name__]
        return out if isinstance(out, list) else [out]


def _agree(ours, theirs, rtol):
    assert len(ours) == len(theirs)
    for mine, true in zip(ours, theirs):
        if isinstance(true, str):
            assert mine == true
            continue
        mine, true = mine.detach().numpy(), true.detach().numpy()
        assert mine.shape == true.shape and mine.dtype == true.dtype
        scale = np.abs(true[np.isfinite(true)]).max(initial=0)
        np.testing.assert_allclose(mine, true, rtol=rtol, atol=rtol * 0.3 * min(1 + scale, 100))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_answers_as_torch(name, shapes):
    kind = name.split()[0]
    ours, theirs = (_Library(m, name, shapes) for m in (rushlight, torch))
    for ask in QUESTIONS:
        if (kind, ask) in BETTER:
            continue
        # implicit gradients: PyTorch's are approximations of about this accuracy
        rtol = LOOSE.get((kind, ask), 5e-3 if ask == "rsample gradient" else 3e-5)
        try:
            _agree(ours.answer(ask), theirs.answer(ask), rtol)
        except AssertionError as e:
            raise AssertionError(f"{name} ({shapes}), {ask}: {e}") from e


def test_every_public_class_is_in_the_table():
    ours, theirs = (m.distributions for m in (rushlight, torch))
    assert set(ours.__all__) == set(theirs.__all__)
    classes = {n for n in theirs.__all__ if isinstance(getattr(theirs, n), type) and issubclass(getattr(theirs, n), theirs.Distribution)}
    assert classes - {name.split()[0] for name in CLASSES} == {"Distribution", "ExponentialFamily"}
