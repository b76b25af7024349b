"""Minari datasets: what is stored goes out as one, and one comes in as a recording (extra `minari`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.replay.replay_buffer import ReplayBuffer
from aexp_torch.replay.schema import DISCOUNT, LANE, PRESENT, REWARD, STEP_TYPE, Schema
from aexp_torch.replay.store import quoted
from aexp_torch.replay.table import Table
from aexp_torch.specs import EnvSpec, flatten
from aexp_torch.timestep import StepType

if TYPE_CHECKING:
    import minari

__all__ = ["export_minari", "import_minari"]


def export_minari(
    buffer: ReplayBuffer, dataset_id: str, source: str | None = None, **options: Any
) -> "minari.MinariDataset":
    """Writes the stored episodes of a source as a new Minari dataset; each lane's are episodes of their own.

    Images are kept as they are (no JPEG). What is stored of an episode without its end ends with truncated.

    Args:
      buffer: opened if it is not.
      dataset_id: as `minari.create_dataset_from_buffers` takes it: `"name/dataset-v0"`.
      source: which source; None for the only one.
      options: for `minari.create_dataset_from_buffers`: `env`, `author`, `description` and so on.

    Raises:
      SpecError: some timesteps lack a key, which Minari does not know.
      MissingDependencyError: Minari is not installed.

    Source: Younis et al. 2024, Minari.
    """
    minari = import_package()
    from minari.data_collector import EpisodeBuffer

    from aexp_torch.specs.space_data import action_writer
    from aexp_torch.specs.spaces import spec_to_space

    buffer.open()
    buffer.replay.refresh()
    tables = buffer.replay.of(source)
    schema = tables[0].schema
    if not all(table.plain for table in tables):
        raise SpecError(
            f"export_minari: expected every key in every timestep of {schema.source!r}, some lack one. Record above a"
            " stage that fills or drops it."
        )
    spaces = {
        "observation_space": spec_to_space(schema.spec.observation, "observation"),
        "action_space": spec_to_space(schema.spec.action, "action"),
    }
    write_observation = action_writer(spaces["observation_space"], "observation")  # any tree of tensors
    write_action = action_writer(spaces["action_space"], "action")
    episodes = []
    for table in tables:
        for beginning in table.links.beginnings():
            rows = episode_rows(table, int(beginning))
            step_type, reward, discount = (table.take(column, rows[1:]) for column in (STEP_TYPE, REWARD, DISCOUNT))
            observation = schema.put_together([table.take(column, rows) for column in schema.observation], None)
            action = schema.actions([table.take(column, rows[1:]) for column in schema.action])
            terminations = (step_type == StepType.LAST) & (discount == 0)
            truncations = (step_type == StepType.LAST) & (discount > 0)
            truncations[-1] |= step_type[-1] != StepType.LAST
            episodes.append(
                EpisodeBuffer(
                    observations=write_observation(observation),
                    actions=write_action(action),
                    rewards=reward,
                    terminations=terminations,
                    truncations=truncations,
                )
            )
    return minari.create_dataset_from_buffers(dataset_id, episodes, **{"jpeg_encoding": False, **spaces, **options})


def import_minari(dataset: "str | minari.MinariDataset", path: str | Path, source: str | None = None) -> ReplayBuffer:
    """Records a Minari dataset to a folder, from which it is sampled or shown again, one lane.

    Args:
      dataset: a dataset, or the id of one that Minari has on this machine.
      path: the folder, as of `ReplayBuffer`.
      source: name of the source; the default is the dataset's id.

    Returns:
      `ReplayBuffer(path=path, source=source)`.

    Raises:
      SpecError: its spaces cannot be described, or something else was recorded there.
      MissingDependencyError: Minari is not installed.
    """
    minari = import_package()
    from aexp_torch.specs.space_data import batch_reader
    from aexp_torch.specs.spaces import space_modalities, space_to_spec

    if isinstance(dataset, str):
        dataset = minari.load_dataset(dataset)
    sides = {"observation": dataset.observation_space, "action": dataset.action_space}
    trees = {side: space_to_spec(space, side) for side, space in sides.items()}
    modalities = {side: space_modalities(space, side) for side, space in sides.items()}
    read = {side: batch_reader(space, side) for side, space in sides.items()}
    schema = Schema(source or dataset.id, EnvSpec(trees["observation"], trees["action"], modalities=modalities))
    table = Table.on_disk(Path(path) / quoted(schema.source) / "0", None, schema, 0, writable=True)
    try:
        for episode in dataset.iterate_episodes():
            observation = [leaf.numpy() for _, leaf in flatten(read["observation"](episode.observations))]
            action = [leaf.numpy() for _, leaf in flatten(read["action"](episode.actions))]
            table.extend(rows_of(schema, episode, observation, action))
    finally:
        table.rows.close()
    return ReplayBuffer(path=path, source=schema.source)


def rows_of(schema: Schema, episode: Any, observation: list[np.ndarray], action: list[np.ndarray]) -> list[np.ndarray]:
    """Returns an episode as columns: T + 1 rows, each with the action and reward that led to it."""
    steps = len(episode.rewards)
    values: list[np.ndarray] = [np.empty(0)] * len(schema.columns)
    values[STEP_TYPE] = np.full(steps + 1, StepType.MID, np.int8)
    values[STEP_TYPE][0], values[STEP_TYPE][-1] = StepType.FIRST, StepType.LAST
    values[REWARD] = np.concatenate([[0], episode.rewards]).astype(np.float32)
    values[DISCOUNT] = np.ones(steps + 1, np.float32)
    values[DISCOUNT][-1] = float(not episode.terminations[-1])
    values[LANE] = np.zeros(steps + 1, np.int32)
    values[PRESENT] = schema.plain
    for column, value in zip(schema.observation, observation):
        values[column] = value
    for column, value in zip(schema.action, action):
        values[column] = np.concatenate([np.zeros_like(value[:1]), value])
    return values


def episode_rows(table: Table, beginning: int) -> np.ndarray:
    """Returns the rows of an episode."""
    rows, length = np.array([beginning]), 64
    while True:
        chain = table.links.follow(rows[:1], length)[:, 0]
        if chain[-1] == chain[-2]:
            return chain[: int(np.argmax(chain == chain[-1])) + 1]
        length *= 4


def import_package() -> Any:
    """Returns the package."""
    try:
        import minari
    except ImportError as error:
        raise MissingDependencyError(
            "export_minari and import_minari: expected the package minari, it is not installed. Run: pip install"
            ' "aexp-torch[minari]"'
        ) from error
    return minari
