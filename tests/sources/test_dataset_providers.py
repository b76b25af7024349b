"""TFDS and WebDataset, end to end: from files in the provider's own format to timesteps and back to the same place."""

import io

import numpy as np
import pytest
import torch

import aexp_torch as ae

pytestmark = [pytest.mark.filterwarnings("ignore:unclosed file <_io.BufferedReader name='.*tar'>")]


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    from tests.sources.tfds_squares import Squares

    builder = Squares(data_dir=str(tmp_path_factory.mktemp("tfds")), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder.as_data_source(split="train")


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    webdataset = pytest.importorskip("webdataset")
    path = tmp_path_factory.mktemp("shards") / "squares-000000.tar"
    with webdataset.TarWriter(str(path)) as writer:
        for index in range(23):
            row = {"__key__": f"{index:04d}", "x.npy": np.full(3, index, np.float32), "y.cls": index % 5}
            writer.write(row)
    return str(path)


def rest_after(env, number):
    """Returns what follows `number` timesteps, and what follows them in a copy that went on from a saved state."""
    timesteps, state = [], None
    for timestep in env:
        timesteps.append(timestep)
        if env.action_spec():
            timestep.reply(torch.full((4,), timestep.ticket.step % 5))
        if len(timesteps) == number:
            buffer = io.BytesIO()
            torch.save(env.state_dict(), buffer)
            buffer.seek(0)
            state = torch.load(buffer, weights_only=True)
    return timesteps[number:], state


def test_tfds_data_source(squares):
    def make():
        return ae.DatasetEnv(squares, batch_size=4, epochs=2, shuffle=True)

    env = make()
    assert env.name == "squares"
    seen = torch.cat([t.observation["number"] for t in env]).tolist()
    assert sorted(seen[:23]) == list(range(23))  # the short last minibatch is filled up with 0
    rest, state = rest_after(env, 4)
    resumed = make()
    resumed.load_state_dict(state)
    assert [t.observation["number"].tolist() for t in resumed] == [t.observation["number"].tolist() for t in rest]


def test_webdataset_shards(shard):
    import webdataset

    def make():
        data = webdataset.WebDataset(shard, shardshuffle=False).decode().to_tuple("x.npy", "y.cls")
        return ae.DatasetEnv(data, batch_size=4, epochs=2, loss="correct", name="squares", specs={"y": ae_discrete(5)})

    env = make()
    rest, state = rest_after(env, 4)
    assert torch.cat([t.reward for t in rest]).sum() > 0
    resumed = make()
    resumed.load_state_dict(state)
    again = []
    for timestep in resumed:
        again.append(timestep)
        timestep.reply(torch.full((4,), timestep.ticket.step % 5))
    assert [t.reward.tolist() for t in again] == [t.reward.tolist() for t in rest]


def ae_discrete(num_values):
    from dm_env import specs

    return specs.DiscreteArray(num_values, np.int64)
