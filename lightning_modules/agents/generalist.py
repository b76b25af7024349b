"""Generalist: one module for whatever streams there are, supervised and by reward, in one mixed loader.

It reads the specs of all sources, gives each leaf of an observation an encoder by its modality and each leaf of an answer
a decoder, and puts one trunk between them. A minibatch with its answer (`x` and `y`) is learned by likelihood, a
trajectory by proximal policy optimization, all by one optimizer.

Source: the actor-critic part is Schulman et al. 2017 (see `ppo.py`); the settings are those of this project.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aexp_torch import EnvSpec, SpecError, TimeStep, Trajectory
from aexp_torch.specs import flatten, path_name
from lightning_modules.agents.annealing import fit_progress
from lightning_modules.agents.generator import AgentGenerator
from lightning_modules.agents.growing import Growing
from lightning_modules.agents.losses import clipped_policy_loss, masked_mean
from lightning_modules.agents.minibatches import minibatches
from lightning_modules.agents.returns import generalized_advantages
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import (
    Inputs,
    initialize,
    merge_time,
    module_key,
    read_inputs,
    seeded,
    select_rows,
)
from lightning_modules.ranks import all_ranks, average_gradients, drop_gradients, own_rank, rank_seed, reach

__all__ = ["Generalist"]


class Generalist(Growing):
    """Learns from any mixture of datasets and environments (`ExperienceDataModule(num_steps=T)`).

    | source | what comes | loss |
    |---|---|---|
    | takes no actions, has `y` (a dataset in mode joint) | timesteps | -log p(y given the rest) |
    | takes no actions, has no `y` | timesteps | none: they are passed over, with a warning |
    | takes actions | trajectories | PPO's, with generalized advantages |

    A source that asks for predictions (`predict:y`) gets gamma 0: an answer does not change the next question.

    It grows: a source that it meets for the first time, in training or in a checkpoint, gets encoders, decoders and a
    value of its own (`grow`), from seeds of its own, and joins the running optimizer; all that was there stays as it is,
    the optimizer's state included. Grids, sequences and sets of the same spec share an encoder between sources, texts of
    any length too: what is learned of one helps the next. What it has no network for is left out, with a warning.

    Args:
      specs: of the sources, from `datamodule.specs`. Those that come in a dict are taken up at once; others, and those of
        a mapping that makes them when they are asked for, when they come.
      lr: learning rate at the start; it goes down to 0 in a straight line.
      gamma: the agent's discount per step.
      lambda_: of generalized advantage estimation: 0 is one-step TD, 1 is Monte Carlo.
      clip: how far an update may move the probability of an action, at the start.
      epochs: how often each transition is used.
      minibatches: parts that a trajectory is cut into, with one update each.
      value_weight: of the squared error of the value.
      entropy_weight: of the entropy bonus, at the start.
      supervised_weight: of the loss of supervised minibatches.
      reward_scale: multiplies rewards.
      max_grad_norm: gradients longer than this are shortened.
      hidden: width of encoders and trunk.
      trunk_layers: layers of the trunk.
      target: the key of what is to be predicted in supervised sources.
      annealing_steps: training steps until learning rate, clipping and entropy bonus are 0; by default the trainer's.
      seed: of the weights and of the agent's own generator.
    """

    def __init__(
        self,
        specs: Mapping[str, EnvSpec] | Any = None,  # Any: for a Mapping, jsonargparse takes dicts alone
        lr: float = 1e-3,
        gamma: float = 0.98,
        lambda_: float = 0.8,
        clip: float = 0.2,
        epochs: int = 10,
        minibatches: int = 4,
        value_weight: float = 0.5,
        entropy_weight: float = 0.0,
        supervised_weight: float = 1.0,
        reward_scale: float = 0.1,
        max_grad_norm: float = 0.5,
        hidden: int = 64,
        trunk_layers: int = 1,
        target: str = "y",
        annealing_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["specs"])
        self.automatic_optimization = False
        with seeded(seed):
            layers = [layer for _ in range(trunk_layers) for layer in (nn.Linear(hidden, hidden), nn.Tanh())]
            self.trunk = nn.Sequential(*layers)
            initialize(self.trunk, "orthogonal", 2**0.5)
        self.generator = AgentGenerator(seed)
        self.num_steps = 0  # training steps done
        self.env_steps = 0
        self.scores = Scores()
        if isinstance(specs, dict):
            self.grow(specs)

    def forward(self, source: str, inputs: Inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Returns the parameters of the answers' distribution and, for the value, the features [N, hidden]."""
        features = self.trunk(self.encoders[module_key(source)](inputs))
        return self.decoders[module_key(source)](features), features

    def value(self, source: str, features: Tensor) -> Tensor:
        """Returns float32 [N], in units of the scaled reward."""
        return self.values[module_key(source)](features).squeeze(-1)

    def act(self, timestep: TimeStep) -> tuple[dict, dict]:
        """Draws an action; extras are what was drawn (`raw`) and its log-probability, float32 [B]."""
        decoder = self._decoder(self._known(timestep.source))
        parameters, _ = self(timestep.source, self._read(timestep))
        raw = decoder.sample(parameters, self.generator)
        return decoder.answer(raw), {"raw": raw, "log_prob": decoder.log_prob(parameters, raw)}

    def greedy(self, timestep: TimeStep) -> dict:
        """Returns the likeliest answer; for a supervised source what its target is taken for."""
        with torch.no_grad():
            decoder = self._decoder(self._known(timestep.source, learns=False))
            return decoder.answer(decoder.mode(self(timestep.source, self._read(timestep))[0]))

    def training_step(self, batch: Trajectory | TimeStep, batch_idx: int) -> None:
        source = self._known(batch.source)
        if self.specs[source].action and not isinstance(batch, Trajectory):
            raise SpecError(
                f"Generalist: expected trajectories of {source!r}, which takes actions, got a {type(batch).__name__}. Say"
                " how long they are: ExperienceDataModule(..., num_steps=32)."
            )
        remaining = 1 - fit_progress(self.trainer, self.num_steps, self.hparams.annealing_steps)
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.lr * remaining
        self.num_steps += 1
        if isinstance(batch, Trajectory):
            losses = self._learn_by_reward(batch, remaining)
        else:
            loss, _ = self._supervised_loss(batch)
            if loss is None and (self.trainer.world_size == 1 or not self._decoder(source).learned):
                return
            if loss is None:  # other ranks may have labels
                loss = batch.reward.new_zeros(())
            self._descend(source, self.hparams.supervised_weight * loss)
            losses = {"loss": loss.detach()}
        if self.trainer.log_every_n_steps and self.num_steps % self.trainer.log_every_n_steps == 0:
            losses = {f"{source}/{name}": value for name, value in losses.items()}
            self.log_dict({**losses, "env_steps": float(self.env_steps)}, batch_size=1)

    def _learn_by_reward(self, trajectory: Trajectory, remaining: float) -> dict[str, Tensor]:
        hparams, source, timesteps = self.hparams, trajectory.source, trajectory.timesteps
        num_envs = timesteps.reward.shape[1]
        decoder = self._decoder(source)
        inputs = read_inputs(merge_time(timesteps.observation), self.paths[source], timesteps.reward.numel())
        with torch.no_grad():
            v = self.value(source, self(source, inputs)[1]).view_as(timesteps.reward)  # [T + 1, B]
        asked = all(key.startswith("predict:") for key in self.specs[source].action)
        r_t = timesteps.reward[1:] * hparams.reward_scale
        discount_t = timesteps.discount[1:] * (0.0 if asked else hparams.gamma)
        advantage = generalized_advantages(r_t, discount_t, timesteps.last()[1:], v, hparams.lambda_)
        target = advantage + v[:-1]

        # Actions on LAST were ignored, and rows without anything to look at stand for nothing.
        counts = ~timesteps.last().flatten()
        present = inputs.present() if self.paths[source] else None
        counts = counts if present is None else counts & present.to(counts.device)
        rows = counts[:-num_envs].nonzero().flatten()
        self.env_steps += len(rows)
        inputs, advantage, target = select_rows(inputs, rows), advantage.flatten()[rows], target.flatten()[rows]
        raw, old_log_prob = (merge_time(trajectory.extras[key]) for key in ("raw", "log_prob"))
        raw, old_log_prob = {name: value[rows] for name, value in raw.items()}, old_log_prob[rows]
        if len(rows) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        losses: dict[str, Tensor] = {}
        for _ in range(hparams.epochs):
            order = torch.randperm(len(rows), generator=self.generator).to(self.device)
            for part in minibatches(order, hparams.minibatches, self.trainer):
                if not len(part):
                    self._descend(source, v.new_zeros(()))
                    continue
                parameters, features = self(source, select_rows(inputs, part))
                log_prob = decoder.log_prob(parameters, {name: value[part] for name, value in raw.items()})
                policy_loss = clipped_policy_loss(
                    log_prob, old_log_prob[part], advantage[part], hparams.clip * remaining
                )
                value_loss = 0.5 * (self.value(source, features) - target[part]).square().mean()
                loss = policy_loss + hparams.value_weight * value_loss
                if hparams.entropy_weight:
                    loss = loss - hparams.entropy_weight * remaining * decoder.entropy(parameters).mean()
                self._descend(source, loss)
                losses = {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss}
        return {name: value.detach() for name, value in losses.items()}

    def _supervised_loss(self, timestep: TimeStep) -> tuple[Tensor | None, Tensor | None]:
        """Returns the mean of -log p(y) over the rows that count, and which these are (bool [B], None for all).

        None where there is nothing to learn.
        """
        decoder = self._decoder(timestep.source)
        labels = self._read(timestep, decoder.paths)
        if not labels.values or not decoder.learned:
            return None, None
        inputs = self._read(timestep)
        rows, labelled = inputs.present() if self.paths[timestep.source] else None, labels.present()
        rows = labelled if rows is None else rows if labelled is None else rows & labelled
        parameters, _ = self(timestep.source, inputs)
        truth = decoder.from_answer(self._target(timestep))
        return masked_mean(-decoder.log_prob(parameters, truth, labels.masks), rows), rows

    def _target(self, timestep: TimeStep) -> dict:
        target = self.hparams.target
        return {target: timestep.observation[target]}

    def _descend(self, source: str, loss: Tensor) -> None:
        optimizer, parts = self.optimizers(), self._parts(source)
        optimizer.zero_grad()  # to None: what this step does not touch, Adam leaves alone
        self.manual_backward(reach(loss, self, self.trainer))
        drop_gradients(self, parts, self.trainer)
        weights = [parameter for part in parts for parameter in part.parameters()]
        average_gradients([parameter for parameter in weights if id(parameter) in self._late], self.trainer)
        norm = nn.utils.clip_grad_norm_(weights, self.hparams.max_grad_norm)
        if norm.isfinite():
            optimizer.step()
        else:
            warnings.warn(
                f"Generalist: expected finite numbers from {source!r}, its loss is {float(loss)} and the length of its"
                f" gradient {float(norm)}; such minibatches are passed over.",
                stacklevel=2,
            )

    def _read(self, timestep: TimeStep, paths: list[tuple[str, ...]] | None = None) -> Inputs:
        here = timestep if timestep.reward.device == self.device else timestep.to(self.device)
        return read_inputs(
            here.observation, self.paths[timestep.source] if paths is None else paths, len(timestep.reward)
        )

    def validation_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> dict:
        answer, source = self.greedy(timestep), timestep.source
        if self.specs[source].action:
            timestep.reply(answer)
            self.scores.add_timestep(timestep, answer)
        else:
            self._score(timestep, answer)
        return answer

    test_step = predict_step = validation_step

    def _score(self, timestep: TimeStep, answer: dict) -> None:
        """Adds what a supervised minibatch says: loss, and the share of right choices or the mean absolute error."""
        loss, rows = self._supervised_loss(timestep)
        if loss is None:
            return
        source, decoder = timestep.source, self._decoder(timestep.source)
        count = len(timestep.reward) if rows is None else int(rows.sum())
        self.scores.add(source, "loss", float(loss) * count, count)
        labels, answers = self._read(timestep, decoder.learned), dict(flatten(answer))
        for path in decoder.learned:
            name = path_name(path)
            if name not in labels.values:
                continue
            mask = labels.masks.get(name)
            counting = rows if mask is None else mask if rows is None else rows & mask
            if decoder.is_real(path):
                self.scores.add_errors(source, answers[path], labels.values[name], counting)
            else:
                self.scores.add_hits(source, answers[path] == labels.values[name], counting)

    def on_validation_epoch_start(self) -> None:
        self.scores.restart()

    def on_validation_epoch_end(self) -> None:
        self.scores.log(self, "val")

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.scores.log(self, "test")

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.num_steps == 0:
            self.generator.manual_seed(rank_seed(self.hparams.seed, self.trainer.global_rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        own = {"generator": self.generator.get_state(), "num_steps": self.num_steps, "env_steps": self.env_steps}
        checkpoint["agent"] = all_ranks(own, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        own = own_rank(checkpoint["agent"], self._trainer)
        if "generator" in own:
            self.generator.set_state(own["generator"].cpu())
        self.num_steps, self.env_steps = own["num_steps"], own["env_steps"]
