"""Growing: what an agent needs that takes up sources while it learns: heads, an optimizer they join, checkpoints of them."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from lightning import LightningModule
from torch import nn

from aexp_torch import EnvSpec, SpecError
from aexp_torch.env import seed_sequence
from aexp_torch.specs import spec_from_plain, spec_to_plain
from lightning_modules.callbacks.stream_watch import specs_of
from lightning_modules.networks import Decoder, Encoder, initialize, module_key, policy_inputs, seeded

__all__ = ["Growing"]


class Growing(LightningModule):
    """Has an encoder, a decoder and a value for each source, one trunk for all, and more of them whenever a source comes.

    What a source gets has weights from a seed of its own, so that it is the same whenever it comes. Its parameters join
    the running optimizer's first group: those that are there, their moments and the schedules of learning rates stay as
    they are. Checkpoints tell of every source, in the order in which they came, and what an agent knows beyond its
    checkpoint joins it when it is loaded.

    A subclass has a `trunk` and the hyperparameters `hidden`, `target`, `lr` and `seed`, calls `_known(source)` wherever a
    source comes, and steps with `_parts(source)`.
    """

    trunk: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.specs: dict[str, EnvSpec] = {}  # of what it has grown for
        self.paths: dict[str, list[tuple[str, ...]]] = {}
        self.encoders, self.decoders, self.values = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self._forget_sources()
        self._order: list[str] = []  # names of parameters, as an optimizer that is to be restored has them
        self._late: set[int] = set()  # parameters that came after the ranks were joined
        self._met: set[str] = set()  # in this run

    def grow(self, specs: Mapping[str, EnvSpec]) -> list[str]:
        """Takes up sources that are new, and known ones whose keys are others than they were.

        Called by the agent itself where a source comes that it does not know; by hand before. New parameters join the
        first group of the optimizer, if there is one; those of leaves with another spec than before replace the old ones.

        Args:
          specs: `{source: EnvSpec}`.

        Returns:
          The sources for which something was added.

        Raises:
          SpecError: a leaf with another spec, in the middle of a run on several ranks.
        """
        changed = []
        for source, spec in specs.items():
            if source not in self.specs or _plain(spec) != _plain(self.specs[source]):
                with torch.inference_mode(False):  # what evaluation brings is trained later
                    self._take_up(source, spec)
                changed.append(source)
        if changed:
            self._join_optimizer()
        return changed

    @property
    def _who(self) -> str:
        return type(self).__name__

    def _forget_sources(self) -> None:
        for parts in (self.specs, self.paths, self.encoders, self.decoders, self.values):
            parts.clear()
        self._shared: dict[tuple, nn.Module] = {}  # leaf encoders, by what they can encode
        self._histories: dict[str, list[EnvSpec]] = {}  # every spec that a source had

    def _take_up(self, source: str, spec: EnvSpec) -> None:
        """Adds encoders and decoders, with weights from seeds of this source: the same whenever it comes."""
        hparams, key, supervised = self.hparams, module_key(source), not spec.action
        inputs = policy_inputs(spec, hidden=[hparams.target] if supervised else [])
        side = "observation" if supervised else "action"
        wanted = spec.action or {name: spec.observation[name] for name in [hparams.target] if name in spec.observation}
        leave_out = self._leave_out(source)
        with seeded(
            int(seed_sequence(hparams.seed, source, len(self._histories.get(source, []))).generate_state(1)[0])
        ):
            if key in self.encoders:
                for leaf in self.encoders[key].grow(*inputs, self._shared, leave_out):
                    initialize(leaf, "orthogonal", 2**0.5)
            else:
                shared = list(self._shared.values())
                self.encoders[key] = Encoder(*inputs, hparams.hidden, "tanh", None, self._shared, leave_out)
                initialize(self.encoders[key], "orthogonal", 2**0.5, but=shared)
            if key not in self.decoders:
                self.decoders[key] = Decoder({}, {}, hparams.hidden)
            for leaf in self.decoders[key].grow(wanted, spec.modalities[side], leave_out):
                initialize(leaf, "orthogonal", 0.1 if supervised else 0.01)
            if not supervised and key not in self.values:
                self.values[key] = nn.Linear(hparams.hidden, 1)
                initialize(self.values[key], "orthogonal", 1.0)
        for part in self._parts(source):
            part.to(self.device)
        self.specs[source], self.paths[source] = spec, cast(Encoder, self.encoders[key]).paths
        self._histories.setdefault(source, []).append(spec)
        if supervised and not self._decoder(source).learned:
            warnings.warn(
                f"{self._who}: expected sources that take actions or have {hparams.target!r}, {source!r} has"
                f" {sorted(spec.observation)} and takes none: it is passed over. Name the target with target=, or ask for"
                " predictions: env.pipe(ae.PredictInputs).",
                stacklevel=4,
            )

    def _leave_out(self, source: str) -> Callable[[str, Exception], None]:
        def leave_out(name: str, why: Exception) -> None:
            warnings.warn(f"{self._who}: left out {name!r} of {source!r}: {why}", stacklevel=6)

        return leave_out

    def _parts(self, source: str) -> list[nn.Module]:
        """Returns what a step on a source uses."""
        key = module_key(source)
        heads = [parts[key] for parts in (self.encoders, self.decoders, self.values) if key in parts]
        return [*heads, self.trunk]

    def _decoder(self, source: str) -> Decoder:
        return cast(Decoder, self.decoders[module_key(source)])

    def _known(self, source: str, learns: bool = True) -> str:
        """Grows for a source that comes for the first time in this run, as its stream describes it."""
        if source in self._met:
            return source
        spec = self._spec_of(source) if learns or source not in self.specs else None
        if spec is not None:
            self.grow({source: spec})
        elif source not in self.specs:
            raise SpecError(
                f"{self._who}: expected one of the sources {list(self.specs)}, got {source!r}. Call grow(env.specs) for what"
                " no trainer's stream describes."
            )
        if learns:
            self._met.add(source)
        return source

    def _spec_of(self, source: str) -> EnvSpec | None:
        """Returns what the trainer's streams say of a source."""
        if self._trainer is None:
            return None
        trainer = self._trainer
        evaluation = (trainer.val_dataloaders, trainer.test_dataloaders, trainer.predict_dataloaders)
        for loaders in (trainer.train_dataloader, *evaluation):
            specs = specs_of(loaders) if loaders is not None else {}
            if source in specs:
                return specs[source]
        return None

    # The optimizer.

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self._late = set()
        return torch.optim.Adam(list(self._ordered()), lr=self.hparams.lr, eps=1e-5, foreach=True)

    def _ordered(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yields every parameter once, by name: in the order of a checkpoint first."""
        by_name = dict(self.named_parameters(remove_duplicate=False))
        seen: set[int] = set()
        for name in (*self._order, *by_name):
            parameter = by_name.get(name)
            if parameter is not None and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def _join_optimizer(self) -> None:
        """Adds new parameters to the optimizer's first group, and takes out those that are no more."""
        trainer = self._trainer
        if trainer is None or not trainer.optimizers:
            return
        optimizer = trainer.optimizers[0]
        groups = optimizer.param_groups
        known = {id(parameter): parameter for group in groups for parameter in group["params"]}
        here = {id(parameter): (name, parameter) for name, parameter in self._ordered()}
        gone = known.keys() - here.keys()
        if gone and trainer.world_size > 1:
            raise SpecError(
                f"{self._who}: expected leaves of the specs that it was built with, some have another dtype, shape or bounds"
                f" now, which {trainer.world_size} ranks cannot change in the middle of a run. Build it with the new specs:"
                f" {self._who}.load_from_checkpoint(path, specs=datamodule.specs)."
            )
        for group in groups:
            stay = [place for place, parameter in enumerate(group["params"]) if id(parameter) not in gone]
            for each in ("params", "param_names"):
                if each in group:
                    group[each][:] = [group[each][place] for place in stay]
        for number in gone:
            optimizer.state.pop(known[number], None)
        for number, (name, parameter) in here.items():
            if number not in known:
                groups[0]["params"].append(parameter)
                groups[0].setdefault("param_names", []).append(name)
                self._late.add(number)

    # State.

    def setup(self, stage: str) -> None:
        self._met = set()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["sources"] = {
            source: [spec_to_plain(spec) for spec in specs] for source, specs in self._histories.items()
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if "sources" in checkpoint:
            self._grow_as(checkpoint)

    def _grow_as(self, checkpoint: dict[str, Any]) -> None:
        """Grows as the agent of a checkpoint did, then for what this one knows beyond that, which joins the checkpoint."""
        known = dict(self.specs)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f"{self._who}: ", UserWarning)  # said when it grew
            self._forget_sources()
            for source, history in checkpoint["sources"].items():
                for plain in history:
                    self._take_up(source, spec_from_plain(plain))
            self.grow(known)
        own = self.state_dict()
        weights = {name: value for name, value in checkpoint["state_dict"].items() if name in own}
        kept = {name for name, value in weights.items() if value.shape == own[name].shape}
        checkpoint["state_dict"] = {name: weights[name] if name in kept else value for name, value in own.items()}
        for state in checkpoint.get("optimizer_states", [])[:1]:
            group = state["param_groups"][0]
            before = dict(zip(group["param_names"], group["params"], strict=True))
            self._order = list(before)
            group["param_names"] = [name for name, _ in self._ordered()]
            group["params"] = list(range(len(group["param_names"])))
            numbers = [(number, before.get(name)) for number, name in enumerate(group["param_names"]) if name in kept]
            state["state"] = {number: state["state"][old] for number, old in numbers if old in state["state"]}


def _plain(spec: EnvSpec) -> dict[str, Any]:
    """Returns what of a spec an agent is built from."""
    return {**spec_to_plain(spec), "num_envs": 0}
