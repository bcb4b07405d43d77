# ruff: noqa: B018, B023, F811, F841  (programs in a loop, under one name)
"""What backward, hooks, modes, custom Functions, anomaly mode and saved-tensor hooks give, in PyTorch and here."""

import sys
import threading
import warnings
from pathlib import Path

import pytest

torch_ = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent))
from notes import Notes, differences  # noqa: E402

import rushlight  # noqa: E402

#: differences that are meant, of 2026-11
KNOWN = {
    ("autograd", 52): "gather saves no input here: its formula needs the shape alone",
    ("autograd", 70): "a saved number is a number",
    ("autograd", 73): "other words",
    ("autograd", 74): "other words",
}


def autograd(torch):
    t = out = Notes()
    L = lambda *s: torch.ones(*(s or (3,)), dtype=torch.float64).requires_grad_()

    # saved old input
    def f():
        p = L()
        t_ = p * 1
        q = L()
        t_.mul_(q)
        t_.sum().backward()
        return p.grad, q.grad

    t("mul_ both", f)

    def f():
        p = torch.ones(3)
        q = L()
        p.mul_(q)
        return p.requires_grad, p.grad_fn.name()

    t("plain mul_ rg", f)

    def f():
        p = L() * 2
        p.mul_(p)
        p.sum().backward()

    t("self mul_", f)

    def f():
        x = L()
        y = x * 2
        y.sin_()
        y.sum().backward()
        return x.grad

    t("sin_", f)

    def f():
        x = L()
        y = x * 2
        z = y.sin()
        y.add_(1)
        z.sum().backward()

    t("ver", f)

    def f():
        x = L()
        y = x.exp()
        y.add_(1)
        y.sum().backward()

    t("ver exp", f)

    def f():
        x = L()
        y = x * x.detach()
        x.data.add_(1)
        y.sum().backward()
        return x.grad

    t("data", f)

    def f():
        x = L()
        y = x * x

    # hooks order
    def f():
        log = []
        x = L()
        y = x * 2
        x.register_hook(lambda g: log.append("xh"))
        y.register_hook(lambda g: log.append("yh"))
        y.grad_fn.register_hook(lambda a, b: log.append("post"))
        y.grad_fn.register_prehook(lambda g: log.append("pre"))
        x.register_post_accumulate_grad_hook(lambda p: log.append("acc"))
        y.retain_grad()
        z = y.sum()
        z.backward()
        return log, y.grad

    t("hooks", f)

    def f():
        x = L()
        y = x * 2
        y.register_hook(lambda g: g * 10)
        y.mul_(3)
        y.register_hook(lambda g: g * 100)
        y.sum().backward()
        return x.grad

    t("hook inplace", f)

    def f():
        x = L()
        y = x * 2
        y.retain_grad()
        y.mul_(3)
        y.sum().backward()
        return y.grad, x.grad

    t("retain inplace", f)

    def f():
        x = L()
        h = x.register_hook(lambda g: g * 2)
        h.remove()
        x.sum().backward()
        return x.grad

    t("rm", f)

    def f():
        x = L()
        x.register_hook(lambda g: torch.ones(2))
        x.sum().backward()
        return x.grad

    t("hook shape", f)

    def f():
        x = L()
        x.register_hook(lambda g: 3)
        x.sum().backward()
        return x.grad

    t("hook type", f)

    def f():
        x = L()
        (x * 2).sum().backward()
        g = x.grad
        (x * 2).sum().backward()
        return g is x.grad, g

    t("acc in place", f)

    def f():
        x = L()
        (x * 2).sum().backward()
        g = x.grad
        (x * 2).sum().backward(create_graph=True)
        return g is x.grad, g

    t("acc cg", f)

    def f():
        x = torch.ones(3, 4).t().requires_grad_()
        (x * torch.ones(4, 3)).sum().backward()
        return x.grad.stride()

    t("layout", f)

    def f():
        x = torch.ones(3).expand(2, 3).requires_grad_()
        (x * torch.ones(2, 3)).sum().backward()
        return x.grad.stride()

    t("layout exp", f)

    def f():
        x = L()
        a = x * 2
        b = x * 3
        torch.autograd.backward([a.sum(), b.sum()])
        return x.grad

    t("roots", f)

    def f():
        x = L()
        a = x * 2
        torch.autograd.backward([a.sum(), a.sum()], [None, torch.tensor(2.0, dtype=torch.float64)])
        return x.grad

    t("roots2", f)

    def f():
        x = L()
        a = (x * 2).sum()
        torch.autograd.backward([a, a])
        return x.grad

    t("roots same", f)

    def f():
        x = L()
        x.backward(torch.ones(3))
        return x.grad

    t("leaf root", f)

    def f():
        x = L()
        x.backward(torch.ones(3, dtype=torch.float64))
        return x.grad

    t("leaf root2", f)

    def f():
        x = L()
        return torch.autograd.grad(x.sum(), [x, L()], allow_unused=True)

    t("unused", f)

    def f():
        x = L()
        return torch.autograd.grad(x.sum(), [x, L()])

    t("unused err", f)

    def f():
        x = L()
        return torch.autograd.grad(x.sum(), [x, L()], materialize_grads=True)

    t("mat", f)

    def f():
        x = L()
        y = x * 2
        z = y * 3
        return torch.autograd.grad(z.sum(), [y, x])

    t("both", f)

    def f():
        x = L()
        y = (x * 2).sum()
        y.backward()
        y.backward()

    t("twice ok?", f)

    def f():
        x = L()
        y = (x * x).sum()
        y.backward()
        y.backward()

    t("twice", f)

    # inference
    def f():
        with torch.inference_mode():
            y = torch.ones(3)
            z = y * 2
        return y.is_inference(), z.is_inference(), z.requires_grad

    t("inf", f)

    def mk():
        with torch.inference_mode():
            y = torch.ones(3) * 2
        return y

    t("inf add_", lambda: mk().add_(1))
    t("inf save", lambda: L().float() * mk())
    t("inf rg", lambda: mk().requires_grad_())
    t("inf ver", lambda: mk()._version)
    t("inf plain", lambda: (mk() * 2).is_inference())
    t("inf view", lambda: mk()[0].is_inference())
    t("inf clone", lambda: (L().float() * mk().clone()).requires_grad)
    t("inf add", lambda: (L().float() + mk()).requires_grad)

    def f():
        x = torch.ones(3)
        with torch.inference_mode():
            x.add_(1)
            v = x[0]
            r = (v.is_inference(), x._version, x.is_inference())
            v.add_(1)
            return r

    t("inf normal", f)

    def f():
        x = L()
        with torch.inference_mode():
            y = x * 2
            return (
                y.requires_grad,
                y.grad_fn,
                y.is_inference(),
                x.is_inference(),
                torch.is_inference_mode_enabled(),
                torch.is_grad_enabled(),
            )

    t("inf rg2", f)

    def f():
        with torch.inference_mode():
            with torch.enable_grad():
                x = torch.ones(3, requires_grad=True)
                y = x * 2
                return y.requires_grad, y.is_inference()

    t("inf en", f)

    def f():
        with torch.inference_mode():
            with torch.inference_mode(False):
                x = torch.ones(3, requires_grad=True)
                y = x * 2
                return y.requires_grad, y.is_inference()

    t("inf off", f)
    t("inf detach", lambda: mk().detach().is_inference())
    t("inf copyin", lambda: torch.ones(3).copy_(mk()))

    # decorators
    @torch.no_grad()
    def g(x):
        return (x * 2).requires_grad

    t("dec", lambda: g(L()))

    @torch.no_grad
    def g(x):
        return (x * 2).requires_grad

    t("dec2", lambda: g(L()))

    @torch.no_grad()
    def gen(x):
        r = yield torch.is_grad_enabled()
        yield (torch.is_grad_enabled(), r)

    def f():
        it = gen(1)
        return next(it), torch.is_grad_enabled(), it.send(5), torch.is_grad_enabled()

    t("gen", f)

    def f():
        @torch.no_grad()
        def gen():
            try:
                yield 1
            except ValueError:
                yield torch.is_grad_enabled()
            finally:
                log.append(torch.is_grad_enabled())

        log = []
        it = gen()
        next(it)
        r = it.throw(ValueError)
        it.close()
        return r, log

    t("gen throw", f)

    def f():
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")

            @torch.no_grad()
            class C:
                def __init__(self):
                    self.g = torch.is_grad_enabled()

            return C().g, [str(x.message)[:60] for x in w]

    t("class", f)

    @torch.set_grad_enabled(False)
    def g(x):
        return torch.is_grad_enabled()

    t("sge", lambda: (torch.is_grad_enabled(), g(1), torch.is_grad_enabled()))

    @torch.inference_mode()
    def g(x):
        return torch.is_inference_mode_enabled()

    t("infdec", lambda: g(1))

    def f():
        torch.set_grad_enabled(False)
        r = torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        return r

    t("sgef", f)

    def f():
        a = torch.no_grad()
        with a:
            with torch.enable_grad():
                with a:
                    pass
                r = torch.is_grad_enabled()
            return r, torch.is_grad_enabled()

    t("nest", f)

    # saved hooks
    def f():
        log = []

        def pack(x):
            log.append(tuple(x.shape))
            return x

        x = L(3, 3)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            y = (x.exp() * x).matmul(x).softmax(1)
            y = y[[0, 1]]
            z = torch.nn.functional.relu(y).prod()
            z = z + x.max()
            z = z + x.var() + x.norm()
            z = z + x.gather(0, torch.zeros(1, 3, dtype=torch.int64)).sum()
        z.backward()
        return log

    t("hooks all", f)

    def f():
        x = L()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x.mul_(2), lambda x: x):
            y = x.detach().requires_grad_() * 1
            z = y * y
            return z

    t("hook mod", f)

    def f():
        x = L()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: 3):
            z = x * x
        z.sum().backward()

    t("unpack type", f)

    def f():
        x = L()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: x * 1, lambda x: x):
            z = x * x * x
        (g,) = torch.autograd.grad(z.sum(), x, create_graph=True)
        return torch.autograd.grad(g.sum(), x)

    t("hook dbl", f)

    def f():
        x = L()
        with torch.autograd.graph.disable_saved_tensors_hooks("no"):
            with torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
                pass

    t("dis", f)

    def f():
        x = L()
        with torch.autograd.graph.save_on_cpu():
            y = x * x
        x.data.zero_()
        y.sum().backward()
        return x.grad

    t("soc", f)

    def f():
        x = L()
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            y = x.clone()
            z = y.sin()
            y.mul_(2)
            z.sum().backward()
            return x.grad

    t("mut", f)

    # multi grad hooks
    def f():
        log = []
        a, b, c = L(), L(), L()
        s = a * 2
        h = torch.autograd.graph.register_multi_grad_hook(
            (a, b, c, s), lambda gs: log.append([g is None for g in gs])
        )
        (s * b).sum().backward()
        (a * b * c).sum().backward()
        h.remove()
        (a * b * c).sum().backward()
        return log

    t("mgh", f)

    def f():
        log = []
        a, b = L(), L()
        h = torch.autograd.graph.register_multi_grad_hook(
            (a, b), lambda g: log.append(g.sum().item()), mode="any"
        )
        (a * b * 2).sum().backward()
        (a * b * 3).sum().backward()
        return log

    t("mgh any", f)

    def f():
        x = L()
        y = x * 2
        e = torch.autograd.graph.get_gradient_edge(y)
        return (
            torch.autograd.grad((y * 3).sum(), e),
            torch.autograd.grad(e, x, torch.ones(3, dtype=torch.float64)),
            e.output_nr,
        )

    t("edge", f)

    def f():
        x = L()
        y = x * x
        torch.autograd.graph.increment_version(x)
        y.sum().backward()

    t("incv", f)

    # complex
    def f():
        z = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
        r = []
        for fn in (
            lambda z: z.abs(),
            lambda z: (z * z).real,
            lambda z: z.imag,
            lambda z: z.exp().abs(),
            lambda z: z.angle(),
            lambda z: (z.conj() * z).real,
            lambda z: torch.view_as_real(z),
            lambda z: (z / (1 + 2j)).real,
            lambda z: (2.0**z).real,
            lambda z: z.sqrt().imag,
            lambda z: (z @ z).real,
            lambda z: torch.complex(z.real, z.imag).real,
            lambda z: z.sgn().real,
            lambda z: z.prod().real,
            lambda z: z.to(torch.complex128).real,
        ):
            z.grad = None
            fn(z).sum().backward()
            r.append([round(v.real, 4) + 1j * round(v.imag, 4) for v in z.grad.tolist()])
        return r

    t("cplx", f)
    t("cplx scalar", lambda: torch.tensor(1 + 1j, requires_grad=True).backward())
    t(
        "cplx seed",
        lambda: torch.tensor([1 + 1j], requires_grad=True).mul(2).backward(torch.ones(1)),
    )

    def f():
        z = torch.tensor([1.0, 2.0], requires_grad=True)
        (z * (1 + 2j)).backward(torch.tensor([1j, 1 + 0j]))
        return z.grad

    t("r2c", f)

    # threads
    def f():
        w = L()
        res = [None] * 2

        def work(i):
            x = torch.full((3,), float(i + 1), dtype=torch.float64).requires_grad_()
            for _ in range(30):
                x.grad = None
                y = x
            for _ in range(100):
                y = y * 1.01
            y.sum().backward()
            res[i] = round(x.grad[0].item(), 6)

        ts = [threading.Thread(target=work, args=(i,)) for i in range(2)]
        [a.start() for a in ts]
        [a.join() for a in ts]
        return res

    t("threads", f)

    # anomaly
    def f():
        x = L()
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter("always")
            with torch.autograd.detect_anomaly():
                y = (x * 0).sqrt() * 0
                try:
                    y.sum().backward()
                except RuntimeError as e:
                    return (
                        str(e),
                        [str(m.message)[:80] for m in w],
                        [m.category.__name__ for m in w],
                    )

    t("anom", f)

    def f():
        with torch.autograd.set_detect_anomaly(True):
            a = (
                torch.is_anomaly_enabled(),
                torch.is_anomaly_check_nan_enabled(),
                list((L() * 2).grad_fn.metadata),
            )
        return a, torch.is_anomaly_enabled()

    t("anom2", f)

    def f():
        x = L()
        y = x * 2
        y._backward_hooks
        return y.grad_fn._saved_other

    t("_saved", f)

    def f():
        x = L()
        y = x * x
        return (
            y.grad_fn._saved_self is x,
            y.grad_fn.next_functions[0][0].variable is x,
            type(y.grad_fn.next_functions[0][0]).__name__,
        )

    t("_saved", f)
    t(
        "var",
        lambda: (
            isinstance(torch.ones(2), torch.autograd.Variable),
            torch.autograd.Variable(torch.ones(2), requires_grad=True),
        ),
    )
    t("gradset", lambda: setattr(L(), "grad", torch.ones(2)))
    t("gradset2", lambda: setattr(L(), "grad", torch.ones(3)))
    t("gradset3", lambda: setattr(L(), "grad", 3))

    def f():
        x = torch.ones(3, requires_grad=True)
        (x.double() * 2).sum().backward()
        return x.grad.dtype

    t("dtype", f)

    def f():
        x = torch.ones(3, requires_grad=True)
        y = torch.ones(3)
        y[0] = x[1]
        y.sum().backward()
        return x.grad, y.grad_fn.name()

    t("setitem", f)

    def f():
        x = L(3, 4)
        y = x * 1
        a, b = y.split(2)
        a2 = a * 2
        y.mul_(3)
        a2.sum().backward()
        return x.grad

    t("split then inplace", f)

    def f():
        x = L(3, 4)
        y = x * 1
        y2 = y[0]
        y3 = y2[1:]
        y3.mul_(2)
        return (
            type(y2.grad_fn).__name__,
            type(y3.grad_fn).__name__,
            type(y.grad_fn).__name__,
            (y.sum().backward(), x.grad)[1],
        )

    t("views of views", f)
    return out


@pytest.mark.parametrize("program", [autograd], ids=lambda p: p.__name__)
def test_outcomes_agree(program):
    wrong = differences(program, torch_, rushlight, KNOWN)
    assert not wrong, "\n".join(wrong)
