"""SymbolNet: hears a symbol and its reward in every step, and keeps in its state what came after what."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.networks.associative_memory import delta_rule

__all__ = ["Heard", "State", "SymbolNet"]

LAGS = 4  # symbols by which the memory finds what came after them
SIGNS = 3  # of a reward: below 0, 0, above 0


class State(NamedTuple):
    """Is what B conversations have left behind.

    Args:
      hidden: of the recurrent cell, float32 [B, hidden].
      recent: the last symbols, int64 [B, LAGS].
      memory: float32 [B, heads, value width, key width].
      said: the last answer, int64 [B].
    """

    hidden: Tensor
    recent: Tensor
    memory: Tensor
    said: Tensor

    def of(self, lanes: Tensor) -> "State":
        """Returns the state of some lanes."""
        return State(*(part[lanes] for part in self))


class Heard(NamedTuple):
    """Is what one can tell after T symbols in B conversations.

    Args:
      answer: logits of the answers, float32 [B, T, answers].
      value: of the rewards to come, float32 [B, T].
      following: logits of the next symbols, float32 [B, T, symbols].
    """

    answer: Tensor
    value: Tensor
    following: Tensor


class SymbolNet(nn.Module):
    """Reads symbols one after the other with a GRU and a memory, and says what to answer and what comes next.

    In each step the memory writes the symbol that has come under the features of the step before, and reads what came
    when the features were like those of now. So a rule that was heard once can be used at once, without learning weights:
    the state holds what is known about the conversation, and goes on from task to task. Symbols that are heard and said
    have one embedding.

    Args:
      symbols: number of symbols that may be heard.
      answers: number of symbols that may be said.
      embedding: width of a symbol.
      hidden: width of the GRU and of the hidden layer.
      heads: of the memory.
      key_width: of each head.

    Source: Cho et al. 2014 (GRU); Schlag et al. 2021 (memory); Press and Wolf 2017 (one embedding for both sides).
    """

    def __init__(
        self,
        symbols: int = 256,
        answers: int = 256,
        embedding: int = 64,
        hidden: int = 128,
        heads: int = 4,
        key_width: int = 32,
    ):
        super().__init__()
        self.symbols, self.answers, self.heads, self.key_width = symbols, answers, heads, key_width
        self.embedding = nn.Embedding(max(symbols, answers), embedding)
        self.said = nn.Embedding(answers, embedding)
        self.reward = nn.Embedding(SIGNS, embedding)
        self.cell = nn.GRU(embedding, hidden, batch_first=True)
        features = embedding + hidden
        self.key = nn.Linear(LAGS * embedding, heads * key_width, bias=False)
        self.context = nn.Linear(hidden, heads * key_width, bias=False)
        self.what = nn.Linear(embedding, heads * embedding, bias=False)
        self.rate = nn.Linear(features, heads)
        width = features + heads * embedding
        self.body = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.answer = nn.Linear(width + hidden, embedding)
        self.following = nn.Linear(width + hidden, embedding)
        self.value = nn.Linear(hidden, 1)
        self.answer_bias = nn.Parameter(torch.zeros(answers))
        self.following_bias = nn.Parameter(torch.zeros(symbols))
        nn.init.normal_(self.embedding.weight, std=embedding**-0.5)
        nn.init.normal_(self.said.weight, std=embedding**-0.5)
        nn.init.normal_(self.reward.weight, std=embedding**-0.5)
        with torch.no_grad():  # at first each head looks for one symbol: the last, the one before, ...
            parts = self.key.weight.view(heads, key_width, embedding, LAGS)
            parts *= 0.1
            for head in range(heads):
                parts[head, ..., LAGS - 1 - head % LAGS] *= 10 * embedding**0.5
            self.context.weight *= 0.1
        nn.init.zeros_(self.answer.weight)  # all answers are as likely at first
        nn.init.zeros_(self.answer.bias)

    def begin(self, lanes: int) -> State:
        """Returns the state of conversations in which nothing was said."""
        device = self.value.weight.device
        return State(
            torch.zeros(lanes, self.cell.hidden_size, device=device),
            torch.zeros(lanes, LAGS, dtype=torch.int64, device=device),
            torch.zeros(lanes, self.heads, self.embedding.embedding_dim, self.key_width, device=device),
            torch.zeros(lanes, dtype=torch.int64, device=device),
        )

    def forward(self, symbol: Tensor, reward: Tensor, said: Tensor, state: State) -> tuple[Heard, State]:
        """Hears T symbols.

        Args:
          symbol: int64 [B, T].
          reward: that came with them, float32 [B, T].
          said: the answer before each, int64 [B, T].
          state: before them.
        """
        recent = torch.cat((state.recent, symbol), 1)
        embedded = self.embedding(recent)
        heard = embedded[:, LAGS:]
        x = heard + self.said(said) + self.reward(reward.sign().long() + 1)
        h, last = self.cell(x, state.hidden[None])
        features = torch.cat((x, h), -1)
        batch, steps = symbol.shape
        windows = embedded.unfold(1, LAGS, 1).flatten(2)  # of T + 1 steps, the one before included
        keys = self.key(windows) + self.context(torch.cat((state.hidden[:, None], h), 1))
        keys = functional.normalize(keys.view(batch, steps + 1, self.heads, -1), dim=-1).transpose(1, 2)
        before, now = keys[:, :, :-1], keys[:, :, 1:]
        what = self.what(heard).view(batch, steps, self.heads, -1).transpose(1, 2)
        rate = self.rate(features).sigmoid().transpose(1, 2)[..., None]
        read, memory = delta_rule(before, what, now, rate, state.memory)
        features = torch.cat((features, read.transpose(1, 2).flatten(2)), -1)
        body = self.body(features)
        both = torch.cat((features, body), -1)
        table = self.embedding.weight * self.embedding.embedding_dim**0.5
        answer = self.answer(both) @ table[: self.answers].T + self.answer_bias
        following = self.following(both) @ table[: self.symbols].T + self.following_bias
        value = self.value(body).squeeze(-1)
        return Heard(answer, value, following), State(last[0], recent[:, -LAGS:], memory, said[:, -1])
