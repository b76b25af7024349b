"""RecurrentPPO: an agent that talks, symbol by symbol, and remembers what was said.

Its state goes on from symbol to symbol, from task to task and from trajectory to trajectory: what it found out about the
rules of a task is in there, not in the weights, so a rule that was never seen before can be used in the task that shows it.
The weights learn how to find out: from rewards, by proximal policy optimization, and from everything that is said, by
predicting the next symbol.

Source: Schulman et al. 2017 (PPO); Duan et al. 2016 (learning within the state, with reward and action as inputs); the
settings are those of this project.
"""

from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional

from aexp_torch import EnvSpec, SpecError, TimeStep, Trajectory
from lightning_modules.agents.generator import AgentGenerator
from lightning_modules.agents.losses import clipped_policy_loss, masked_mean
from lightning_modules.agents.minibatches import minibatches
from lightning_modules.agents.returns import generalized_advantages
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import State, SymbolNet, seeded
from lightning_modules.ranks import all_ranks, drop_gradients, own_rank, rank_seed, reach

__all__ = ["RecurrentPPO"]

SYMBOL = "symbol"
SILENCE = ord(" ")
MEMORY = 0.98  # of rewards, per trajectory
NEVER = -1e9  # the logit of an answer that is not given


class RecurrentPPO(LightningModule):
    """Learns to converse (`ExperienceDataModule(num_steps=T)`): hears a symbol and a reward, answers with a symbol.

    | source | what comes | loss |
    |---|---|---|
    | observation and action are `symbol` (`CommAIEnv`) | trajectories | PPO's, and that of predicting the next symbol |
    | takes no actions, has texts (uint8 [L], zeros at the end are padding) | timesteps | that of predicting the next byte |

    All sources share one network. Gradients go back T steps; the state goes back to the beginning.

    Args:
      specs: of the sources, from `datamodule.specs`.
      lr: learning rate.
      gamma: the agent's discount per symbol.
      lambda_: of generalized advantage estimation: 0 is one-step TD, 1 is Monte Carlo.
      clip: how far an update may move the probability of an answer.
      epochs: how often each trajectory is used.
      minibatches: parts that the lanes of a trajectory are divided into, with one update each.
      value_weight: of the squared error of the value.
      entropy_weight: of the entropy bonus.
      following_weight: of the loss of predicting the next symbol.
      least_blame: what rewards below 0 are multiplied with at least; see `_weigh`.
      curiosity: reward for each nat by which a symbol was not foreseen: what makes others speak is worth a try.
      max_grad_norm: gradients longer than this are shortened.
      embedding: width of a symbol.
      hidden: width of the recurrent cell and of the hidden layers.
      heads: of the memory.
      key_width: of each head.
      seed: of the weights and of the agent's own generator.
    """

    def __init__(
        self,
        specs: dict[str, EnvSpec],
        lr: float = 1e-3,
        gamma: float = 0.8,
        lambda_: float = 0.9,
        clip: float = 0.2,
        epochs: int = 2,
        minibatches: int = 4,
        value_weight: float = 0.5,
        entropy_weight: float = 0.01,
        following_weight: float = 1.0,
        least_blame: float = 0.1,
        curiosity: float = 0.05,
        max_grad_norm: float = 0.5,
        embedding: int = 64,
        hidden: int = 128,
        heads: int = 4,
        key_width: int = 32,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["specs"])
        self.automatic_optimization = False
        self.specs = dict(specs)
        counts = [_symbols(source, spec) for source, spec in specs.items()]
        symbols, answers = (max(column) for column in zip(*counts, strict=True))
        with seeded(seed):
            self.net = SymbolNet(symbols, answers, embedding, hidden, heads, key_width)
        self.known: Tensor  # bool: what was heard, and may be said
        self.register_buffer("known", torch.zeros(max(symbols, answers), dtype=torch.bool))
        self.generator = AgentGenerator(seed)
        self.num_steps = 0  # training steps done
        self.env_steps = 0
        self.scores = Scores()
        self._now: dict[str, State] = {}  # of each stream, after what was answered last
        self._start: dict[str, State] = {}  # where the trajectory under way began
        self._evaluated: dict[str, State] = {}
        self._balance: dict[str, tuple[float, float]] = {}  # rewards above and below 0, of late

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr, eps=1e-5, foreach=True)

    def act(self, timestep: TimeStep) -> tuple[dict, dict]:
        """Draws an answer; extras are its log-probability, float32 [B]."""
        log_prob, state, stream = self._hear(timestep, self._now)
        uniform = torch.rand(log_prob.shape, generator=self.generator).clamp(min=1e-20).to(log_prob.device)
        said = (log_prob - (-uniform.log()).log()).argmax(-1)
        self._now[stream] = state._replace(said=said)
        return self._answer(timestep, said), {"log_prob": log_prob.gather(-1, said[:, None]).squeeze(-1)}

    def greedy(self, timestep: TimeStep) -> dict:
        """Returns the likeliest answer; the states of these conversations are their own."""
        with torch.no_grad():
            log_prob, state, stream = self._hear(timestep, self._evaluated)
            said = log_prob.argmax(-1)
            self._evaluated[stream] = state._replace(said=said)
            return self._answer(timestep, said)

    def forget_evaluation(self) -> None:
        """Begins the conversations of `greedy` anew."""
        self._evaluated.clear()

    def _hear(self, timestep: TimeStep, states: dict[str, State]) -> tuple[Tensor, State, str]:
        if timestep.source not in self.specs:
            raise SpecError(f"RecurrentPPO: expected one of the sources {list(self.specs)}, got {timestep.source!r}.")
        stream = f"{timestep.source}/{timestep.ticket.slot if timestep.ticket else 0}"
        here = timestep if timestep.reward.device == self.device else timestep.to(self.device)
        symbol = here.observation[SYMBOL].long()
        state = states.get(stream)
        if state is None or len(state.said) != len(symbol):
            state = states[stream] = self.net.begin(len(symbol))
            if states is self._now:
                self._start[stream] = state
        heard, after = self.net(symbol[:, None], here.reward[:, None], state.said[:, None], state)
        return self._log_probs(heard.answer[:, 0], timestep.source), after, stream

    def _log_probs(self, logits: Tensor, source: str) -> Tensor:
        """Returns those of a source's answers, float32 [..., answers]; what it never heard it does not say."""
        answers = self.specs[source].action[SYMBOL].num_values
        unknown = ~self.known[:answers] & self.known.any()  # at first anything may be said
        return logits[..., :answers].masked_fill(unknown, NEVER).log_softmax(-1)

    def _answer(self, timestep: TimeStep, said: Tensor) -> dict:
        return {SYMBOL: said.to(timestep.observation[SYMBOL].dtype)}

    def training_step(self, item: Trajectory | TimeStep, batch_idx: int) -> None:
        self.num_steps += 1
        if isinstance(item, Trajectory):
            losses = self._learn(item)
        elif self.specs[item.source].action:
            raise SpecError(
                f"RecurrentPPO: expected trajectories of {item.source!r}, got a TimeStep. Say how long they are:"
                " ExperienceDataModule(..., num_steps=32)."
            )
        else:
            losses = self._read(item)
        if losses and self.trainer.log_every_n_steps and self.num_steps % self.trainer.log_every_n_steps == 0:
            self.log_dict({f"{item.source}/{name}": value.detach() for name, value in losses.items()}, batch_size=1)
            self.log("env_steps", float(self.env_steps), batch_size=1)

    def _learn(self, trajectory: Trajectory) -> dict[str, Tensor]:
        hparams, timesteps = self.hparams, trajectory.timesteps
        stream = f"{trajectory.source}/{trajectory.slot}"
        start, self._start[stream] = self._start[stream], self._now[stream]
        symbol = timesteps.observation[SYMBOL].long().T  # [B, T + 1]
        reward, answer = timesteps.reward.T, trajectory.action[SYMBOL].long().T
        said = torch.cat((start.said[:, None], answer), 1)
        old_log_prob = trajectory.extras["log_prob"].T
        counts = ~timesteps.last().T[:, :-1]
        felt = self._weigh(trajectory.source, timesteps.reward[1:])
        self.env_steps += int(counts.sum())
        with torch.no_grad():
            heard = self.net(symbol, reward, said, start)[0]
            v = heard.value.T
            surprise = functional.cross_entropy(heard.following[:, :-1].mT, symbol[:, 1:], reduction="none").T
            felt = felt + hparams.curiosity * surprise
            discount = timesteps.discount[1:] * hparams.gamma
            advantage = generalized_advantages(felt, discount, timesteps.last()[1:], v, hparams.lambda_).T
            target = advantage + v[:-1].T
        losses: dict[str, Tensor] = {}
        for _ in range(hparams.epochs):
            order = torch.randperm(len(symbol), generator=self.generator).to(self.device)
            for lanes in minibatches(order, hparams.minibatches, self.trainer):
                if not len(lanes):
                    self._descend(v.new_zeros(()))
                    continue
                heard, _ = self.net(symbol[lanes, :-1], reward[lanes, :-1], said[lanes, :-1], start.of(lanes))
                log_probs = self._log_probs(heard.answer, trajectory.source)
                log_prob = log_probs.gather(-1, answer[lanes, :, None]).squeeze(-1)
                rows = counts[lanes].flatten()
                policy_loss = clipped_policy_loss(
                    log_prob.flatten()[rows],
                    old_log_prob[lanes].flatten()[rows],
                    advantage[lanes].flatten()[rows],
                    hparams.clip,
                )
                entropy = masked_mean(-(log_probs.exp() * log_probs).sum(-1).flatten(), rows)
                value_loss = 0.5 * masked_mean((heard.value - target[lanes]).square().flatten(), rows)
                following = heard.following.flatten(0, 1)
                following_loss = functional.cross_entropy(following, symbol[lanes, 1:].flatten())
                loss = policy_loss + hparams.value_weight * value_loss - hparams.entropy_weight * entropy
                self._descend(loss + hparams.following_weight * following_loss)
                losses = {"loss": loss, "value_loss": value_loss, "entropy": entropy, "following": following_loss}
        self._learn_symbols(symbol)
        return losses | {"reward": reward[:, 1:].mean()}

    def _weigh(self, source: str, reward: Tensor) -> Tensor:
        """Returns rewards, those below 0 so small that all of them weigh no more than all above 0.

        Who is nearly always wrong would else learn to be silent.
        """
        good, bad = (MEMORY * before for before in self._balance.get(source, (0.0, 0.0)))
        good, bad = good + float(reward.clamp(min=0).sum()), bad - float(reward.clamp(max=0).sum())
        self._balance[source] = good, bad
        weight = min(1.0, max(self.hparams.least_blame, good / max(bad, 1e-9)))
        return torch.where(reward < 0, reward * weight, reward)

    def _learn_symbols(self, symbol: Tensor) -> None:
        """From the first trajectory on, only symbols that were heard are said, and silence."""
        self.known[SILENCE : SILENCE + 1] = True
        self.known[symbol.unique()] = True

    def _read(self, timestep: TimeStep) -> dict[str, Tensor]:
        """Learns to predict the bytes of texts."""
        losses = []
        for name in _texts(self.specs[timestep.source]):
            symbol = timestep.observation[name].to(self.device).long()
            silence = torch.zeros_like(symbol)
            heard, _ = self.net(symbol, silence.float(), silence, self.net.begin(len(symbol)))
            loss = functional.cross_entropy(
                heard.following[:, :-1].flatten(0, 1), symbol[:, 1:].flatten(), reduction="none"
            )
            losses.append(masked_mean(loss, (symbol[:, 1:] != 0).flatten()))
        loss = self.hparams.following_weight * torch.stack(losses).mean()
        self._descend(loss)
        return {"following": loss}

    def _descend(self, loss: Tensor) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(reach(loss, self, self.trainer))
        drop_gradients(self, [self.net], self.trainer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.hparams.max_grad_norm)
        optimizer.step()

    def validation_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> dict | None:
        if not self.specs[timestep.source].action:
            return None
        answer = self.greedy(timestep)
        timestep.reply(answer)
        counts = ~timestep.first()
        self.scores.add(timestep.source, "reward", float(timestep.reward[counts].sum()), int(counts.sum()))
        return answer

    test_step = predict_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self.scores.restart()
        self.forget_evaluation()

    def on_validation_epoch_end(self) -> None:
        self.scores.log(self, "val")

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.scores.log(self, "test")

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.num_steps == 0:
            self.generator.manual_seed(rank_seed(self.hparams.seed, self.trainer.global_rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {
            "generator": self.generator.get_state(),
            "num_steps": self.num_steps,
            "env_steps": self.env_steps,
            "balance": {source: list(sums) for source, sums in self._balance.items()},
            "now": {stream: tuple(state) for stream, state in self._now.items()},
            "start": {stream: tuple(state) for stream, state in self._start.items()},
        }
        checkpoint["agent"] = all_ranks(own, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = own_rank(checkpoint["agent"], self._trainer)
        if "generator" in own:
            self.generator.set_state(own["generator"].cpu())
        self.num_steps, self.env_steps = own["num_steps"], own["env_steps"]
        self._balance = {source: (good, bad) for source, (good, bad) in own.get("balance", {}).items()}
        for states, kept in ((self._now, own.get("now", {})), (self._start, own.get("start", {}))):
            states.clear()
            states.update({stream: State(*(part.to(self.device) for part in parts)) for stream, parts in kept.items()})


def _texts(spec: EnvSpec) -> list[str]:
    leaves = spec.observation.items()
    return [name for name, leaf in leaves if str(getattr(leaf, "dtype", "")) == "uint8" and len(leaf.shape) == 1]


def _symbols(source: str, spec: EnvSpec) -> tuple[int, int]:
    """Returns how many symbols a source says, and how many it hears."""
    if not spec.action and _texts(spec):
        return 256, 1
    sides = [cast(Any, side.get(SYMBOL)) for side in (spec.observation, spec.action)]
    if all(set(side) == {SYMBOL} for side in (spec.observation, spec.action)):
        counts = [getattr(side, "num_values", 0) for side in sides]
        if all(counts):
            return counts[0], counts[1]
    raise SpecError(
        f"RecurrentPPO: expected of {source!r} a discrete 'symbol' as observation and as action (a CommAIEnv), or texts"
        f" (uint8 [L]) and no action, got the observation {spec.observation} and the action {spec.action}."
    )
