"""torch.nn.grad: the gradients of convolutions by their input and by their weight, as functions."""

import rushlight

from .functional import conv1d, conv2d, conv3d


def _by_input(conv, dims):
    def gradient(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
        input = grad_output.new_empty(1).expand(input_size).detach().requires_grad_()
        with rushlight.enable_grad():
            out = conv(input, weight.detach(), None, stride, padding, dilation, groups)
        return rushlight.autograd.grad(out, input, grad_output)[0]

    return _named(gradient, f"conv{dims}d_input", "input", "input_size", dims)


def _by_weight(conv, dims):
    def gradient(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
        weight = grad_output.new_empty(1).expand(weight_size).detach().requires_grad_()
        with rushlight.enable_grad():
            out = conv(input.detach(), weight, None, stride, padding, dilation, groups)
        return rushlight.autograd.grad(out, weight, grad_output)[0]

    return _named(gradient, f"conv{dims}d_weight", "weight", "weight_size", dims)


def _named(gradient, name, what, size, dims):
    gradient.__name__ = gradient.__qualname__ = name
    gradient.__doc__ = (
        f"The gradient of a {dims}-d convolution by its {what} (of shape `{size}`), from `grad_output`, "
        "that of its result."
    )
    return gradient


conv1d_input, conv2d_input, conv3d_input = map(_by_input, (conv1d, conv2d, conv3d), (1, 2, 3))
conv1d_weight, conv2d_weight, conv3d_weight = map(_by_weight, (conv1d, conv2d, conv3d), (1, 2, 3))
