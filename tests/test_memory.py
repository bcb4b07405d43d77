"""The peak of live buffers in a training step: what the formulas save, and little more."""

import tracemalloc

import pytest
from memory_programs import mlp, peak, prepared

import rushlight as torch

BUFFER = 1024 * 64 * 4  # one activation of the networks below, in bytes


@pytest.mark.parametrize(
    ("name", "buffers"),
    [
        ("mlp", 12 + 2.5),  # each layer's input, which is also what ReLU keeps; the gradients on both sides of one op
        ("normed", 6 * 4.25 + 4),  # inputs of Linear, GELU, LayerNorm and Dropout, and bool masks
        ("chain", 12 * 3 + 4),  # the input of sin, the results of exp and sigmoid
    ],
)
def test_a_step_keeps_what_backward_needs(name, buffers):
    assert peak(prepared(torch, name)) < buffers * BUFFER


def test_backward_gives_memory_back_as_it_goes():
    """At the end of backward only gradients are left, and they have come when the values that they replace had gone."""
    net, loss = mlp(torch)
    held = []
    net[0].weight.register_post_accumulate_grad_hook(lambda p: held.append(tracemalloc.get_traced_memory()[0]))
    loss().backward()
    net.zero_grad()
    tracemalloc.start()
    try:
        z = loss()
        forward = tracemalloc.get_traced_memory()[0]
        z.backward()
    finally:
        tracemalloc.stop()
    assert forward > 12 * BUFFER and held[-1] < 3 * BUFFER


def test_attention_keeps_no_matrix_of_scores():
    q, k, v = (torch.randn(1, 2, 1024, 8, requires_grad=True) for _ in range(3))
    step = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()  # noqa: E731
    step()
    scores = 2 * 1024 * 1024 * 4
    assert peak(step) < scores / 4
