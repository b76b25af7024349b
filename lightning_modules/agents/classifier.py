"""Classifier: supervised learning from datasets in mode joint.

It shows what a plain LightningModule looks like here: automatic optimization, so that gradient accumulation, clipping,
precision and whatever else the Trainer offers work as always.
"""

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from aexp_torch import EnvSpec, SpecError, TimeStep
from aexp_torch.specs import describe
from lightning_modules.agents.annealing import optimizer_steps
from lightning_modules.agents.losses import masked_mean
from lightning_modules.agents.scores import Scores
from lightning_modules.networks import Body, Decoder, Inputs, initialize, module_key, policy_inputs, read_inputs, seeded
from lightning_modules.ranks import drop_gradients, reach

__all__ = ["Classifier"]


class Classifier(LightningModule):
    """Learns to tell y from everything else that a sample has, by cross-entropy.

    `y` may be one choice, several, or a vector of yes and no. Several sources are learned side by side, each by a network
    of its own. Rows where `mask:y` is False (or nothing else is there) count nowhere. The learning rate goes down to 0
    in a straight line.

    Args:
      specs: of the sources, from `datamodule.specs`.
      lr: learning rate at the start.
      weight_decay: of AdamW.
      hidden: width of hidden layers.
      num_layers: hidden layers, the encoder's included.
      target: the key of y.
      annealing_steps: optimizer steps until the learning rate is 0; by default the trainer's.
      seed: of the weights.
    """

    def __init__(
        self,
        specs: dict[str, EnvSpec],
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        hidden: int = 128,
        num_layers: int = 1,
        target: str = "y",
        annealing_steps: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["specs"])
        self.specs = dict(specs)
        self.paths: dict[str, list[tuple[str, ...]]] = {}
        self.bodies, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        with seeded(seed):
            for source, spec in specs.items():
                _check(source, spec, target)
                body = Body(*policy_inputs(spec, hidden=[target]), hidden, num_layers, "relu", "kaiming")
                decoder = Decoder({target: spec.observation[target]}, spec.modalities["observation"], hidden)
                initialize(decoder, "kaiming")
                self.bodies[module_key(source)], self.decoders[module_key(source)] = body, decoder
                self.paths[source] = body.encoder.paths
        self.used: set[str] = set()  # sources since the last optimizer step
        self.scores = Scores()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=self.hparams.weight_decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._remaining)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _remaining(self, step: int) -> float:
        return max(0.0, 1 - step / (self.hparams.annealing_steps or optimizer_steps(self.trainer)))

    def forward(self, timestep: TimeStep) -> tuple[dict[str, Tensor], Inputs]:
        """Returns the parameters of the distribution of y, and what they were made from."""
        if timestep.source not in self.specs:
            raise SpecError(f"Classifier: expected one of the sources {list(self.specs)}, got {timestep.source!r}.")
        here = timestep if timestep.reward.device == self.device else timestep.to(self.device)
        inputs = read_inputs(here.observation, self.paths[timestep.source], len(timestep.reward))
        key = module_key(timestep.source)
        return self.decoders[key](self.bodies[key](inputs)), inputs

    def greedy(self, timestep: TimeStep) -> Tensor:
        """Returns the likeliest y, [B, ...] of its spec."""
        with torch.no_grad():
            decoder = self.decoders[module_key(timestep.source)]
            return decoder.answer(decoder.mode(self(timestep)[0]))[self.hparams.target]

    def training_step(self, timestep: TimeStep, batch_idx: int) -> Tensor:
        loss, hits, rows = self._look(timestep)
        every = self.trainer.log_every_n_steps
        if every and (self.global_step + 1) % every == 0:
            means = {"loss": loss.detach(), "accuracy": masked_mean(hits.float(), rows)}
            self.log_dict({f"{timestep.source}/{name}": value for name, value in means.items()}, batch_size=len(hits))
        self.used.add(timestep.source)
        return reach(loss, self, self.trainer)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        keys = [module_key(source) for source in self.used]
        drop_gradients(self, [parts[key] for parts in (self.bodies, self.decoders) for key in keys], self.trainer)
        self.used.clear()

    def _look(self, timestep: TimeStep) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns the mean loss, where y was right (bool [B]), and which rows count (bool [B], None for all)."""
        decoder = self.decoders[module_key(timestep.source)]
        parameters, inputs = self(timestep)
        rows, labelled = inputs.present(), timestep.observation.get(f"mask:{self.hparams.target}")
        rows = labelled if rows is None else rows if labelled is None else rows & labelled
        truth = decoder.from_answer({self.hparams.target: timestep.observation[self.hparams.target]})
        with torch.no_grad():
            guess = decoder.mode(parameters)[self.hparams.target]
        loss = masked_mean(-decoder.log_prob(parameters, truth), rows)
        return loss, (guess == truth[self.hparams.target]).all(-1), rows

    def validation_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> None:
        loss, hits, rows = self._look(timestep)
        count = len(hits) if rows is None else int(rows.sum())
        self.scores.add(timestep.source, "loss", float(loss) * count, count)
        self.scores.add_hits(timestep.source, hits, rows)

    test_step = validation_step

    def predict_step(self, timestep: TimeStep, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self.greedy(timestep)

    def on_validation_epoch_start(self) -> None:
        self.scores.restart()

    def on_validation_epoch_end(self) -> None:
        self.scores.log(self, "val")

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self.scores.log(self, "test")


def _check(source: str, spec: EnvSpec, target: str) -> None:
    if spec.action:
        raise SpecError(
            f"Classifier: expected {source!r} to show x and y together, it asks for {describe(spec.action)}. Use"
            " mode='joint' without PredictInputs, or an agent that learns by reward: DQN, PPO, Generalist."
        )
    if target not in spec.observation or len(spec.observation) < 2:
        raise SpecError(
            f"Classifier: expected {target!r} and something to tell it from in {source!r}, got {describe(spec.observation)}."
            " Name the target with target=."
        )
    leaf = spec.modalities["observation"][target]
    if isinstance(leaf, dict) or leaf.representation == "real":
        raise SpecError(
            f"Classifier: expected choices in {target!r} of {source!r}, got {describe(spec.observation[target])}. Use"
            " Generalist for real targets."
        )
