"""DQN: double Q-learning with replay and a target network that follows slowly.

Every timestep completes a transition of the step before, is answered epsilon-greedily at once, and is followed by some
updates from replay while the environment goes on.

Source: Mnih et al. 2015; van Hasselt et al. 2016; the settings that learn CartPole-v1 in 50,000 steps are those of this
project.
"""

import copy
from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor, nn

from aexp_torch import EnvSpec, SpecError, TimeStep, Trajectory
from aexp_torch.specs import describe, flatten, path_name, unflatten
from lightning_modules.agents.annealing import fit_progress
from lightning_modules.agents.generator import AgentGenerator
from lightning_modules.agents.losses import q_loss
from lightning_modules.agents.replay import Replay
from lightning_modules.agents.returns import double_q_targets
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import Body, Inputs, initialize, module_key, policy_inputs, read_inputs, seeded
from lightning_modules.ranks import all_ranks, drop_gradients, everywhere, own_rank, rank_seed, reach

__all__ = ["DQN"]


class QNetwork(nn.Module):
    """Values every action of one source. Returns float32 [N, A], in units of the scaled reward."""

    def __init__(
        self, spec: EnvSpec, num_actions: int, hidden: int, num_layers: int, head_gain: float, real_scale: float | None
    ):
        super().__init__()
        self.body = Body(*policy_inputs(spec), hidden, num_layers, "relu", "kaiming", real_scale)
        self.head = nn.Linear(hidden, num_actions)
        initialize(self.head, "kaiming", head_gain)

    def forward(self, inputs: Inputs) -> Tensor:
        return self.head(self.body(inputs))


class Before(NamedTuple):
    """What has to be remembered of a stream's last timestep.

    Args:
      step: its number in the stream.
      inputs: what was looked at.
      action: which action was answered, int64 [B], from 0.
      counts: bool [B]; False where the action was ignored (LAST) or there was nothing to look at.
    """

    step: int
    inputs: Inputs
    action: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> "Before":
        """Returns a copy on `device`."""
        values = {name: value.to(device) for name, value in self.inputs.values.items()}
        masks = {name: mask.to(device) for name, mask in self.inputs.masks.items()}
        inputs = Inputs(values, masks, self.inputs.num_rows)
        return Before(self.step, inputs, self.action.to(device), self.counts.to(device))


class DQN(LightningModule):
    """Learns by double Q-learning, from timesteps of sources with one discrete action.

    Several sources are learned side by side, each by a network and a replay of its own. `bandit=True` is for rewards that
    depend on the last answer alone, such as a dataset with mode="delayed" and loss="correct": nothing is bootstrapped.

    Args:
      specs: of the sources, from `datamodule.specs`.
      lr: learning rate at the start; it goes down in a straight line.
      final_lr: part of it that is left in the end.
      gamma: the agent's discount per step.
      bandit: sets gamma to 0.
      batch_size: transitions per update.
      updates: per training step.
      replay_size: transitions kept per source.
      warmup: transitions of a source before its first update.
      epsilon: part of random actions at the end of exploration.
      exploration_steps: environment steps of a source over which that part goes down from 1.
      tau: how far the target network follows at each update.
      reward_scale: multiplies rewards.
      real_scale: divides real observations that have no bounds (those that have are divided by half of them); None
        leaves both as they are.
      max_grad_norm: gradients longer than this are shortened.
      hidden: width of hidden layers.
      num_layers: hidden layers, the encoder's included.
      head_gain: multiplies the initial weights of the last layer.
      annealing_steps: training steps until the learning rate is down; by default the trainer's.
      seed: of the weights and of the agent's own generator.
    """

    def __init__(
        self,
        specs: dict[str, EnvSpec],
        lr: float = 2e-3,
        final_lr: float = 0.02,
        gamma: float = 0.98,
        bandit: bool = False,
        batch_size: int = 128,
        updates: int = 4,
        replay_size: int = 50_000,
        warmup: int = 1000,
        epsilon: float = 0.05,
        exploration_steps: int = 8000,
        tau: float = 0.05,
        reward_scale: float = 0.1,
        real_scale: float | None = 2.5,
        max_grad_norm: float = 10.0,
        hidden: int = 128,
        num_layers: int = 2,
        head_gain: float = 1.0,
        annealing_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["specs"])
        self.automatic_optimization = False
        self.specs = dict(specs)
        self.choices = {source: _discrete(source, spec) for source, spec in specs.items()}
        self.paths = {source: [path for path, _ in flatten(policy_inputs(spec)[0])] for source, spec in specs.items()}
        with seeded(seed):
            nets = {
                module_key(source): QNetwork(spec, self.choices[source][1], hidden, num_layers, head_gain, real_scale)
                for source, spec in specs.items()
            }
        self.nets = nn.ModuleDict(nets)
        self.gamma = 0.0 if bandit else gamma
        self.targets = copy.deepcopy(self.nets).requires_grad_(False) if self.gamma else nn.ModuleDict()
        self.generator = AgentGenerator(seed)
        self.replay = {source: Replay(replay_size) for source in specs}
        self.before: dict[tuple[str, int], Before] = {}
        self.env_steps = dict.fromkeys(specs, 0)
        self.num_steps = 0  # training steps done
        self.warm: set[str] = set()  # sources that have enough in replay, on every rank
        self.scores = Scores()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.nets.parameters(), lr=self.hparams.lr, foreach=True)

    def greedy(self, timestep: TimeStep) -> dict:
        """Returns the action of the highest value."""
        with torch.no_grad():
            return self._answer(timestep, self.nets[self._key(timestep.source)](self._read(timestep)).argmax(-1))

    def training_step(self, timestep: TimeStep, batch_idx: int) -> None:
        if isinstance(timestep, Trajectory):
            raise SpecError(
                "DQN: expected timesteps, got trajectories. Leave num_steps out: ExperienceDataModule(..., num_steps=None)."
            )
        source, place = timestep.source, (timestep.source, timestep.ticket.slot)
        net, inputs = self.nets[self._key(source)], self._read(timestep)
        self._remember(self.before.pop(place, None), timestep, inputs)

        # Answered before learning: the environment goes on meanwhile.
        with torch.no_grad():
            action = self._explore(net(inputs), self._epsilon(source))
        timestep.reply(self._answer(timestep, action))
        present, counts = inputs.present(), ~timestep.last()
        counts = counts if present is None else counts & present.to(counts.device)
        self.before[place] = Before(timestep.ticket.step, inputs, action, counts)

        remaining = 1 - fit_progress(self.trainer, self.num_steps, self.hparams.annealing_steps)
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.lr * max(remaining, self.hparams.final_lr)
        self.num_steps += 1
        if source not in self.warm and everywhere(
            len(self.replay[source]) >= max(self.hparams.warmup, 1), self.trainer
        ):
            self.warm.add(source)
        if source in self.warm:
            for _ in range(self.hparams.updates):
                loss = self._update(source, net)
            if self.trainer.log_every_n_steps and self.num_steps % self.trainer.log_every_n_steps == 0:
                env_steps = float(sum(self.env_steps.values()))
                signals: dict[str, Any] = {"loss": loss, "epsilon": self._epsilon(source)}
                signals = {f"{source}/{name}": value for name, value in signals.items()} | {"env_steps": env_steps}
                self.log_dict(signals, batch_size=1)

    def _remember(self, before: Before | None, timestep: TimeStep, inputs: Inputs) -> None:
        """Puts the transitions that end in this timestep into replay."""
        if before is None or before.step + 1 != timestep.ticket.step or not before.counts.any():
            return
        columns = {
            "action": before.action,
            "reward": timestep.reward * self.hparams.reward_scale,
            "discount": timestep.discount * self.gamma,  # 0 where terminated; a truncated episode bootstraps
            **self._columns(timestep.source, before.inputs, ""),
            **(self._columns(timestep.source, inputs, "next:") if self.gamma else {}),
        }
        rows = before.counts
        self.replay[timestep.source].add({name: column[rows] for name, column in columns.items()})
        self.env_steps[timestep.source] += int(rows.sum())

    def _update(self, source: str, net: nn.Module) -> Tensor:
        batch = self.replay[source].sample(self.hparams.batch_size, self.generator)
        target = batch["reward"]
        if self.gamma:
            following = self._inputs(source, batch, "next:")
            with torch.no_grad():
                values = self.targets[self._key(source)](following)
                target = double_q_targets(batch["reward"], batch["discount"], net(following), values)
        loss = q_loss(net(self._inputs(source, batch, "")), batch["action"], target)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(reach(loss, self, self.trainer))
        drop_gradients(self, [net], self.trainer)
        nn.utils.clip_grad_norm_(net.parameters(), self.hparams.max_grad_norm)
        optimizer.step()
        if self.gamma:
            with torch.no_grad():
                for slow, fast in zip(self.targets[self._key(source)].parameters(), net.parameters(), strict=True):
                    slow.lerp_(fast, self.hparams.tau)
        return loss.detach()

    def _epsilon(self, source: str) -> float:
        done = self.env_steps[source] / max(1, self.hparams.exploration_steps)
        return max(self.hparams.epsilon, 1 - (1 - self.hparams.epsilon) * done)

    def _explore(self, q: Tensor, epsilon: float) -> Tensor:
        at_random = torch.rand(len(q), generator=self.generator) < epsilon
        choice = torch.randint(q.shape[-1], (len(q),), generator=self.generator)
        return torch.where(at_random.to(q.device), choice.to(q.device), q.argmax(-1))

    def _answer(self, timestep: TimeStep, action: Tensor) -> dict:
        path, _, low, dtype = self.choices[timestep.source]
        return unflatten([(path, (action + low).to(dtype))])

    def _columns(self, source: str, inputs: Inputs, prefix: str) -> dict[str, Tensor]:
        """Returns inputs as columns of replay: each leaf, 0 where it is absent, and whether it is there."""
        columns: dict[str, Tensor] = {}
        for path, spec in flatten(policy_inputs(self.specs[source])[0]):
            name = path_name(path)
            value, mask = inputs.values.get(name), inputs.masks.get(name)
            if value is None:
                dtype = torch.from_numpy(spec.generate_value()[None]).dtype
                value = torch.zeros(inputs.num_rows, *spec.shape, dtype=dtype, device=self.device)
                mask = torch.zeros(inputs.num_rows, dtype=torch.bool, device=self.device)
            mask = torch.ones(inputs.num_rows, dtype=torch.bool, device=self.device) if mask is None else mask
            columns |= {f"{prefix}value:{name}": value, f"{prefix}mask:{name}": mask}
        return columns

    def _inputs(self, source: str, batch: dict[str, Tensor], prefix: str) -> Inputs:
        names = [path_name(path) for path in self.paths[source]]
        values = {name: batch[f"{prefix}value:{name}"] for name in names}
        masks = {name: batch[f"{prefix}mask:{name}"] for name in names}
        return Inputs(values, masks, len(batch["reward"]))

    def _key(self, source: str) -> str:
        if source not in self.specs:
            raise SpecError(f"DQN: expected one of the sources {list(self.specs)}, got {source!r}.")
        return module_key(source)

    def _read(self, timestep: TimeStep) -> Inputs:
        here = timestep if timestep.reward.device == self.device else timestep.to(self.device)
        return read_inputs(here.observation, self.paths[timestep.source], len(timestep.reward))

    def validation_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> dict:
        action = self.greedy(timestep)
        timestep.reply(action)
        self.scores.add_timestep(timestep, action)
        return action

    test_step = predict_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self.scores.restart()

    def on_validation_epoch_end(self) -> None:
        self.scores.log(self, "val")

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.scores.log(self, "test")

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.num_steps == 0:
            self.generator.manual_seed(rank_seed(self.hparams.seed, self.trainer.global_rank))

    def on_train_start(self) -> None:
        for replay in self.replay.values():
            replay.to(self.device)
        self.before = {place: before.to(self.device) for place, before in self.before.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {
            "generator": self.generator.get_state(),
            "num_steps": self.num_steps,
            "env_steps": dict(self.env_steps),
            "replay": {source: replay.state_dict() for source, replay in self.replay.items()},
            "before": [
                {"source": source, "slot": slot, **before._asdict(), "inputs": before.inputs._asdict()}
                for (source, slot), before in self.before.items()
            ],
        }
        checkpoint["agent"] = all_ranks(own, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = own_rank(checkpoint["agent"], self._trainer)
        if "generator" in own:
            self.generator.set_state(own["generator"].cpu())
        self.num_steps, self.env_steps = own["num_steps"], dict(own["env_steps"])
        for source, state in own["replay"].items():
            self.replay[source].load_state_dict(state)
        self.before = {
            (kept["source"], kept["slot"]): Before(
                kept["step"], Inputs(**kept["inputs"]), kept["action"], kept["counts"]
            )
            for kept in own["before"]
        }


def _discrete(source: str, spec: EnvSpec) -> tuple[tuple[str, ...], int, int, torch.dtype]:
    """Returns the place of the only action, the number of choices, the first of them, and its dtype."""
    leaves = list(flatten(spec.action))
    if len(leaves) == 1:
        path, leaf = leaves[0]
        bounded = hasattr(leaf, "minimum") and not leaf.shape and leaf.dtype.kind in "iu"
        if bounded and int(leaf.maximum) - int(leaf.minimum) < 65_536:
            dtype = torch.from_numpy(leaf.generate_value()[None]).dtype
            return path, int(leaf.maximum) - int(leaf.minimum) + 1, int(leaf.minimum), dtype
    raise SpecError(
        f"DQN: expected one discrete action in {source!r}, got {describe(spec.action)}. Use PPO, which takes any; leave"
        " PredictInputs out; a dataset needs mode='delayed' and a y whose number of classes is known."
    )
