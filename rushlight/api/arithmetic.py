"""Pointwise functions: the rows of the family under their public names, and the irregular signatures over them.

A function here exists because PyTorch's signature does not follow from the row (`alpha=`, `rounding_mode=`, optional
bounds). Everything else of the family is published from the table.
"""

from __future__ import annotations

import numpy as np

from rushlight.autograd import modes
from rushlight.bind import (
    FUNCTIONS,
    METHODS,
    binary,
    both,
    function,
    label,
    method,
    publish,
    renamed,
    update,
)
from rushlight.core import dtype as D
from rushlight.dispatch import InPlace, Unsupported, apply, kind_of, under_name
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, needs

#: rows with a public face of their own below, or none
_IRREGULAR = {
    "add", "add_scaled", "sub", "sub_scaled", "div", "pow", "pow_scalar", "rpow", "where", "clamp", "lerp", "addcmul", "addcdiv", "round",
    "polygamma_of", "trunc_divide", "div_floor", "rsub_number", "conj_physical", "maximum", "minimum", "square", "heaviside",
}  # fmt: skip

for _op in [o for o in TABLE.values() if o.family == "pointwise" and o.name not in _IRREGULAR]:
    publish(_op)
for _name in ("maximum", "minimum"):
    publish(TABLE[_name])


@both(in_place=True)
def heaviside(input, values, *, out=None):
    """0 where input is below 0, 1 where it is above, `values` where it is 0; both of one dtype."""
    for position, (name, value) in enumerate((("input", input), ("values", values)), 1):
        if not isinstance(value, Tensor):
            raise TypeError(f"heaviside(): argument '{name}' (position {position}) must be Tensor, not {kind_of(value)}")
    if input.dtype is not values.dtype:
        raise RuntimeError(f"heaviside is not yet implemented for tensors with different dtypes. (found {input.dtype} and {values.dtype}; write .to() behind one)")
    return apply(TABLE["heaviside"], (input, values), out=out)


publish(TABLE["mul"], "multiply")
METHODS["negative"] = FUNCTIONS["negative"] = FUNCTIONS["neg"]
METHODS["negative_"] = METHODS["neg_"]
for _alias, _of in {"absolute": "abs", "arctan": "atan"}.items():
    FUNCTIONS[_alias] = METHODS[_alias] = FUNCTIONS[_of]
    METHODS[_alias + "_"] = METHODS[_of + "_"]


def _operators(name, dunder, reflected=True, in_place=True):
    """__op__, __rop__ and __iop__ from a row."""
    f, r, f_ = binary(TABLE[name], operator=True)
    METHODS[f"__{dunder}__"] = label(f, f"__{dunder}__", TABLE[name])
    if reflected:
        METHODS[f"__r{dunder}__"] = label(r, f"__r{dunder}__", TABLE[name])
    if in_place:
        METHODS[f"__i{dunder}__"] = label(f_, f"__i{dunder}__", TABLE[name])
    return f, f_


_add, _add_ = _operators("add", "add")
_sub, _sub_ = _operators("sub", "sub")
_mul, _mul_ = _operators("mul", "mul")
_div, _div_ = _operators("div", "truediv")
_rsub, _, _ = binary(TABLE["rsub_number"], operator=True)
_NUMBERS = (bool, int, float, complex)


def _reflected(dunder, plain, swapped):
    """number - tensor and its kin as PyTorch computes them: `swapped` where `other` is a number, else the row's own."""

    def operator(self, other):
        if isinstance(other, _NUMBERS) and isinstance(self, Tensor):
            return swapped(self, other)
        return plain(self, other)

    METHODS[dunder] = label(operator, dunder)


_reflected("__radd__", METHODS["__radd__"], _add)
_reflected("__rmul__", METHODS["__rmul__"], _mul)
_reflected("__rsub__", METHODS["__rsub__"], _rsub)
_reflected("__rtruediv__", METHODS["__rtruediv__"], lambda self, number: _mul(self.reciprocal(), number))
_operators("floor_divide", "floordiv")
_operators("remainder", "mod")
_operators("bitwise_and", "and")
_operators("bitwise_or", "or")
_operators("bitwise_xor", "xor")
_operators("bitwise_left_shift", "lshift")
_operators("bitwise_right_shift", "rshift")
for _dunder in ("eq", "ne", "lt", "le", "gt", "ge"):
    _operators(_dunder, _dunder, reflected=False, in_place=False)
METHODS["__neg__"] = METHODS["neg"]
METHODS["__abs__"] = METHODS["abs"]
_bitwise_not, _logical_not = METHODS["bitwise_not"], METHODS["logical_not"]


@method
def __invert__(self):
    """~x: bitwise for integers, logical for bool."""
    if self.dtype.category > D.INTEGER:
        raise TypeError(f"~ (operator.invert) is only implemented on integer and Boolean-type tensors (this one is {self.dtype}; write ~(x != 0) for its truth)")
    return _bitwise_not(self)


@both
def positive(input):
    """The tensor itself; RuntimeError for bool."""
    if input.dtype is D.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


METHODS["__pos__"] = positive


def _check_alpha(name, alpha, x, y):
    dtype = x.dtype if isinstance(x, Tensor) else D.of_scalar(x)
    other = y.dtype if isinstance(y, Tensor) else D.of_scalar(y)
    top = max(dtype.category, other.category)
    if isinstance(alpha, bool) and top != D.BOOL:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and top < D.FLOAT:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if isinstance(alpha, complex) and top < D.COMPLEX:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")


def _scaled(name):
    plain_f, _, plain_f_ = binary(TABLE[name])
    row = TABLE[name + "_scaled"]

    def f(input=None, other=None, *, alpha=1, out=None, **names):
        if names:
            return f(alpha=alpha, out=out, **renamed(name, names, input=input, other=other))
        if alpha == 1 and alpha is not True:
            return plain_f(input, other, out=out)
        _check_alpha(name, alpha, input, other)
        return apply(row, (input, other), {"alpha": alpha.item() if isinstance(alpha, Tensor) else alpha}, out=out)

    def f_(self, other, *, alpha=1):
        if alpha == 1 and alpha is not True:
            return plain_f_(self, other)
        if alpha.__class__ is not float:
            _check_alpha(name, alpha, self, other)
        return update(row, self, (other,), {"alpha": alpha.item() if isinstance(alpha, Tensor) else alpha})

    f.__doc__ = f"{name}(input, other, *, alpha=1, out=None): input {'+' if name == 'add' else '-'} alpha * other."
    return f, f_


for _name, _long in (("add", None), ("sub", "subtract")):
    _f, _f_ = _scaled(_name)
    for _public in filter(None, (_name, _long)):
        FUNCTIONS[_public] = METHODS[_public] = _f
        METHODS[_public + "_"] = _f_
    label(_f, _name, TABLE[_name])
    label(_f_, _name + "_", TABLE[_name])


@both
def rsub(input, other, *, alpha=1):
    """other - alpha * input."""
    if not isinstance(input, Tensor):
        raise TypeError(f"rsub(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if not isinstance(other, Tensor) and alpha == 1 and alpha is not True:
        return _rsub(input, other)
    name = "RsubBackward0" if isinstance(other, Tensor) else "RsubBackward1"
    return under_name(name, FUNCTIONS["sub"](other if isinstance(other, Tensor) else _as(input, other), input, alpha=alpha))


def _as(like, number):
    return like.new_full((), number, dtype=D.of_scalar(number) if not isinstance(number, Tensor) else None)


def _div_full(input, other, rounding_mode=None, out=None):
    if rounding_mode is None:
        return apply(TABLE["div"], (input, other), out=out)
    if rounding_mode == "floor":
        return apply(TABLE["div_floor"], (input, other), out=out)
    if rounding_mode == "trunc":
        common = _common(input, other)
        return apply(TABLE["trunc_divide"], (input, other), {"half": None if common.compute is common else common}, out=out)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


_div_plain, _, _div_plain_ = binary(TABLE["div"])


def div(input, other, *, rounding_mode=None, out=None):
    """input / other, rounded down ('floor') or towards zero ('trunc') if asked."""
    if rounding_mode is None and out is None:
        return _div_plain(input, other)
    return _div_full(input, other, rounding_mode, out)


def div_(self, other, *, rounding_mode=None):
    """The in-place form of div."""
    if rounding_mode is None:
        return _div_plain_(self, other)
    return _div_full(self, other, rounding_mode, InPlace(self))


for _public in ("div", "divide", "true_divide"):
    FUNCTIONS[_public] = METHODS[_public] = div
    METHODS[_public + "_"] = div_

_square, _square_ = publish(TABLE["square"]), METHODS["square_"]


@both
def square(input, *, out=None):
    """input * input; bool counts as 0 and 1."""
    if isinstance(input, Tensor) and input.dtype is D.bool_:
        input = input.to(D.int64)
    return _square(input, out=out)
_pow_plain, _, _ = binary(TABLE["pow"])


def _pow_general(input, exponent, out=None):
    if not isinstance(input, Tensor):
        if not isinstance(exponent, Tensor):
            raise Unsupported(f"pow(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
        if input == 1 and not isinstance(input, bool) and not needs(exponent) and out is None:
            return exponent.new_ones(exponent.shape, dtype=_common(input, exponent))
        return apply(TABLE["pow"], (input, exponent), out=out) if not needs(exponent) else apply(TABLE["rpow"], (_float(exponent),), {"base": input}, out=out)
    if isinstance(exponent, Tensor):
        return _pow_plain(input, exponent, out=out)
    if isinstance(exponent, (bool, int, float, complex, np.number)):
        exponent = exponent.item() if isinstance(exponent, np.number) else exponent
        category = input.dtype.category
        if isinstance(exponent, complex) and category < D.COMPLEX or isinstance(exponent, float) and category < D.FLOAT:
            if isinstance(out, InPlace):
                raise RuntimeError(f"result type {'ComplexFloat' if isinstance(exponent, complex) else 'Float'} can't be cast to the desired output type {type_name(input)}")
            input = input.to(_common(input, exponent))
        if input.dtype is D.bool_:
            input = input.to(D.of_scalar(exponent))
        if input.dtype.category == D.INTEGER:
            if exponent < 0:
                raise RuntimeError("Integers to negative integer powers are not allowed.")
            exponent = D.number_for(exponent, input.dtype)
        return apply(TABLE["pow_scalar"], (input,), {"exponent": exponent}, out=out)
    raise Unsupported(f"pow(): argument 'exponent' (position 2) must be Tensor or Number, not {type(exponent).__name__}")


def _common(*values):
    return TABLE["add"].infer(TABLE["add"], values, {}).dtype


def _float(x):
    return x if x.dtype.category >= D.FLOAT else x.to(D.get_default_dtype())


def pow(input, exponent, *, out=None):
    """input ** exponent, elementwise; either may be a number."""
    if exponent.__class__ is int and exponent == 2 and out is None and isinstance(input, Tensor) and input.dtype.category >= D.INTEGER:
        return _square(input)
    return _pow_general(input, exponent, out)


def pow_(self, exponent):
    """The in-place form of pow."""
    return _pow_general(self, exponent, InPlace(self))


FUNCTIONS["pow"] = METHODS["pow"] = label(pow, "pow", TABLE["pow"])
METHODS["pow_"] = METHODS["__ipow__"] = label(pow_, "pow_", TABLE["pow"])


@method
def __pow__(self, exponent, modulo=None):
    if modulo is not None:
        raise TypeError("pow() of a tensor takes no modulus: write x**y % m")
    try:
        return pow(self, exponent)
    except Unsupported:
        return NotImplemented


@method
def __rpow__(self, base):
    try:
        return _pow_general(base, self)
    except Unsupported:
        return NotImplemented


@both
def float_power(input, exponent, *, out=None):
    """input ** exponent in double precision."""
    wanted = D.complex128 if any(isinstance(v, complex) or isinstance(v, Tensor) and v.is_complex() for v in (input, exponent)) else D.float64
    if isinstance(out, Tensor) and out.dtype is not wanted:
        raise RuntimeError(f"the output given to float_power has dtype {type_name(out)} but the operation's result requires dtype {wanted.title}")
    wide = lambda v: v.to(D.complex128 if v.is_complex() else D.float64) if isinstance(v, Tensor) else v  # noqa: E731
    if isinstance(exponent, complex) and isinstance(input, Tensor):
        input = input.to(D.complex128)
    return _pow_general(wide(input), wide(exponent), out)


@method
def float_power_(self, exponent):
    """The in-place form of float_power."""
    if self.dtype not in (D.float64, D.complex128):
        raise RuntimeError(f"the base given to float_power_ has dtype {type_name(self)} but the operation's result requires dtype Double")
    return _pow_general(self, exponent, InPlace(self))


def type_name(x):
    """PyTorch's C++ name of a tensor's dtype."""
    return x.dtype.title


@both(in_place=True)
def round(input, *, decimals=0, out=None):
    """The nearest integer (halves to even), or the nearest multiple of 10 ** -decimals."""
    if decimals == 0:
        return apply(TABLE["round"], (input,), out=out)
    return apply(TABLE["round_decimals"], (input,), {"decimals": decimals}, out=out)


@both(in_place=True)
def clamp(input, min=None, max=None, *, out=None):
    """Each element moved into [min, max]; the bounds are numbers or tensors, and either may be missing."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if not isinstance(input, Tensor):
        raise TypeError(f"clamp(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if isinstance(min, Tensor) != isinstance(max, Tensor):  # a 0-dim tensor beside a number is one
        min, max = (b.item() if isinstance(b, Tensor) and o is not None and not b._data.ndim and not needs(b) else b for b, o in ((min, max), (max, min)))
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        for name, bound in (("min", min), ("max", max)):
            if bound is not None and not isinstance(bound, Tensor):
                raise TypeError(f"clamp() received an invalid combination of arguments: '{name}' is a {type(bound).__name__} beside a Tensor; give two numbers or two tensors")
        if min is not None and max is not None:
            return apply(TABLE["clamp_tensors"], (input, min, max), out=out)
        row, bound = (TABLE["clamp_low"], min) if min is not None else (TABLE["clamp_high"], max)
        return apply(row, (input, bound), out=out)
    input = _holding(input, out, min, max)
    min, max = (b if b is None else D.number_for(b, input.dtype) for b in (min, max))
    return apply(TABLE["clamp"], (input,), {"min": min, "max": max}, out=out)


def _holding(input, out, *bounds):
    """`input` in a dtype whose category holds the numbers given as bounds too."""
    dtype = _common(input, *[b for b in bounds if b is not None])
    if dtype.category == input.dtype.category:
        return input
    if isinstance(out, InPlace):
        raise RuntimeError(f"result type {dtype.title} can't be cast to the desired output type {type_name(input)}")
    return input.to(dtype)


FUNCTIONS["clip"] = METHODS["clip"] = clamp
METHODS["clip_"] = METHODS["clamp_"]


@both(in_place=True)
def clamp_min(input, min, *, out=None):
    """Each element raised to at least `min`."""
    return _clamp_one("clamp_min", "low", input, min, out)


@both(in_place=True)
def clamp_max(input, max, *, out=None):
    """Each element lowered to at most `max`."""
    return _clamp_one("clamp_max", "high", input, max, out)


def _clamp_one(name, attribute, input, bound, out):
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if isinstance(bound, Tensor):
        return apply(TABLE[name + "_tensor"], (input, bound), out=out)
    input = _holding(input, out, bound)
    return apply(TABLE[name + "_number"], (input,), {attribute: D.number_for(bound, input.dtype)}, out=out)


@function
def where(condition, input=None, other=None, *, out=None, **names):
    """condition ? input : other, elementwise; with the condition alone, nonzero(as_tuple=True)."""
    if names:
        return where(condition, out=out, **renamed("where", names, input=input, other=other))
    if input is None and other is None:
        return FUNCTIONS["nonzero"](condition, as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    if condition.dtype is D.uint8:
        condition = condition.to(D.bool_)
    if condition.dtype is not D.bool_:
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {type_name(condition)}")
    return apply(TABLE["where"], (condition, *_choices(input, other)), out=out)


def _choices(x, y):
    """The two values of where: a number beside a tensor has to fit into it."""
    for tensor, number in ((x, y), (y, x)):
        if isinstance(tensor, Tensor) and (
            tensor.dtype.category == D.INTEGER and type(number) is int or tensor.dtype.category == D.FLOAT and type(number) is float
        ):
            D.number_for(number, tensor.dtype, within=D.filled(tensor.dtype))
    return x, y


@method(name="where")
def where_method(self, condition, other):
    """condition ? self : other."""
    if condition is True or condition is False:  # formulas compare numbers too
        return self if condition else self * 0 + other
    return apply(TABLE["where"], (condition, self, other))


@method
def lerp_(self, end, weight):
    """The in-place form of lerp."""
    if weight.__class__ is float and isinstance(end, Tensor):
        return update(TABLE["lerp_scalar"], self, (end,), {"weight": weight})
    return lerp(self, end, weight, out=InPlace(self))


@both
def lerp(input, end, weight, *, out=None):
    """input + weight * (end - input)."""
    for position, (place, given) in enumerate((("input", input), ("end", end)), 1):
        if not isinstance(given, Tensor):
            raise TypeError(f"lerp(): argument '{place}' (position {position}) must be Tensor, not {kind_of(given)}")
    if isinstance(input, Tensor) and isinstance(end, Tensor) and input.dtype is not end.dtype:
        raise RuntimeError(f"expected dtype {_lower(input)} for `end` but got dtype {_lower(end)}")
    if isinstance(weight, Tensor):
        if weight.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {_lower(input)} for `weight` but got dtype {_lower(weight)}")
        return apply(TABLE["lerp"], (input, end, weight), out=out)
    return apply(TABLE["lerp_scalar"], (input, end), {"weight": weight}, out=out)


def _lower(x):
    return type_name(x).lower()


def _with_value(name):
    row = TABLE[name]

    def f(input, tensor1, tensor2, *, value=1, out=None):
        for position, (place, given) in enumerate((("input", input), ("tensor1", tensor1), ("tensor2", tensor2)), 1):
            if not isinstance(given, Tensor):
                raise TypeError(f"{name}(): argument '{place}' (position {position}) must be Tensor, not {kind_of(given)}")
        return apply(row, (input, tensor1, tensor2), {"value": value.item() if isinstance(value, Tensor) else value}, out=out)

    def f_(self, tensor1, tensor2, *, value=1):
        return update(row, self, (tensor1, tensor2), {"value": value.item() if isinstance(value, Tensor) else value})

    f.__doc__ = f"{name}: input + value * tensor1 {'*' if name == 'addcmul' else '/'} tensor2."
    METHODS[name + "_"] = label(f_, name + "_", row, f"The in-place form of {name}.")
    return both(f, name=name)


_with_value("addcmul")
_with_value("addcdiv")


@both(in_place=True)
def logit(input, eps=None, *, out=None):
    """log(x / (1 - x)), with x first moved into [eps, 1 - eps]."""
    return apply(TABLE["logit"], (input,), {"eps": eps}, out=out)


@both(in_place=True)
def nan_to_num(input, nan=None, posinf=None, neginf=None, *, out=None):
    """NaN and infinities replaced by numbers (0 and the dtype's largest and smallest)."""
    if input.dtype.category < D.FLOAT:
        return apply(TABLE["clone"], (input,), {"order": None}, out=out)
    if input.dtype.compute is not input.dtype:  # computed in float32: the largest number of the type itself
        largest = float(D.float_limits(input.dtype).max)
        posinf, neginf = largest if posinf is None else posinf, -largest if neginf is None else neginf
    return apply(TABLE["nan_to_num"], (input,), {"nan": nan, "posinf": posinf, "neginf": neginf}, out=out)


@both
def conj(input):
    """The complex conjugate; the tensor itself if it is real."""
    return apply(TABLE["conj_physical"], (input,)) if input._data.dtype.kind == "c" else input


@both(in_place=True)
def conj_physical(input, *, out=None):
    """The complex conjugate, computed; the tensor itself if it is real."""
    if out is None and isinstance(input, Tensor) and input.dtype.category != D.COMPLEX:
        return input
    return apply(TABLE["conj_physical"], (input,), out=out)


for _name in ("resolve_conj", "resolve_neg"):

    def _resolved(input):
        """The tensor itself: conjugation and negation are computed at once here."""
        return input

    both(_resolved, name=_name)


@both
def polygamma(n, input=None, *, out=None):
    """The n-th derivative of digamma; x.polygamma(n) and polygamma(n, x)."""
    if isinstance(n, Tensor):
        n, input = input, n
    return apply(TABLE["polygamma_of"], (input,), {"n": n}, out=out)


@method(name="polygamma_of")
def _polygamma_of(self, n):
    return apply(TABLE["polygamma_of"], (self,), {"n": n})


__all__ = ["modes", "type_name"]
