# ruff: noqa (written as users write)
"""A generative adversarial network on a ring of Gaussians: two optimizers, detach, LeakyReLU, BCEWithLogits, spectral statistics."""

import argparse
import math

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
opt = parser.parse_args()
print(opt)

torch.manual_seed(999)
nz, n = 8, 64


def real_batch(n):
    k = torch.randint(8, (n,))
    angle = 2 * math.pi * k / 8
    centre = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return 2 * centre + 0.05 * torch.randn(n, 2)


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Linear") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.15)
        torch.nn.init.zeros_(m.bias)
    elif classname.find("BatchNorm") != -1:
        torch.nn.init.normal_(m.weight, 1.0, 0.02)
        torch.nn.init.zeros_(m.bias)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(nz, 64, bias=True),
            nn.BatchNorm1d(64),
            nn.ReLU(True),
            nn.Linear(64, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(True),
            nn.Linear(64, 2),
        )

    def forward(self, z):
        return 3 * torch.tanh(self.main(z) / 3)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(2, 64), nn.LeakyReLU(0.2, inplace=True), nn.Linear(64, 64), nn.LeakyReLU(0.2, inplace=True), nn.Linear(64, 1)
        )

    def forward(self, x):
        return self.main(x).squeeze(1)


netG, netD = Generator(), Discriminator()
netG.apply(weights_init)
netD.apply(weights_init)
print(netG)
criterion = nn.BCEWithLogitsLoss()
fixed_noise = torch.randn(200, nz)
optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.999))

for step in range(1, opt.steps + 1):
    # (1) D: maximise log(D(x)) + log(1 - D(G(z)))
    netD.zero_grad()
    label = torch.full((n,), 1.0)
    output = netD(real_batch(n))
    errD_real = criterion(output, label)
    errD_real.backward()
    D_x = output.sigmoid().mean().item()
    fake = netG(torch.randn(n, nz))
    label.fill_(0.0)
    errD_fake = criterion(netD(fake.detach()), label)
    errD_fake.backward()
    errD = errD_real + errD_fake
    optimizerD.step()

    # (2) G: maximise log(D(G(z)))
    netG.zero_grad()
    for p in netD.parameters():
        p.requires_grad_(False)
    label.fill_(1.0)
    errG = criterion(netD(fake), label)
    errG.backward()
    optimizerG.step()
    for p in netD.parameters():
        p.requires_grad = True
    print(f"{step:2d} Loss_D: {errD.item():.5g} Loss_G: {errG.item():.5g} D(x): {D_x:.4g}")

netG.eval()
with torch.no_grad():
    samples = netG(fixed_noise)
    radius = torch.linalg.norm(samples, dim=1)
    print(f"radius {radius.mean():.3f} +- {radius.std():.3f}, median {radius.median():.3f}")
    print(torch.histc(radius, bins=4, min=0, max=4).sum())
