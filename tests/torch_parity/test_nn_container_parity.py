"""Containers, parameters and lazy tensors against PyTorch; see nn_programs for the comparison."""

from collections import OrderedDict

import pytest

pytest.importorskip("torch")

from nn_programs import attempt, check  # noqa: E402


def change(make, *steps):
    """`repr` of what `make` gives, after each step in turn."""

    def case():
        out = make()
        for step in steps:
            result = step(out)
            out = out if result is None else result
        return out if isinstance(out, (int, str, list, tuple)) else repr(out)

    return case


def put(key, value):
    return lambda x: x.__setitem__(key, value)


def drop(key):
    return lambda x: x.__delitem__(key)


def sequential(T):
    nn = T.nn
    L, R, S = lambda n=2: nn.Linear(n, n), nn.ReLU, nn.Sequential

    def three():
        return S(R(), L(), L(3))

    def named():
        return S(OrderedDict(a=L(), b=R(), c=L()))

    return [
        lambda: repr(three()[5]),
        lambda: repr(three()["a"]),
        lambda: repr(three()[-1]),
        lambda: repr(three()[0:2]),
        lambda: repr(named()[1:]),
        lambda: repr(S(3)),
        lambda: repr(S([R()])),
        lambda: repr(three() + 3),
        lambda: repr(three() + S(L())),
        lambda: repr(three() * 2),
        lambda: repr(2 * three()),
        lambda: repr(three() * 0),
        lambda: repr(three() * "a"),
        change(three, lambda s: s.__iadd__(S(L()))),
        change(three, lambda s: s.__iadd__(3)),
        change(three, lambda s: s.__imul__(2)),
        change(three, lambda s: s.__imul__(-3)),
        change(three, lambda s: s.append(L())),
        change(three, lambda s: s.append(3)),
        change(three, lambda s: s.insert(0, L())),
        change(three, lambda s: s.insert(-1, L())),
        change(three, lambda s: s.insert(9, L())),
        change(three, lambda s: s.insert(0, 3)),
        change(three, lambda s: s.extend([L()])),
        change(three, lambda s: s.extend(S(L(), L()))),
        change(three, drop(0)),
        change(three, drop(slice(0, 2))),
        change(three, drop(7)),
        change(three, put(3, L())),
        change(three, put(-1, R())),
        change(named, drop(0), put(1, nn.Tanh())),
        lambda: repr(three().pop(0)),
        lambda: repr(three().pop(slice(0, 1))),
        lambda: S()(3),
        lambda: S(R())(1, 2),
        lambda: len(three()),
        lambda: [n for n in dir(three()) if n.isdigit()],
        lambda: [type(m).__name__ for m in three()],
    ]


def module_list(T):
    nn = T.nn
    L, R, M = lambda n=2: nn.Linear(n, n), nn.ReLU, nn.ModuleList

    def make():
        return M([R(), L(), L()])

    return [
        lambda: repr(M([L(), L(), R(), R(), R()])),
        lambda: repr(M()),
        lambda: repr(M([nn.Sequential(L(), L()), nn.Sequential(L(), L()), R()])),
        lambda: make()(3),
        lambda: repr(make()[3]),
        lambda: repr(make()[-4]),
        lambda: repr(make()[-1]),
        lambda: repr(make()[1:]),
        lambda: repr(make()["a"]),
        lambda: repr(M(3)),
        lambda: repr(M([3])),
        lambda: repr(make() + [L()]),
        lambda: repr(make() + 3),
        lambda: repr(make().pop(0)),
        lambda: [repr(m) for m in reversed(make())],
        change(make, lambda m: m.extend(3)),
        change(make, lambda m: m.append(3)),
        change(make, lambda m: m.insert(0, L())),
        change(make, lambda m: m.__iadd__([R()])),
        change(make, put(0, 3)),
        change(make, put(-1, R()), drop(0)),
        change(make, drop(slice(1, None))),
        change(make, lambda m: list(m.state_dict())),
    ]


def module_dict(T):
    nn = T.nn
    L, R, M = lambda: nn.Linear(2, 2), nn.ReLU, nn.ModuleDict

    def make():
        return M({"b": R(), "a": L()})

    return [
        lambda: repr(make()),
        lambda: repr(M([["a", R()], ("b", L())])),
        lambda: repr(M([["a"]])),
        lambda: repr(M(3)),
        lambda: repr(M([3])),
        lambda: repr(M({"a": 3})),
        lambda: repr(M({1: R()})),
        lambda: repr(M({"a.b": R()})),
        lambda: repr(M({"keys": R()})),
        lambda: repr(M(make())),
        lambda: repr(make()["z"]),
        lambda: repr(make().pop("z")),
        lambda: repr(make().pop("a")),
        lambda: repr(make().keys()),
        lambda: repr(make().items()),
        lambda: repr(make().values()),
        lambda: list(make()),
        lambda: "a" in make(),
        lambda: make()(3),
        change(make, lambda m: m.update([(1, 2, 3)])),
        change(make, lambda m: m.update({"c": R()})),
        change(make, lambda m: m.clear()),
        change(make, drop("z")),
        change(make, drop("a")),
    ]


def parameter_list(T):
    P, M, z = T.nn.Parameter, T.nn.ParameterList, T.zeros

    def make():
        return M([z(2), P(z(1)), 4])

    def tensors():
        return M([z(2), z(1)])

    return [
        lambda: repr(M([P(z(2)), z(3), 3, "a", None])),
        lambda: repr(M()),
        lambda: repr(M(3)),
        lambda: repr(M(P(z(2, 2)))),
        lambda: repr(make()[7]),
        lambda: make()[-1],
        lambda: repr(tensors()[1:]),
        lambda: list(make().state_dict()),
        lambda: make()(1),
        lambda: len(make()),
        lambda: [type(p).__name__ for p in make()],
        lambda: attempt(lambda: repr(M([z(1, dtype=T.int64)])))[:2],
        lambda: repr(M([z(1, dtype=T.complex64)])),
        lambda: repr(M([M([z(1)])])),
        change(make, lambda m: m.append(5)),
        change(make, lambda m: m.extend(5)),
        change(make, lambda m: m.extend(tensors())),
        change(tensors, put(-1, z(4)), put(0, 3)),
        change(tensors, put(0, z(3))),
        change(tensors, put(7, z(3))),
        change(tensors, lambda m: m.__iadd__([z(4)])),
    ]


def parameter_dict(T):
    P, M, z = T.nn.Parameter, T.nn.ParameterDict, T.zeros

    def make():
        return M({"b": z(2), "a": 4})

    return [
        lambda: repr(M({"a": P(z(2)), "b": z(3), "c": 4, "d": None})),
        lambda: repr(M()),
        lambda: repr(M(3)),
        lambda: repr(M([3])),
        lambda: repr(M([("a",)])),
        lambda: repr(M([("a", z(1))])),
        lambda: repr(M({"a.b": z(1)})),
        lambda: repr(M({"keys": z(1)})),
        lambda: repr(M(OrderedDict(b=1, a=2))),
        lambda: make()["z"],
        lambda: make()["a"],
        lambda: make().get("z"),
        lambda: make().get("z", 5),
        lambda: make().pop("a"),
        lambda: make().pop("z"),
        lambda: make().popitem()[0],
        lambda: M().popitem(),
        lambda: make().setdefault("c", z(1)),
        lambda: make().setdefault("a", z(1)),
        lambda: repr(make().keys()),
        lambda: [k for k, _ in make().items()],
        lambda: len(list(make().values())),
        lambda: list(reversed(make())),
        lambda: repr(make() | M({"c": 2})),
        lambda: repr(make() | {"c": 2}),
        lambda: sorted({"c": 2} | make()),
        lambda: repr(make().copy()),
        lambda: repr(M().fromkeys(["a", "b"], 3)),
        lambda: "a" in make(),
        lambda: make()(3),
        lambda: list(make().state_dict()),
        lambda: repr(M({"b": z(1), "a": M({"c": z(1)})})),
        change(make, lambda m: m.update(3)),
        change(make, lambda m: m.clear()),
        change(make, lambda m: m.__ior__(M({"c": 2}))),
        change(make, drop("z")),
        change(make, drop("b")),
    ]


def parameters(T):
    nn = T.nn

    def lazy(kind, call):
        return lambda: call(getattr(nn, kind)())

    def materialized(x):
        x.materialize((2, 3))
        return type(x).__name__, tuple(x.shape), x.requires_grad

    def blocked(error_of):
        result = attempt(error_of)
        return result[:2]

    kinds = ("UninitializedParameter", "UninitializedBuffer")
    return [
        lambda: repr(nn.Parameter()),
        lambda: repr(nn.Parameter(T.ones(2))),
        lambda: repr(nn.Parameter(T.arange(3), requires_grad=False)),
        lambda: blocked(lambda: nn.Parameter(T.arange(3))),
        lambda: nn.Parameter([1, 2]),
        lambda: type(nn.Parameter(T.ones(2)) * 2).__name__,
        lambda: type(nn.Parameter(T.ones(2)).detach()).__name__,
        lambda: type(nn.Parameter(T.ones(2))[0]).__name__,
        lambda: isinstance(T.ones(2), nn.Parameter),
        lambda: isinstance(T.ones(2), nn.Buffer),
        lambda: isinstance(nn.Buffer(T.ones(2)), nn.Buffer),
        lambda: type(nn.Buffer(T.ones(2))).__name__,
        lambda: nn.Buffer(T.ones(2), persistent=False).persistent,
        lambda: nn.Parameter(T.ones(2)).is_leaf,
        *[lazy(kind, repr) for kind in kinds],
        *[lazy(kind, materialized) for kind in kinds],
        *[lazy(kind, lambda x: blocked(lambda: x.shape)) for kind in kinds],
        *[lazy(kind, lambda x: blocked(lambda: x + 1)) for kind in kinds],
        *[lazy(kind, lambda x: blocked(lambda: x.numel())) for kind in kinds],
        *[lazy(kind, lambda x: blocked(x.share_memory_)) for kind in kinds],
        *[lazy(kind, lambda x: str(x.dtype)) for kind in kinds],
        lazy("UninitializedParameter", lambda x: x.data),
        *[lazy(kind, lambda x: x.is_leaf) for kind in kinds],
    ]


def lazy_modules(T):
    class Lazy(T.nn.modules.lazy.LazyModuleMixin, T.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = T.nn.UninitializedParameter()

        def initialize_parameters(self, x):
            if self.has_uninitialized_params():
                self.w.materialize((x.shape[-1],))
                with T.no_grad():
                    self.w.fill_(2.0)

        def forward(self, x):
            return x * self.w

    class Incomplete(Lazy):
        def initialize_parameters(self, x):
            pass

    def used():
        m = Lazy()
        waiting = m.has_uninitialized_params()
        out = m(T.ones(2, 3))
        return waiting, out, m.has_uninitialized_params(), len(m._forward_pre_hooks), repr(m)

    def loaded():
        source = Lazy()
        source(T.ones(1, 3))
        m = Lazy()
        m.load_state_dict(source.state_dict())
        return m.w, m(T.ones(1, 3))

    def saved_early():
        m = Lazy()
        other = Lazy()
        other.load_state_dict(m.state_dict())
        return list(m.state_dict()), other.has_uninitialized_params()

    return [used, loaded, saved_early, lambda: attempt(lambda: Incomplete()(T.ones(1)))[:2]]


GROUPS = [
    sequential,
    module_list,
    module_dict,
    parameter_list,
    parameter_dict,
    parameters,
    lazy_modules,
]


@pytest.mark.parametrize("group", GROUPS, ids=lambda f: f.__name__)
def test_group(group):
    check(lambda T: [attempt(case) for case in group(T)])
