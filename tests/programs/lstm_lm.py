# ruff: noqa (written as users write)
"""A character LSTM language model: Embedding, truncated BPTT with detach, clip_grad_norm_, sampling with multinomial."""

import argparse
import math

import torch
import torch.nn as nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

torch.manual_seed(1111)
text = "the quick brown fox jumps over the lazy dog while five boxing wizards jump quickly at dawn. " * 40
words = sorted(set(text))
word2idx = {w: i for i, w in enumerate(words)}
corpus = torch.tensor([word2idx[c] for c in text], dtype=torch.long)
ntokens = len(words)


def batchify(data, bsz):
    nbatch = data.size(0) // bsz
    data = data.narrow(0, 0, nbatch * bsz)
    return data.view(bsz, -1).t().contiguous()


def get_batch(source, i, bptt=16):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].view(-1)


class RNNModel(nn.Module):
    def __init__(self, ntoken, ninp, nhid, nlayers, dropout=0.2):
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        self.nhid, self.nlayers = nhid, nlayers
        self.init_weights()

    def init_weights(self):
        initrange = 0.1
        nn.init.uniform_(self.encoder.weight, -initrange, initrange)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -initrange, initrange)

    def forward(self, input, hidden):
        emb = self.drop(self.encoder(input))
        output, hidden = self.rnn(emb, hidden)
        decoded = self.decoder(self.drop(output))
        return decoded.view(-1, ntokens), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        return (weight.new_zeros(self.nlayers, bsz, self.nhid), weight.new_zeros(self.nlayers, bsz, self.nhid))


def repackage_hidden(h):
    """Wraps hidden states in new Tensors, to detach them from their history."""
    if isinstance(h, torch.Tensor):
        return h.detach()
    return tuple(repackage_hidden(v) for v in h)


train_data = batchify(corpus, 8)
model = RNNModel(ntokens, 24, 32, 2)
print(model, train_data.shape)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.RMSprop(model.parameters(), lr=5e-3)

hidden = model.init_hidden(8)
step, i = 0, 0
model.train()
while step < args.steps:
    data, targets = get_batch(train_data, i)
    hidden = repackage_hidden(hidden)
    optimizer.zero_grad()
    output, hidden = model(data, hidden)
    loss = criterion(output, targets)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    optimizer.step()
    step += 1
    print(f"| {step:2d} | loss {loss.item():.5g} | norm {norm.item():.4g} | ppl {math.exp(loss.item()):8.2f}")
    i += 16
    if i >= train_data.size(0) - 1:
        i, hidden = 0, model.init_hidden(8)

model.eval()
hidden = model.init_hidden(1)
token = torch.randint(ntokens, (1, 1), dtype=torch.long)
letters = []
with torch.no_grad():
    for _ in range(40):
        output, hidden = model(token, hidden)
        word_weights = output.squeeze().div(0.3).exp().cpu()
        word_idx = torch.multinomial(word_weights, 1)[0]
        token.fill_(word_idx)
        letters.append(words[word_idx])
print(repr("".join(letters)))
