"""torch.nn.parallel, nn.attention and nn.grad: names and behaviour on one device."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.attention.bias")  # not loaded by `import torch`
pytest.importorskip("torch.nn.grad")

from nn_programs import check  # noqa: E402

import rushlight  # noqa: E402
import rushlight.nn.attention.bias  # noqa: E402


def test_every_public_name_is_there():
    for name in ("nn", "nn.parallel", "nn.attention", "nn.attention.bias", "nn.utils", "nn.init", "nn.modules", "optim", "optim.lr_scheduler", "amp"):
        theirs, ours = torch, rushlight
        for part in name.split("."):
            theirs, ours = getattr(theirs, part), getattr(ours, part)
        names = getattr(theirs, "__all__", None) or [n for n in dir(theirs) if not n.startswith("_")]
        missing = [n for n in names if not hasattr(ours, n)]
        assert missing == (["intrinsic", "qat", "quantizable", "quantized"] if name == "nn" and "__all__" not in vars(theirs) else []), name
        for n in getattr(theirs, "__all__", []):
            assert hasattr(ours, n)
    common = [n for n in vars(torch.nn.common_types) if n.startswith("_") and n.endswith("_t")]
    assert [n for n in common if not hasattr(rushlight.nn.common_types, n)] == []


def test_what_is_not_there_says_so():
    with pytest.raises(AttributeError, match="quantized modules"):
        _ = rushlight.nn.quantized
    net = rushlight.nn.Linear(2, 2)
    with pytest.raises(NotImplementedError, match="DistributedDataParallel"):
        rushlight.nn.parallel.DistributedDataParallel(net)
    assert not isinstance(net, rushlight.nn.parallel.DistributedDataParallel)
    for name in ("replicate", "scatter", "gather"):
        with pytest.raises(NotImplementedError, match=name):
            getattr(rushlight.nn.parallel, name)(net, [0])
    with pytest.raises(NotImplementedError, match="parallel_apply"):
        rushlight.nn.parallel.parallel_apply([net], [1])


def test_data_parallel():
    def program(T):
        net = T.nn.DataParallel(T.nn.Sequential(T.nn.Linear(2, 3), T.nn.BatchNorm1d(3)), device_ids=[0, 1])
        out = net(T.rand(4, 2))
        out.sum().backward()
        other = T.nn.DataParallel(T.nn.Linear(2, 3))
        return repr(net), list(net.state_dict()), net.device_ids, out, repr(other), net.module[0].weight.grad, T.nn.DataParallel(T.nn.Dropout()).eval().training

    check(program)
    with pytest.raises(RuntimeError, match="device type could not be determined"):
        rushlight.nn.parallel.data_parallel(rushlight.nn.Linear(2, 3), rushlight.zeros(1, 2))


@pytest.mark.parametrize("names", [["MATH"], ["FLASH_ATTENTION"], ["MATH", "FLASH_ATTENTION"], ["CUDNN_ATTENTION"], []])
def test_sdpa_kernel(names):
    def program(T):
        A, F = T.nn.attention, T.nn.functional
        backends = [getattr(A.SDPBackend, n) for n in names]
        q = T.randn(1, 2, 4, 8, requires_grad=True)
        seen = []
        with A.sdpa_kernel(backends):
            seen.append([getattr(T.backends.cuda, f"{n}_sdp_enabled")() for n in ("flash", "math", "mem_efficient", "cudnn")])
            for x in (q, q[0]):
                try:
                    out = F.scaled_dot_product_attention(x, x, x)
                    seen.append((type(out.grad_fn).__name__, out))
                except RuntimeError as error:
                    seen.append(str(error)[:20])
        seen.append([getattr(T.backends.cuda, f"{n}_sdp_enabled")() for n in ("flash", "math", "mem_efficient", "cudnn")])
        return seen, [repr(b) for b in backends], [int(b) for b in backends]

    if names == ["FLASH_ATTENTION"]:  # torch warns about it as well
        with pytest.raises(AssertionError, match=r"\['UserWarning', 'UserWarning'\]"):
            check(program)
    else:
        check(program)


def test_sdpa_kernel_arguments():
    def program(T):
        A, F = T.nn.attention, T.nn.functional
        seen = [str(A.SDPBackend(1)), A.SDPBackend.MATH.name, A.SDPBackend.ERROR.value]
        for bad in ("x", 3, (T.nn.attention.SDPBackend.MATH,)):
            try:
                with A.sdpa_kernel(bad):
                    pass
            except (AssertionError, TypeError) as error:
                seen.append(type(error).__name__)

        @A.sdpa_kernel(A.SDPBackend.MATH)
        def attention(q):
            return F.scaled_dot_product_attention(q, q, q)

        return seen, attention(T.randn(1, 1, 3, 2)), A._cur_sdpa_kernel_backends()[1].name

    check(program)


@pytest.mark.parametrize("size", [(3, 4), (4, 3), (4, 4)])
def test_causal_bias(size):
    def program(T):
        B, F = T.nn.attention.bias, T.nn.functional
        q, k = T.randn(1, 2, size[0], 8), T.randn(1, 2, size[1], 8)
        masks = [B.causal_upper_left(*size), B.causal_lower_right(*size)]
        outs = [F.scaled_dot_product_attention(q, k, k, attn_mask=m).nan_to_num(0) for m in masks]
        return [repr(m) for m in masks], [m.variant for m in masks], outs, tuple(masks[0].shape), masks[0].seq_len_kv, isinstance(masks[0], T.Tensor)

    check(program)


def test_causal_bias_errors():
    def program(T):
        B = T.nn.attention.bias
        seen = []
        for make in (lambda: B.causal_upper_left(3), lambda: B.CausalBias(7, 3, 4)):
            try:
                make()
            except AssertionError as error:
                seen.append(str(error))
        return seen

    check(program)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_grad_of_convolutions(dims):
    def program(T):
        G = T.nn.grad
        x, w = T.randn((2, 4) + (6,) * dims), T.randn((6, 2) + (3,) * dims)
        out = getattr(T.nn.functional, f"conv{dims}d")(x, w, None, 2, 1, 1, 2)
        g = T.randn(out.shape)
        return getattr(G, f"conv{dims}d_input")(x.shape, w, g, 2, 1, 1, 2), getattr(G, f"conv{dims}d_weight")(x, w.shape, g, stride=2, padding=1, groups=2)

    check(program)


@pytest.mark.parametrize("kind", ["float", "bool"])
def test_a_mask_beside_the_causal_one(kind):
    def program(T):
        F = T.nn.functional
        q = T.randn(1, 2, 4, 8, requires_grad=True)
        mask = T.randn(4, 4) if kind == "float" else T.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0]]) > 0
        out = F.scaled_dot_product_attention(q, q, q, attn_mask=mask, is_causal=True)
        seen = [out, T.autograd.grad(out.square().sum(), q)]
        for x, options in ((q, {"dropout_p": 0.1}), (q[0], {})):
            try:
                F.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=True, **options)
            except RuntimeError as error:
                seen.append(str(error)[:60])
        return seen

    check(program)


def test_second_derivatives_of_attention_with_both_masks():
    q = rushlight.randn(1, 1, 3, 2, dtype=rushlight.float64, requires_grad=True)
    mask = rushlight.randn(3, 3, dtype=rushlight.float64)
    f = lambda x: rushlight.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=True)
    assert rushlight.autograd.gradgradcheck(f, q)
