# ruff: noqa (written as users write)
"""Graph networks by hand (GCN, attention over neighbours, pooling) on a simulated graph of communities: index_add, scatter, segment softmax, sparse adjacency."""

import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=30)
args = parser.parse_args()
torch.manual_seed(5)


def scatter_sum(src, index, dim_size):
    out = src.new_zeros((dim_size,) + src.shape[1:])
    return out.index_add_(0, index, src)


def scatter_mean(src, index, dim_size):
    n = torch.bincount(index, minlength=dim_size).clamp(min=1).to(src.dtype)
    return scatter_sum(src, index, dim_size) / n.view(-1, *[1] * (src.dim() - 1))


def scatter_max(src, index, dim_size):
    out = src.new_full((dim_size,) + src.shape[1:], float("-inf"))
    return out.scatter_reduce(0, index.view(-1, *[1] * (src.dim() - 1)).expand_as(src), src, reduce="amax", include_self=True)


def softmax_by_node(src, index, num_nodes):
    high = scatter_max(src.detach(), index, num_nodes)
    out = (src - high.index_select(0, index)).exp()
    return out / (scatter_sum(out, index, num_nodes).index_select(0, index) + 1e-16)


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.xavier_uniform_(self.lin.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x, edge_index):
        row, col = edge_index
        deg = torch.zeros(x.size(0), dtype=x.dtype).scatter_add_(0, col, torch.ones(col.numel(), dtype=x.dtype))
        inv = deg.pow(-0.5)
        inv.masked_fill_(inv == float("inf"), 0)
        norm = inv[row] * inv[col]
        return scatter_sum(norm.unsqueeze(-1) * self.lin(x)[row], col, x.size(0)) + self.bias


class GATConv(nn.Module):
    def __init__(self, in_channels, out_channels, heads):
        super().__init__()
        self.heads, self.out = heads, out_channels
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att = nn.Parameter(torch.empty(2, 1, heads, out_channels))
        nn.init.xavier_uniform_(self.att)

    def forward(self, x, edge_index):
        row, col = edge_index
        h = self.lin(x).view(-1, self.heads, self.out)
        a_src, a_dst = (h * self.att[0]).sum(-1), (h * self.att[1]).sum(-1)
        alpha = F.leaky_relu(a_src[row] + a_dst[col], 0.2)
        alpha = F.dropout(softmax_by_node(alpha, col, x.size(0)), 0.1, self.training)
        return scatter_sum(h[row] * alpha.unsqueeze(-1), col, x.size(0)).flatten(1)


class Net(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.conv1 = GCNConv(features, 16)
        self.conv2 = GATConv(16, 4, heads=3)
        self.norm = nn.LayerNorm(12)
        self.head = nn.Linear(12 * 2, classes)

    def forward(self, x, edge_index, community):
        x = F.dropout(F.elu(self.conv1(x, edge_index)), p=0.1, training=self.training)
        x = self.norm(self.conv2(x, edge_index))
        pooled = torch.stack([scatter_mean(x, community, 8), scatter_max(x, community, 8)]).mean(0)
        return F.log_softmax(self.head(torch.cat([x, pooled[community]], dim=1)), dim=1)


n, classes = 80, 4
y = torch.arange(n) % classes
community = torch.randint(0, 8, (n,))
p = torch.where(y[:, None] == y[None, :], 0.25, 0.02)
adj = torch.bernoulli(p).triu(1)
adj = adj + adj.t() + torch.eye(n)
edge_index = adj.nonzero().t().contiguous()
x = F.one_hot(y, classes).float() * 0.5 + torch.randn(n, classes)
x = torch.cat([x, adj.sum(1, keepdim=True).log()], 1)
train_mask = torch.zeros(n, dtype=torch.bool)
train_mask[torch.randperm(n)[:40]] = True
print(edge_index.shape, int(train_mask.sum()), torch.unique(edge_index[0], return_counts=True)[1][:5].tolist())
model = Net(x.size(1), classes)
print(model)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
for epoch in range(args.steps):
    model.train()
    optimizer.zero_grad()
    out = model(x, edge_index, community)
    loss = F.nll_loss(out[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        pred = model(x, edge_index, community).argmax(dim=-1)
        acc = [float((pred[m] == y[m]).float().mean()) for m in (train_mask, ~train_mask)]
    scheduler.step(loss)
    print(f"Epoch {epoch:03d} loss {loss:.4f} train {acc[0]:.3f} test {acc[1]:.3f} lr {optimizer.param_groups[0]['lr']:.4f}")
