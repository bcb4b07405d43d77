"""torch.autograd.functional: Jacobians, Hessians and their products with vectors, of functions of tensors.

    jacobian(f, x)[i][j]    d f_i / d x_j, of shape f_i.shape + x_j.shape
    vjp, jvp                v'J and Jv, without forming J
    vhp, hvp                v'H and Hv, of a function that gives one number

Mechanism. The inputs are replaced by copies of themselves that require grad (with `create_graph`, views that stay
connected to what they came from), the function is run once, and everything else is `autograd.grad`. Jv is the double
backward trick: v'J is linear in v, so its derivative by v in direction w is Jw.

`strict=True` raises where an output does not depend on an input; otherwise the result is zero there. `vectorize=True`
is accepted and gives the same values (by the same loop over the rows).
"""

import rushlight
from rushlight import Tensor, autograd


def _tuple(values, what, function):
    """`values` as a tuple of tensors; TypeError otherwise."""
    single = not isinstance(values, tuple)
    found = (values,) if single else values
    for i, v in enumerate(found):
        if not isinstance(v, Tensor):
            place = f"the given {what}" if single else f"the value at index {i}"
            raise TypeError(
                f"The {what} given to {function} must be either a Tensor or a tuple of Tensors but {place} has type {type(v)}."
            )
    return found


def _fresh(inputs, create_graph):
    """The inputs as new tensors that require grad."""
    made = []
    for x in inputs:
        if create_graph and x.requires_grad:
            made.append(x.view_as(x))
        else:
            made.append(x.detach().requires_grad_(True))
    return tuple(made)


def _finished(values, create_graph, unpack):
    """What the user gets: without history unless it was asked for, alone if alone was given."""
    if not create_graph:
        values = tuple(_plain(v) for v in values)
    return values[0] if unpack else tuple(values)


def _plain(value):
    return tuple(_plain(v) for v in value) if isinstance(value, tuple) else value.detach()


def _outputs(func, inputs, name, strict):
    """(outputs, whether there was no tuple) of the function."""
    given = func(*inputs)
    outputs = _tuple(given, "outputs of the user-provided function", name)
    if strict:
        for i, out in enumerate(outputs):
            if not out.requires_grad:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
                    "differentiable manner from the input when running in strict mode."
                )
    return outputs, not isinstance(given, tuple)


def _one_number(outputs, alone, name):
    if not alone or len(outputs) != 1:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {name} should contain a single element (it has shape {list(outputs[0].shape)})"
        )


def _gradients(outputs, inputs, vectors, create_graph):
    """v'J by autograd.grad, from those outputs that require grad; None where there is no dependence."""
    pairs = [(o, v) for o, v in zip(outputs, vectors) if o is not None and o.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    return autograd.grad(
        [o for o, _ in pairs], inputs, [v for _, v in pairs], allow_unused=True, create_graph=create_graph, retain_graph=True
    )


_DEPENDS = {
    "back": "Output {output} of the user-provided function is independent of input {i}. This is not allowed in strict mode.",
    "back_trick": "The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the double "
    "backward trick to compute forward mode gradients. This is not allowed in strict mode.",
    "double": "The jacobian of the user-provided function is independent of input {i}. This is not allowed in strict mode "
    "when create_graph=True.",
    "hessian": "While computing the hessian, found that the jacobian of the user-provided function with respect to input {i} is "
    "independent of the input. This is not allowed in strict mode. You should ensure that your function is twice "
    "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for example).",
}


def _filled(grads, like, strict, create_graph, stage, output=0):
    """Zeros for gradients that are None; in strict mode an error that says what depends on nothing."""
    done = []
    for i, (g, x) in enumerate(zip(grads, like)):
        if g is None:
            if strict:
                raise RuntimeError(_DEPENDS[stage].format(i=i, output=output))
            g = rushlight.zeros_like(x)
        elif strict and create_graph and not g.requires_grad:
            raise RuntimeError(_DEPENDS["double"].format(i=i))
        done.append(g)
    return tuple(done)


def _vector(v, like, name, single):
    """The vector of a product, checked against what it is multiplied with."""
    v = _tuple(v, "v", name)
    if len(v) != len(like):
        if single:
            raise RuntimeError(f"The given v should contain a single Tensor (it has {len(v)})")
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(v)}.")
    for i, (a, b) in enumerate(zip(v, like)):
        if a.shape != b.shape:
            entry = "" if single else f"Entry {i} in "
            raise RuntimeError(f"{entry}v has invalid size: should be {b.shape} but got {a.shape}.")
    return v


def _ones(like, kind, alone):
    if not alone or len(like) != 1 or like[0].numel() != 1:
        what = "user-provided function returns" if kind == "output" else "input to the user-provided function is"
        raise RuntimeError(f"The vector v can only be None if the {what} a single Tensor with a single element.")
    return (rushlight.ones_like(like[0]),)


def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(outputs, v'J): the product of a vector of the outputs' shapes with the Jacobian. v may be left out for one number."""
    with rushlight.enable_grad():
        single = not isinstance(inputs, tuple)
        inputs = _fresh(_tuple(inputs, "inputs", "vjp"), create_graph)
        outputs, alone = _outputs(func, inputs, "vjp", strict)
        if v is None:
            v = _ones(outputs, "output", alone)
        else:
            v = _detached_or(_vector(v, outputs, "vjp", alone), create_graph)
    with rushlight.set_grad_enabled(create_graph or rushlight.is_grad_enabled()):
        grads = _filled(_gradients(outputs, inputs, v, create_graph), inputs, strict, create_graph, "back")
    return _finished(outputs, create_graph, alone), _finished(grads, create_graph, single)


def _detached_or(values, create_graph):
    return values if create_graph else tuple(v.detach() for v in values)


def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(outputs, Jv): the product of the Jacobian with a vector of the inputs' shapes, by backward twice."""
    with rushlight.enable_grad():
        single = not isinstance(inputs, tuple)
        inputs = _fresh(_tuple(inputs, "inputs", "jvp"), create_graph)
        v = _ones(inputs, "input", single) if v is None else _detached_or(_vector(v, inputs, "jvp", single), create_graph)
        outputs, alone = _outputs(func, inputs, "jvp", strict)
        # the values of u do not matter, J'u is linear in it; only its graph does
        u = tuple(rushlight.zeros_like(o, requires_grad=True) for o in outputs)
        grads = _filled(_gradients(outputs, inputs, u, True), inputs, strict, True, "back")
    product = _filled(_gradients(grads, u, v, create_graph), outputs, strict, create_graph, "back_trick")
    return _finished(outputs, create_graph, alone), _finished(product, create_graph, alone)


def jacobian(func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"):
    """The Jacobian: J[i][j] of shape outputs[i].shape + inputs[j].shape, tuples left out where no tuple was given."""
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs than inputs, '
            '"forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and `strategy=\"forward-mode\"` are not supported together (yet). "
            "Please either set `create_graph=False` or `strategy=\"reverse-mode\"`."
        )
    if strategy == "forward-mode" and strict:
        raise RuntimeError(
            'torch.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported together (yet). Please '
            'either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError("Computing the Jacobian in forward mode is only implemented for `vectorize=True`.")
    if vectorize and strict:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. Please either set "
            "`strict=False` or `vectorize=False`."
        )
    with rushlight.enable_grad():
        single = not isinstance(inputs, tuple)
        inputs = _fresh(_tuple(inputs, "inputs", "jacobian"), create_graph)
        outputs, alone = _outputs(func, inputs, "jacobian", strict)
        rows = tuple(_rows(out, inputs, create_graph, strict, i) for i, out in enumerate(outputs))
    rows = _finished(rows, create_graph, False)
    if single:
        rows = tuple(r[0] for r in rows)
    return rows[0] if alone else rows


def _rows(out, inputs, create_graph, strict, number):
    """The Jacobian of one output: for each input, out.shape + input.shape."""
    found = tuple([] for _ in inputs)
    for k in range(out.numel()):
        unit = rushlight.zeros_like(out).reshape(-1)
        unit[k] = 1
        grads = _gradients((out,), inputs, (unit.reshape(out.shape),), create_graph)
        for rows, g in zip(found, _filled(grads, inputs, strict, create_graph, "back", number)):
            rows.append(g)
    return tuple(
        rushlight.stack(rows).reshape(out.shape + x.shape) if rows else x.new_zeros(out.shape + x.shape) for rows, x in zip(found, inputs)
    )


def hessian(func, inputs, create_graph=False, strict=False, vectorize=False, outer_jacobian_strategy="reverse-mode"):
    """The Hessian of a function that gives one number: H[i][j] of shape inputs[i].shape + inputs[j].shape."""
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')
    single = not isinstance(inputs, tuple)
    inputs = _tuple(inputs, "inputs", "hessian")

    def gradient(*inputs):
        given = func(*inputs)
        outputs = _tuple(given, "outputs of the user-provided function", "hessian")
        _one_number(outputs, not isinstance(given, tuple), "hessian")
        if strict and not outputs[0].requires_grad:
            raise RuntimeError(
                "Output 0 of the user-provided function does not require gradients. The outputs must be computed in a "
                "differentiable manner from the input when running in strict mode."
            )
        grads = _filled(_gradients(outputs, inputs, (rushlight.ones_like(outputs[0]),), True), inputs, strict, False, "back")
        if strict:
            for i, g in enumerate(grads):
                if not g.requires_grad:
                    raise RuntimeError(_DEPENDS["hessian"].format(i=i))
        return grads

    if outer_jacobian_strategy == "forward-mode" and not vectorize:
        raise NotImplementedError("Computing a forward-over-reverse Hessian is only implemented for `vectorize=True`.")
    rows = jacobian(gradient, inputs, create_graph=create_graph, strict=strict, vectorize=vectorize and not strict)
    return rows[0][0] if single else rows


def _first_derivative(func, inputs, create_graph, strict, name):
    """(output, gradient with its graph) of a function that gives one number."""
    outputs, alone = _outputs(func, inputs, name, strict)
    _one_number(outputs, alone, name)
    ones = (rushlight.ones_like(outputs[0]),)
    grads = _filled(_gradients(outputs, inputs, ones, True), inputs, strict, False, "back")
    if strict:
        for i, g in enumerate(grads):
            if not g.requires_grad:
                raise RuntimeError(_DEPENDS["hessian"].format(i=i))
    return outputs, grads


def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(output, v'H): a vector times the Hessian of a function that gives one number."""
    with rushlight.enable_grad():
        single = not isinstance(inputs, tuple)
        inputs = _fresh(_tuple(inputs, "inputs", "vhp"), create_graph)
        v = _ones(inputs, "input", single) if v is None else _detached_or(_vector(v, inputs, "vhp", single), create_graph)
        outputs, grads = _first_derivative(func, inputs, create_graph, strict, "vhp")
    product = _filled(_gradients(grads, inputs, v, create_graph), inputs, strict, create_graph, "back")
    return _finished(outputs, create_graph, True), _finished(product, create_graph, single)


def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(output, Hv): the Hessian of a function that gives one number times a vector."""
    with rushlight.enable_grad():
        single = not isinstance(inputs, tuple)
        inputs = _fresh(_tuple(inputs, "inputs", "hvp"), create_graph)
        v = _ones(inputs, "input", single) if v is None else _detached_or(_vector(v, inputs, "hvp", single), create_graph)
        outputs, grads = _first_derivative(func, inputs, create_graph, strict, "hvp")
        u = tuple(rushlight.zeros_like(x, requires_grad=True) for x in inputs)
        turned = _filled(_gradients(grads, inputs, u, True), inputs, strict, True, "back")
    product = _filled(_gradients(turned, u, v, create_graph), inputs, strict, create_graph, "back_trick")
    return _finished(outputs, create_graph, True), _finished(product, create_graph, single)


__all__ = ["vjp", "jvp", "jacobian", "hessian", "hvp", "vhp"]
