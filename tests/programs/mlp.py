# ruff: noqa (written as users write)
"""A multi-layer perceptron on three noisy spirals: DataLoader, random_split, SGD with momentum, MultiStepLR, dropout."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, TensorDataset, random_split

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def spirals(n_per_class, classes=3):
    points, labels = [], []
    for k in range(classes):
        r = torch.linspace(0.1, 1.0, n_per_class)
        angle = torch.linspace(k * 4.0, (k + 1) * 4.0, n_per_class) + 0.2 * torch.randn(n_per_class)
        points.append(torch.stack((r * angle.sin(), r * angle.cos()), dim=1))
        labels.append(torch.full((n_per_class,), k, dtype=torch.long))
    return torch.cat(points), torch.cat(labels)


class MLP(nn.Module):
    def __init__(self, sizes, p=0.1):
        super().__init__()
        layers = []
        for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
            layers.append(nn.Linear(a, b))
            if i < len(sizes) - 2:
                layers += [nn.ReLU(), nn.Dropout(p)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


x, y = spirals(100)
dataset = TensorDataset(x, y)
train_set, test_set = random_split(dataset, [240, 60], generator=torch.Generator().manual_seed(1))
train_loader = DataLoader(train_set, batch_size=32, shuffle=True, drop_last=True)
test_loader = DataLoader(test_set, batch_size=30)

model = MLP([2, 64, 64, 3]).to(device)
print(model)
print("parameters:", sum(p.numel() for p in model.parameters() if p.requires_grad))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=1e-4, nesterov=True)
scheduler = MultiStepLR(optimizer, milestones=[20, 40], gamma=0.5)

step = 0
while step < args.steps:
    for data, target in train_loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()
        scheduler.step()
        step += 1
        print(f"step {step} loss {loss.item():.5g} lr {scheduler.get_last_lr()[0]:g}")
        if step == args.steps:
            break

model.eval()
correct, total = 0, 0.0
with torch.no_grad():
    for data, target in test_loader:
        output = model(data)
        total += F.cross_entropy(output, target, reduction="sum").item()
        correct += output.argmax(dim=1, keepdim=True).eq(target.view_as(output.argmax(dim=1, keepdim=True))).sum().item()
print(f"test loss {total / len(test_set):.4f}, accuracy {correct}/{len(test_set)}")
print(model(x[:3]).shape, loss.grad_fn.name())
