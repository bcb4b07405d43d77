"""Handlers of `__torch_function__` are asked about the same calls as in PyTorch."""

import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

CALLS = """x+x|1+x|x-x|1-x|x*x|2*x|f/f|f//f|1//f|f%f|2%f|f**f|2**f|f@f|x&x|1^x|x<<x|1<<x|x>>x|-x|+x|~x|abs(x)|x==x|x!=x|x<x|x<=x|x>x|x>=x|x[0]|
bool(x[0])|int(x[0])|float(f[0])|len(x)|3 in x|f.T|f.real|f.grad_fn|f.requires_grad|f.device|f.layout|f.is_cuda|f._version|f.ndim|f.data_ptr()|
f.tolist()|f.numpy()|format(f[0])|hash(f)|f.split(1)|f.unique()|f.norm()|torch.norm(f)|f.type()|f.to('cpu')|f.sum().item()|f.double()|
f.is_floating_point()|torch.is_tensor(f)|torch.ones_like(f)|f.new_zeros(1)|f.clone()|f.requires_grad_()|f.detach()|f.data|f.grad|f.is_leaf|f.shape|
f.size(0)|f.dim()|f.stride()|f.numel()|torch.equal(f,f)|torch.nn.functional.softmax(f,0)|torch.nn.functional.mse_loss(f,f)|
torch.nn.functional.dropout(f)|torch.nn.functional.gelu(f)|torch.nn.functional.linear(f,f)|torch.nn.functional.pad(f,(1,1))|torch.einsum('i,i',f,f)|
torch.linalg.norm(f)|torch.fft.fft(f)|torch.get_default_dtype()|torch.zeros(2)|torch.broadcast_tensors(f,f)|f.expand(2,2)|x.add_(1)|repr(x)|
f.max(0)|torch.cat([f,f])|torch.stack((f,f),dim=0)|torch.sum(input=f)|f.backward|torch.tensor(f)"""
CALLS = [c.strip() for c in CALLS.replace("\n", "").split("|")]


def logged(t):
    log = []

    class Logged(t.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            log.append((func.__name__, [c.__name__ for c in types], len(args), sorted(kwargs or {})))
            return super().__torch_function__(func, types, args, kwargs)

    return Logged, log


def seen(t, call):
    cls, log = logged(t)
    names = {"torch": t, "x": t.tensor([3, 5]).as_subclass(cls), "f": t.tensor([3.0, 5.0]).as_subclass(cls)}
    log.clear()
    result = eval(call, names)
    while isinstance(result, (tuple, list)) and len(result):
        result = result[0]
    return [(n, c, a, k if n not in ("__repr__", "softmax", "mse_loss", "dropout", "gelu", "pad", "norm", "relu", "__rsub__", "split", "unique") else 0) for n, c, a, k in log], type(result).__name__


@pytest.mark.parametrize("call", CALLS)
def test_handlers_see_the_same_calls(call):
    ours, theirs = seen(rushlight, call), seen(torch, call)
    assert [(n, c) for n, c, *_ in ours[0]] == [(n, c) for n, c, *_ in theirs[0]] and (ours[1] == theirs[1] or "method" in theirs[1])


@pytest.mark.parametrize("call", ["x*2", "f*2", "f[0]", "f.view(2,1)", "f.requires_grad_()", "(f.requires_grad_()*2).sum()", "torch.stack([f,f])"])
def test_they_print_alike(call):
    def text(t):
        class Sub(t.Tensor):
            pass

        return repr(eval(call, {"torch": t, "x": t.tensor([3, 5]).as_subclass(Sub), "f": t.tensor([3.0, 5.0]).as_subclass(Sub)}))

    assert text(rushlight) == text(torch)
