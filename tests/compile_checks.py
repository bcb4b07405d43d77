"""What tests of compile() share: whether two results are alike, and a program run eagerly and compiled side by side."""

import warnings

import numpy as np

import rushlight as torch

TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2, "float32": 1e-4, "complex64": 1e-4}


def flat(value):
    """The leaves of nested containers."""
    if isinstance(value, (list, tuple)):
        return [v for u in value for v in flat(u)]
    if isinstance(value, dict):
        return [v for u in value.values() for v in flat(u)]
    return [value]


def array(t):
    """The values of a tensor as NumPy has them."""
    t = t.detach()
    return (t.float() if t.dtype in (torch.float16, torch.bfloat16) else t).numpy()


def strides(t):
    """The strides that say where elements are."""
    return [s for n, s in zip(t.shape, t.stride()) if n != 1] if t.numel() else None


def difference(a, b, tolerance=None, layout=True):
    """What differs between two results, in words; None where nothing does."""
    if type(a) is not type(b):
        return f"a {type(b).__name__} instead of a {type(a).__name__}"
    a, b = flat(a), flat(b)
    if len(a) != len(b):
        return f"{len(b)} results instead of {len(a)}"
    for k, (x, y) in enumerate(zip(a, b)):
        if type(x) is not type(y):
            return f"result {k}: a {type(y).__name__} instead of a {type(x).__name__}"
        if not isinstance(x, torch.Tensor):
            if not (x == y or x != x or isinstance(x, float) and abs(x - y) <= (tolerance or 1e-4) * max(1, abs(x))):
                return f"result {k}: {y!r} instead of {x!r}"
            continue
        for what in ("shape", "dtype", "requires_grad", "is_leaf") + (("stride",) if layout else ()):
            u, v = (strides(t) if what == "stride" else getattr(t, what) for t in (x, y))
            if u != v:
                return f"result {k}: {what} {v} instead of {u}"
        t = tolerance or TOLERANCE.get(str(x.dtype).split(".")[-1], 1e-9)
        u, v = array(x), array(y)
        if not np.allclose(u, v, rtol=t, atol=t, equal_nan=True):
            return f"result {k}: {v.ravel()[:6]} instead of {u.ravel()[:6]}"
    return None


def alike(a, b, tolerance=None, layout=True):
    """Assert that two results are the same to rounding."""
    problem = difference(a, b, tolerance, layout)
    assert problem is None, problem


def side_by_side(function, arguments, calls=3, tolerance=None, kept=True, seed=1, layout=True):
    """Call `function(*arguments())` eagerly and compiled; results, arguments and their gradients must stay alike. Gives the compiled one."""
    compiled = torch.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in range(calls):
            a, b = arguments(), arguments()
            torch.manual_seed(seed)
            x = function(*a)
            state = torch.get_rng_state()
            torch.manual_seed(seed)
            y = compiled(*b)
            assert torch.equal(state, torch.get_rng_state()), f"call {call}: the generator is elsewhere"
            for u, v in ((x, y), (a, b)):
                problem = difference(u, v, tolerance, layout)
                assert problem is None, f"call {call}: {problem}"
            for u, v in zip(flat(a), flat(b)):
                if isinstance(u, torch.Tensor):
                    assert u._version == v._version, f"call {call}: version {v._version} instead of {u._version}"
                    assert u.is_leaf != v.is_leaf or not u.is_leaf or (u.grad is None) == (v.grad is None)
                    if u.is_leaf and u.grad is not None:
                        problem = difference(u.grad, v.grad, tolerance)
                        assert problem is None, f"call {call}: gradient: {problem}"
    if kept:
        assert compiled.programs and compiled.reason is None, compiled.reason or compiled.history
    return compiled
