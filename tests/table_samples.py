"""Samples of the op table's rows: arguments drawn from each row's own columns, and a small table where attributes are needed.

`cases(op, kind)` gives (arrays, attributes) pairs for dtype kind "f" (float64) or "c" (complex128). Every array is drawn
from the row's `domain`. `KNOWN` is the one list of what is excepted, with its date and reasons.
"""

import numpy as np

from rushlight.ops.op import TABLE

SHAPE = (3, 4)

#: attributes of pointwise rows whose body asks for more than the operands
ATTRS = {
    "add_scaled": {"alpha": 0.5},
    "sub_scaled": {"alpha": 0.5},
    "pow_scalar": {"exponent": 2.5},
    "rpow": {"base": 1.7},
    "polygamma_of": {"n": 1},
    "clamp": {"min": -0.5, "max": 0.8},
    "clamp_min_number": {"low": -0.5},
    "clamp_max_number": {"high": 0.5},
    "lerp_scalar": {"weight": 0.3},
    "round_decimals": {"decimals": 1},
    "logit": {"eps": None},
    "nan_to_num": {"nan": 0.0, "posinf": None, "neginf": None},
    "addcmul": {"value": 0.5},
    "addcdiv": {"value": 0.5},
    "leaky_relu": {"negative_slope": 0.1},
    "hardtanh": {"min_val": -0.7, "max_val": 0.9},
    "elu": {"alpha": 1.2, "scale": 1.0, "input_scale": 1.0},
    "celu": {"alpha": 1.3, "scale": 1.0, "input_scale": 1.0},
    "softplus": {"beta": 1.5, "threshold": 20.0},
    "softshrink": {"lambd": 0.3},
    "hardshrink": {"lambd": 0.3},
    "threshold": {"threshold": 0.1, "value": 0.3},
    "gelu": {"approximate": "none"},
    "mvlgamma": {"p": 2},
}

#: (shapes of the inputs or arrays, attributes) of rows of other families
_IDX = np.array([[0, 2, 1, 0], [2, 1, 0, 2]])
_ROWS = np.array([2, 0])
_MASK = np.arange(12).reshape(3, 4) % 3 == 0
SAMPLES = {
    "cat": [((3, 4), (3, 4)), {"dim": 0}],
    "stack": [((3, 4), (3, 4)), {"dim": 1}],
    "mm": [((3, 4), (4, 2)), {}],
    "bmm": [((2, 3, 4), (2, 4, 2)), {}],
    "mv": [((3, 4), (4,)), {}],
    "dot": [((4,), (4,)), {}],
    "tril": [((3, 4),), {"diagonal": 0}],
    "triu": [((3, 4),), {"diagonal": 1}],
    "trace": [((3, 3),), {}],
    "masked_fill": [((3, 4), _MASK), {"value": 0.5}],
    "masked_fill_tensor": [((3, 4), _MASK, (1,)), {}],
    "gather": [((3, 4), _IDX), {"axis": 0}],
    "scatter": [((3, 4), np.array([[0, 1, 2, 0]]), (1, 4)), {"axis": 0}],
    "scatter_value": [((3, 4), np.array([[0, 1, 2, 0]])), {"axis": 0, "value": 0.5}],
    "scatter_add": [((3, 4), _IDX, (2, 4)), {"axis": 0}],
    "index_select": [((3, 4), _ROWS), {"axis": 0}],
    "index_add": [((3, 4), _ROWS, (2, 4)), {"axis": 0, "alpha": 2}],
    "index_copy": [((3, 4), _ROWS, (2, 4)), {"axis": 0}],
    "index_fill": [((3, 4), _ROWS), {"axis": 0, "value": 0.5}],
    "select": [((3, 4),), {"key": (1, Ellipsis)}],
    "slice": [((3, 4),), {"key": (slice(1, 3), Ellipsis)}],
    "alias": [((3, 4),), {}],
    "view": [((3, 4),), {"shape": (2, 6)}],
    "transpose": [((3, 4),), {"dim0": 0, "dim1": 1}],
    "t": [((3, 4),), {}],
    "permute": [((2, 3, 4),), {"order": (2, 0, 1)}],
    "expand": [((1, 4),), {"shape": (3, 4), "strides": (0, 1)}],
    "unsqueeze": [((3, 4),), {"dim": 1}],
    "squeeze": [((3, 1, 4),), {"shape": (3, 4)}],
    "diagonal": [((3, 4),), {"offset": 1, "dim1": 0, "dim2": 1}],
    "unfold": [((5, 4),), {"dim": 0, "size": 2, "step": 1}],
    "as_strided": [((3, 4),), {"shape": (2, 2), "strides": (4, 1), "offset": 1, "base": ((3, 4), (4, 1))}],
    "clone": [((3, 4),), {"order": None}],
    "copy": [((3, 4), (3, 4)), {}],
    "lay_out": [((3, 4),), {"strides": (1, 3)}],
    "put_window": [((2, 2),), {"strides": (4, 1), "offset": 1, "base_shape": (3, 4), "base_strides": (4, 1)}],
    "place": [((4,),), {"key": (1, Ellipsis), "shape": (3, 4)}],
    "glu": [((3, 4),), {"axis": 1}],
    "softmax": [((3, 4),), {"axis": 1}],
    "log_softmax": [((3, 4),), {"axis": 1}],
}
_ALL, _ONE = {"axes": (0, 1), "keepdim": False}, {"axes": (1,), "keepdim": False}
for _name in ("sum", "mean", "max_all", "min_all", "logsumexp"):
    SAMPLES[_name] = [(SHAPE,), _ALL]
for _name in ("sum_dim", "mean_dim", "prod_dim", "amax", "amin"):
    SAMPLES[_name] = [(SHAPE,), _ONE]
SAMPLES["prod"] = [((4,),), {"axes": (0,), "keepdim": False}]
for _name in ("max", "min", "median", "nanmedian", "mode"):
    SAMPLES[_name] = [(SHAPE,), {"axis": 1, "keepdim": True}]
for _name in ("var", "std"):
    SAMPLES[_name] = [(SHAPE,), {**_ONE, "correction": 1}]
SAMPLES["linalg_vector_norm"] = [(SHAPE,), {**_ONE, "ord": 2}]
for _name in ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"):
    SAMPLES[_name] = [(SHAPE,), {"axis": 1}]

#: rows that these tests leave out, of 2026-11: by row or by family, each with the reason
KNOWN = {
    "fused": "neural rows have samples and tests of their own: test_neural.py",
    "opaque": "library calls: test_linalg.py and the tests of each namespace",
    "random": "draws: test_streams.py",
    "contraction": "the fused forms are compared with their composites in test_neural.py and by the public functions",
    "index": "attributes that only the front end can make (keys with holes): the public functions are tested in the parity tests",
    "view": "several results of one node, or keys that only the front end makes",
    "memory": "moves between devices and fills have no value of their own",
    "arrangement": "tested through the public functions",
    "reduction": "pairwise distances: test_neural.py",
    "pointwise": {
        "native_dropout": "its mask is drawn by the front end",
        "rrelu": "its slope is drawn by the front end",
        "rrelu_with_noise": "its noise is drawn by the front end",
    },
    "second derivative": {
        "nextafter": "no derivative",
        "copysign": "the derivative by the magnitude is a sign",
    },
}


def excepted(op):
    """The reason why a row is left out, or None."""
    if op.name in SAMPLES or op.family == "scan":
        return None
    reason = KNOWN.get(op.family)
    return reason.get(op.name) if isinstance(reason, dict) else reason


def draw(shape, op, kind, seed):
    """An array from the row's domain."""
    random = np.random.default_rng(seed)
    low, high = op.domain
    out = random.uniform(low, high, shape)
    if kind == "c":
        half = min(1.0, (high - low) / 2)
        out = out + 1j * random.uniform(-half, half, shape)
    return np.asarray(out)


def sample(op, kind="f"):
    """(arrays, attributes, the numbers of the inputs that are differentiated) of a row."""
    if op.family == "pointwise":
        shapes = [SHAPE if i != 1 or op.name == "where" else SHAPE[1:] for i in range(len(op.inputs))]
        attrs = ATTRS.get(op.name, {})
    else:
        shapes, attrs = SAMPLES[op.name]
    arrays = []
    for i, s in enumerate(shapes):
        if isinstance(s, np.ndarray):
            arrays.append(s)
        elif op.name == "where" and i == 0:
            arrays.append(_MASK)
        else:
            arrays.append(draw(s, op, kind, 10 * i + 1))
    grads = op.grads
    wanted = [
        i
        for i, a in enumerate(arrays)
        if a.dtype.kind in "fc" and (op.inputs[0].startswith("*") or i < len(grads) and grads[i] is not None)
    ]
    return arrays, attrs, wanted


def rows(kind="f"):
    """The rows with gradients that are sampled here and take the kind of dtype."""
    return [op for op in TABLE.values() if any(g is not None for g in op.grads) and excepted(op) is None and kind in op.dtypes]
