"""Batch normalization over the batches of all processes.

Mechanism: sums are added up over the group, and so are their gradients, because every process's
result depends on every process's input. The rest is ordinary differentiable arithmetic. Two
reductions, of the sums and of the squared deviations from the common mean, keep the variance
accurate.
"""

import rushlight
from rushlight.autograd import Function


def world_size(group):
    """How many processes share the statistics; 1 without an initialized process group."""
    distributed = getattr(rushlight, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size(group)


class _SumOverProcesses(Function):
    """The sum of a tensor over the processes of a group."""

    @staticmethod
    def forward(ctx, x, group):
        ctx.group = group
        out = x.clone()
        rushlight.distributed.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx, g):
        total = g.clone()
        rushlight.distributed.all_reduce(total, group=ctx.group)
        return total, None


def sync_batch_norm(input, running_mean, running_var, weight, bias, momentum, eps, group):
    """functional.batch_norm in training, with the statistics of all processes; (N, C, *)."""
    axes = [0, *range(2, input.dim())]
    shape = [1, -1] + [1] * (input.dim() - 2)
    channels = input.size(1)
    x = input.float() if input.dtype in (rushlight.float16, rushlight.bfloat16) else input
    count = x.new_full((1,), input.numel() // channels)
    totals = _SumOverProcesses.apply(rushlight.cat([x.sum(axes), count]), group)
    mean, count = totals[:-1] / totals[-1], totals[-1].detach()
    deviation = x - mean.view(shape)
    var = _SumOverProcesses.apply(deviation.pow(2).sum(axes), group) / count
    if running_mean is not None:
        with rushlight.no_grad():
            unbiased = var * (count / (count - 1))
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean.dtype) * momentum)
            running_var.mul_(1 - momentum).add_(unbiased.to(running_var.dtype) * momentum)
    out = deviation * (var + eps).rsqrt().view(shape)
    if weight is not None:
        out = out * weight.view(shape)
    if bias is not None:
        out = out + bias.view(shape)
    return out.to(input.dtype)
