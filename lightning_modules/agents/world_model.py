"""WorldModel: learns what an environment does next, so that others can be trained in its imagination.

`PredictInputs` asks for the next observation, reward and discount. The answer is made from what is seen and from the
action that is taken; what comes back is the truth. Transitions go to a replay, and each training step makes some updates
from it. `ae.Imaginary(agent, ...)` is the environment that was learned.

Source: Sutton 1991, "Dyna"; Nagabandi et al. 2018 for predicting normalised differences from normalised inputs.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from dm_env import specs as dm_specs
from lightning import LightningModule
from torch import Tensor, nn

from aexp_torch import EnvSpec, SpecError, TimeStep, Trajectory
from aexp_torch.prediction import HIDDEN_REWARD, REWARD, Path, asked_targets, without_predictions
from aexp_torch.specs import describe, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.check import torch_dtype
from aexp_torch.specs.sample import sample_action
from lightning_modules.agents.annealing import fit_progress
from lightning_modules.agents.generator import AgentGenerator
from lightning_modules.agents.losses import masked_mean
from lightning_modules.agents.replay import Replay
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import (
    Body,
    Inputs,
    Scale,
    initialize,
    merge_time,
    module_key,
    policy_inputs,
    read_inputs,
    seeded,
)
from lightning_modules.ranks import all_ranks, drop_gradients, everywhere, own_rank, rank_seed, reach

__all__ = ["Dynamics", "WorldModel"]

Columns = dict[str, Tensor]  # N transitions: inputs and truths, "mask:<name>" (bool [N]) says which rows have it
Answered = dict[str, Any]  # what has to be remembered of a stream's last timestep


class Dynamics(nn.Module):
    """Predicts what follows the observations and actions of one source.

    Numbers are predicted as differences from what they are now. Inputs and differences are normalised by running
    statistics. Losses are those of `PredictInputs`, squared errors in units of the variance of the differences.

    Args:
      source: its name.
      spec: its spec, predictions included.
      hidden: width of hidden layers.
      num_layers: hidden layers, the encoder's included.
    """

    def __init__(self, source: str, spec: EnvSpec, hidden: int, num_layers: int):
        super().__init__()
        self.specs = {source: spec}
        self.targets = {path_name(path): target for path, target in asked_targets(spec, "WorldModel").items()}
        self.paths = [path for path, _ in flatten(spec.action) if path_name(path) in self.targets]
        _check(source, spec, self.paths)
        bare = without_predictions(spec)
        observation, kinds = policy_inputs(bare)
        inputs = {"observation": observation, "action": bare.action}
        modalities = {"observation": kinds, "action": bare.modalities["action"]}
        self.leaves = dict(flatten(inputs))
        numbers = [path for path, kind in flatten({"observation": kinds}) if kind.representation in ("real", "integer")]
        shapes = {path_name(path): self.leaves[path].shape for path in numbers}
        shapes |= {
            name: target.spec.shape for name, target in self.targets.items() if target.kind in ("real", "integer")
        }
        self.scales = nn.ModuleDict({module_key(name): Scale(shape) for name, shape in shapes.items()})
        normal = {
            path: dm_specs.Array(leaf.shape, np.float32) if path in numbers else leaf
            for path, leaf in self.leaves.items()
        }
        self.body = Body(unflatten(list(normal.items())), modalities, hidden, num_layers, "relu", "kaiming")
        sizes = {name: int(np.prod(target.spec.shape, dtype=int)) for name, target in self.targets.items()}
        self.heads = nn.ModuleDict({module_key(name): nn.Linear(hidden, size) for name, size in sizes.items()})
        initialize(self.heads, "kaiming", 0.1)

    def forward(self, observation: dict, action: dict, num_rows: int | None = None) -> dict:
        """Returns the predictions, trees of float32 [N, ...] under `predict:<key>`: what `ae.Imaginary` takes.

        Args:
          observation: tree of tensors [N, ...].
          action: the same; what it holds besides the source's own action is ignored.
          num_rows: N, needed where there may be no tensor at all.
        """
        if num_rows is None:
            num_rows = len(
                next(leaf for tree in (observation, action) for _, leaf in flatten(tree) if leaf is not None)
            )
        inputs = read_inputs({"observation": observation, "action": action}, list(self.leaves), num_rows)
        outputs = self._outputs(inputs)
        for name, output in outputs.items():
            scale = self._scale(name)
            if scale is not None:
                outputs[name] = self._now(name, inputs) + scale.mean + scale.std * output
        return unflatten([(path, outputs[path_name(path)]) for path in self.paths])

    def _outputs(self, inputs: Inputs) -> dict[str, Tensor]:
        """Returns what the heads say, [N, ...] each: logits, and normalised differences."""
        scaled = dict(inputs.values)
        for name, value in inputs.values.items():
            scale = self._scale(name)
            if scale is not None:
                scaled[name] = scale.normalize(value.float())
        features = self.body(inputs._replace(values=scaled))
        shapes = {name: (inputs.num_rows, *target.spec.shape) for name, target in self.targets.items()}
        return {name: self.heads[module_key(name)](features).float().view(shape) for name, shape in shapes.items()}

    def _scale(self, name: str) -> Scale | None:
        key = module_key(name)
        return cast(Scale, self.scales[key]) if key in self.scales else None

    def _now(self, name: str, inputs: Inputs) -> Tensor | float:
        """Returns what a difference is from: the present value, 0 where there is none."""
        path = self.targets[name].path
        value = None if path is None else inputs.values.get(path_name(("observation", *path)))
        return 0.0 if value is None else value.float()

    def columns(self, observation: dict, action: dict, after: TimeStep) -> Columns:
        """Returns transitions [N, ...]; where the lanes of `after` began a new episode they mean nothing."""
        num_rows = len(after.reward)
        inputs = read_inputs({"observation": observation, "action": action}, list(self.leaves), num_rows)
        named = {path_name(path): leaf for path, leaf in self.leaves.items()}
        found = {name: (leaf, inputs.values.get(name), inputs.masks.get(name)) for name, leaf in named.items()}
        found |= {name: (target.leaf, *target.find(after)) for name, target in self.targets.items()}
        everywhere = torch.ones(num_rows, dtype=torch.bool, device=after.reward.device)
        columns: Columns = {}
        for name, (leaf, value, rows) in found.items():
            if value is None:
                value = torch.zeros(num_rows, *leaf.shape, dtype=torch_dtype(leaf), device=everywhere.device)
                rows = torch.zeros_like(everywhere)
            columns |= {name: value, f"mask:{name}": everywhere if rows is None else rows}
        return columns

    def seen(self, columns: Columns) -> Tensor:
        """Returns bool [N]: the rows in which there was something to look at."""
        masks = [columns[f"mask:{path_name(path)}"] for path in self.leaves if path[0] == "observation"]
        return torch.stack(masks).any(0)

    def loss(self, columns: Columns, source: str) -> Tensor:
        """Returns the mean loss over the transitions, float32 [], the sum over what is predicted."""
        inputs = self._inputs(columns)
        losses = []
        for name, output in self._outputs(inputs).items():
            scale = self._scale(name)
            if scale is None:
                loss = self.targets[name].score(output, columns[name], source)
            else:
                difference = (self._difference(name, columns, inputs) - scale.mean) / scale.std
                loss = (output - difference).square().reshape(len(output), -1).mean(1)
            losses.append(masked_mean(loss, columns[f"mask:{name}"]))
        return torch.stack(losses).sum()

    def _inputs(self, columns: Columns) -> Inputs:
        names = [path_name(path) for path in self.leaves]
        values, masks = ({name: columns[f"{prefix}{name}"] for name in names} for prefix in ("", "mask:"))
        return Inputs(values, masks, len(next(iter(columns.values()))))

    def _difference(self, name: str, columns: Columns, inputs: Inputs) -> Tensor:
        return columns[name].float() - self._now(name, inputs)

    def sums(self, columns: Columns | None) -> Tensor:
        """Returns what transitions add to the statistics, float32 [S]; zeros for None."""
        none = next(self.parameters()).new_zeros(0)
        if columns is None:
            return none.new_zeros(sum(scale.num_sums for scale in self._scales()))
        inputs = self._inputs(columns)
        names = [name for name in columns if self._scale(name) is not None]
        values = {
            module_key(name): self._difference(name, columns, inputs) if name in self.targets else columns[name].float()
            for name in names
        }
        rows = {module_key(name): columns[f"mask:{name}"] for name in names}
        sums = [scale.sums(values[key][rows[key]]) for key, scale in zip(self.scales, self._scales(), strict=True)]
        return torch.cat([none, *sums])

    def add_sums(self, sums: Tensor) -> None:
        """Takes what `sums` returned, added up over ranks."""
        for scale in self._scales():
            scale.add(sums[: scale.num_sums])
            sums = sums[scale.num_sums :]

    def _scales(self) -> list[Scale]:
        return cast(list[Scale], list(self.scales.values()))


class WorldModel(LightningModule):
    """Learns to predict under `PredictInputs(env, signals=True, weight=0)`, from timesteps or from trajectories.

    It acts by a given policy, or at random within bounds. Several sources are learned side by side, each by networks and a
    replay of its own. The learning rate goes down to 0 in a straight line. Validation logs the loss of the predictions.

    Args:
      specs: of the sources, from `datamodule.specs`.
      policy: from a TimeStep to an action, such as `agent.greedy`; not in the checkpoint. None: at random.
      lr: learning rate at the start.
      batch_size: transitions per update.
      updates: per training step.
      replay_size: transitions kept per source.
      warmup: transitions of a source before its first update.
      max_grad_norm: gradients longer than this are shortened.
      hidden: width of hidden layers.
      num_layers: hidden layers, the encoder's included.
      annealing_steps: training steps until the learning rate is 0; by default the trainer's.
      seed: of the weights and of the agent's own generator.

    Raises:
      SpecError: a source that asks for no predictions, or that hides the reward which is to be predicted.
    """

    def __init__(
        self,
        specs: dict[str, EnvSpec],
        policy: Callable[[TimeStep], Any] | None = None,
        lr: float = 1e-3,
        batch_size: int = 256,
        updates: int = 8,
        replay_size: int = 100_000,
        warmup: int = 500,
        max_grad_norm: float = 10.0,
        hidden: int = 128,
        num_layers: int = 2,
        annealing_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["specs", "policy"])
        self.automatic_optimization = False
        self.specs, self.policy = dict(specs), policy
        with seeded(seed):
            nets = {module_key(source): Dynamics(source, spec, hidden, num_layers) for source, spec in specs.items()}
        self.nets = nn.ModuleDict(nets)
        self.own_action = {source: without_predictions(spec).action for source, spec in specs.items()}
        self.generator = AgentGenerator(seed)
        self.evaluation_generator = AgentGenerator(seed)  # so that evaluation changes nothing in training
        self.replay = {source: Replay(replay_size) for source in specs}
        self.before: dict[tuple[str, int], Answered] = {}
        self.evaluated: dict[tuple[str, int], Answered] = {}
        self.env_steps = dict.fromkeys(specs, 0)
        self.num_steps = 0  # training steps done
        self.warm: set[str] = set()  # sources that have enough in replay, on every rank
        self.scores = Scores()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.nets.parameters(), lr=self.hparams.lr, foreach=True)

    def predictor(self, source: str | None = None) -> Dynamics:
        """Returns what predicts a source (None: the only one), for `ae.Imaginary`."""
        return self._net(self._chosen(source))

    def starts(self, source: str | None = None) -> dict:
        """Returns the observations in replay that lack nothing, a tree of [N, ...]: where `ae.Imaginary` may begin."""
        source = self._chosen(source)
        columns, count = self.replay[source].columns, len(self.replay[source])
        paths = [path for path in self._net(source).leaves if path[0] == "observation" and columns]
        whole = [columns[f"mask:{path_name(path)}"][:count] for path in paths]
        rows = torch.stack(whole).all(0) if whole else None
        return unflatten([(path[1:], columns[path_name(path)][:count][rows].cpu()) for path in paths]) or {}

    def _chosen(self, source: str | None) -> str:
        if source is None and len(self.specs) > 1:
            raise SpecError(f"WorldModel: expected source= to be one of {list(self.specs)}, got None.")
        return next(iter(self.specs)) if source is None else source

    def act(self, timestep: TimeStep) -> dict:
        """Returns an action, and what it predicts to follow."""
        return self._answer(timestep, self.generator)

    def training_step(self, batch: TimeStep | Trajectory, batch_idx: int) -> None:
        source = batch.source
        columns = self._follow(batch, self.before, self.generator)
        net = self._net(source)
        # On every rank, whether it has transitions or not: statistics are those of all.
        net.add_sums(self.trainer.strategy.reduce(net.sums(columns), reduce_op="sum"))
        if columns is not None:
            self.replay[source].add(columns)
            self.env_steps[source] += len(next(iter(columns.values())))

        remaining = 1 - fit_progress(self.trainer, self.num_steps, self.hparams.annealing_steps)
        for group in self.optimizers().param_groups:
            group["lr"] = self.hparams.lr * remaining
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
                self.log_dict({f"{source}/loss": loss, "env_steps": env_steps}, batch_size=1)

    def _follow(
        self, batch: TimeStep | Trajectory, before: dict[tuple[str, int], Answered], generator: torch.Generator
    ) -> Columns | None:
        """Returns the transitions that a batch completes; a timestep is answered, and remembered in `before`."""
        if isinstance(batch, Trajectory):
            now, after = (_rows(batch.timesteps, part) for part in (slice(0, -1), slice(1, None)))
            return self._transitions(batch.source, now.observation, merge_time(batch.action), now.last(), after)
        here, place = self._here(batch), (batch.source, batch.ticket.slot)
        with torch.no_grad():
            answer = self._answer(here, generator)
        batch.reply(answer)
        last = before.get(place)
        action = {key: answer[key] for key in self.own_action[batch.source]}
        told = {"observation": here.observation, "action": action, "ended": here.last()}
        before[place] = {"step": batch.ticket.step, **told}
        if last is None or last["step"] + 1 != batch.ticket.step:
            return None
        return self._transitions(batch.source, last["observation"], last["action"], last["ended"], here)

    def _transitions(
        self, source: str, observation: dict, action: dict, ended: Tensor, after: TimeStep
    ) -> Columns | None:
        """Returns the rows in which something was seen and the action counted; None where there are none."""
        net = self._net(source)
        columns = net.columns(observation, action, after)
        counts = net.seen(columns) & ~ended
        return {name: column[counts] for name, column in columns.items()} if counts.any() else None

    def _update(self, source: str, net: Dynamics) -> Tensor:
        loss = net.loss(self.replay[source].sample(self.hparams.batch_size, self.generator), source)
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(reach(loss, self, self.trainer))
        drop_gradients(self, [net], self.trainer)
        nn.utils.clip_grad_norm_(net.parameters(), self.hparams.max_grad_norm)
        optimizer.step()
        return loss.detach()

    def _answer(self, timestep: TimeStep, generator: torch.Generator) -> dict:
        net, here = self._net(timestep.source), self._here(timestep)
        action = self._choose(timestep, generator)
        return {**action, **net(here.observation, action, len(here.reward))}

    def _choose(self, timestep: TimeStep, generator: torch.Generator) -> dict:
        own = self.own_action[timestep.source]
        if self.policy is None:
            seed = int(torch.randint(2**62, (), generator=generator))
            action = sample_action(own, len(timestep.reward), np.random.default_rng(seed))
        else:
            action = self.policy(timestep)
            if not isinstance(action, dict):
                action = unflatten([(path, action) for path, _ in flatten(own)])
        return map_tree(lambda leaf: leaf.to(self.device), action)

    def _net(self, source: str) -> Dynamics:
        if source not in self.specs:
            raise SpecError(f"WorldModel: expected one of the sources {list(self.specs)}, got {source!r}.")
        return cast(Dynamics, self.nets[module_key(source)])

    def _here(self, timestep: TimeStep) -> TimeStep:
        return timestep if timestep.reward.device == self.device else timestep.to(self.device)

    def validation_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> dict:
        columns = self._follow(timestep, self.evaluated, self.evaluation_generator)
        source, answer = timestep.source, self.evaluated[timestep.source, timestep.ticket.slot]["action"]
        self.scores.add_timestep(timestep, answer)
        if columns is not None:
            count = len(next(iter(columns.values())))
            self.scores.add(source, "loss", float(self._net(source).loss(columns, source)) * count, count)
        return answer

    test_step = predict_step = validation_step

    def on_validation_epoch_start(self) -> None:
        self.scores.restart()
        self.evaluated.clear()
        self.evaluation_generator.manual_seed(rank_seed(self.hparams.seed, self.trainer.global_rank))

    def on_validation_epoch_end(self) -> None:
        self.scores.log(self, "val")

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.scores.log(self, "test")

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.num_steps == 0:
            self.generator.manual_seed(rank_seed(self.hparams.seed, self.trainer.global_rank))

    def on_train_start(self) -> None:
        for replay in self.replay.values():
            replay.to(self.device)
        self.before = {place: _moved(told, self.device) for place, told in self.before.items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = {
            "generator": self.generator.get_state(),
            "num_steps": self.num_steps,
            "env_steps": dict(self.env_steps),
            "replay": {source: replay.state_dict() for source, replay in self.replay.items()},
            "before": [{"source": source, "slot": slot, **told} for (source, slot), told in self.before.items()],
        }
        checkpoint["agent"] = all_ranks(own, self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = own_rank(checkpoint["agent"], self._trainer)
        if "generator" in own:
            self.generator.set_state(own["generator"].cpu())
        self.num_steps, self.env_steps = own["num_steps"], dict(own["env_steps"])
        for source, state in own["replay"].items():
            self.replay[source].load_state_dict(state)
        self.before = {(told.pop("source"), told.pop("slot")): told for told in map(dict, own["before"])}


def _rows(timesteps: TimeStep, part: slice) -> TimeStep:
    """Returns a part of the time of [T + 1, B, ...] as rows [N, ...]."""
    cut = [map_tree(lambda leaf: None if leaf is None else leaf[part], field) for field in timesteps[:4]]
    return TimeStep(*map(merge_time, cut))


def _moved(told: Answered, device: torch.device) -> Answered:
    return map_tree(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, told)


def _check(source: str, spec: EnvSpec, predictions: list[Path]) -> None:
    if not predictions:
        raise SpecError(
            f"WorldModel: expected a source that asks what comes next, {source!r} asks for {describe(spec.action)}. Put"
            " PredictInputs(env, signals=True, weight=0) around it."
        )
    if (REWARD,) in predictions and spec.modalities["action"][REWARD].context == HIDDEN_REWARD:
        raise SpecError(
            f"WorldModel: expected {source!r} to show the reward that it asks to predict, PredictInputs takes the loss off"
            " it. Leave the reward as it is: PredictInputs(env, signals=True, weight=0)."
        )
