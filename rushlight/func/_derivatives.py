"""torch.func: derivatives as functions of functions.

Mechanism. Each transform runs the function on fresh copies of its inputs that require grad (views of them, where they
require grad already: so transforms nest, and compose with ordinary backward), and forms derivatives by `autograd.grad`
with the graph kept. A result keeps its history only if that leads to something outside the transform (`_settled`). jvp and
jacfwd are backward twice: v'J is linear in v, and its derivative in direction w is Jw.
"""

import rushlight
from rushlight import Tensor, autograd
from rushlight.func._tree import describe, flatten, unflatten


def _fresh(leaves, own):
    """The tensors among the leaves as new ones that require grad; those that are leaves of the graph are entered in `own`."""
    made = []
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"Expected all inputs that are differentiated to be Tensors, got {type(x)}")
        if not (x.is_floating_point() or x.is_complex()):
            raise RuntimeError(f"only Tensors of floating point dtype can require gradients (got {x.dtype}; write x.float())")
        if x.requires_grad:
            made.append(x.view_as(x))
        else:
            made.append(x.detach().requires_grad_())
            own.add(id(made[-1]))
    return made


def _outside(x, own):
    """Whether the history of `x` leads to a leaf that is none of `own`."""
    seen, todo = set(), [x.grad_fn] if x.grad_fn is not None else []
    if x.grad_fn is None:
        return x.requires_grad and id(x) not in own
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is None or id(node) in seen:
                continue
            leaf = getattr(node, "variable", None)
            if leaf is not None:
                if id(leaf) not in own:
                    return True
                continue
            seen.add(id(node))
            todo.append(node)
    return False


def _settled(tree, own, recording):
    """Results without the history that only leads to the transform's own copies."""
    leaves, structure = flatten(tree)
    out = [x if not isinstance(x, Tensor) or recording and _outside(x, own) else x.detach() for x in leaves]
    return unflatten(out, structure)


def _chosen(args, argnums):
    """The arguments that are differentiated, as a tree."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)
    if not numbers:
        raise RuntimeError("argnums must be non-empty")
    for n in numbers:
        if not isinstance(n, int):
            raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(n)}")
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
    return tuple(args[n] for n in numbers) if isinstance(argnums, tuple) else args[argnums]


def _replaced(args, argnums, chosen):
    args = list(args)
    if isinstance(argnums, tuple):
        for n, value in zip(argnums, chosen):
            args[n] = value
    else:
        args[argnums] = chosen
    return args


def _gradients(outputs, inputs, vectors):
    """v'J with its graph, zeros where there is no dependence."""
    pairs = [(o, v) for o, v in zip(outputs, vectors) if isinstance(o, Tensor) and o.requires_grad]
    if not pairs or not inputs:
        return [rushlight.zeros_like(x) for x in inputs]
    found = autograd.grad([o for o, _ in pairs], inputs, [v for _, v in pairs], create_graph=True, allow_unused=True)
    return [rushlight.zeros_like(x) if g is None else g for g, x in zip(found, inputs)]


def _with_aux(given, has_aux, name):
    if not has_aux:
        return given, None
    if not (isinstance(given, tuple) and len(given) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return given


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that gives (gradient, value) of func, which returns one number; with has_aux (gradient, (value, aux))."""

    def wrapper(*args, **kwargs):
        recording, own = rushlight.is_grad_enabled(), set()
        with rushlight.enable_grad():
            leaves, structure = flatten(_chosen(args, argnums))
            inputs = _fresh(leaves, own)
            given = func(*_replaced(args, argnums, unflatten(inputs, structure)), **kwargs)
            out, aux = _with_aux(given, has_aux, "grad_and_value(f)(*args)")
            if not isinstance(out, Tensor):
                raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(out)}")
            if out.dim() != 0:
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with {out.dim()} dims. Maybe you wanted to "
                    "use the vjp or jacrev APIs instead?"
                )
            if out.is_complex():
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {out.dtype}")
            grads = unflatten(_gradients([out], inputs, [rushlight.ones_like(out)]), structure)
        grads, out, aux = _settled((grads, out, aux), own, recording)
        return (grads, (out, aux)) if has_aux else (grads, out)

    return wrapper


def grad(func, argnums=0, has_aux=False):
    """A function that gives the gradient of func, which returns one number, by the arguments `argnums`; with has_aux (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    def wrapper(*args, **kwargs):
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def _outputs(tree, name):
    leaves, structure = flatten(tree)
    for x in leaves:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{name}: Expected f(*args) to return only tensors, got unsupported type {type(x)}")
    return leaves, structure


def vjp(func, *primals, has_aux=False):
    """(output, vjp_fn) or (output, vjp_fn, aux): vjp_fn(v) gives a tuple of v'J for each primal (one of them alone if there is one)."""
    recording, own = rushlight.is_grad_enabled(), set()
    with rushlight.enable_grad():
        leaves, structure = flatten(primals)
        inputs = _fresh(leaves, own)
        given, aux = _with_aux(func(*unflatten(inputs, structure)), has_aux, "vjp(f, *primals)")
        outputs, out_structure = _outputs(given, "vjp(f, *primals)")

    def pull(cotangents, retain_graph=True, create_graph=None):
        vectors, v_structure = flatten(cotangents)
        if v_structure != out_structure:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the function. cotangents: "
                f"{describe(v_structure)}, primal output: {describe(out_structure)}"
            )
        inside = rushlight.is_grad_enabled() if create_graph is None else create_graph
        with rushlight.enable_grad():
            found = _gradients(outputs, inputs, vectors)
        found = _settled(found, own, inside)
        return unflatten(found, structure)

    out = unflatten(outputs, out_structure)
    out, aux = _settled((out, aux), own, recording)
    return (out, pull, aux) if has_aux else (out, pull)


def _push(outputs, inputs, own):
    """push(tangents) -> Jt for each output: the double backward trick, its first half done once."""
    u = [rushlight.zeros_like(o, requires_grad=True) for o in outputs]
    own.update(map(id, u))
    turned = _gradients(outputs, inputs, u)

    def push(tangents):
        pairs = [(g, t) for g, t in zip(turned, tangents) if g.requires_grad]
        if not pairs:
            return [rushlight.zeros_like(o) for o in outputs]
        found = autograd.grad([g for g, _ in pairs], u, [t for _, t in pairs], create_graph=True, allow_unused=True)
        return [rushlight.zeros_like(o) if g is None else g for g, o in zip(found, outputs)]

    return push


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """(output, Jt) or (output, Jt, aux) of func at the tuple `primals` in the direction of the tuple `tangents`."""
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple):
            raise RuntimeError(f"jvp(f, primals, tangents): Expected {name} to be a tuple. E.g. it should be valid to call f(*primals).")
    recording, own = rushlight.is_grad_enabled(), set()
    with rushlight.enable_grad():
        leaves, structure = flatten(primals)
        directions, t_structure = flatten(tangents)
        if structure != t_structure:
            raise RuntimeError(
                "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure. "
                f"primals: {describe(structure)}, tangents: {describe(t_structure)}"
            )
        for x, t in zip(leaves, directions):
            if x.shape != t.shape:
                raise RuntimeError(
                    "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. Tensor is "
                    f"of size {list(x.shape)} while the given forward gradient is of size {list(t.shape)}."
                )
        inputs = _fresh(leaves, own)
        given, aux = _with_aux(func(*unflatten(inputs, structure)), has_aux, "jvp(f, primals, tangents)")
        outputs, out_structure = _outputs(given, "jvp(f, primals, tangents)")
        found = _push(outputs, inputs, own)(directions)
    out, found = unflatten(outputs, out_structure), unflatten(found, out_structure)
    out, found, aux = _settled((out, found, aux), own, recording)
    return (out, found, aux) if has_aux else (out, found)


def linearize(func, *primals):
    """(output, jvp_fn): jvp_fn(*tangents) gives Jt without running func again."""
    recording, own = rushlight.is_grad_enabled(), set()
    with rushlight.enable_grad():
        leaves, structure = flatten(primals)
        inputs = _fresh(leaves, own)
        outputs, out_structure = _outputs(func(*unflatten(inputs, structure)), "linearize(f, *primals)")
        push = _push(outputs, inputs, own)

    def forward(*tangents):
        directions, t_structure = flatten(tangents)
        if t_structure != structure:
            raise RuntimeError(f"Expected the tangents {describe(t_structure)} to have the same argspec as the primals {describe(structure)}")
        for i, (x, t) in enumerate(zip(leaves, directions)):
            if x.shape != t.shape or x.dtype != t.dtype:
                raise RuntimeError(f"Expected shape and dtype of tangent {i} to be {list(x.shape)} {x.dtype}, got {list(t.shape)} {t.dtype}")
        with rushlight.enable_grad():
            found = push(directions)
        return _settled(unflatten(found, out_structure), own, recording)

    return _settled(unflatten(outputs, out_structure), own, recording), forward


def _units(x):
    """The unit vectors of x's space, one after another."""
    for k in range(x.numel()):
        unit = rushlight.zeros_like(x.detach()).reshape(-1)
        unit[k] = 1
        yield unit.reshape(x.shape)


def _jacobian(func, argnums, has_aux, name, form):
    """The skeleton of jacrev and jacfwd: form(outputs, inputs, own) gives jacobian[output][input] as flat lists."""

    def wrapper(*args, **kwargs):
        recording, own = rushlight.is_grad_enabled(), set()
        with rushlight.enable_grad():
            leaves, structure = flatten(_chosen(args, argnums))
            inputs = _fresh(leaves, own)
            given = func(*_replaced(args, argnums, unflatten(inputs, structure)), **kwargs)
            out, aux = _with_aux(given, has_aux, name)
            outputs, out_structure = _outputs(out, name)
            rows = [unflatten(r, structure) for r in form(outputs, inputs, own)]
        rows, aux = _settled((_filled(rows, out_structure), aux), own, recording)
        return (rows, aux) if has_aux else rows

    return wrapper


def _filled(rows, structure):
    """unflatten over leaves that are trees themselves."""
    return unflatten(rows, structure)


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that gives the Jacobian of func by the arguments `argnums`, row after row by backward.

    The result has func's output structure, and in each place the structure of the arguments; chunk_size is accepted.
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    def form(outputs, inputs, own):
        rows = []
        for o in outputs:
            found = [_gradients([o], inputs, [unit]) for unit in _units(o)]
            rows.append([_stacked([f[i] for f in found], o.shape + x.shape, x) for i, x in enumerate(inputs)])
        return rows

    return _jacobian(func, argnums, has_aux, "jacrev(f)(*args)", form)


def _stacked(parts, shape, like):
    return rushlight.stack(parts).reshape(shape) if parts else like.new_zeros(shape)


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """A function that gives the Jacobian of func, column after column by jvp (which is backward twice here)."""

    def form(outputs, inputs, own):
        push = _push(outputs, inputs, own)
        table = [[None] * len(inputs) for _ in outputs]
        for i, x in enumerate(inputs):
            columns = [push([unit if k == i else rushlight.zeros_like(y) for k, y in enumerate(inputs)]) for unit in _units(x)]
            for o, out in enumerate(outputs):
                columns_o = [c[o] for c in columns]
                if columns_o:
                    table[o][i] = rushlight.stack(columns_o, -1).reshape(out.shape + x.shape)
                else:
                    table[o][i] = out.new_zeros(out.shape + x.shape)
        return table

    return _jacobian(func, argnums, has_aux, "jacfwd(f)(*args)", form)


def hessian(func, argnums=0):
    """A function that gives the Hessian of func: the Jacobian of its Jacobian."""
    return jacfwd(jacrev(func, argnums), argnums)


__all__ = ["grad", "grad_and_value", "vjp", "jvp", "linearize", "jacrev", "jacfwd", "hessian"]
