"""torch.special, and its functions that have a place in the top-level namespace too (i0, igamma, mvlgamma, ...).

Rows are published under their dotted names; what exists elsewhere (exp2, softmax, erf, ...) is published once more.
"""

from __future__ import annotations

from rushlight.bind import FUNCTIONS, METHODS, both, function, label, publish
from rushlight.core.dtype import FLOAT
from rushlight.dispatch import InPlace, Unsupported, apply
from rushlight.ops import special as rows
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

METHODS["_special"] = lambda self, name, *others, **attrs: apply(TABLE[name], (self, *others), attrs)
METHODS["_zeta_at"] = lambda self, s: apply(TABLE["special_zeta"], (s, self))

for _name in ("i0", "igamma", "igammac"):
    publish(TABLE[_name])


def _published(op, half):
    """Publish a row named special_<name> as torch.special.<name>; without `half` it refuses the half types."""
    short, places = op.name.removeprefix("special_"), len(op.inputs)

    def f(*args, out=None):
        if len(args) != places:
            raise TypeError(f"{op.name}() takes {places} positional argument{'s' * (places > 1)} but {len(args)} were given")
        if not any(isinstance(a, Tensor) for a in args):
            raise Unsupported(f"{op.name}(): argument 'input' (position 1) must be Tensor, not {type(args[0]).__name__}")
        if not half:
            for a in args:
                if isinstance(a, Tensor) and a.dtype is not a.dtype.compute:
                    raise NotImplementedError(f"\"{short}_cpu\" not implemented for '{a.dtype.title}': write x.float()")
        return apply(op, args, out=out)

    if places == 1:

        def g(input, *, out=None):
            return f(input, out=out)

    elif op.inputs[1] == "n":

        def g(input, n, *, out=None):
            return f(input, n, out=out)

    else:

        def g(input, other, *, out=None):
            return f(input, other, out=out)

    FUNCTIONS["special." + short] = label(g, op.name, op, f"{short}({', '.join(op.inputs)}): see the row {op.name!r} of the table.")


for _name in ("i0e", "i1", "i1e", "entr", "ndtr", "xlog1py"):
    _published(TABLE["special_" + _name], half=True)
for _op in (*(TABLE["special_" + n] for n in ("erfcx", "log_ndtr", "ndtri", "zeta")), *rows.UNDIFFERENTIATED):
    _published(_op, half=False)


@function
def xlogy(input, other, *, out=None):
    """x log(y), 0 where x is 0 (but not where y is NaN); either may be a number."""
    if isinstance(input, Tensor) or not isinstance(other, Tensor):
        return METHODS["xlogy"](input, other, out=out)
    return apply(TABLE["xlogy"], (input, other), out=out)


@both(in_place=True)
def mvlgamma(input, p, *, out=None):
    """The logarithm of the multivariate gamma function of dimension p: sum of lgamma(x - i / 2) + p (p - 1) / 4 log pi."""
    if isinstance(p, bool) or not hasattr(p, "__index__"):
        raise TypeError(f"mvlgamma(): argument 'p' (position 2) must be int, not {type(p).__name__}")
    if p < 1:
        raise RuntimeError(f"p has to be greater than or equal to 1 (it is {p})")
    return apply(TABLE["mvlgamma"], (input,), {"p": int(p)}, out=out)


def polygamma_(self, n):
    """The in-place form of polygamma."""
    return apply(TABLE["polygamma_of"], (self,), {"n": n}, out=InPlace(self))


METHODS["polygamma_"] = label(polygamma_, "polygamma_")


@function(name="special.polygamma")
def special_polygamma(n, input, *, out=None):
    """The n-th derivative of digamma."""
    if isinstance(n, bool) or not hasattr(n, "__index__") or isinstance(n, Tensor):
        raise TypeError(f"special_polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    return FUNCTIONS["polygamma"](n, input, out=out)


@function(name="special.round")
def special_round(input, *, decimals=0, out=None):
    """The nearest integer (halves to even), or the nearest multiple of 10 ** -decimals; for floating tensors."""
    if input.dtype.category != FLOAT:
        raise NotImplementedError(f"\"round_vml_cpu\" not implemented for '{input.dtype.title}': it takes floating tensors")
    return FUNCTIONS["round"](input, decimals=decimals, out=out)


@function(name="special.softmax")
def special_softmax(input, dim, *, dtype=None):
    """exp(x) / sum(exp(x)) along `dim`."""
    return FUNCTIONS["softmax"](input, dim, dtype=dtype)


@function(name="special.log_softmax")
def special_log_softmax(input, dim, *, dtype=None):
    """x - log(sum(exp(x))) along `dim`."""
    return FUNCTIONS["log_softmax"](input, dim, dtype=dtype)


#: torch.special's name of what torch has under another one
_ALIASES = {
    "digamma": "digamma", "psi": "digamma", "erf": "erf", "erfc": "erfc", "erfinv": "erfinv", "exp2": "exp2", "expit": "sigmoid",
    "expm1": "expm1", "gammainc": "igamma", "gammaincc": "igammac", "gammaln": "lgamma", "i0": "i0", "log1p": "log1p",
    "logit": "logit", "logsumexp": "logsumexp", "multigammaln": "mvlgamma", "sinc": "sinc", "xlogy": "xlogy",
}  # fmt: skip
for _alias, _name in _ALIASES.items():
    FUNCTIONS["special." + _alias] = FUNCTIONS[_name]
