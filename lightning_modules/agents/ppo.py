"""PPO: proximal policy optimization, from trajectories.

A trajectory of T steps comes in, every transition of it is used a number of times to make good actions likelier (but not
by much), and the next trajectory is acted by the policy that resulted.

Source: Schulman et al. 2017; the settings that learn CartPole-v1 in 100,000 steps are those of this project.
"""

from typing import Any, Literal, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn

from aexp_torch import EnvSpec, SpecError, TimeStep, Trajectory
from lightning_modules.agents.annealing import fit_progress
from lightning_modules.agents.generator import AgentGenerator
from lightning_modules.agents.losses import clipped_policy_loss
from lightning_modules.agents.minibatches import minibatches
from lightning_modules.agents.returns import generalized_advantages
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import (
    Body,
    Decoder,
    Inputs,
    initialize,
    merge_time,
    module_key,
    policy_inputs,
    read_inputs,
    seeded,
    select_rows,
)
from lightning_modules.ranks import all_ranks, drop_gradients, own_rank, rank_seed, reach

__all__ = ["PPO"]


class ActorCritic(nn.Module):
    """A policy and a value function for one source, with a body each or with one for both."""

    paths: list[tuple[str, ...]]

    def __init__(self, spec: EnvSpec, hidden: int, num_layers: int, activation: Any, share_body: bool):
        super().__init__()
        scheme: Literal["orthogonal", "kaiming"] = "orthogonal" if activation == "tanh" else "kaiming"
        sides = policy_inputs(spec)
        self.actor_body = Body(*sides, hidden, num_layers, activation, scheme)
        self.critic_body = self.actor_body if share_body else Body(*sides, hidden, num_layers, activation, scheme)
        self.decoder = Decoder(spec.action, spec.modalities["action"], hidden)
        self.value_head = nn.Linear(hidden, 1)
        initialize(self.decoder, "orthogonal", 0.01)
        initialize(self.value_head, "orthogonal", 1.0)
        self.paths = self.actor_body.encoder.paths

    def policy(self, inputs: Inputs) -> dict[str, Tensor]:
        """Returns the parameters of the distribution of actions."""
        return self.decoder(self.actor_body(inputs))

    def value(self, inputs: Inputs) -> Tensor:
        """Returns float32 [N], in units of the scaled reward."""
        return self.value_head(self.critic_body(inputs)).squeeze(-1)

    def forward(self, inputs: Inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Returns both."""
        features = self.actor_body(inputs)
        if self.critic_body is self.actor_body:
            return self.decoder(features), self.value_head(features).squeeze(-1)
        return self.decoder(features), self.value(inputs)


class PPO(LightningModule):
    """Learns by proximal policy optimization from trajectories (`ExperienceDataModule(num_steps=T)`).

    Actions may be any tree of discrete, binary and real leaves. Several sources are learned side by side, each by
    networks of its own. The learning rate, the clipping and the entropy bonus go down to 0 in a straight line. With
    gamma=0 it is an actor-critic for one-step rewards, such as predictions of a delayed dataset.

    Args:
      specs: of the sources, from `datamodule.specs`.
      lr: learning rate at the start.
      gamma: the agent's discount per step.
      lambda_: of generalized advantage estimation: 0 is one-step TD, 1 is Monte Carlo.
      clip: how far an update may move the probability of an action, at the start.
      epochs: how often each transition is used.
      minibatches: parts that a trajectory is cut into, with one update each.
      value_weight: of the squared error of the value.
      entropy_weight: of the entropy bonus, at the start.
      max_grad_norm: gradients longer than this are shortened.
      normalize_advantages: to mean 0 and standard deviation 1 in each trajectory.
      reward_scale: multiplies rewards.
      hidden: width of hidden layers.
      num_layers: hidden layers, the encoder's included.
      activation: of hidden layers.
      share_body: one body for policy and value.
      annealing_steps: training steps until learning rate, clipping and entropy bonus are 0; by default the trainer's.
      seed: of the weights and of the agent's own generator.
    """

    def __init__(
        self,
        specs: dict[str, EnvSpec],
        lr: float = 1e-3,
        gamma: float = 0.98,
        lambda_: float = 0.8,
        clip: float = 0.2,
        epochs: int = 10,
        minibatches: int = 4,
        value_weight: float = 0.5,
        entropy_weight: float = 0.0,
        max_grad_norm: float = 0.5,
        normalize_advantages: bool = True,
        reward_scale: float = 1.0,
        hidden: int = 64,
        num_layers: int = 2,
        activation: Literal["tanh", "relu"] = "tanh",
        share_body: bool = False,
        annealing_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        for source, spec in specs.items():
            if not spec.action:
                raise SpecError(
                    f"PPO: expected sources that take actions, {source!r} takes none. Give a dataset mode='delayed', or"
                    " use Classifier or Generalist."
                )
        self.save_hyperparameters(ignore=["specs"])
        self.automatic_optimization = False
        self.specs = dict(specs)
        with seeded(seed):
            nets = {
                module_key(source): ActorCritic(spec, hidden, num_layers, activation, share_body)
                for source, spec in specs.items()
            }
        self.nets = nn.ModuleDict(nets)
        self.generator = AgentGenerator(seed)
        self.num_steps = 0  # trajectories learned from
        self.env_steps = 0
        self.scores = Scores()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr, eps=1e-5, foreach=True)

    def act(self, timestep: TimeStep) -> tuple[dict, dict]:
        """Draws an action; extras are what was drawn (`raw`) and its log-probability, float32 [B]."""
        net, inputs = self._read(timestep)
        parameters = net.policy(inputs)
        raw = net.decoder.sample(parameters, self.generator)
        return net.decoder.answer(raw), {"raw": raw, "log_prob": net.decoder.log_prob(parameters, raw)}

    def greedy(self, timestep: TimeStep) -> dict:
        """Returns the likeliest action."""
        with torch.no_grad():
            net, inputs = self._read(timestep)
            return net.decoder.answer(net.decoder.mode(net.policy(inputs)))

    def training_step(self, trajectory: Trajectory, batch_idx: int) -> None:
        if not isinstance(trajectory, Trajectory):
            raise SpecError(
                f"PPO: expected trajectories, got a {type(trajectory).__name__}. Say how long they are:"
                " ExperienceDataModule(..., num_steps=32)."
            )
        hparams, source, timesteps = self.hparams, trajectory.source, trajectory.timesteps
        remaining = 1 - fit_progress(self.trainer, self.num_steps, hparams.annealing_steps)
        optimizer = self.optimizers()
        for group in optimizer.param_groups:
            group["lr"] = hparams.lr * remaining
        net = self._net(source)
        inputs = read_inputs(merge_time(timesteps.observation), net.paths, timesteps.reward.numel())
        with torch.no_grad():
            v = net.value(inputs).view_as(timesteps.reward)  # [T + 1, B]
        r_t = timesteps.reward[1:] * hparams.reward_scale
        discount_t = timesteps.discount[1:] * hparams.gamma
        advantage = generalized_advantages(r_t, discount_t, timesteps.last()[1:], v, hparams.lambda_)
        target = advantage + v[:-1]

        rows = transitions(timesteps, inputs)
        self.num_steps += 1
        self.env_steps += len(rows)
        inputs, advantage, target = select_rows(inputs, rows), advantage.flatten()[rows], target.flatten()[rows]
        raw, old_log_prob = (merge_time(trajectory.extras[key]) for key in ("raw", "log_prob"))
        raw, old_log_prob = {name: value[rows] for name, value in raw.items()}, old_log_prob[rows]
        if hparams.normalize_advantages and len(rows) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        losses: dict[str, Tensor] = {}
        for _ in range(hparams.epochs):
            for part in self._parts(len(rows)):
                if not len(part):
                    self._descend(net, v.new_zeros(()))
                    continue
                parameters, value = net(select_rows(inputs, part))
                log_prob = net.decoder.log_prob(parameters, {name: leaf[part] for name, leaf in raw.items()})
                policy_loss = clipped_policy_loss(
                    log_prob, old_log_prob[part], advantage[part], hparams.clip * remaining
                )
                value_loss = 0.5 * (value - target[part]).square().mean()
                loss = policy_loss + hparams.value_weight * value_loss
                if hparams.entropy_weight:
                    loss = loss - hparams.entropy_weight * remaining * net.decoder.entropy(parameters).mean()
                self._descend(net, loss)
                losses = {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss}
        if losses and self.trainer.log_every_n_steps and self.num_steps % self.trainer.log_every_n_steps == 0:
            self.log_dict({f"{source}/{name}": value.detach() for name, value in losses.items()}, batch_size=len(rows))
            self.log("env_steps", float(self.env_steps), batch_size=1)

    def _parts(self, num_rows: int) -> list[Tensor]:
        whole = self.hparams.minibatches == 1
        order = torch.arange(num_rows) if whole else torch.randperm(num_rows, generator=self.generator)
        return minibatches(order.to(self.device), self.hparams.minibatches, self.trainer)

    def _descend(self, net: ActorCritic, loss: Tensor) -> None:
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(reach(loss, self, self.trainer))
        drop_gradients(self, [net], self.trainer)
        nn.utils.clip_grad_norm_(net.parameters(), self.hparams.max_grad_norm)
        optimizer.step()

    def _net(self, source: str) -> ActorCritic:
        if source not in self.specs:
            raise SpecError(f"PPO: expected one of the sources {list(self.specs)}, got {source!r}.")
        return cast(ActorCritic, self.nets[module_key(source)])

    def _read(self, timestep: TimeStep) -> tuple[ActorCritic, Inputs]:
        net = self._net(timestep.source)
        here = timestep if timestep.reward.device == self.device else timestep.to(self.device)
        return net, read_inputs(here.observation, net.paths, len(timestep.reward))

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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {"generator": self.generator.get_state(), "num_steps": self.num_steps, "env_steps": self.env_steps}
        checkpoint["agent"] = all_ranks(own, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = own_rank(checkpoint["agent"], self._trainer)
        if "generator" in own:
            self.generator.set_state(own["generator"].cpu())
        self.num_steps, self.env_steps = own["num_steps"], own["env_steps"]


def transitions(timesteps: TimeStep, inputs: Inputs) -> Tensor:
    """Returns the rows, int64 [M] of T * B, whose action mattered: not on LAST, and with something to look at.

    Args:
      timesteps: of a trajectory, [T + 1, B].
      inputs: their observations, (T + 1) * B rows.
    """
    counts = ~timesteps.last().flatten()
    present = inputs.present()
    if present is not None:
        counts = counts & present.to(counts.device)
    return counts[: -timesteps.reward.shape[1]].nonzero().flatten()
