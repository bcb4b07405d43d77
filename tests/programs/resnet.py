# ruff: noqa (written as users write)
"""A small ResNet on simulated colour images: BatchNorm, residual blocks, CosineAnnealingLR, label smoothing, EMA of weights."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(3)


def conv3x3(in_planes, out_planes, stride=1):
    return nn.Conv2d(in_planes, out_planes, kernel_size=3, stride=stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or in_planes != planes * self.expansion:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_planes, planes * self.expansion, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(planes * self.expansion),
            )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, blocks=(1, 1, 1), num_classes=5):
        super().__init__()
        self.in_planes = 8
        self.stem = nn.Sequential(conv3x3(3, 8), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.layer1 = self._make_layer(8, blocks[0], stride=1)
        self.layer2 = self._make_layer(16, blocks[1], stride=2)
        self.layer3 = self._make_layer(32, blocks[2], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(32, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def _make_layer(self, planes, blocks, stride):
        layers = []
        for s in [stride] + [1] * (blocks - 1):
            layers.append(BasicBlock(self.in_planes, planes, s))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


classes = 5
colours = torch.rand(classes, 3, 1, 1)
labels = torch.randint(0, classes, (160,))
images = colours[labels] + 0.3 * torch.randn(160, 3, 12, 12)
mean, std = images.mean(dim=(0, 2, 3), keepdim=True), images.std(dim=(0, 2, 3), keepdim=True)
images = (images - mean) / std
print(mean.squeeze(), std.flatten())

model = ResNet()
ema = {k: v.clone() for k, v in model.state_dict().items()}
decay, no_decay = [], []
for name, p in model.named_parameters():
    (no_decay if p.ndim == 1 else decay).append(p)
optimizer = torch.optim.SGD(
    [{"params": decay, "weight_decay": 5e-4}, {"params": no_decay, "weight_decay": 0.0}], lr=0.02, momentum=0.9
)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)

model.train()
for step in range(1, args.steps + 1):
    idx = torch.randperm(len(images))[:8]
    batch, target = images[idx], labels[idx]
    flip = torch.rand(len(batch)) < 0.5
    batch[flip] = batch[flip].flip(-1)
    optimizer.zero_grad()
    loss = criterion(model(batch), target)
    loss.backward()
    optimizer.step()
    scheduler.step()
    with torch.no_grad():
        for k, v in model.state_dict().items():
            if v.is_floating_point():
                ema[k].mul_(0.9).add_(v, alpha=0.1)
            else:
                ema[k].copy_(v)
    print(f"{step:2d} loss {loss.item():.5g} lr {optimizer.param_groups[0]['lr']:.4g}")

print(model.layer2[0].bn1.num_batches_tracked)
print(f"running mean {model.stem[1].running_mean.abs().sum().item():.3f}")
for title, state in (("raw", None), ("ema", ema)):
    if state is not None:
        model.load_state_dict(state)
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(chunk) for chunk in images.split(64)])
        top2 = logits.topk(2, dim=1).indices
        hit = (top2 == labels[:, None]).any(dim=1)
        print(title, "loss %.3f" % F.cross_entropy(logits, labels).item(), "top-2", hit.sum().item())
