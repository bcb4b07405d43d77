"""torch.autograd.gradcheck: gradients against finite differences.

Mechanism. For each differentiable output and each input that requires grad two Jacobians are formed, of shape (input
numbers, output numbers): the numerical one column-wise by central differences, (f(x + eps) - f(x - eps)) / 2 eps, the
analytical one row-wise by backward. For complex inputs the steps along the real and the imaginary axis are combined to
2 df/d(conj z) by PyTorch's convention; for complex outputs the real and the imaginary part are checked apart. In fast
mode both Jacobians are multiplied by random vectors of length one, so that one backward and two calls do.

After that, and each with its own option: backward gives the same twice (`nondet_tol`), gradients that are not wanted
may be None or zero (`check_undefined_grad`), a batch of output gradients gives the batch of single results
(`check_batched_grad`), and forward mode agrees as well (`check_forward_ad`).
"""

import sys
import warnings

import rushlight
from rushlight import Tensor, autograd
from rushlight.autograd import forward_ad


class GradcheckError(RuntimeError):
    """Analytical and numerical gradients differ, or backward breaks one of its rules."""


def _tuple(values):
    return values if isinstance(values, tuple) else tuple(values) if isinstance(values, list) else (values,)


def _differentiable(x):
    return isinstance(x, Tensor) and x.requires_grad


def _outputs(given):
    """The outputs that gradients are asked of."""
    given = _tuple(given)
    for out in given:
        if not isinstance(out, Tensor):
            raise TypeError(f"gradcheck: the function must return tensors, and returned a {type(out).__name__}")
    return tuple(o for o in given if o.requires_grad or o.is_floating_point() or o.is_complex())


# ---- numerical -------------------------------------------------------------------------------------------------


def _values(fn, inputs, number):
    """The flat values of output `number`, copied."""
    return _outputs(fn(*inputs))[number].detach().reshape(-1).clone()


def _difference(fn, inputs, number, x, step):
    """(f(x + step) - f(x - step)) / 2, the input itself changed and changed back."""
    data = x.data  # a version of its own: what was saved of x stays valid, for its values come back
    before = data.clone()
    data.copy_(before + step)
    up = _values(fn, inputs, number)
    data.copy_(before - step)
    down = _values(fn, inputs, number)
    data.copy_(before)
    return (up - down) / 2


def _real_of(dtype):
    return rushlight.empty(0, dtype=dtype).real.dtype if dtype.is_complex else dtype


def get_numerical_jacobian_wrt_specific_input(fn, input_idx, inputs, outputs, eps, input=None, is_forward_ad=False):
    """For each output the numerical Jacobian by input number `input_idx`: (numbers of the input, numbers of the output).

    For a complex input (and not forward mode) that is 2 df/d(conj z) = df/dx + i df/dy.
    """
    x = inputs[input_idx] if input is None else input
    jacobians = [x.new_zeros((x.numel(), o.numel()), dtype=_joint(x, o)) for o in outputs]
    for k in range(x.numel()):
        unit = rushlight.zeros_like(x.detach()).reshape(-1)
        unit[k] = eps
        unit = unit.reshape(x.shape)
        for number, jacobian in enumerate(jacobians):
            row = _difference(fn, inputs, number, x, unit) / eps
            if x.is_complex():
                row = row + 1j * (_difference(fn, inputs, number, x, unit * 1j) / eps)
            jacobian[k] = row
    return jacobians


def _joint(x, out):
    return x.dtype if x.is_complex() else out.dtype


def get_numerical_jacobian(fn, inputs, target=None, eps=1e-3, grad_out=1.0):
    """The numerical Jacobians of `fn` (which takes the tuple of inputs, one output) by each input in `target`."""
    if grad_out != 1.0:
        raise ValueError("Expected grad_out to be 1.0. get_numerical_jacobian no longer supports values of grad_out != 1.0.")
    target = inputs if target is None else target
    inputs = _tuple(inputs)
    call = lambda *a: fn(a)
    outputs = _outputs(call(*inputs))
    return tuple(
        get_numerical_jacobian_wrt_specific_input(call, i, inputs, outputs[:1], eps)[0]
        for i, x in enumerate(inputs)
        if any(x is t for t in _tuple(target)) and _differentiable(x)
    )


# ---- analytical ------------------------------------------------------------------------------------------------


def _backward(output, inputs, g):
    """Gradients of `output` by the inputs for the incoming gradient g, zeros where there is none."""
    return autograd.grad(output, inputs, g, retain_graph=True, allow_unused=True)


def _analytical(output, inputs, factor=1):
    """The analytical Jacobian of `output` by each input: (numbers of the input, numbers of the output)."""
    found = [x.new_zeros((x.numel(), output.numel())) for x in inputs]
    for k in range(output.numel()):
        unit = rushlight.zeros_like(output.detach()).reshape(-1)
        unit[k] = factor
        for jacobian, g, x in zip(found, _backward(output, inputs, unit.reshape(output.shape)), inputs):
            if g is not None:
                if g.shape != x.shape:
                    raise GradcheckError("Analytical gradient has incorrect size")
                jacobian[:, k] = g.reshape(-1)
    return found


def get_analytical_jacobian(inputs, output, nondet_tol=0.0, grad_out=1.0):
    """(Jacobians, reentrant, sizes right, types right) of one output."""
    if grad_out != 1.0:
        raise ValueError("Expected grad_out to be 1.0. get_analytical_jacobian no longer supports values of grad_out != 1.0.")
    wanted = [x for x in _tuple(inputs) if _differentiable(x)]
    first, again = _analytical(output, wanted), _analytical(output, wanted)
    same = all(bool(((a - b).abs() <= nondet_tol).all()) for a, b in zip(first, again))
    return tuple(first), same, True, True


# ---- comparing -------------------------------------------------------------------------------------------------


def _close(a, b, rtol, atol):
    return a.shape == b.shape and rushlight.allclose(a, b.to(a.dtype), rtol, atol)


def _mismatch(a, n, i, j, part="", test=""):
    """The message of two Jacobians that differ."""
    where = {"imag": "While considering the imaginary part of complex outputs only, ", "real": "While considering the real part of complex outputs only, "}
    return f"{where.get(part, '')}{test}Jacobian mismatch for output {i} with respect to input {j},\nnumerical:{n}\nanalytical:{a}\n"


def _parts(fn, outputs):
    """(name, function) of what is compared: the function itself, or real and imaginary part of complex outputs."""
    if not any(o.is_complex() for o in outputs):
        return [("", fn)]

    def part(take):
        def call(*inputs):
            return tuple(take(o) if o.is_complex() else o for o in _outputs(fn(*inputs)))

        return call

    return [("imag", part(lambda o: o.imag)), ("real", part(lambda o: o.real))]


def _slow(fn, inputs, eps, rtol, atol, part, outputs_complex, nondet_tol):
    places = [i for i, x in enumerate(inputs) if _differentiable(x)]
    wanted = [inputs[i] for i in places]
    outputs = _outputs(fn(*inputs))
    numerical = [get_numerical_jacobian_wrt_specific_input(fn, i, inputs, outputs, eps) for i in places]
    for o, output in enumerate(outputs):
        imaginary = part == "imag"
        if imaginary and not outputs_complex[o]:
            continue  # a real output has been checked, or will be, with the real parts
        analytical = _analytical(output, wanted) if output.requires_grad else [n[o] * 0 for n in numerical]
        for w in range(len(places)):
            a, n = analytical[w], numerical[w][o]
            if not _close(a, n, rtol, atol):
                raise GradcheckError(_mismatch(a, n, o, w, part))
        if output.requires_grad:
            _reentrant(output, wanted, analytical, nondet_tol)


def _reentrant(output, wanted, first, tolerance):
    for a, b in zip(first, _analytical(output, wanted)):
        if a.numel() and float((a - b).abs().max()) > tolerance:
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives different values, although "
                f"analytical gradient matches numerical gradient. The tolerance for nondeterminism was {tolerance}. (pass nondet_tol= if the op is known "
                "to be so)"
            )


def _unit(x):
    """A random vector of length one, as a tensor like x."""
    v = rushlight.rand(x.shape, dtype=_real_of(x.dtype))
    v = v / (v.norm() if x.numel() else 1)
    return v


def _fast(fn, inputs, eps, rtol, atol, part, outputs_complex):
    """u' J v by both ways, for random u and v of length one; on a mismatch the Jacobians are formed and shown."""
    places = [i for i, x in enumerate(inputs) if _differentiable(x)]
    outputs = _outputs(fn(*inputs))
    for o, output in enumerate(outputs):
        if part == "imag" and not outputs_complex[o]:
            continue
        v = _unit(output)
        for w, i in enumerate(places):
            x = inputs[i]
            u = _unit(x)
            n = (_difference(fn, inputs, o, x, u * eps) / eps * v.reshape(-1)).sum()
            if x.is_complex():
                n = n + 1j * (_difference(fn, inputs, o, x, u * 1j * eps) / eps * v.reshape(-1)).sum()
            (g,) = _backward(output, [x], v.to(output.dtype)) if output.requires_grad else (None,)
            a = (g * u).sum() if g is not None else n * 0
            if not _close(a, n, rtol, atol * float(u.sum() * v.sum()) if x.numel() and output.numel() else atol):
                numerical = get_numerical_jacobian_wrt_specific_input(fn, i, inputs, outputs, eps)[o]
                analytical = _analytical(output, [x])[0] if output.requires_grad else numerical * 0
                worst = float((numerical - analytical).abs().max())
                raise GradcheckError(
                    _mismatch(a.item(), n.item(), o, w, part)
                    + "\nThe above quantities relating the numerical and analytical jacobians are computed in fast mode: both are multiplied by "
                    f"random vectors. In slow mode they are:\n\nNumerical:\n {numerical}\nAnalytical:\n{analytical}\n\n"
                    f"The max per-element difference (slow mode) is: {worst}.\n"
                    + ("Fast gradcheck failed but element-wise differences are small: slow mode may pass (fast_mode=False).\n" if _close(analytical, numerical, rtol, atol) else "")
                )


# ---- further checks --------------------------------------------------------------------------------------------


def _check_inputs(inputs):
    """Whether any input can be differentiated; warnings and errors about the ones that cannot be checked well."""
    if not any(_differentiable(x) for x in inputs):
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True.")
    for i, x in enumerate(inputs):
        if not _differentiable(x):
            continue
        if x.dtype not in (rushlight.float64, rushlight.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will likely fail if all the "
                "inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping to be able to compute the "
                "numerical gradients correctly. You should call .contiguous on the input before passing it to gradcheck."
            )
        x.retain_grad()


class _Absent(autograd.Function):
    """The identity whose backward gives no gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return None


def _check_undefined(fn, inputs):
    """Backward must take output gradients that are absent or zero, and give absent or zero gradients then."""
    wanted = [x for x in inputs if _differentiable(x)]
    outputs = [o for o in _outputs(fn(*inputs)) if o.requires_grad]

    def check(absent):
        ends = [_Absent.apply(o) if i in absent else o for i, o in enumerate(outputs)]
        grads = autograd.grad(ends, wanted, [rushlight.zeros_like(o) for o in outputs], retain_graph=True, allow_unused=True)
        if any(g is not None and bool((g != 0).any()) for g in grads):
            raise GradcheckError("Expected all input grads to be undefined or zero when all output grads are undefined or zero.")

    check(range(len(outputs)))
    if len(outputs) > 1:
        for k in range(len(outputs)):
            check({k})


def _check_dtypes(fn, inputs):
    wanted = [x for x in inputs if _differentiable(x)]
    for o in _outputs(fn(*inputs)):
        if o.requires_grad:
            for x, g in zip(wanted, _backward(o, wanted, rushlight.ones_like(o))):
                if g is not None and g.dtype != x.dtype:
                    raise GradcheckError(f"Gradient has dtype mismatch: {g.dtype} for an input of {x.dtype}")


def _check_batched(fn, inputs):
    """autograd.grad with is_grads_batched equals the stack of single results."""
    wanted = [x for x in inputs if _differentiable(x)]
    for i, o in enumerate(_outputs(fn(*inputs))):
        if not o.requires_grad:
            continue
        batch = rushlight.stack([rushlight.randn_like(o) for _ in range(2)])
        together = autograd.grad(o, wanted, batch, retain_graph=True, allow_unused=True, is_grads_batched=True)
        apart = [_backward(o, wanted, g) for g in batch]
        for j, g in enumerate(together):
            single = [a[j] for a in apart]
            if g is not None and not rushlight.allclose(g, rushlight.stack(single)):
                raise GradcheckError(f"For output {i} and input {j}: the gradient of a batch is not the batch of gradients")


def _check_forward(fn, inputs, eps, rtol, atol):
    """Forward mode against central differences along a random direction."""
    places = [i for i, x in enumerate(inputs) if _differentiable(x)]
    for i in places:
        direction = _unit(inputs[i]).to(inputs[i].dtype)
        with forward_ad.dual_level():
            dual = [forward_ad.make_dual(x.detach(), direction) if k == i else x for k, x in enumerate(inputs)]
            tangents = [forward_ad.unpack_dual(o).tangent for o in _outputs(fn(*dual))]
        for o, t in enumerate(tangents):
            n = _difference(fn, inputs, o, inputs[i], direction * eps) / eps
            t = n * 0 if t is None else t.reshape(-1)
            if not _close(t, n, rtol, atol):
                raise GradcheckError(_mismatch(t, n, o, i, "", "(forward mode, along one direction) "))


def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
):
    """True if the gradients of `func` at `inputs` (float64 or complex128) agree with central differences.

    Otherwise GradcheckError, or False with raise_exception=False. `masked` is about sparse inputs, which are not here.
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    options = {k: v for k, v in locals().items() if k not in ("func", "inputs", "raise_exception", "masked")}
    try:
        return _gradcheck(func, _tuple(inputs), **options)
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _gradcheck(
    func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, check_batched_grad, check_batched_forward_grad,
    check_forward_ad, check_backward_ad, fast_mode,
):  # fmt: skip
    _check_inputs(inputs)
    outputs = _outputs(func(*inputs))
    if not any(o.requires_grad for o in outputs):
        for i in (i for i, x in enumerate(inputs) if _differentiable(x)):
            for n in get_numerical_jacobian_wrt_specific_input(func, i, inputs, outputs, eps):
                if bool((n.abs() > atol).any()):
                    raise GradcheckError("Numerical gradient for function expected to be zero")
        return True
    is_complex = [o.is_complex() for o in outputs]
    if check_backward_ad:
        for part, fn in _parts(func, outputs):
            if fast_mode:
                _fast(fn, inputs, eps, rtol, atol, part, is_complex)
            else:
                _slow(fn, inputs, eps, rtol, atol, part, is_complex, nondet_tol)
        if check_batched_grad:
            _check_batched(func, inputs)
        if check_grad_dtypes:
            _check_dtypes(func, inputs)
        if check_undefined_grad:
            _check_undefined(func, inputs)
    if check_forward_ad:
        _check_forward(func, inputs, eps, rtol, atol)
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """gradcheck of the gradients: second derivatives against central differences of first ones.

    The output gradients are random unless `grad_outputs` gives them, and are differentiated by as well.
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    inputs = _tuple(inputs)
    if grad_outputs is None:
        outputs = _outputs(func(*inputs))
        grad_outputs = tuple(_random_gradient(o, gen_non_contig_grad_outputs) for o in outputs if o.requires_grad)
    else:
        grad_outputs = _tuple(grad_outputs)
    count = len(grad_outputs)

    def gradients(*args):
        xs, gs = args[:-count] if count else args, args[-count:] if count else ()
        xs = tuple(x if not _differentiable(x) or not x.is_leaf else x.view_as(x) for x in xs)
        outputs = [o for o in _outputs(func(*xs)) if o.requires_grad]
        wanted = [x for x in xs if _differentiable(x)]
        return tuple(g for g in autograd.grad(outputs, wanted, gs, create_graph=True, allow_unused=True) if g is not None)

    return gradcheck(
        gradients,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_gradient(out, gaps):
    """A random gradient of `out` that requires grad; with gaps between its elements if asked."""
    dtype = rushlight.complex128 if out.is_complex() else rushlight.float64
    if out.dtype not in (rushlight.float64, rushlight.complex128):
        dtype = out.dtype
    if gaps and out.dim():
        return rushlight.randn((*out.shape, 2), dtype=dtype)[..., 0].detach().requires_grad_()
    return rushlight.randn(out.shape, dtype=dtype).requires_grad_()


class _Callable(type(rushlight)):
    """The module stands for its function as well: PyTorch has both under the name torch.autograd.gradcheck."""

    def __call__(self, *args, **kwargs):
        return gradcheck(*args, **kwargs)




sys.modules[__name__].__class__ = _Callable

__all__ = ["gradcheck", "gradgradcheck", "GradcheckError"]
