# ruff: noqa (written as users write)
"""A BERT encoder in the manner of Hugging Face's, trained on masked tokens of a simulated grammar; warm-up by LambdaLR, AdamW groups, tied decoder."""

import argparse
import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=30)
args = parser.parse_args()


@dataclass
class BertConfig:
    vocab_size: int = 40
    hidden_size: int = 32
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 64
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 24
    type_vocab_size: int = 2
    initializer_range: float = 0.1
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0


class BertEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)), persistent=False)

    def forward(self, input_ids, token_type_ids=None):
        seq_length = input_ids.size(1)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        embeddings = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        embeddings += self.position_embeddings(self.position_ids[:, :seq_length])
        return self.dropout(self.LayerNorm(embeddings))


class BertSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = int(config.hidden_size / config.num_attention_heads)
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def transpose_for_scores(self, x: torch.Tensor) -> torch.Tensor:
        x = x.view(x.size()[:-1] + (self.num_attention_heads, self.attention_head_size))
        return x.permute(0, 2, 1, 3)

    def forward(self, hidden_states, attention_mask: Optional[torch.FloatTensor] = None) -> Tuple[torch.Tensor, torch.Tensor]:
        q, k, v = (self.transpose_for_scores(f(hidden_states)) for f in (self.query, self.key, self.value))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.attention_head_size)
        if attention_mask is not None:
            scores = scores + attention_mask
        probs = self.dropout(nn.functional.softmax(scores, dim=-1))
        context = torch.matmul(probs, v).permute(0, 2, 1, 3).contiguous()
        return context.view(context.size()[:-2] + (self.all_head_size,)), probs


class BertLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = nn.ModuleDict({"self": BertSelfAttention(config), "output": nn.Linear(config.hidden_size, config.hidden_size)})
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, mask):
        h, probs = self.attention["self"](x, mask)
        x = self.attention_norm(self.dropout(self.attention["output"](h)) + x)
        return self.output_norm(self.dropout(self.output(F.gelu(self.intermediate(x)))) + x), probs


class BertForMaskedLM(nn.Module):
    _tied_weights_keys = ["decoder.weight"]

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = nn.ModuleList([BertLayer(config) for _ in range(config.num_hidden_layers)])
        self.transform = nn.Sequential(nn.Linear(config.hidden_size, config.hidden_size), nn.GELU(approximate="tanh"), nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps))
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=True)
        self.apply(self._init_weights)
        self.decoder.weight = self.embeddings.word_embeddings.weight

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)

    @property
    def dtype(self):
        return next(self.parameters()).dtype

    def forward(self, input_ids, attention_mask, labels=None):
        mask = attention_mask[:, None, None, :].to(dtype=self.dtype)
        mask = (1.0 - mask) * torch.finfo(self.dtype).min
        x = self.embeddings(input_ids)
        all_attentions = ()
        for layer in self.encoder:
            x, probs = layer(x, mask)
            all_attentions = all_attentions + (probs,)
        scores = self.decoder(self.transform(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(scores.view(-1, self.config.vocab_size), labels.view(-1), ignore_index=-100)
        return loss, scores, all_attentions


def sentences(n, length):
    """Arithmetic progressions modulo the vocabulary, of various lengths; 0 pads, 1 is the mask."""
    ids = torch.zeros(n, length, dtype=torch.long)
    attention = torch.zeros(n, length)
    for row in range(n):
        size = int(torch.randint(length // 2, length + 1, (1,)))
        start, stride = torch.randint(0, 36, (2,)).tolist()
        ids[row, :size] = (start + (1 + stride % 3) * torch.arange(size)) % 36 + 4
        attention[row, :size] = 1
    return ids, attention


def mask_tokens(inputs, attention):
    labels = inputs.clone()
    probability = torch.full(labels.shape, 0.2)
    probability.masked_fill_(attention == 0, value=0.0)
    masked = torch.bernoulli(probability).bool()
    labels[~masked] = -100
    replaced = torch.bernoulli(torch.full(labels.shape, 0.8)).bool() & masked
    inputs = inputs.masked_fill(replaced, 1)
    random = torch.bernoulli(torch.full(labels.shape, 0.5)).bool() & masked & ~replaced
    words = torch.randint(4, 40, labels.shape, dtype=torch.long)
    inputs[random] = words[random]
    return inputs, labels


torch.manual_seed(7)
config = BertConfig()
model = BertForMaskedLM(config)
print(model)
no_decay = ["bias", "LayerNorm.weight", "norm.weight"]
groups = [
    {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)], "weight_decay": 0.01},
    {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)], "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(groups, lr=5e-3, eps=1e-8, betas=(0.9, 0.98))
warmup = 5


def lr_lambda(step):
    if step < warmup:
        return float(step) / float(max(1, warmup))
    return max(0.0, float(args.steps + 5 - step) / float(max(1, args.steps + 5 - warmup)))


scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_lambda)
for step in range(args.steps):
    ids, attention = sentences(16, 20)
    inputs, labels = mask_tokens(ids, attention)
    model.train()
    loss, scores, attentions = model(inputs, attention, labels)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    model.zero_grad()
    hits = (scores.argmax(-1) == labels)[labels != -100].float().mean()
    print(f"{step:3d} loss {loss.item():.4f} norm {norm.item():.3f} right {hits.item():.3f} lr {scheduler.get_last_lr()[0]:.2e}")
print(attentions[0].shape, f"{attentions[-1][0, 0, 0, :3].sum().item():.3f}", len(model.state_dict()))
