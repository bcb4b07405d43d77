# ruff: noqa: B018, B023, F811, F841  (programs in a loop, under one name)
"""torch.autograd.functional, gradcheck, torch.func and torch.utils.checkpoint, in PyTorch and here."""

import sys
from pathlib import Path

import pytest

torch_ = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
from notes import Notes, differences  # noqa: E402

import rushlight  # noqa: E402

#: differences that are meant, of 2026-11
KNOWN = {
    ("functional", 20): "one node's name: a sum of one element is a view",
    ("functional", 50): "forward mode gives lists with a history in PyTorch",
    ("functional", 51): "other words",
    ("functional", 130): "forward mode gives lists with a history in PyTorch",
    ("gradcheck", 13): "PyTorch fails on a function without gradients",
    ("gradcheck", 29): "PyTorch fails on a function without gradients",
    ("gradcheck", 40): "PyTorch fails on a function without gradients",
    ("gradcheck", 53): "PyTorch fails on a function without gradients",
    ("gradcheck", 41): "PyTorch fails where dtypes differ in fast mode",
    ("gradcheck", 42): "PyTorch fails where dtypes differ in fast mode",
    ("transforms", 49): "the text of a function",
    ("transforms", 58): "the fix is added",
}


def functional(torch):
    m = torch
    t = out = Notes()
    F = m.autograd.functional
    torch = m
    x = m.arange(6.0).reshape(2, 3) / 6
    y = m.tensor([1.0, 2.0, 3.0], requires_grad=True)
    fs = [lambda a: a.exp(), lambda a: (a.sum(0), a.prod()), lambda a: m.ones(2), lambda a: a * y]
    for f in fs:
        for cg in (False, True):
            for st in (False, True):
                t("", lambda: F.jacobian(f, x, create_graph=cg, strict=st))
                t("", lambda: F.vjp(f, x, m.ones(2, 3), create_graph=cg, strict=st))
                t("", lambda: F.jvp(f, x, m.ones(2, 3), create_graph=cg, strict=st))
    t("", lambda: F.jacobian(lambda a, b: (a * b, b.sum()), (x, y), vectorize=True))
    t("", lambda: F.jacobian(lambda a, b: (a * b, b.sum()), (x, y), create_graph=True))
    t("", lambda: F.jacobian(lambda a, b: a * b, (x, y), strategy="forward-mode", vectorize=True))
    t("", lambda: F.jacobian(lambda a, b: a * b, (x, y), strategy="forward-mode"))
    for f in [
        lambda a: (a**3).sum(),
        lambda a: a.sum(),
        lambda a: m.ones(()),
        lambda a: a,
        lambda a: (a.sum(), a.sum()),
        lambda a: (a.exp() * y).sum(),
    ]:
        for cg in (False, True):
            for st in (False, True):
                t("", lambda: F.hessian(f, x, create_graph=cg, strict=st))
                t("", lambda: F.hvp(f, x, x, create_graph=cg, strict=st))
                t("", lambda: F.vhp(f, x, x, create_graph=cg, strict=st))
    g = lambda a, b: (a**2 * b).sum()
    t("", lambda: F.hessian(g, (x, y)))
    t("", lambda: F.hvp(g, (x, y), (x, y)))
    t("", lambda: F.vhp(g, (x, y), (x, y)))
    t("", lambda: F.vhp(g, (x, y), (x,)))
    t("", lambda: F.vhp(g, (x, y), (x, x)))
    t("", lambda: F.vjp(lambda a: (a, a), x, (x,)))
    t("", lambda: F.hessian(g, (x, y), vectorize=True, outer_jacobian_strategy="forward-mode"))
    with m.no_grad():
        t("", lambda: F.jacobian(lambda a: a.exp(), x))
        t("", lambda: F.hvp(lambda a: a.exp().sum(), x, x))
        t("", lambda: F.vjp(lambda a: a.exp().sum(), x))
    t("", lambda: F.jacobian(3, x))
    t("", lambda: F.jacobian(lambda a: a, 3))
    t("", lambda: F.hessian(lambda a: a.sum(), y, create_graph=True))
    with m.autograd.forward_ad.dual_level():
        fa = m.autograd.forward_ad
        d = fa.make_dual(x, x * 2)
        t("", lambda: fa.unpack_dual(d))
        t("", lambda: fa.unpack_dual((d * d).exp()))
        t("", lambda: fa.unpack_dual(x))
        t("", lambda: fa.unpack_dual(d + x))
        t("", lambda: fa.unpack_dual(d > 0))
    t("", lambda: fa.make_dual(x, x))
    t("", lambda: fa.unpack_dual(x))
    return out


def gradcheck(torch):
    t = out = Notes()
    from_ = torch.autograd
    gradcheck, gg = from_.gradcheck, from_.gradgradcheck
    gradcheck = getattr(gradcheck, "gradcheck", gradcheck)
    torch.manual_seed(0)
    d = torch.rand(2, dtype=torch.float64, requires_grad=True)
    c = torch.rand(2, dtype=torch.complex128, requires_grad=True)

    class Bad(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    class U(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2 if g is not None else torch.ones(2, dtype=torch.float64)

    for fast in (False, True):
        for f, a in [
            (Bad.apply, (d,)),
            (lambda x: x**3, (d,)),
            (lambda x: x**3, (c,)),
            (lambda x: x.abs(), (c,)),
            (lambda x: (x.exp(), x.real * 2), (c,)),
            (lambda x, y: x @ y, (d, c)) if 0 else (lambda x, y: x * y, (d, c)),
            (lambda x: x.detach(), (d,)),
            (lambda x: x.float(), (d,)),
            (lambda x: torch.complex(x, x * 2), (d,)),
            (Bad.apply, (c,)),
            (U.apply, (d,)),
            (lambda x: x * 2, (d.detach(),)),
            (lambda x: x * 2, (d[0].expand(3),)),
            (lambda x: x.sum(), (d,)),
            (lambda x: x.sort()[1], (d,)),
        ]:
            t("", lambda: gradcheck(f, a, fast_mode=fast))
            if not fast or a[0] is d:
                t("", lambda: gg(f, a, fast_mode=fast))
    t("", lambda: gradcheck(Bad.apply, (d,), raise_exception=False))
    t("", lambda: gradcheck(lambda x: x**2, d, check_forward_ad=True))
    t("", lambda: gradcheck(lambda x: x**2, d, check_batched_grad=True, check_grad_dtypes=True))
    t(
        "",
        lambda: gg(
            lambda x, y: x**2 * y,
            (d, d.detach().mul(2).requires_grad_()),
            check_fwd_over_rev=True,
            gen_non_contig_grad_outputs=True,
        ),
    )
    t("", lambda: gradcheck(lambda x: x * 2, d, check_backward_ad=False))
    return out


def transforms(torch):
    t = out = Notes()
    (
        grad,
        vjp,
        jvp,
        vmap,
        jacrev,
        jacfwd,
        hessian,
        functional_call,
        linearize,
        grad_and_value,
        stack_module_state,
    ) = [
        getattr(torch.func, n)
        for n in "grad,vjp,jvp,vmap,jacrev,jacfwd,hessian,functional_call,linearize,grad_and_value,stack_module_state".split(
            ","
        )
    ]
    torch.manual_seed(0)
    x = torch.rand(3)
    t("g", lambda: grad(lambda x: x)(x))
    t("g", lambda: grad(lambda x: 3)(x))
    t("g", lambda: grad(lambda x: (x.sum(), 1))(x))
    t("aux", lambda: grad(lambda x: x.sum(), has_aux=True)(x))
    t("argn", lambda: grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x))
    t("argn", lambda: grad(lambda x, y: (x * y).sum(), argnums=3)(x, x))
    t("dict", lambda: grad(lambda d: d["a"].sum())({"a": x, "b": [x]}))
    t("int", lambda: grad(lambda d: d.sum())(torch.ones(3, dtype=torch.int64)))
    t("cplx", lambda: grad(lambda d: (d * 1j).sum())(x))
    t("vjp", lambda: vjp(lambda x: (x, x * 2), x)[1](x))
    t("vjp", lambda: vjp(lambda x: (x, x * 2), x)[1]((x, x)))
    t("vjp2", lambda: vjp(lambda x, y: x * y, x, x)[1](x))
    t("jvp", lambda: jvp(lambda x: x * x, (x,), (x,)))
    t("jvp", lambda: jvp(lambda x: x * x, x, x))
    t("jvp", lambda: jvp(lambda x: x * x, (x,), (x[:2],)))
    t("vmap", lambda: vmap(lambda x: x * 2)(torch.rand(2, 3)).shape)
    t("vmap", lambda: vmap(lambda x, y: x + y, in_dims=(0, None))(torch.rand(2, 3), x).shape)
    t("vmap", lambda: vmap(lambda x: x)(3))
    t("vmap", lambda: vmap(lambda x, y: x)(torch.rand(2), torch.rand(3)))
    t("vmapr", lambda: vmap(lambda x: x + torch.rand(()))(x))
    t("vmap", lambda: vmap(lambda x: x, in_dims=(0, 0))(x))
    t("vmap", lambda: vmap(lambda x: x, in_dims=None)(x))
    t("vmap", lambda: vmap(lambda x: x, in_dims=5)(x))
    t("vmap", lambda: vmap(lambda x: 3)(x))
    t("vmap", lambda: vmap(lambda x: (x, x), out_dims=(0, None))(torch.rand(2, 3)))
    t("vmap", lambda: vmap(lambda x: (x, {"a": x}), out_dims=1)(torch.rand(2, 3))[1]["a"].shape)
    t("vmap0", lambda: vmap(lambda x: x)(torch.rand(0, 3)))
    t("vmapn", lambda: vmap(lambda x: torch.ones(2), out_dims=0)(x).shape)
    t("vmapn", lambda: vmap(lambda x: x, randomness="foo")(x))
    t("jacrev", lambda: jacrev(lambda x: {"a": x * 2, "b": x.sum()})(x))
    t("jacrev", lambda: jacrev(lambda x, y: x * y, argnums=(0, 1))(x, x))
    t("jacfwd", lambda: jacfwd(lambda x, y: x * y, argnums=(0, 1), has_aux=False)(x, x))
    t("hess", lambda: hessian(lambda x: (x**3).sum())(x))
    t("hess", lambda: hessian(lambda x, y: (x**3 * y).sum(), argnums=(0, 1))(x, x))
    t("gv", lambda: grad_and_value(lambda x: (x**3).sum())(x))
    t("lin", lambda: linearize(lambda x: x**2, x)[1](x))
    m = torch.nn.Linear(3, 2)
    t("fc", lambda: functional_call(m, {"weight": torch.ones(2, 3)}, (x,)))
    t("fc", lambda: functional_call(m, ({"weight": torch.ones(2, 3)}, {"bias": torch.ones(2)}), x))
    t("sms", lambda: {k: v.shape for k, v in stack_module_state([m, m])[0].items()})
    t("fcs", lambda: functional_call(m, {"weight": torch.ones(2, 3), "foo": x}, x, strict=True))
    t("dup", lambda: functional_call(m, ({"weight": x}, {"weight": x}), x))
    t(
        "persample",
        lambda: vmap(
            grad(
                lambda w, x: (
                    functional_call(m, {"weight": w, "bias": torch.zeros(2)}, (x,)).pow(2).sum()
                )
            ),
            in_dims=(None, 0),
        )(torch.ones(2, 3), torch.ones(4, 3)),
    )
    t("nest", lambda: grad(grad(grad(lambda x: x**4)))(torch.tensor(2.0)))
    t("vmapgg", lambda: vmap(grad(grad(lambda x: x.sin())))(x))
    t("jj", lambda: jacrev(jacfwd(lambda x: x**3))(x))
    t("jvpjvp", lambda: jvp(lambda y: jvp(lambda x: x**3, (y,), (y,))[1], (x,), (x,)))
    y = x.clone().requires_grad_()
    t("outer", lambda: grad(lambda x: (x**2).sum())(y))
    t("ng", lambda: grad(lambda x: x.detach().sum())(y))
    t("closure", lambda: grad(lambda x: (x * y * x).sum())(x))
    t("vjpo", lambda: vjp(lambda x: x * y, x))
    with torch.no_grad():
        t("ngo", lambda: grad(lambda x: (x**2).sum())(y))
    # checkpoint
    C = torch.utils.checkpoint
    x = torch.ones(3, requires_grad=True)

    def block(a):
        return torch.nn.functional.dropout(a.sin() * a, 0.5).exp()

    for re in (True, False):
        torch.manual_seed(3)
        z = x * 2
        o = C.checkpoint(block, z, use_reentrant=re)
        t("o", lambda: o)
        x.grad = None
        o.sum().backward()
        t("g", lambda: x.grad)
        t("after", lambda: torch.rand(2))
        torch.manual_seed(3)
        o = block(x * 2)
        x.grad = None
        o.sum().backward()
        t("gref", lambda: x.grad)
        t(
            "grad",
            lambda: torch.autograd.grad(
                C.checkpoint(lambda a: a.sin(), x, use_reentrant=re).sum(), x
            ),
        )
        t("multi", lambda: C.checkpoint(lambda a: (a.sin(), 3, None), x, use_reentrant=re))
        t(
            "seq",
            lambda: C.checkpoint_sequential(
                [torch.sin, torch.cos, torch.exp], 2, x, use_reentrant=re
            ),
        )
        t("kw", lambda: C.checkpoint(lambda a, b=1: a.sin(), x, b=2, use_reentrant=re))
        t("ng", lambda: C.checkpoint(lambda a, b=1: a.sin(), x.detach(), use_reentrant=re))
    t(
        "dbl",
        lambda: torch.autograd.grad(
            torch.autograd.grad(
                C.checkpoint(lambda a: (a.sin() * a).exp(), x, use_reentrant=False).sum(),
                x,
                create_graph=True,
            )[0].sum(),
            x,
        ),
    )
    t(
        "nested",
        lambda: torch.autograd.grad(
            C.checkpoint(
                lambda a: C.checkpoint(lambda b: b.sin().exp(), a.cos(), use_reentrant=False).exp(),
                x,
                use_reentrant=False,
            ).sum(),
            x,
        ),
    )
    k = [0]

    def f(a):
        k[0] += 1
        return a.sin().cos() if k[0] == 1 else a.sin()

    t("fewer", lambda: C.checkpoint(f, x, use_reentrant=False).sum().backward())
    k = [0]

    def f(a):
        k[0] += 1
        return a.sin() if k[0] == 1 else a[:2].sin()

    t("shape", lambda: C.checkpoint(f, x, use_reentrant=False).sum().backward())
    k = [0]

    def f(a):
        k[0] += 1
        return a.sin() if k[0] == 1 else a.sin().cos()

    with C.set_checkpoint_early_stop(False):
        t("more", lambda: C.checkpoint(f, x, use_reentrant=False).sum().backward())
    y = C.checkpoint(lambda a: a.sin().exp(), x, use_reentrant=False)
    y.sum().backward()
    t("twice", lambda: y.sum().backward())
    y = C.checkpoint(lambda a: a.sin().exp(), x, use_reentrant=False)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    t("xg", lambda: x.grad)
    log = []
    import contextlib

    @contextlib.contextmanager
    def ctx(n):
        log.append(n)
        yield

    C.checkpoint(
        lambda a: a.sin(), x, use_reentrant=False, context_fn=lambda: (ctx("f"), ctx("r"))
    ).sum().backward()
    t("ctx", lambda: log)
    calls = []

    def f2(a):
        b = a.sin()
        calls.append(1)
        c = b.exp()
        calls.append(2)
        return c + 1

    C.checkpoint(f2, x, use_reentrant=False).sum().backward()
    t("early", lambda: calls)
    return out


@pytest.mark.parametrize("program", [functional, gradcheck, transforms], ids=lambda p: p.__name__)
def test_outcomes_agree(program):
    wrong = differences(program, torch_, rushlight, KNOWN)
    assert not wrong, "\n".join(wrong)
