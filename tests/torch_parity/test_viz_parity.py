"""The walk over a history reads torch's graphs as well as our own: the two interfaces are one."""

import pytest

from rushlight import viz

torch = pytest.importorskip("torch")


def test_torch_graphs_can_be_drawn():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    x = torch.rand(5, 4, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 1, 0]))
    picture = viz.graph(loss, params=model, x=x, loss=loss)
    found = {node.title: node for node in picture.history.nodes}
    assert {"0.weight", "0.bias", "2.weight", "2.bias", "x", "relu", "nll_loss", "loss"} <= set(
        found
    )
    assert found["relu"].spec == "(5, 8) float32"
    assert found["relu"].backward == type(torch.relu(x).grad_fn).__name__
    assert picture.unreached == [] and picture.svg.startswith("<svg")


def test_every_grad_fn_of_torch_is_found_once():
    x = torch.rand(3, 4, requires_grad=True)
    a, b = (x * 2).chunk(2, 1)
    z = (torch.sin(a) * b + a).sum()
    titles = sorted(node.title for node in viz.graph(z).history.nodes)
    assert titles == ["add", "leaf", "mul", "mul", "output", "sin", "split", "sum"]
