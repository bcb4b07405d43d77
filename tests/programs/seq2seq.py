# ruff: noqa (written as users write)
"""A sequence-to-sequence GRU with additive attention that learns to reverse: teacher forcing, ignore_index, greedy decoding."""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()

random.seed(7)
torch.manual_seed(7)
PAD, SOS, EOS = 0, 1, 2
VOCAB, HIDDEN, MAX_LENGTH = 13, 32, 7


class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.1):
        super(EncoderRNN, self).__init__()
        self.embedding = nn.Embedding(input_size, hidden_size, padding_idx=PAD)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True, bidirectional=True)
        self.reduce = nn.Linear(2 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        output, hidden = self.gru(self.dropout(self.embedding(input)))
        hidden = torch.tanh(self.reduce(torch.cat([hidden[0], hidden[1]], dim=-1))).unsqueeze(0)
        return self.reduce(output), hidden


class BahdanauAttention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.Wa = nn.Linear(hidden_size, hidden_size)
        self.Ua = nn.Linear(hidden_size, hidden_size)
        self.Va = nn.Linear(hidden_size, 1)

    def forward(self, query, keys, mask):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys)))
        scores = scores.squeeze(2).masked_fill(mask, float("-inf")).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden_size, output_size):
        super().__init__()
        self.embedding = nn.Embedding(output_size, hidden_size)
        self.attention = BahdanauAttention(hidden_size)
        self.gru = nn.GRU(2 * hidden_size, hidden_size, batch_first=True)
        self.out = nn.Linear(hidden_size, output_size)

    def forward(self, encoder_outputs, hidden, mask, target=None):
        batch = encoder_outputs.size(0)
        token = torch.empty(batch, 1, dtype=torch.long).fill_(SOS)
        outputs, attentions = [], []
        for i in range(MAX_LENGTH):
            embedded = self.embedding(token)
            context, weights = self.attention(hidden.permute(1, 0, 2), encoder_outputs, mask)
            output, hidden = self.gru(torch.cat((embedded, context), dim=2), hidden)
            output = self.out(output)
            outputs.append(output)
            attentions.append(weights)
            if target is not None:
                token = target[:, i].unsqueeze(1)
            else:
                _, topi = output.topk(1)
                token = topi.squeeze(-1).detach()
        return torch.cat(outputs, dim=1), hidden, torch.cat(attentions, dim=1)


def make_batch(n):
    source = torch.full((n, MAX_LENGTH), PAD)
    target = torch.full((n, MAX_LENGTH), PAD)
    for i in range(n):
        length = random.randint(3, MAX_LENGTH - 1)
        sequence = [random.randrange(3, VOCAB) for _ in range(length)]
        source[i, : length + 1] = torch.tensor(sequence + [EOS])
        target[i, : length + 1] = torch.tensor(sequence[::-1] + [EOS])
    return source, target


encoder, decoder = EncoderRNN(VOCAB, HIDDEN), AttnDecoderRNN(HIDDEN, VOCAB)
encoder_optimizer = optim.Adam(encoder.parameters(), lr=0.005)
decoder_optimizer = optim.Adam(decoder.parameters(), lr=0.005)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)

for step in range(1, args.steps + 1):
    source, target = make_batch(16)
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    encoder_outputs, hidden = encoder(source)
    forcing = target if random.random() < 0.8 else None
    logits, _, _ = decoder(encoder_outputs, hidden, source == PAD, forcing)
    loss = criterion(logits.reshape(-1, logits.size(-1)), target.reshape(-1))
    loss.backward()
    nn.utils.clip_grad_value_(list(encoder.parameters()) + list(decoder.parameters()), 0.5)
    encoder_optimizer.step()
    decoder_optimizer.step()
    print(f"step {step} loss {loss.item():.5g}")

encoder.eval()
decoder.eval()
with torch.no_grad():
    source, target = make_batch(4)
    encoder_outputs, hidden = encoder(source)
    logits, _, attention = decoder(encoder_outputs, hidden, source == PAD)
    print(source)
    print(logits.argmax(-1).tolist())
    print(attention.shape, torch.allclose(attention.sum(-1), torch.ones(4, MAX_LENGTH)))
    mask = target.ne(PAD)
    print("token loss %.4f" % F.cross_entropy(logits[mask], target[mask]).item())
