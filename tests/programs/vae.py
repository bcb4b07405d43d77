# ruff: noqa (written as users write)
"""A variational autoencoder on simulated binary images: reparameterisation, BCE summed, KL, sampling, Adam, ReduceLROnPlateau."""

import argparse

import torch
import torch.utils.data
from torch import nn, optim
from torch.nn import functional as F

parser = argparse.ArgumentParser(description="VAE")
parser.add_argument("--steps", type=int, default=50, metavar="N")
args = parser.parse_args()

torch.manual_seed(1)


class VAE(nn.Module):
    def __init__(self, n=100, hidden=64, z=8):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(n, hidden)
        self.fc21 = nn.Linear(hidden, z)
        self.fc22 = nn.Linear(hidden, z)
        self.fc3 = nn.Linear(z, hidden)
        self.fc4 = nn.Linear(hidden, n)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 100))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 100), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


# rectangles of random size and place on a 10 x 10 grid
rows = torch.arange(10)
corners = torch.randint(0, 6, (512, 2, 1))
sizes = torch.randint(2, 5, (512, 2, 1))
inside = (rows >= corners) & (rows < corners + sizes)
images = (inside[:, 0, :, None] & inside[:, 1, None, :]).to(torch.get_default_dtype()).unsqueeze(1)
print(images[0, 0].int())
train_loader = torch.utils.data.DataLoader(images, batch_size=64, shuffle=True)

model = VAE()
optimizer = optim.Adam(model.parameters(), lr=3e-3)
scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=0, threshold=0.05)

step = 0
while step < args.steps:
    train_loss = 0
    for batch_idx, data in enumerate(train_loader):
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        loss = loss_function(recon, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        step += 1
        print("Step: {} [{}/{}]\tLoss: {:.5g}".format(step, batch_idx * len(data), len(train_loader.dataset), loss.item() / len(data)))
        if step >= args.steps:
            break
    scheduler.step(train_loss)
    print("====> Average loss: {:.4f} lr {:.4g}".format(train_loss / len(train_loader.dataset), optimizer.param_groups[0]["lr"]))

with torch.no_grad():
    model.eval()
    sample = torch.randn(4, 8)
    sample = model.decode(sample).cpu().view(4, 1, 10, 10)
    print(sample.shape, sample.sum().item() > 0, sample.requires_grad)
    print((sample.mean(dim=(1, 2, 3)) * 100).round().to(torch.int32))
    print(F.interpolate(sample, scale_factor=0.5, mode="bilinear", align_corners=False).shape)
