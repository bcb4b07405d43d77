"""Module, containers, parameters and hooks against PyTorch: one program, run on both.

See nn_programs for how the two runs are compared.
"""

import copy
import pickle
from collections import OrderedDict

import pytest

pytest.importorskip("torch")

from nn_programs import attempt, check  # noqa: E402

PROGRAMS = []


def program(function):
    PROGRAMS.append(function)
    return function


# names and assignment


@program
def assigning(T):
    def model():
        m = T.nn.Module()
        m.register_buffer("b", T.zeros(1))
        m.w = T.nn.Parameter(T.ones(2))
        m.c = T.nn.ReLU()
        return m

    def assign(name, value):
        m = model()
        setattr(m, name, value)
        return (
            sorted(m._parameters),
            sorted(m._buffers),
            sorted(m._modules),
            repr(m),
            list(m.state_dict()),
        )

    values = {
        "none": None,
        "int": 3,
        "tensor": T.ones(2),
        "parameter": T.nn.Parameter(T.ones(2)),
        "module": T.nn.ReLU(),
        "buffer": T.nn.Buffer(T.ones(3), persistent=False),
    }
    return [
        attempt(lambda n=name, v=value: assign(n, v))
        for name in ("b", "w", "c", "new")
        for value in values.values()
    ]


@program
def registering(T):
    nn = T.nn
    new = nn.Module
    raw = nn.Module.__new__(nn.Module)
    graph = nn.Parameter(T.ones(1)) * 2
    cases = []
    for name in (1, "a.b", "", "train", "x"):
        cases += [
            lambda n=name: new().register_buffer(n, None),
            lambda n=name: new().register_parameter(n, None),
            lambda n=name: new().add_module(n, None),
            lambda n=name: new().register_module(n, None),
        ]
    cases += [
        lambda: new().register_buffer("x", 3),
        lambda: new().register_parameter("x", 3),
        lambda: new().register_parameter("x", T.ones(2)),
        lambda: new().register_parameter("x", graph),
        lambda: new().add_module("x", 3),
        lambda: raw.register_buffer("x", None),
        lambda: raw.register_parameter("x", None),
        lambda: setattr(raw, "x", nn.Parameter(T.ones(1))),
        lambda: setattr(raw, "x", nn.ReLU()),
        lambda: setattr(raw, "x", nn.Buffer(T.ones(1))),
        lambda: new().nothing,
        lambda: delattr(new(), "nothing"),
        lambda: new()(1),
        lambda: new(1, 2),
        lambda: new(a=1, b=2),
    ]
    return [attempt(case) for case in cases]


@program
def deleting(T):
    m = T.nn.BatchNorm1d(2)
    del m.weight, m.running_mean
    s = T.nn.Sequential(T.nn.ReLU(), T.nn.Tanh())
    delattr(s, "0")
    return list(m.state_dict()), repr(s), hasattr(m, "weight"), [n for n in dir(s) if n in "01"]


@program
def class_attributes_hide_entries(T):
    class M(T.nn.Module):
        scale = None

        @property
        def broken(self):
            return self.missing

    m = M()
    m.scale = T.nn.Parameter(T.ones(1))
    return m.scale, list(m.state_dict()), attempt(lambda: m.broken)


@program
def tables_can_be_changed_directly(T):
    m = T.nn.Linear(2, 2)
    m._parameters["weight"] = T.nn.Parameter(T.zeros(2, 2))
    first = m(T.ones(1, 2)), m.weight
    del m._parameters["bias"]
    m._parameters.update(bias=None)
    second = m(T.ones(1, 2)), m.bias
    m._parameters.pop("weight")
    gone = attempt(lambda: m.weight)
    m._parameters = {"weight": T.nn.Parameter(T.ones(2, 2)), "bias": None}
    return first, second, gone, m(T.ones(1, 2)), list(m._parameters)


@program
def copies(T):
    lin = T.nn.Linear(2, 2)
    m = T.nn.Sequential(lin, T.nn.BatchNorm1d(2), lin)
    deep = copy.deepcopy(m)
    shallow = copy.copy(m[0])
    shallow.weight = T.nn.Parameter(T.zeros(2, 2))  # shared tables: seen by the original too
    again = pickle.loads(pickle.dumps(deep))
    again[0].weight.data.fill_(1.0)
    return (
        m[0].weight,
        deep[0].weight,
        deep[2] is deep[0],
        again[2] is again[0],
        again(T.ones(2, 2)),
        list(again.state_dict()),
        sorted(deep.__dict__["_modules"]),
    )


@program
def wrappers_with_their_own_getattr(T):
    class Wrapper(T.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.module, name)

        def forward(self, x):
            return self.module(x)

    w = Wrapper(T.nn.Linear(2, 1))
    return w.in_features, w.weight, w(T.ones(1, 2)), list(w.state_dict()), attempt(lambda: w.none)


# walking and finding


def tree(T):
    class Block(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = T.nn.Linear(2, 2)
            self.norm = T.nn.BatchNorm1d(2)
            self.again = self.lin
            self.w = self.lin.weight
            self.nothing = None
            self.add_module("empty", None)
            self.register_parameter("no", None)

    return T.nn.Sequential(OrderedDict(a=Block(), b=T.nn.ModuleList([Block(), T.nn.ReLU()])))


@program
def walks(T):
    m = tree(T)
    return [
        [name for name, _ in m.named_parameters()],
        [name for name, _ in m.named_parameters(prefix="p", remove_duplicate=False)],
        [name for name, _ in m.a.named_parameters(recurse=False)],
        [name for name, _ in m.named_buffers(prefix="q")],
        [name for name, _ in m.named_buffers(recurse=False)],
        [name for name, _ in m.named_modules()],
        [name for name, _ in m.named_modules(prefix="r", remove_duplicate=False)],
        [name for name, _ in m.a.named_children()],
        [type(x).__name__ for x in m.modules()],
        [type(x).__name__ for x in m.a.children()],
        len(list(m.parameters())),
        len(list(m.buffers())),
        list(m.state_dict(prefix="s.")),
        dict(m.state_dict()._metadata),
        repr(m),
    ]


@program
def finding(T):
    m = tree(T)
    paths = ["", "a", "a.lin", "b.0.norm", "x", "a.x", "a.lin.weight", "a.w", "a.nothing"]
    paths += ["b.", "."]
    out = []
    for path in paths:
        out.append(attempt(lambda p=path: m.get_submodule(p)._get_name()))
        out.append(attempt(lambda p=path: m.get_parameter(p)))
        out.append(attempt(lambda p=path: m.get_buffer(p)))
    out.append(attempt(lambda: m.get_parameter("a.lin.in_features")))
    out.append(attempt(lambda: m.get_buffer("a.norm.running_mean")))
    for path, strict in [("", False), ("a", True), ("z", True), ("z", False), ("a.lin.q", False)]:
        out.append(attempt(lambda p=path, s=strict: m.set_submodule(p, T.nn.ReLU(), strict=s)))
        out.append(repr(m))
    out.append(attempt(lambda: m.set_submodule("a", 3)))
    return out


# conversion


@program
def converting(T):
    def after(call):
        m = T.nn.BatchNorm1d(2)
        m.weight.grad = T.ones(2)
        kept = m.weight
        call(m)
        state = {k: str(v.dtype) for k, v in m.state_dict().items()}
        return m.weight is kept, state, str(m.weight.grad.dtype), type(m.weight).__name__

    calls = [
        lambda m: m.double(),
        lambda m: m.half(),
        lambda m: m.bfloat16(),
        lambda m: m.double().float(),
        lambda m: m.to(T.float64),
        lambda m: m.to(T.float64, True),
        lambda m: m.to("cpu"),
        lambda m: m.to("cpu", T.float16),
        lambda m: m.to(T.ones(1, dtype=T.float64)),
        lambda m: m.to(device="cpu", dtype=T.float64),
        lambda m: m.to(),
        lambda m: m.to(None),
        lambda m: m.type(T.float64),
        lambda m: m.cpu(),
        lambda m: m.to_empty(device="cpu"),
        lambda m: m.to(T.int64),
        lambda m: m.to(3, 4, 5),
        lambda m: m.to([1]),
        lambda m: m.to("cpu", "cpu"),
        lambda m: m.train(3),
    ]
    return [attempt(lambda c=call: after(c)) for call in calls]


@program
def training_and_gradients(T):
    m = tree(T)
    m.eval()
    modes = [x.training for x in m.modules()]
    m.b.train()
    modes += [x.training for x in m.modules()]
    m.requires_grad_(False)
    flags = [p.requires_grad for p in m.parameters()]
    m.requires_grad_()
    m.a.lin(T.ones(1, 2)).sum().backward()
    before = m.a.lin.weight.grad.clone()
    m.zero_grad(set_to_none=False)
    zero = m.a.lin.weight.grad
    m.zero_grad()
    seen = []
    m.apply(lambda x: seen.append(type(x).__name__))
    return modes, flags, before, zero, m.a.lin.weight.grad, seen


# state


@program
def loading(T):
    def load(state, **options):
        m = T.nn.Linear(2, 2)
        return str(m.load_state_dict(state, **options)), m.weight, m.bias

    good = {"weight": T.ones(2, 2), "bias": T.zeros(2)}
    bad = {"weight": 3, "bias": T.ones(3), "z": T.ones(1), "y.x": T.ones(1)}
    return [
        attempt(lambda: load(good)),
        attempt(lambda: load(good, assign=True)),
        attempt(lambda: load(bad)),
        attempt(lambda: load(bad, strict=False)),
        attempt(lambda: load({"weight": T.ones(2, 2), "_extra_state": 1}, strict=False)),
        attempt(lambda: load({})),
        attempt(lambda: load(3)),
    ]


@program
def extra_state_and_versions(T):
    class M(T.nn.Module):
        _version = 3

        def get_extra_state(self):
            return {"n": 7}

        def set_extra_state(self, state):
            self.n = state["n"]

        def _load_from_state_dict(self, state_dict, prefix, metadata, *rest):
            self.seen = metadata.get("version")
            super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

    a, b = T.nn.Sequential(M()), T.nn.Sequential(M())
    state = a.state_dict()
    b.load_state_dict(state)
    return list(state), b[0].n, b[0].seen, attempt(lambda: M().load_state_dict({}))


@program
def state_hooks(T):
    log = []
    m = T.nn.Sequential(T.nn.Linear(1, 1))
    lin = m[0]
    lin.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))
    lin.register_state_dict_post_hook(lambda mod, sd, prefix, meta: sd.update(extra=T.ones(1)))
    lin.register_load_state_dict_pre_hook(lambda mod, sd, prefix, *rest: log.append(prefix))
    lin.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.clear())
    state = m.state_dict()
    keys = list(state)
    del state["0.bias"]
    bad = T.nn.Linear(1, 1)
    bad.register_state_dict_post_hook(lambda *a: 3)
    worse = T.nn.Linear(1, 1)
    worse.register_load_state_dict_post_hook(lambda *a: 3)
    return (
        keys,
        attempt(lambda: str(m.load_state_dict(state, strict=False))),
        log,
        attempt(bad.state_dict),
        attempt(lambda: worse.load_state_dict(worse.state_dict())),
    )


# hooks


@program
def forward_hooks(T):
    log = []
    m = T.nn.Linear(2, 1)

    def pre(mod, args):
        log.append("pre")
        return args[0] + 1

    def pre_kw(mod, args, kwargs):
        log.append(sorted(kwargs))
        return (args[0] * 2,), {}

    def post(mod, args, out):
        log.append(args)
        return out * 3

    handles = [
        m.register_forward_pre_hook(pre),
        m.register_forward_pre_hook(pre_kw, with_kwargs=True, prepend=True),
        m.register_forward_hook(post),
        m.register_forward_hook(lambda mod, a, k, out: out + 100, with_kwargs=True, prepend=True),
    ]
    out = [m(T.ones(1, 2))]
    for handle in handles:
        handle.remove()
        out.append(m(T.ones(1, 2)))
    m.register_forward_pre_hook(lambda mod, a, k: 3, with_kwargs=True)
    out.append(attempt(lambda: m(T.ones(1, 2))))
    return out, log, len(m._forward_hooks)


@program
def always_called_hooks(T):
    class Fails(T.nn.Module):
        def forward(self, x):
            raise ValueError("no")

    log = []

    def bad(*args):
        raise KeyError("silenced")

    m = Fails()
    m.register_forward_hook(lambda mod, a, out: log.append(out), always_call=True)
    m.register_forward_hook(lambda mod, a, out: log.append("never"))
    m.register_forward_hook(bad, always_call=True)
    return attempt(lambda: m(1)), log


@program
def backward_hooks(T):
    log = []
    m = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.Tanh())

    def hook(mod, grad_in, grad_out):
        log.append((type(mod).__name__, grad_in, grad_out))
        return tuple(None if g is None else g * 2 for g in grad_in)

    m[1].register_full_backward_hook(hook)
    m[0].register_full_backward_hook(lambda *args: log.append(args[1:]))
    m[0].register_full_backward_pre_hook(lambda mod, grad_out: (grad_out[0] * 10,))
    x = T.ones(3, 2, requires_grad=True)
    out = m(x)
    out.sum().backward()
    m(T.ones(3, 2)).sum().backward()  # no input of the first module records
    return out, x.grad, m[0].weight.grad, log


@program
def backward_hook_errors(T):
    def result(hook, pre=False, x=None, non_full=False):
        m = T.nn.Linear(1, 1)
        if pre:
            m.register_full_backward_pre_hook(hook)
        elif non_full:
            m.register_backward_hook(hook)
        else:
            m.register_full_backward_hook(hook)
        m(T.ones(2, 1, requires_grad=True) if x is None else x).sum().backward()

    both = T.nn.Linear(1, 1)
    both.register_full_backward_hook(lambda *a: None)
    other = T.nn.Linear(1, 1)
    other.register_backward_hook(lambda *a: None)
    return [
        attempt(lambda: result(lambda *a: (1, 2))),
        attempt(lambda: result(lambda *a: (T.ones(2, 1),), x=T.ones(2, 1))),
        attempt(lambda: result(lambda *a: (1, 2), pre=True)),
        attempt(lambda: result(lambda *a: None, non_full=True)),
        attempt(lambda: both.register_backward_hook(lambda *a: None)),
        attempt(lambda: other.register_full_backward_hook(lambda *a: None)),
    ]


@program
def several_inputs_and_outputs(T):
    log = []

    class M(T.nn.Module):
        def forward(self, a, n, b):
            return a * b, n, a + b

    m = M()
    m.register_full_backward_hook(lambda mod, gi, go: log.append((gi, go)))
    a, b = T.ones(2, requires_grad=True), T.full((2,), 3.0, requires_grad=True)
    y, _, z = m(a, 5, b)
    (y.sum() + 2 * z.sum()).backward()
    y, _, z = m(a, 5, b)
    y.sum().backward()  # the third output has no gradient
    return a.grad, b.grad, log


@program
def global_hooks(T):
    from_ = T.nn.modules.module
    log = []
    handles = [
        from_.register_module_forward_pre_hook(lambda m, a: log.append(type(m).__name__)),
        from_.register_module_forward_hook(lambda m, a, out: log.append(out)),
        from_.register_module_full_backward_hook(lambda m, gi, go: log.append(go)),
        from_.register_module_parameter_registration_hook(lambda m, n, p: log.append(n)),
        from_.register_module_buffer_registration_hook(lambda m, n, p: log.append(n)),
        from_.register_module_module_registration_hook(lambda m, n, p: log.append(n)),
    ]
    try:
        m = T.nn.Sequential(T.nn.BatchNorm1d(2), T.nn.ReLU())
        m(T.eye(2).requires_grad_()).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    m(T.eye(2))
    return log


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_program(function):
    check(function)
