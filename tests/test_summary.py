"""rushlight.summary: the numbers, the table, and that the model is left as it was."""

import pytest

import rushlight
from rushlight import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(True))
        self.head = nn.Linear(6, 10)
        self.blocks = nn.ModuleList([nn.Linear(10, 10), nn.Linear(10, 10)])
        self.unused = nn.Linear(3, 3)
        self.drop = nn.Dropout()
        self.table = nn.Parameter(rushlight.ones(10, 4), requires_grad=False)

    def forward(self, x, scale=1.0):
        h = self.drop(self.features(x).mean((2, 3)))
        return self.drop(self.blocks[0](self.head(h))) @ self.table * scale


def test_numbers():
    r = rushlight.summary(Net(), (2, 1, 8, 8))
    assert r.total_params == 156 + 12 + 70 + 2 * 110 + 12 + 40
    assert r.trainable_params == r.total_params - 40
    conv, head, block, table = 2 * 6 * 64 * 25, 2 * 60, 2 * 100, 2 * 40
    assert r.total_mult_adds == conv + head + block + table  # the product outside any layer too
    assert r.input_bytes == 4 * 2 * 64
    assert r.param_bytes == 4 * r.total_params
    assert r.buffer_bytes == 4 * 12 + 8
    # the ReLU writes in place, and Dropout hands its input on in evaluation
    assert r.output_bytes == 4 * 2 * (2 * 6 * 64 + 10 + 10)
    rows = {layer.path: layer for layer in r.layers}
    assert rows["features.0"].output_shapes == [(2, 6, 8, 8)]
    assert rows["features"].multiply_adds == rows["features.0"].multiply_adds == conv
    assert rows["drop"].calls == 2 and rows["unused"].calls == 0
    assert rows["blocks.1"].calls == 0 and rows["blocks.1"].depth == 1


def test_table():
    model = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Sequential(nn.Linear(300, 2)))
    text = repr(rushlight.summary(model, (16, 4)))
    assert text == """\
Layer            Output shape  Parameters  Multiply-adds
--------------------------------------------------------
Sequential       [16, 2]            2,102         28,800
  0: Linear      [16, 300]          1,500         19,200
  1: ReLU        [16, 300]
  2: Sequential  [16, 2]              602          9,600
    0: Linear    [16, 2]              602          9,600
--------------------------------------------------------
Parameters:    2,102 (2,102 trainable, 0 frozen)
Multiply-adds: 28,800
Memory:        0.05 MB = input 0.00 + outputs 0.04 + parameters 0.01 + buffers 0.00"""
    assert "0: Linear" in repr(rushlight.summary(model, (16, 4), depth=2))
    assert "    0: Linear" not in repr(rushlight.summary(model, (16, 4), depth=2))
    html = rushlight.summary(model, (16, 4))._repr_html_()
    assert html.startswith("<table>") and "28,800" in html


def test_without_an_input_nothing_runs():
    r = rushlight.summary(nn.Sequential(nn.Linear(4, 300), nn.LazyLinear(3)))
    assert r.total_params == 1500 and "Output shape" not in repr(r) and r.total_mult_adds == 0


def test_the_model_and_the_stream_are_left_as_they_were():
    model = Net()
    model.drop.eval()
    rushlight.manual_seed(3)
    expected = rushlight.rand(2)
    rushlight.manual_seed(3)
    rushlight.summary(model, (2, 1, 8, 8))
    assert rushlight.equal(rushlight.rand(2), expected)
    assert model.training and model.features[1].training and not model.drop.training
    assert model.features[1].num_batches_tracked == 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        rushlight.summary(model, (2, 7, 8, 8))
    assert model.training and not any(m._forward_hooks for m in model.modules())


def test_inputs():
    embed = nn.Sequential(nn.Embedding(10, 4), nn.LSTM(4, 8, num_layers=2))
    r = rushlight.summary(embed, (5, 3), dtypes=rushlight.long)
    assert r.layers[-1].output_shapes == [(5, 3, 8), (2, 3, 8), (2, 3, 8)]
    assert r.total_mult_adds == 5 * 3 * 32 * (4 + 8 + 8 + 8)
    x = rushlight.rand(2, 1, 8, 8)
    assert rushlight.summary(Net(), input_data=x).total_mult_adds == 19_600
    assert rushlight.summary(Net(), input_data={"x": x, "scale": 2}).total_mult_adds == 19_600
    bilinear = nn.Bilinear(3, 4, 5)
    assert rushlight.summary(bilinear, [(6, 3), (6, 4)]).top.input_shapes == [(6, 3), (6, 4)]
    for bad in ({"input_size": (1,), "input_data": x}, {"input_size": [(1, 2)], "dtypes": [None, None]}):
        with pytest.raises(ValueError):
            rushlight.summary(bilinear, **bad)
    with pytest.raises(TypeError):
        rushlight.summary(bilinear, 3)


def test_attention_and_tied_weights():
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = rushlight.rand(2, 5, 8)
    r = rushlight.summary(attention, input_data={"query": x, "key": x, "value": x, "need_weights": False})
    assert r.total_mult_adds == 2 * 5 * 8 * 8 * 4 + 2 * 5 * 5 * 8 * 2
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    r = rushlight.summary(tied, (1, 4))
    assert r.total_params == 24 and [layer.parameters for layer in r.layers] == [24, 20, 20]
    assert rushlight.summary(tied.to("meta"), (1, 4)).total_mult_adds == 32
