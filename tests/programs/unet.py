# ruff: noqa (written as users write)
"""A U-Net that segments simulated discs: ConvTranspose2d, skip connections by cat, Dice loss, pos_weight, warm restarts."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(11)


class DoubleConv(nn.Sequential):
    def __init__(self, in_ch, out_ch):
        super().__init__(
            nn.Conv2d(in_ch, out_ch, 3, padding=1),
            nn.GroupNorm(2, out_ch),
            nn.SiLU(),
            nn.Conv2d(out_ch, out_ch, 3, padding=1),
            nn.GroupNorm(2, out_ch),
            nn.SiLU(),
        )


class UNet(nn.Module):
    def __init__(self, ch=6):
        super().__init__()
        self.down = nn.ModuleList([DoubleConv(1, ch), DoubleConv(ch, 2 * ch)])
        self.pool = nn.MaxPool2d(2)
        self.middle = DoubleConv(2 * ch, 4 * ch)
        self.up = nn.ModuleList([nn.ConvTranspose2d(4 * ch, 2 * ch, 2, stride=2), nn.ConvTranspose2d(2 * ch, ch, 2, stride=2)])
        self.conv = nn.ModuleList([DoubleConv(4 * ch, 2 * ch), DoubleConv(2 * ch, ch)])
        self.out = nn.Conv2d(ch, 1, 1)

    def forward(self, x):
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for up, conv, skip in zip(self.up, self.conv, reversed(skips)):
            x = up(x)
            dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
            x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = conv(torch.cat([skip, x], dim=1))
        return self.out(x)


def discs(n, size=14):
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centre = torch.rand(n, 2) * (size - 8) + 4
    radius = 2 + 2 * torch.rand(n)
    distance = torch.hypot(yy - centre[:, 0, None, None], xx - centre[:, 1, None, None])
    mask = (distance < radius[:, None, None]).unsqueeze(1).to(centre.dtype)
    return mask + 0.5 * torch.randn_like(mask), mask


def dice_loss(logits, target, eps=1.0):
    p = torch.sigmoid(logits)
    overlap = (p * target).sum(dim=(1, 2, 3))
    return (1 - (2 * overlap + eps) / (p.sum((1, 2, 3)) + target.sum((1, 2, 3)) + eps)).mean()


model = UNet()
print(sum(p.numel() for p in model.parameters()), list(model._modules))
optimizer = torch.optim.NAdam(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=20, T_mult=2)
bce = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))

for step in range(1, args.steps + 1):
    images, masks = discs(3)
    logits = model(images)
    loss = bce(logits, masks) + dice_loss(logits, masks)
    for p in model.parameters():
        p.grad = None
    loss.backward()
    optimizer.step()
    scheduler.step()
    print("step", step, "loss", "%.5g" % loss.item(), "lr", "%.4g" % optimizer.param_groups[0]["lr"])

model.eval()
with torch.no_grad():
    images, masks = discs(8)
    prediction = model(images) > 0
    truth = masks.bool()
    iou = (prediction & truth).sum().item() / (prediction | truth).sum().item()
    print("IoU %.2f" % iou, torch.where(truth)[0].unique())
