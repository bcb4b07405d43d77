# ruff: noqa (written as users write)
"""LeNet on simulated digits: convolutions, pooling, nn.init, NLLLoss, StepLR, state_dict saved to memory and loaded."""

import argparse
import copy

import numpy as np
import torch
from torch import nn, optim
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(42)
rng = np.random.RandomState(0)


class Digits(Dataset):
    """Ten random templates, shifted and with noise."""

    def __init__(self, n, transform=None):
        templates = (rng.rand(10, 28, 28) > 0.8).astype(np.float32)
        self.labels = rng.randint(0, 10, n)
        images = templates[self.labels]
        shifts = rng.randint(-1, 2, n)
        self.images = np.stack([np.roll(im, s, axis=1) for im, s in zip(images, shifts)])
        self.images += 0.2 * rng.randn(n, 28, 28).astype(np.float32)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = torch.as_tensor(self.images[i], dtype=torch.get_default_dtype()).unsqueeze(0)
        if self.transform is not None:
            image = self.transform(image)
        return image, int(self.labels[i])


class LeNet(nn.Module):
    def __init__(self):
        super(LeNet, self).__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(torch.tanh(self.conv2(x)), 2)
        x = x.view(x.size(0), -1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return F.log_softmax(self.fc3(x), dim=-1)


def init_weights(m):
    if isinstance(m, nn.Conv2d):
        nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(m.bias)
    elif isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight)
        nn.init.constant_(m.bias, 0.01)


data = Digits(320, transform=lambda t: (t - 0.2) / 0.45)
loader = DataLoader(data, batch_size=16, shuffle=True, num_workers=0)
net = LeNet().apply(init_weights)
for name, p in net.named_parameters():
    print(name, tuple(p.shape), f"{p.norm().item():.5g}")
criterion = nn.NLLLoss()
optimizer = optim.Adam(net.parameters(), lr=1e-3)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

step, epoch = 0, 0
while step < args.steps:
    net.train()
    for inputs, labels in loader:
        optimizer.zero_grad(set_to_none=True)
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        step += 1
        print("[epoch %d, step %2d] loss %.5g" % (epoch, step, loss.item()))
        if step >= args.steps:
            break
    scheduler.step()
    epoch += 1

saved = copy.deepcopy(net.state_dict())
other = LeNet()
print(other.load_state_dict(saved))
net.eval()
other.eval()
with torch.no_grad():
    images, labels = next(iter(DataLoader(data, batch_size=64)))
    prediction = other(images).max(1)[1]
    same = torch.equal(net(images), other(images))
    print("same after load:", same)
    print("accuracy", (prediction == labels).float().mean())
    confusion = torch.zeros(10, 10, dtype=torch.int64)
    for t, p in zip(labels, prediction):
        confusion[t, p] += 1
    print(confusion)
