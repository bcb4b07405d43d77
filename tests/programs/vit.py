# ruff: noqa (written as users write)
"""A vision transformer on simulated textures: patches by Conv2d, class token, nn.TransformerEncoder, OneCycleLR, mixup."""

import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Subset, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(5)
np.random.seed(5)


class ViT(nn.Module):
    def __init__(self, image_size=16, patch_size=4, dim=32, depth=2, heads=4, num_classes=4):
        super().__init__()
        n = (image_size // patch_size) ** 2
        self.patch = nn.Conv2d(1, dim, patch_size, stride=patch_size)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.empty(1, n + 1, dim))
        nn.init.trunc_normal_(self.pos, std=0.02)
        layer = nn.TransformerEncoderLayer(
            d_model=dim, nhead=heads, dim_feedforward=2 * dim, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers=depth, norm=nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.pos
        return self.head(self.encoder(x)[:, 0])


def textures(n):
    yy, xx = np.mgrid[0:16, 0:16].astype("float32")
    labels = np.random.randint(0, 4, size=n)
    waves = [np.sin(xx), np.sin(yy), np.sin(xx + yy), np.sin(xx) * np.sin(yy)]
    images = np.stack([waves[k] for k in labels]) + 0.3 * np.random.randn(n, 16, 16)
    return torch.as_tensor(images, dtype=torch.get_default_dtype()).unsqueeze(1), torch.as_tensor(labels)


images, labels = textures(256)
dataset = TensorDataset(images, labels)
train = DataLoader(Subset(dataset, range(192)), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(2))
valid = DataLoader(Subset(dataset, range(192, 256)), batch_size=64)
model = ViT()
print(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=max(args.steps, 10))
criterion = nn.CrossEntropyLoss()

step = 0
while step < args.steps:
    for x, y in train:
        lam = float(np.random.beta(0.2, 0.2))
        order = torch.randperm(x.size(0))
        optimizer.zero_grad()
        output = model(lam * x + (1 - lam) * x[order])
        loss = lam * criterion(output, y) + (1 - lam) * criterion(output, y[order])
        loss.backward()
        optimizer.step()
        scheduler.step()
        step += 1
        print(f"{step} loss {loss.item():.5g} {scheduler.get_last_lr()[0]:.4g}")
        if step == args.steps:
            break

model.eval()
with torch.no_grad():
    for x, y in valid:
        output = model(x)
        print("validation %.3f" % criterion(output, y).item(), (output.argmax(1) == y).sum())
        print(torch.bincount(output.argmax(1), minlength=4).sum(), output.softmax(-1).sum(dim=-1).allclose(torch.ones(64)))
