"""Module's own rules: tables and their mirrors, hook tables on demand, memory, text and state.

What PyTorch does in the same place is compared in torch_parity/test_nn_mechanics_parity.py.
"""

import copy
import gc
import pickle
import weakref

import pytest

import rushlight
from rushlight import nn
from rushlight.nn.modules.hooks import GLOBAL_HOOKS
from rushlight.nn.modules.module import register_module_forward_hook


class Scale(nn.Module):
    """y = w x; no layer of the library is needed."""

    def __init__(self, n=2):
        super().__init__()
        self.w = nn.Parameter(rushlight.full((n,), 2.0))
        self.register_buffer("count", rushlight.zeros(1))
        self.register_buffer("scratch", rushlight.zeros(1), persistent=False)

    def forward(self, x, plus=0):
        return x * self.w + plus

    def extra_repr(self):
        return f"n={self.w.numel()}"


def pair():
    return nn.Sequential(Scale(), Scale())


def mirrors(module):
    """Every entry of every table is a plain attribute, and the same object."""
    return all(
        module.__dict__.get(name, module) is value
        for kind in ("_parameters", "_buffers", "_modules")
        for name, value in module.__dict__[kind].items()
    )


def test_entries_are_plain_attributes():
    m = nn.Sequential(Scale(), nn.ModuleDict({"a": Scale()}))
    assert all(mirrors(x) for x in m.modules())


@pytest.mark.parametrize(
    "change",
    [
        lambda t, v: t.__setitem__("w", v),
        lambda t, v: t.update(w=v),
        lambda t, v: t.update({"other": v}),
        lambda t, v: t.setdefault("other", v),
        lambda t, v: t.__ior__({"w": v}),
        lambda t, v: t.pop("w"),
        lambda t, v: t.pop("none", None),
        lambda t, v: t.popitem(),
        lambda t, v: t.clear(),
        lambda t, v: t.__delitem__("w"),
    ],
)
def test_mirrors_follow_every_change_of_a_table(change):
    m = Scale()
    names = set(m.__dict__)
    change(m._parameters, nn.Parameter(rushlight.ones(2)))
    assert mirrors(m)
    gone = names - set(m._parameters) - set(m.__dict__)
    assert gone == {"w"} - set(m._parameters)


def test_replacing_a_table_drops_the_old_mirrors():
    m = Scale()
    m._parameters = {"v": nn.Parameter(rushlight.ones(1))}
    assert not hasattr(m, "w") and mirrors(m)
    assert list(m.state_dict()) == ["v", "count"]


def test_a_plain_dict_as_a_table_still_works():
    m = Scale()
    m.__dict__["_parameters"] = {"late": nn.Parameter(rushlight.ones(1))}
    assert m.late.item() == 1.0
    m.late = nn.Parameter(rushlight.zeros(1))
    assert m.late.item() == 0.0 and [name for name, _ in m.named_parameters()] == ["late"]


def test_names_of_the_class_are_not_mirrored():
    class WithDefault(nn.Module):
        w = "of the class"

    m = WithDefault()
    m._parameters["w"] = nn.Parameter(rushlight.ones(1))
    assert m.w == "of the class"


def test_a_class_with_its_own_getattr_sees_every_name():
    seen = []

    class Watching(nn.Module):
        def __getattr__(self, name):
            seen.append(name)
            return super().__getattr__(name)

    m = Watching()
    m.child = Scale()
    assert isinstance(m.child, Scale) and "child" in seen


def test_pickles_hold_plain_tables_and_no_mirrors():
    m = Scale()
    state = m.__getstate__()
    assert "w" not in state and "w" in state["_parameters"]
    again = pickle.loads(pickle.dumps(pair()))
    assert mirrors(again[0]) and again(rushlight.ones(2)).tolist() == [4.0, 4.0]


def test_deep_copies_are_apart_and_shallow_copies_share_tables():
    m = Scale()
    deep, shallow = copy.deepcopy(m), copy.copy(m)
    shallow.w = nn.Parameter(rushlight.zeros(2))
    assert m.w is shallow.w and deep.w.tolist() == [2.0, 2.0]
    assert mirrors(m) and mirrors(shallow) and mirrors(deep)


def test_state_without_later_attributes_can_be_set():
    m = nn.Module.__new__(Scale)
    m.__setstate__({"training": False, "_parameters": {}, "_buffers": {}, "_modules": {}})
    assert m.state_dict() == {} and not m.training and len(m._forward_hooks) == 0


def test_a_module_goes_when_its_last_reference_goes():
    gc.disable()
    try:
        m = pair()
        m[0].register_forward_hook(lambda *args: None)
        m[0].register_load_state_dict_pre_hook(lambda *args: None)
        watch = [weakref.ref(m), weakref.ref(m[0]), weakref.ref(m[0].w)]
        del m
        assert [ref() for ref in watch] == [None] * 3
    finally:
        gc.enable()


def test_hook_tables_exist_only_when_somebody_asks():
    m = Scale()
    m(rushlight.ones(2))
    m.state_dict()
    m.load_state_dict(m.state_dict())
    copy.deepcopy(m)
    assert not [name for name in m.__dict__ if name.endswith("hooks")]
    assert not m._hooked
    handle = m.register_forward_hook(lambda mod, args, out: out + 1)
    assert m(rushlight.ones(2)).tolist() == [3.0, 3.0]
    handle.remove()
    assert m(rushlight.ones(2)).tolist() == [2.0, 2.0]


def test_hooks_put_into_the_table_directly_are_called():
    m = Scale()
    m._forward_hooks["mine"] = lambda mod, args, out: out * 10
    assert m(rushlight.ones(2)).tolist() == [20.0, 20.0]


def test_hooks_survive_copies():
    m = Scale()
    m.register_forward_hook(double)
    for again in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert again(rushlight.ones(2)).tolist() == [4.0, 4.0]


def double(module, args, out):
    return out * 2


def test_the_last_global_hook_makes_calls_fast_again():
    m = Scale()
    with register_module_forward_hook(double):
        assert m(rushlight.ones(2)).tolist() == [4.0, 4.0]
    assert m(rushlight.ones(2)).tolist() == [2.0, 2.0]
    assert not GLOBAL_HOOKS


def test_hooks_may_remove_themselves():
    m = Scale()
    calls = []

    def once(mod, args):
        calls.append(args)
        handle.remove()

    handle = m.register_forward_pre_hook(once)
    m(rushlight.ones(2))
    m(rushlight.ones(2))
    assert len(calls) == 1


def test_keyword_arguments_reach_forward():
    m = Scale()
    assert m(rushlight.ones(2), plus=5).tolist() == [7.0, 7.0]
    assert m(x=rushlight.ones(2)).tolist() == [2.0, 2.0]
    m.register_forward_pre_hook(lambda mod, args: None)
    assert m(x=rushlight.ones(2), plus=1).tolist() == [3.0, 3.0]


def test_backward_hooks_see_and_replace_gradients():
    m = Scale()
    seen = []

    def hook(mod, grad_in, grad_out):
        seen.append((grad_in, grad_out))
        return (grad_in[0] * 100,)

    m.register_full_backward_hook(hook)
    x = rushlight.ones(2, requires_grad=True)
    m(x).sum().backward()
    (grad_in,), (grad_out,) = seen[0]
    assert grad_in.tolist() == [2.0, 2.0] and grad_out.tolist() == [1.0, 1.0]
    assert x.grad.tolist() == [200.0, 200.0] and m.w.grad.tolist() == [1.0, 1.0]


def test_tensor_attributes():
    m = Scale()
    assert isinstance(m.w, nn.Parameter) and isinstance(m.w, rushlight.Tensor)
    assert type(m.w * 1) is rushlight.Tensor
    with pytest.raises(TypeError, match="as parameter 'w'"):
        m.w = rushlight.ones(2)
    with pytest.raises(AttributeError, match="'Scale' object has no attribute 'x'"):
        m.x  # noqa: B018
    m.count = rushlight.ones(1)
    m.scratch = None
    assert list(m.state_dict()) == ["w", "count"]
    del m.count
    assert list(m.state_dict()) == ["w"]


def test_repr():
    m = nn.Sequential(Scale(), nn.ModuleList([Scale(), Scale(), Scale(3)]))
    assert repr(m) == (
        "Sequential(\n"
        "  (0): Scale(n=2)\n"
        "  (1): ModuleList(\n"
        "    (0-1): 2 x Scale(n=2)\n"
        "    (2): Scale(n=3)\n"
        "  )\n"
        ")"
    )


def test_loading_names_what_does_not_fit():
    m = pair()
    state = {"0.w": rushlight.ones(3), "0.count": rushlight.ones(1), "2.w": rushlight.ones(2)}
    with pytest.raises(RuntimeError) as raised:
        m.load_state_dict(state)
    assert str(raised.value) == (
        "Error(s) in loading state_dict for Sequential:\n"
        '\tMissing key(s) in state_dict: "1.w", "1.count". \n'
        '\tUnexpected key(s) in state_dict: "2.w". \n'
        "\tsize mismatch for 0.w: copying a param with shape torch.Size([3]) from checkpoint, the "
        "shape in current model is torch.Size([2])."
    )


def test_loading_copies_or_assigns():
    m, other = pair(), pair()
    other[0].w.data.fill_(7.0)
    kept = m[0].w
    m.load_state_dict(other.state_dict())
    assert m[0].w is kept and kept.tolist() == [7.0, 7.0]
    m.load_state_dict(other.state_dict(), assign=True)
    assert m[0].w is not kept and m[0].w.data_ptr() == other[0].w.data_ptr()
    assert isinstance(m[0].w, nn.Parameter) and mirrors(m[0])


def test_load_hooks_of_a_copy_get_the_copy():
    m = Scale()
    m.register_load_state_dict_pre_hook(mark)
    again = copy.deepcopy(m)
    again.load_state_dict(m.state_dict())
    assert again.marked and not hasattr(m, "marked")


def mark(module, *args):
    module.marked = True


def test_conversion_keeps_parameters_and_converts_gradients():
    m = Scale()
    m(rushlight.ones(2)).sum().backward()
    kept = m.w
    m.double()
    assert m.w is kept and m.w.dtype is rushlight.float64 and m.w.grad.dtype is rushlight.float64
    assert m.count.dtype is rushlight.float64 and mirrors(m)
    with pytest.raises(TypeError, match="only accepts floating point"):
        m.to(rushlight.int64)


def test_parametrization_takes_the_mirror_away():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    m = Scale()
    nn.utils.parametrize.register_parametrization(m, "w", Square())
    assert "w" not in m.__dict__ and m.w.tolist() == [4.0, 4.0]
    assert copy.deepcopy(m).w.tolist() == [4.0, 4.0]
    nn.utils.parametrize.remove_parametrizations(m, "w")
    assert type(m) is Scale and mirrors(m) and m.w.tolist() == [4.0, 4.0]


def test_functional_call_puts_everything_back():
    m = Scale()
    kept = m.w
    call = nn.utils.stateless._functional_call
    assert call(m, {"w": rushlight.ones(2)}, rushlight.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(TypeError):
        call(m, {"w": rushlight.ones(2)}, (rushlight.ones(2), 1, 2, 3))
    assert m.w is kept and mirrors(m)


def test_factory_kwargs():
    given = {"device": "cpu", "factory_kwargs": {"dtype": rushlight.float64}}
    assert nn.factory_kwargs(given) == {"device": "cpu", "dtype": rushlight.float64}
    assert nn.factory_kwargs(None) == {}
    with pytest.raises(TypeError, match="unexpected kwargs {'x'}"):
        nn.factory_kwargs({"x": 1})
    with pytest.raises(TypeError, match="device specified twice"):
        nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"device": "cpu"}})


def test_public_names_are_there():
    for module in (nn, nn.utils, nn.init, nn.utils.rnn, nn.utils.prune, nn.utils.parametrize):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert nn.modules.Sequential is nn.Sequential
    with pytest.raises(AttributeError):
        nn.modules.Nothing  # noqa: B018
