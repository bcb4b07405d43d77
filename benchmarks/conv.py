"""Convolution layers of ResNet-50, MobileNetV2 and U-Net, forward and both gradients, against torch.

    python benchmarks/conv.py [--only TEXT] [--direction forward,input,weight] [--batch 8] [--seconds 0.2] [--threads 2]

Needs torch beside rushlight. All in one process, in turn; best times of the kernels (no autograd). The geometric mean of
torch's time over rushlight's stands at the end, by direction and by network.
"""

from __future__ import annotations

import argparse
import math

from gemm import best_time

# network: (channels, result channels, size, window, stride, groups)
LAYERS = {
    "resnet": [
        (3, 64, 224, 7, 2, 1),
        (64, 64, 56, 1, 1, 1), (64, 64, 56, 3, 1, 1), (64, 256, 56, 1, 1, 1), (256, 64, 56, 1, 1, 1),
        (256, 128, 56, 1, 1, 1), (128, 128, 56, 3, 2, 1), (256, 512, 56, 1, 2, 1), (128, 128, 28, 3, 1, 1), (128, 512, 28, 1, 1, 1), (512, 128, 28, 1, 1, 1),
        (256, 256, 28, 3, 2, 1), (512, 1024, 28, 1, 2, 1), (256, 256, 14, 3, 1, 1), (256, 1024, 14, 1, 1, 1), (1024, 256, 14, 1, 1, 1),
        (512, 512, 14, 3, 2, 1), (512, 512, 7, 3, 1, 1), (512, 2048, 7, 1, 1, 1), (2048, 512, 7, 1, 1, 1),
    ],
    "mobilenet": [
        (3, 32, 224, 3, 2, 1), (32, 32, 112, 3, 1, 32), (32, 16, 112, 1, 1, 1), (16, 96, 112, 1, 1, 1), (96, 96, 112, 3, 2, 96),
        (96, 24, 56, 1, 1, 1), (24, 144, 56, 1, 1, 1), (144, 144, 56, 3, 1, 144), (144, 144, 56, 3, 2, 144), (144, 32, 28, 1, 1, 1),
        (192, 192, 28, 3, 1, 192), (32, 192, 28, 1, 1, 1), (384, 384, 14, 3, 1, 384), (384, 64, 14, 1, 1, 1), (576, 576, 14, 3, 2, 576), (960, 960, 7, 3, 1, 960),
        (160, 960, 7, 1, 1, 1), (320, 1280, 7, 1, 1, 1),
    ],
    "unet": [
        (3, 64, 128, 3, 1, 1), (64, 64, 128, 3, 1, 1), (64, 128, 64, 3, 1, 1), (128, 128, 64, 3, 1, 1), (128, 256, 32, 3, 1, 1), (256, 256, 32, 3, 1, 1),
        (256, 512, 16, 3, 1, 1), (512, 512, 16, 3, 1, 1), (512, 256, 32, 3, 1, 1), (256, 128, 64, 3, 1, 1), (128, 64, 128, 3, 1, 1), (64, 2, 128, 1, 1, 1),
    ],
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--direction", default="forward,input,weight")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()

    import torch

    import rushlight
    from rushlight.codegen import conv as kernels

    torch.set_num_threads(a.threads)
    rushlight.set_num_threads(a.threads)
    ratios = {}
    print(f"{'layer':46} {'torch':>10} {'rushlight':>10} {'GFLOP/s':>8} {'ratio':>7}")
    for network, layers in LAYERS.items():
        for c, o, size, k, s, groups in layers:
            x, w = torch.randn(a.batch, c, size, size), torch.randn(o, c // groups, k, k)
            stride, padding, dilation = (s, s), (k // 2, k // 2), (1, 1)
            y = torch.conv2d(x, w, None, stride, padding, dilation, groups)
            g = torch.randn_like(y)
            nx, nw, ng = x.numpy(), w.numpy(), g.numpy()
            geometry = stride, padding, dilation, groups

            def backward(*mask, x=x, w=w, g=g, geometry=geometry):
                stride, padding, dilation, groups = geometry
                return torch.ops.aten.convolution_backward(g, x, w, None, stride, padding, dilation, False, (0, 0), groups, mask)

            steps = {
                "forward": (lambda x=x, w=w, v=geometry: torch.conv2d(x, w, None, *v), lambda x=nx, w=nw, v=geometry: kernels.conv(x, w, None, *v)),
                "input": (lambda f=backward: f(True, False, False), lambda g=ng, w=nw, v=geometry, n=size: kernels.conv_transpose(g, w, None, *v, (n, n))),
                "weight": (lambda f=backward: f(False, True, False), lambda g=ng, x=nx, v=geometry, k=k: kernels.conv_weight(g, x, *v, (k, k))),
            }
            for direction in a.direction.split(","):
                name = f"{network} {direction} {c}->{o} {size}x{size} {k}x{k}/{s}{f' groups {groups}' if groups > 1 else ''}"
                if a.only not in name:
                    continue
                theirs, ours = (best_time(step, a.seconds) for step in steps[direction])
                work = 2 * y.numel() * c // groups * k * k
                for key in ("all", network, direction):
                    ratios.setdefault(key, []).append(theirs / ours)
                print(f"{name:46} {theirs * 1e3:8.2f}ms {ours * 1e3:8.2f}ms {work / ours / 1e9:8.1f} {theirs / ours:6.2f}x", flush=True)
    for key, values in ratios.items():
        mean = math.exp(sum(map(math.log, values)) / len(values))
        print(f"{key:10} geometric mean {mean:.2f}x over {len(values)} layers; ahead on {sum(v > 1 for v in values)}; worst {min(values):.2f}x")


if __name__ == "__main__":
    main()
