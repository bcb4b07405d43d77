"""assert_close: are two values, or nests of values, equal within tolerance, and if not, where and by how much?

`_compare` walks both values together and raises `_Failure` at the first difference, which carries the path to it. What
differs is reported in PyTorch's words. Tolerances not given follow from the dtypes; integers and bool must be equal.
"""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

import rushlight

#: (rtol, atol) of a dtype; others must be equal
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
_NUMBERS = (bool, int, float, complex)


class _Failure(Exception):
    """A difference: the kind of error, its text, and where in the nest it is."""

    def __init__(self, kind, text, path=()):
        super().__init__(text)
        self.kind, self.text, self.path = kind, text, path

    def error(self, msg):
        text = self.text
        if self.path:
            text += f"\n\nThe failure occurred for item {''.join(f'[{p!r}]' for p in self.path)}"
        if msg is not None and self.kind is AssertionError:
            text = msg(text) if callable(msg) else msg
        return self.kind(text)


def _fail(text, path, kind=AssertionError):
    raise _Failure(kind, text, path)


class _Rules:
    """The options of one comparison."""

    def __init__(self, rtol, atol, equal_nan, subclasses, device, dtype, layout, stride):
        if (rtol is None) != (atol is None):
            missing = "rtol" if rtol is None else "atol"
            raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
        self.rtol, self.atol, self.equal_nan = rtol, atol, equal_nan
        self.subclasses, self.device, self.dtype, self.layout, self.stride = subclasses, device, dtype, layout, stride

    def tolerances(self, *dtypes):
        if self.rtol is not None:
            return self.rtol, self.atol
        found = [_TOLERANCES.get(str(d).rpartition(".")[2], (0.0, 0.0)) for d in dtypes]
        return max(f[0] for f in found), max(f[1] for f in found)


def _allowed(tolerance):
    return f" (up to {tolerance} allowed)" if tolerance is not None else ""


def _heading(what, rtol, atol):
    return f"{what} are not {'equal' if rtol == atol == 0 else 'close'}!"


# ---- numbers ---------------------------------------------------------------------------------------------------


def _scalar_report(actual, expected, rtol, atol, path):
    exact = rtol == atol == 0
    difference = abs(actual - expected)
    relative = difference / abs(expected) if expected else math.inf if difference else math.nan
    _fail(
        f"{_heading('Scalars', rtol, atol)}\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {difference}{_allowed(None if exact else atol)}\nRelative difference: {relative}{_allowed(None if exact else rtol)}",
        path,
    )


def _scalars_agree(a, b, rtol, atol, equal_nan):
    if a == b:
        return True
    if cmath.isnan(a) or cmath.isnan(b):
        return equal_nan and cmath.isnan(a) and cmath.isnan(b)
    difference = abs(a - b)
    return math.isfinite(difference) and difference <= atol + rtol * abs(b)


def _number_kind(v):
    return next(k for k in _NUMBERS if isinstance(v, k))


def _compare_numbers(actual, expected, rules, path):
    kinds = _number_kind(actual), _number_kind(expected)
    if kinds == (bool, bool):
        if actual is not expected:
            _fail(f"Booleans mismatch: {actual} is not {expected}", path)
        return
    if rules.dtype and kinds[0] is not kinds[1]:
        _fail(f"The (d)types do not match: {kinds[0]} != {kinds[1]}.", path)
    dtypes = {int: "int64", float: "float64", complex: "complex128", bool: "bool"}
    rtol, atol = rules.tolerances(*(dtypes[k] for k in kinds))
    if not _scalars_agree(actual, expected, rtol, atol, rules.equal_nan):
        _scalar_report(actual, expected, rtol, atol, path)


# ---- tensors ---------------------------------------------------------------------------------------------------


def _attribute(name, actual, expected, path):
    if actual != expected:
        _fail(f"The values for attribute '{name}' do not match: {actual} != {expected}.", path)


def _compare_tensors(actual, expected, rules, path):
    _attribute("shape", actual.shape, expected.shape, path)
    if rules.layout:
        _attribute("layout", actual.layout, expected.layout, path)
    if rules.device:
        _attribute("device", actual.device, expected.device, path)
    if rules.dtype:
        _attribute("dtype", actual.dtype, expected.dtype, path)
    if rules.stride:
        _attribute("stride()", actual.stride(), expected.stride(), path)
    if actual.is_meta or expected.is_meta:
        return
    rtol, atol = rules.tolerances(actual.dtype, expected.dtype)
    actual, expected = actual.detach().cpu(), expected.detach().cpu()
    if actual.dtype != expected.dtype:
        common = rushlight.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(common), expected.to(common)
    a, b = _array(actual), _array(expected)
    with np.errstate(all="ignore"):
        agree = _agree(a, b, rtol, atol, rules.equal_nan)
    if agree.all():
        return
    if a.ndim == 0:
        _scalar_report(a.item(), b.item(), rtol, atol, path)
    _tensor_report(a, b, agree, rtol, atol, path)


def _array(x):
    """As an ndarray in which differences can be formed: small types widened without loss of the printed digits."""
    if x.dtype in (rushlight.bool, rushlight.uint8):
        return x.to(rushlight.int64).numpy()
    if x.is_floating_point() and x.dtype not in (rushlight.float16, rushlight.float32, rushlight.float64):
        return x.to(rushlight.float32).numpy()
    return x.numpy()


def _agree(a, b, rtol, atol, equal_nan):
    same = a == b
    if a.dtype.kind in "fc":
        if equal_nan:
            same |= np.isnan(a) & np.isnan(b)
        if rtol or atol:
            difference = np.abs(a - b)
            same |= np.isfinite(difference) & np.isfinite(np.abs(b)) & (difference <= atol + rtol * np.abs(b))
    elif rtol or atol:
        same |= np.abs(a - b) <= atol + rtol * np.abs(b)
    return same


def _tensor_report(a, b, agree, rtol, atol, path):
    exact = rtol == atol == 0
    with np.errstate(all="ignore"):
        difference = np.where(agree, 0, np.abs(a - b))
        size = np.abs(b) if a.dtype.kind in "fc" else np.abs(b).astype(np.float32)
        relative = np.where(agree, 0, (difference / size).astype(size.dtype))
    lines = [f"Mismatched elements: {agree.size - np.count_nonzero(agree)} / {agree.size} ({1 - np.count_nonzero(agree) / agree.size:.1%})"]
    for what, values, tolerance in (("absolute", difference, atol), ("relative", relative, rtol)):
        place = np.unravel_index(np.argmax(values), values.shape)
        index = tuple(int(i) for i in place)
        lines.append(f"Greatest {what} difference: {values[place].item()} at index {index}{_allowed(None if exact else tolerance)}")
    _fail(f"{_heading('Tensor-likes', rtol, atol)}\n\n" + "\n".join(lines), path)


# ---- nests -----------------------------------------------------------------------------------------------------


def _related(actual, expected, rules):
    if rules.subclasses:
        return isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    return type(actual) is type(expected)


def _compare(actual, expected, rules, path=()):
    if isinstance(actual, rushlight.Tensor) and isinstance(expected, rushlight.Tensor) and _related(actual, expected, rules):
        return _compare_tensors(actual, expected, rules, path)
    if isinstance(actual, np.ndarray) and isinstance(expected, np.ndarray):
        return _compare_tensors(rushlight.from_numpy(actual), rushlight.from_numpy(expected), rules, path)
    if isinstance(actual, _NUMBERS) and isinstance(expected, _NUMBERS):
        return _compare_numbers(actual, expected, rules, path)
    if actual is None or expected is None:
        if actual is not expected:
            _fail(f"None mismatch: {actual} is not {expected}", path)
        return None
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        return _compare_mappings(actual, expected, rules, path)
    if all(isinstance(v, Sequence) and not isinstance(v, (str, bytes)) for v in (actual, expected)):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", path)
        for i, (a, b) in enumerate(zip(actual, expected)):
            _compare(a, b, rules, (*path, i))
        return None
    return _fail(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.", path, TypeError)


def _compare_mappings(actual, expected, rules, path):
    missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
    if missing or extra:
        text = "The keys of the mappings do not match:"
        if missing:
            text += f"\nMissing keys in the actual mapping: {sorted(missing, key=repr)}"
        if extra:
            text += f"\nAdditional keys in the actual mapping: {sorted(extra, key=repr)}"
        _fail(text, path)
    keys = list(actual)
    try:
        keys = sorted(keys)
    except TypeError:
        pass
    for k in keys:
        _compare(actual[k], expected[k], rules, (*path, k))


def assert_close(
    actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False, check_device=True, check_dtype=True, check_layout=True, check_stride=False, msg=None
):
    """AssertionError unless |actual - expected| <= atol + rtol * |expected| for every element.

    Tensors, NumPy arrays, numbers, None, and sequences and mappings of them. `rtol` and `atol` go together; without them they
    follow from the dtype (float32: 1.3e-6 and 1e-5; integers are compared exactly). The checks of dtype, device, layout and
    stride can be switched off or on. `msg` replaces the text, or makes one from it if it is callable.
    """
    __tracebackhide__ = True
    rules = _Rules(rtol, atol, equal_nan, allow_subclasses, check_device, check_dtype, check_layout, check_stride)
    try:
        _compare(actual, expected, rules)
    except _Failure as failure:
        error = failure.error(msg)
    else:
        return
    raise error


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=""):
    """assert_close under its old name: numbers and lists become tensors, dtypes need not agree."""
    warnings.warn("`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release. Please use `torch.testing.assert_close()` instead.", FutureWarning, stacklevel=2)
    actual, expected = (v if isinstance(v, rushlight.Tensor) else rushlight.tensor(v) for v in (actual, expected))
    if rtol is None and atol is None:
        rtol, atol = _Rules(None, None, equal_nan, True, True, True, True, False).tolerances(actual.dtype, expected.dtype)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, check_stride=False, msg=msg or None)
