"""nn.utils against PyTorch; see nn_programs for the comparison."""

import copy
import pickle
import warnings

import pytest

pytest.importorskip("torch.nn.utils.prune")  # not loaded by `import torch`

from nn_programs import attempt, check  # noqa: E402

PROGRAMS = []


def program(function):
    PROGRAMS.append(function)
    return function


def linear(T, n_in=3, n_out=2):
    T.manual_seed(5)
    return T.nn.Linear(n_in, n_out)


def kind_only(result):
    """For errors whose text is our own: the type is compared."""
    return result[:2] if isinstance(result, tuple) and result[:1] == ("raised",) else result


# gradients


@program
def clipping(T):
    u = T.nn.utils
    out = []
    for norm_type in (2.0, 1.0, float("inf"), 3.0):
        for max_norm in (0.1, 100.0):
            m = linear(T)
            m(T.rand(4, 3)).pow(2).sum().backward()
            out.append(u.clip_grad_norm_(m.parameters(), max_norm, norm_type))
            out += [p.grad.clone() for p in m.parameters()]
            u.clip_grad_value_(m.parameters(), 0.05)
            out += [p.grad for p in m.parameters()]
    nan = T.tensor([float("nan")])
    ones = [T.ones(3), T.ones(4)]
    return out + [
        attempt(lambda: u.clip_grad_norm_([], 1)),
        attempt(lambda: u.clip_grad_norm_(linear(T).parameters(), 1)),
        attempt(lambda: u.clip_grad_norm(linear(T).parameters(), 1)),
        attempt(lambda: u.get_total_norm(ones, 1)),
        attempt(lambda: u.get_total_norm(ones, float("inf"))),
        attempt(lambda: u.get_total_norm(T.ones(4))),
        attempt(lambda: u.get_total_norm([nan], error_if_nonfinite=True)),
        attempt(lambda: u.clip_grads_with_norm_(linear(T).parameters(), 1.0, T.tensor(3.0))),
    ]


@program
def vectors(T):
    u = T.nn.utils
    m = linear(T)
    vec = u.parameters_to_vector(m.parameters())
    u.vector_to_parameters(vec.detach() * 2, m.parameters())
    return (
        vec,
        m.state_dict(),
        [type(p).__name__ for p in m.parameters()],
        attempt(lambda: u.vector_to_parameters(3, [])),
        attempt(lambda: u.vector_to_parameters(T.ones(1), m.parameters()))[:2],
    )


# normalizations


@program
def weight_norm(T):
    u, P = T.nn.utils, T.nn.utils.parametrizations
    out = []
    for dim in (0, 1, None):
        m = u.weight_norm(linear(T), dim=dim)
        y = m(T.rand(2, 3))
        y.sum().backward()
        out += [y, [p.grad for p in m.parameters()], dict(m.state_dict())]
        n = P.weight_norm(linear(T), dim=dim)
        n.load_state_dict(m.state_dict())  # the older layout
        y = n(T.rand(2, 3))
        y.sum().backward()
        out += [y, [p.grad for p in n.parameters()], n.state_dict(), repr(n)]
        n.weight = T.ones(2, 3)
        out.append(n.weight)
        u.remove_weight_norm(m)
        u.parametrize.remove_parametrizations(n, "weight")
        out += [m.state_dict(), n.state_dict(), repr(m), type(n).__name__]
    return out + [
        attempt(lambda: u.weight_norm(u.weight_norm(linear(T)))),
        attempt(lambda: u.weight_norm(linear(T), "x")),
        attempt(lambda: u.remove_weight_norm(linear(T))),
        attempt(lambda: P.weight_norm(linear(T), "x")),
    ]


@program
def spectral_norm(T):
    u, P = T.nn.utils, T.nn.utils.parametrizations
    out = []
    makers = [(lambda: linear(T), (1, 3)), (lambda: T.nn.Conv2d(2, 3, 3), (1, 2, 4, 4))]
    for make, shape in makers:
        for norm in (u.spectral_norm, P.spectral_norm):
            for options in ({}, {"n_power_iterations": 3}, {"dim": 1}):
                T.manual_seed(1)
                m = norm(make(), **options)
                x = T.rand(shape)
                y = [m(x), m(x)]
                y[-1].sum().backward()
                out += [*y, [p.grad for p in m.parameters()], m.state_dict(), repr(m)]
                out.append(m.state_dict()._metadata)
                again = norm(make(), **options)
                again.load_state_dict(m.state_dict())
                out += [m.eval()(x), again.eval()(x)]
    m = u.spectral_norm(linear(T))
    m(T.ones(1, 3))
    u.remove_spectral_norm(m)
    return out + [
        m.state_dict(),
        attempt(lambda: u.spectral_norm(u.spectral_norm(linear(T)))),
        attempt(lambda: u.spectral_norm(linear(T), n_power_iterations=0)),
        attempt(lambda: u.spectral_norm(linear(T), "x")),
        attempt(lambda: u.remove_spectral_norm(linear(T))),
        attempt(lambda: P.spectral_norm(linear(T), "x")),
        attempt(lambda: P.spectral_norm(linear(T), dim=4)),
        attempt(lambda: P.spectral_norm(linear(T), "bias").bias),
    ]


@program
def spectral_norm_of_an_old_state_dict(T):
    u = T.nn.utils
    m = u.spectral_norm(linear(T))
    m(T.ones(1, 3))
    state = m.state_dict()
    state["weight"] = m.weight.detach()
    v = state.pop("weight_v")
    del state._metadata
    again = u.spectral_norm(linear(T))
    again.load_state_dict(state)
    return (again.weight_v - v).abs().max() < 1e-4, list(again.state_dict())


@pytest.mark.parametrize("use_trivialization", [True, False])
@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(3, 3), (4, 3), (3, 5)])
def test_orthogonal(shape, orthogonal_map, use_trivialization):
    def orthogonal(T):
        m = linear(T, shape[1], shape[0])
        T.nn.utils.parametrizations.orthogonal(
            m, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization
        )
        w = m.weight
        (w * T.arange(w.numel()).view(w.shape)).sum().backward()
        grads = [p.grad for p in m.parameters()]

        def assign():
            m.weight = T.nn.init.orthogonal_(T.empty(*shape))
            return m.weight

        return w, grads, m.state_dict(), attempt(assign), repr(m)

    check(orthogonal)


@program
def orthogonal_errors(T):
    P = T.nn.utils.parametrizations
    return [
        attempt(lambda: P.orthogonal(linear(T), "bias")),
        attempt(lambda: P.orthogonal(linear(T), "x")),
        attempt(lambda: P.orthogonal(linear(T), orthogonal_map="x")),
    ]


def parametrizations(T):
    class Symmetric(T.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

    class Assignable(Symmetric):
        def right_inverse(self, x):
            return x.triu()

    class Half(T.nn.Module):
        def forward(self, x):
            return x.half()

    class Rank(T.nn.Module):
        def forward(self, u, v):
            return u @ v

        def right_inverse(self, w):
            return w[:, :1], w[:1]

    class Double(T.nn.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    class NoTensor(T.nn.Module):
        def forward(self, x):
            return 3

    class NoInverse(Double):
        def right_inverse(self, x):
            return 3

    return Double, [Symmetric, Assignable, Half, Rank, Double, NoTensor, NoInverse]


@program
def parametrizing(T):
    pz = T.nn.utils.parametrize
    _, classes = parametrizations(T)

    def one(cls, unsafe):
        m = linear(T, 3, 3)
        pz.register_parametrization(m, "weight", cls(), unsafe=unsafe)
        before = m.weight, copy.deepcopy(m).weight, repr(m), list(m.state_dict())
        m.weight = T.ones(3, 3)
        assigned = m.weight
        known = [pz.is_parametrized(m, name) for name in (None, "weight", "bias")]
        known.append(pz.type_before_parametrizations(m).__name__)
        pz.remove_parametrizations(m, "weight")
        return before, assigned, known, m.weight, repr(m), list(m.state_dict())

    return [attempt(lambda c=c, u=u: one(c, u)) for c in classes for u in (False, True)]


@program
def parametrizing_twice(T):
    pz = T.nn.utils.parametrize
    Double, classes = parametrizations(T)

    def two(cls, unsafe):
        m = linear(T, 3, 3)
        pz.register_parametrization(m, "weight", Double())
        pz.register_parametrization(m, "weight", cls(), unsafe=unsafe)
        pz.register_parametrization(m, "bias", Double())
        m.weight = T.ones(3, 3)
        before = repr(m), m.weight, m.parametrizations.weight.original
        pz.remove_parametrizations(m, "weight", leave_parametrized=False)
        return before, m.weight, list(m.state_dict()), repr(m)

    return [kind_only(attempt(lambda c=c, u=u: two(c, u))) for c in classes for u in (False, True)]


@program
def parametrized_modules(T):
    pz = T.nn.utils.parametrize
    Double, _ = parametrizations(T)
    m, n = linear(T), linear(T)
    pz.register_parametrization(m, "weight", Double())
    pz.transfer_parametrizations_and_params(m, n)
    with pz.cached():
        same = m.weight is m.weight
    norm = T.nn.BatchNorm1d(3)
    pz.register_parametrization(norm, "running_mean", Double())
    return [
        n.weight,
        repr(n),
        same,
        m.weight is m.weight,
        list(norm.state_dict()),
        attempt(lambda: pickle.dumps(m))[:2],
        attempt(lambda: pz.remove_parametrizations(linear(T), "weight")),
        attempt(lambda: pz.register_parametrization(linear(T), "x", Double())),
    ]


# pruning

AMOUNTS = [
    ("l1_unstructured", (2,)),
    ("l1_unstructured", (0.5,)),
    ("l1_unstructured", (0,)),
    ("l1_unstructured", (70,)),
    ("l1_unstructured", (1.5,)),
    ("l1_unstructured", (-1,)),
    ("l1_unstructured", ("a",)),
    ("random_unstructured", (3,)),
    ("random_unstructured", (0.3,)),
    ("random_structured", (1, 0)),
    ("random_structured", (2, 1)),
    ("ln_structured", (1, 2, 0)),
    ("ln_structured", (0.5, float("inf"), 1)),
    ("ln_structured", (1, 1, -1)),
    ("identity", ()),
]


@program
def pruning(T):
    prune = T.nn.utils.prune

    def once(name, args):
        m = linear(T, 4, 3)
        getattr(prune, name)(m, "weight", *args)
        names = [n for n, _ in m.named_parameters()]
        return m.weight, m.weight_mask, m.weight_orig, list(m.state_dict()), names, repr(m)

    def again(name, args):
        m = linear(T, 4, 3)
        prune.l1_unstructured(m, "weight", 3)
        prune.ln_structured(m, "weight", 1, 2, 1)
        getattr(prune, name)(m, "weight", *args)
        m(T.ones(1, 4)).sum().backward()
        methods = [[type(x).__name__ for x in hook] for hook in m._forward_pre_hooks.values()]
        found = m.weight, m.weight_orig.grad, methods, prune.is_pruned(m)
        prune.remove(m, "weight")
        return found, m.weight, list(m.state_dict()), prune.is_pruned(m)

    return [
        attempt(lambda f=f, n=name, a=args: f(n, a))
        for name, args in AMOUNTS
        for f in (once, again)
    ]


@program
def pruning_several(T):
    prune = T.nn.utils.prune
    m = linear(T, 5, 4)
    both = [(m, "weight"), (m, "bias")]
    prune.global_unstructured(both, prune.L1Unstructured, amount=0.5)
    first = m.weight, m.bias
    prune.global_unstructured(both, prune.L1Unstructured, amount=5)
    n = linear(T, 5, 4)
    scores = {(n, "weight"): T.arange(20.0).view(4, 5)}
    prune.global_unstructured(
        [(n, "weight")], prune.L1Unstructured, importance_scores=scores, amount=7
    )
    prune.custom_from_mask(n, "bias", T.tensor([0, 1, 1, 0]))
    return first, m.weight, m.bias, m(T.ones(1, 5)), n.weight, n.bias, list(m.state_dict())


@program
def pruning_tensors_and_errors(T):
    prune = T.nn.utils.prune
    x = T.tensor([1.0, -3, 2, 0.5])
    options = [
        {},
        {"importance_scores": T.ones(3)},
        {"importance_scores": T.tensor([4.0, 3, 2, 1])},
        {"default_mask": T.tensor([1.0, 0, 1, 1])},
    ]
    one, other = prune.L1Unstructured(1), prune.L1Unstructured(1)
    one._tensor_name, other._tensor_name = "x", "y"
    return [
        *[attempt(lambda o=o: prune.L1Unstructured(2).prune(x, **o)) for o in options],
        prune.LnStructured(0.5, "fro", -1).prune(T.arange(6.0).view(3, 2)),
        len(prune.PruningContainer(one)),
        attempt(lambda: prune.PruningContainer(one).add_pruning_method(other))[:2],
        attempt(lambda: prune.PruningContainer().add_pruning_method(3)),
        attempt(lambda: prune.L1Unstructured(2).apply_mask(linear(T))),
        attempt(lambda: prune.l1_unstructured(linear(T), "x", 2)),
        attempt(lambda: prune.random_structured(linear(T), "bias", 1, 0)),
        attempt(lambda: prune.random_structured(linear(T), "weight", 1, 5)),
        attempt(lambda: prune.remove(linear(T), "weight")),
        attempt(lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=2)),
        attempt(lambda: prune.l1_unstructured(linear(T), "weight", 1, importance_scores=T.ones(2))),
    ]


# ragged batches


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize(
    "lengths", [[4, 2, 1], [2, 4, 1], [4, 4, 4], [1, 1, 1], [3, 4, 4], [4, 2], [4, 2, 0]]
)
def test_packing(lengths, enforce_sorted, batch_first):
    def packing(T):
        r = T.nn.utils.rnn

        def go():
            x = T.arange(24.0).view(4, 3, 2)
            x = (x.transpose(0, 1).contiguous() if batch_first else x).requires_grad_()
            packed = r.pack_padded_sequence(
                x, lengths, batch_first=batch_first, enforce_sorted=enforce_sorted
            )
            padded = r.pad_packed_sequence(packed, batch_first, -1, total_length=6)
            (padded[0] ** 2).sum().backward()
            parts = packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices
            return parts, padded, r.pad_packed_sequence(packed), x.grad, r.unpack_sequence(packed)

        return attempt(go)

    check(packing)


@program
def sequences(T):
    r = T.nn.utils.rnn
    one, two = T.ones(2), T.full((4,), 2.0)
    x = T.arange(24.0).view(4, 3, 2)
    packed = r.pack_padded_sequence(x, [2, 3, 1], enforce_sorted=False)
    lengths = T.tensor([4, 2, 1])
    return [
        attempt(lambda: r.pad_sequence([one, two])),
        attempt(lambda: r.pad_sequence([T.ones(2, 2), T.ones(4, 2)], True, 5, "left")),
        attempt(lambda: r.pad_sequence(y for y in [one, two])),
        attempt(lambda: r.pad_sequence(T.ones(2, 3))),
        attempt(lambda: r.pad_sequence([one.long(), two])),
        attempt(lambda: r.pad_sequence([])),
        attempt(lambda: r.pad_sequence(3)),
        attempt(lambda: r.pad_sequence([one], padding_side="x")),
        attempt(lambda: repr(r.pack_sequence([two, one]))),
        attempt(lambda: repr(r.pack_sequence([one, two]))),
        attempt(lambda: repr(r.pack_sequence([one, two], enforce_sorted=False))),
        attempt(lambda: r.unpad_sequence(x.clone(), lengths)),
        attempt(lambda: r.unpad_sequence(x.transpose(0, 1)[:3], lengths, batch_first=True)),
        attempt(lambda: r.invert_permutation(T.tensor([2, 0, 1]))),
        attempt(lambda: r.invert_permutation(None)),
        attempt(lambda: r.pad_packed_sequence(packed, total_length=2)),
        attempt(lambda: repr(r.PackedSequence(one, T.tensor([1, 1]), T.tensor([0])))),
        attempt(lambda: repr(r.PackedSequence((one, T.tensor([1, 1]))))),
        attempt(lambda: r.PackedSequence(one)),
        repr(packed.to(T.float64)),
        packed.to("cpu") is packed,
        packed.cpu() is packed,
        str(packed.int().data.dtype),
        packed.is_cuda,
        packed.is_pinned(),
        repr(copy.deepcopy(packed)),
        repr(pickle.loads(pickle.dumps(packed))),
        repr(packed._replace(data=T.ones(6))),
    ]


# the rest


@program
def functional_call(T):
    def call(make, given, **options):
        m = make()
        before = list(m.state_dict())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = T.nn.utils.stateless.functional_call(m, given, T.ones(1, 3), **options)
        return out, m(T.ones(1, 3)), list(m.state_dict()) == before

    class Tied(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = T.nn.Parameter(T.full((3,), 2.0))
            self.b = self.a
            self.register_buffer("q", T.ones(1))

        def forward(self, x, scale=1):
            return (x * self.a * self.b + self.q) * scale

    w, b, three = T.ones(2, 3), T.ones(2), T.full((3,), 3.0)
    plain = [
        ({"w": b}, {}),
        ({"a.b": b}, {}),
        ({"weight": w}, {}),
        ({"weight": w, "z": b}, {}),
        ({"weight": w, "z": b}, {"strict": True}),
        ({"weight": w}, {"strict": True}),
        ({"weight": w, "bias": b}, {"strict": True}),
        ({"weight": 3}, {}),
        ({"bias": None}, {}),
        ({}, {}),
    ]
    tied = [
        ({"a": three}, {}),
        ({"b": three}, {}),
        ({"a": three}, {"tie_weights": False}),
        ({"a": three, "b": three}, {}),
        ({"a": three, "b": T.zeros(3)}, {}),
        ({"q": T.zeros(1)}, {"kwargs": {"scale": 3}}),
        ({"q": T.zeros(1)}, {"strict": True}),
    ]
    cases = [(lambda: linear(T), *case) for case in plain] + [(Tied, *case) for case in tied]
    return [attempt(lambda c=c: call(c[0], c[1], **c[2])) for c in cases]


@program
def fusing(T):
    u = T.nn.utils

    def filled(norm):
        norm.running_mean.normal_()
        norm.running_var.uniform_(1, 2)
        return norm.eval()

    conv, norm = T.nn.Conv2d(2, 3, 3).eval(), filled(T.nn.BatchNorm2d(3))
    up = T.nn.ConvTranspose2d(2, 3, 3, bias=False).eval()
    lin, norm1 = linear(T).eval(), filled(T.nn.BatchNorm1d(2))
    x = T.rand(1, 2, 5, 5)
    fused, fused_up = u.fuse_conv_bn_eval(conv, norm), u.fuse_conv_bn_eval(up, norm, True)
    fused_lin = u.fuse_linear_bn_eval(lin, norm1)
    return [
        fused.weight,
        fused.bias,
        T.allclose(fused(x), norm(conv(x)), atol=1e-5),
        T.allclose(fused_up(x), norm(up(x)), atol=1e-5),
        fused_lin.weight,
        fused_lin.bias,
        attempt(lambda: u.fuse_conv_bn_eval(T.nn.Conv2d(1, 2, 3), norm)),
        attempt(lambda: u.fuse_linear_bn_eval(lin, filled(T.nn.BatchNorm1d(3)))),
    ]


@program
def making(T):
    u = T.nn.utils
    conv = T.nn.Sequential(T.nn.Conv2d(2, 3, 3))
    u.convert_conv2d_weight_memory_format(conv, T.channels_last)
    return [
        tuple(conv[0].weight.stride()),
        attempt(lambda: tuple(u.skip_init(T.nn.Linear, 2, 3).weight.shape)),
        attempt(lambda: u.skip_init(T.nn.ReLU)),
        attempt(lambda: u.skip_init(int)),
    ]


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_program(function):
    check(function)
