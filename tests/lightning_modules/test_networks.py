"""Encoders and decoders fit any spec, with keys missing and rows masked."""

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.specs.check import action_checker
from aexp_torch.testing import CountingEnv
from lightning_modules.networks import (
    Body,
    Decoder,
    Encoder,
    Inputs,
    merge_time,
    module_key,
    policy_inputs,
    read_inputs,
    seeded,
    select_rows,
)
from lightning_modules.networks.leaf_encoders import GridEncoder, Numbers

LEAVES = {
    "real": specs.Array((4,), np.float32),
    "double": specs.Array((), np.float64),
    "bounded": specs.BoundedArray((2,), np.float32, -100, 100),
    "infinite": specs.BoundedArray((2,), np.float32, -np.inf, np.inf),
    "binary": specs.BoundedArray((3,), np.int8, 0, 1),
    "yes": specs.BoundedArray((), np.bool_, False, True),
    "choice": specs.DiscreteArray(5),
    "from_minus_two": specs.BoundedArray((), np.int64, -2, 2),
    "choices": specs.BoundedArray((2,), np.int64, 0, [1, 7]),
    "unbounded": specs.Array((), np.int64),
    "small_grid": specs.Array((8, 8), np.float32),
    "photo": specs.BoundedArray((84, 84, 3), np.uint8, 0, 255),
    "frames": specs.BoundedArray((4, 84, 84), np.uint8, 0, 255),
    "tiny_grid": specs.Array((3, 2), np.float32),
    "video": specs.Array((2, 16, 16, 3), np.float32),
    "panorama": specs.BoundedArray((20, 90, 3), np.uint8, 0, 255),
    "strip": specs.Array((2, 300), np.float32),
    "long_text": specs.BoundedArray((700,), np.uint8, 0, 255),
    "text": specs.BoundedArray((12,), np.uint8, 0, 255),
    "words": specs.Array((6,), np.int64),
}


def spec_of(observation: dict, action: dict | None = None, **kinds: ae.Modality) -> ae.EnvSpec:
    return ae.EnvSpec(observation, action or {}, modalities={"observation": kinds})


def data_for(spec: specs.Array, rows: int = 3) -> torch.Tensor:
    generator = np.random.default_rng(0)
    if spec.dtype.kind == "f":
        return torch.from_numpy(generator.standard_normal((rows, *spec.shape)).astype(spec.dtype))
    low, high = getattr(spec, "minimum", 0), getattr(spec, "maximum", 1000)
    return torch.from_numpy(
        np.asarray(generator.integers(low, high + np.int64(1), (rows, *spec.shape))).astype(spec.dtype)
    )


@pytest.mark.parametrize("name", LEAVES)
def test_encodes_every_kind_of_leaf(name):
    spec = spec_of({name: LEAVES[name]})
    body = Body(*policy_inputs(spec), width=16)
    value = data_for(LEAVES[name], rows=8)
    features = body(read_inputs({name: value}, body.encoder.paths, 8))
    assert features.shape == (8, 16) and features.isfinite().all()
    assert len(features.unique(dim=0)) > 1
    features.sum().backward()


@pytest.mark.parametrize("structure", ["set", "sequence"])
def test_encodes_sets_and_sequences_of_numbers(structure):
    spec = spec_of({"x": specs.Array((5, 2), np.float32)}, x=ae.Modality(structure, "real"))
    encoder = Encoder(*policy_inputs(spec), width=8)
    value = torch.randn(3, 5, 2)
    features, turned = (encoder(Inputs({"x": x}, {}, 3)) for x in (value, value.flip(1)))
    assert features.shape == (3, 8)
    assert torch.allclose(features, turned, atol=1e-6) == (structure == "set")


def test_refuses_a_graph():
    spec = spec_of({"x": specs.Array((5, 2), np.float32)}, x=ae.Modality("graph", "real"))
    with pytest.raises(ae.SpecError, match="'x', got a graph"):
        Encoder(*policy_inputs(spec), width=8)


def test_finds_the_axis_of_the_channels():
    for shape, last in (((84, 84, 3), True), ((3, 84, 84), False), ((8, 8), False), ((7, 7, 20), False)):
        grid = Encoder(*policy_inputs(spec_of({"x": specs.Array(shape, np.float32)}, x=ae.Modality("grid", "real"))), 8)
        assert next(m for m in grid.modules() if isinstance(m, GridEncoder)).channels_last == last


def test_text_padding_says_nothing():
    encoder = Encoder(*policy_inputs(spec_of({"text": LEAVES["text"]})), width=8)
    short, long = torch.zeros(1, 12, dtype=torch.uint8), torch.zeros(1, 20, dtype=torch.uint8)
    short[0, :3] = long[0, :3] = torch.tensor([72, 105, 33])
    one, other = (encoder(Inputs({"text": text}, {}, 1)) for text in (short, long))
    torch.testing.assert_close(one, other)
    assert not encoder(Inputs({"text": torch.zeros_like(short)}, {}, 1)).any()


def test_long_texts_are_read_to_their_end():
    encoder = Encoder(*policy_inputs(spec_of({"text": LEAVES["long_text"]})), width=8)
    text = torch.zeros(4, 700, dtype=torch.uint8)
    text[0, :3] = text[1, :600] = text[2, :600] = text[3, :1] = 65
    text[2, 599] = 66
    features = encoder(Inputs({"text": text}, {}, 4))
    assert len(features.unique(dim=0)) == 4
    torch.testing.assert_close(encoder(Inputs({"text": text[:1]}, {}, 1))[0], features[0])  # whatever stands beside it


@pytest.mark.parametrize("shape", [(16_000,), (4_000, 2), (5, 12, 12), (70, 8, 8, 3)])
def test_reads_sounds_and_videos(shape):
    spec = spec_of({"x": specs.Array(shape, np.float32)}, x=ae.Modality("sequence", "real"))
    encoder = Encoder(*policy_inputs(spec), width=8)
    value = torch.randn(3, *shape, requires_grad=True)
    features = encoder(Inputs({"x": value}, {}, 3))
    assert features.shape == (3, 8) and len(features.unique(dim=0)) == 3
    features.sum().backward()
    assert value.grad[:, 0].any() and value.grad[:, -1].any()


def test_reals_without_bounds_stay_of_a_sensible_size():
    numbers = Numbers(specs.Array((6,), np.float32))
    value = torch.tensor([[0.5, -10.0, 1e6, -1e30, torch.inf, torch.nan]])
    assert numbers(value)[0, :2].tolist() == [0.5, -10.0]
    assert 10 < numbers(value)[0, 2] < 25 and -100 < numbers(value)[0, 3] < -25
    assert numbers(value)[0, 4:].tolist() == [0.0, 0.0]


def nested() -> ae.EnvSpec:
    return spec_of({"a": {"b": LEAVES["real"], "c": LEAVES["choice"]}, "d": LEAVES["text"]})


def test_absent_keys_and_masked_rows_are_zeros():
    spec = nested()
    encoder = Encoder(*policy_inputs(spec), width=8)
    real, choice, text = (data_for(LEAVES[name]) for name in ("real", "choice", "text"))
    whole = {"a": {"b": real, "c": choice}, "d": text}
    rows = torch.tensor([True, False, True])
    masked = encoder(read_inputs({**whole, "mask:a": rows}, encoder.paths, 3))
    without = encoder(read_inputs({"a": {"b": None, "c": None}, "d": text}, encoder.paths, 3))
    everything = encoder(read_inputs(whole, encoder.paths, 3))
    torch.testing.assert_close(masked[1], without[1])
    torch.testing.assert_close(masked[0], everything[0])
    assert not torch.equal(without, everything)


def test_knows_which_rows_have_anything():
    paths = Encoder(*policy_inputs(nested()), width=8).paths
    value, rows = torch.zeros(2, 4), torch.tensor([True, False])
    assert read_inputs({"a": {"b": value}}, paths, 2).present() is None
    assert read_inputs({"a": {"b": value, "mask:b": rows}, "d": None}, paths, 2).present().tolist() == [True, False]
    assert read_inputs({"a": {"mask:c": rows, "c": value}, "mask:a": ~rows}, paths, 2).present().tolist() == [False] * 2
    assert read_inputs({"d": None}, paths, 2).present().tolist() == [False, False]


def test_rows_and_time():
    inputs = Inputs({"x": torch.arange(6).view(6, 1)}, {"x": torch.arange(6) > 2}, 6)
    chosen = select_rows(inputs, torch.tensor([4, 1]))
    assert chosen.values["x"].flatten().tolist() == [4, 1] and chosen.masks["x"].tolist() == [True, False]
    assert merge_time({"a": {"b": torch.zeros(3, 2, 5)}, "c": None})["a"]["b"].shape == (6, 5)


def test_what_is_revealed_is_no_input():
    spec = spec_of({"x": LEAVES["real"], "y": LEAVES["choice"]}, {"predict:y": LEAVES["choice"]})
    assert list(policy_inputs(spec)[0]) == ["x"]


def test_what_is_predicted_of_the_next_timestep_is_an_input():
    spec = CountingEnv().pipe(ae.PredictInputs, signals=True).specs["CountingEnv"]
    assert {"predict:observation", "predict:reward"} < set(spec.action)
    assert list(policy_inputs(spec)[0]) == ["observation"]
    delayed = ae.DatasetEnv({"x": torch.zeros(4), "y": torch.zeros(4)}, batch_size=2, mode="delayed", name="data")
    spec = delayed.pipe(ae.PredictInputs, keys="x").specs["data"]
    assert set(spec.action) == {"predict:x", "predict:y"}
    assert list(policy_inputs(spec)[0]) == ["x"]


def test_grids_share_an_encoder_and_flat_vectors_do_not():
    shared: dict = {}
    specs_of_two = [spec_of({"grid": LEAVES["small_grid"], "flat": LEAVES["real"]}) for _ in range(2)]
    one, other = (Encoder(*policy_inputs(spec), 8, shared=shared) for spec in specs_of_two)
    assert one.leaves[module_key("grid")] is other.leaves[module_key("grid")]
    assert one.leaves[module_key("flat")] is not other.leaves[module_key("flat")]


@pytest.mark.parametrize(
    "name", ["real", "double", "bounded", "binary", "yes", "choice", "from_minus_two", "choices", "text", "small_grid"]
)
def test_decodes_every_kind_of_leaf(name):
    action = {"outer": {name: LEAVES[name]}}
    spec = ae.EnvSpec({}, action)
    decoder = Decoder(action, spec.modalities["action"], 8)
    parameters = decoder(torch.randn(50, 8))
    generator = torch.Generator().manual_seed(0)
    raw = decoder.sample(parameters, generator)
    check = action_checker(action, 50)
    for answer in (decoder.answer(raw), decoder.answer(decoder.mode(parameters))):
        check(answer, lambda: True)
    log_prob = decoder.log_prob(parameters, raw)
    assert log_prob.shape == decoder.entropy(parameters).shape == (50,)
    assert (log_prob <= decoder.log_prob(parameters, decoder.mode(parameters)) + 1e-6).all()
    if name not in ("bounded", "text"):  # there, answers are clipped, or what is no UTF-8 is left out
        again = decoder.from_answer(decoder.answer(raw))
        torch.testing.assert_close(again[f"outer/{name}"], raw[f"outer/{name}"])
    log_prob.sum().backward()


def test_texts_end_at_their_first_zero():
    decoder = Decoder({"a": LEAVES["text"]}, {"a": ae.Modality("sequence", "categorical")}, 4)
    (leaf,) = decoder.leaves.values()
    logits = torch.full((2, 12, 256), -100.0)
    for row, word in enumerate([b"ab", b"abcdefghijkl"]):
        for place, byte in enumerate(word.ljust(12, b"\0")):
            logits[row, place, byte] = 0.0
    text = decoder.answer(decoder.mode({"a": logits}))["a"]
    assert [bytes(row).rstrip(b"\0") for row in text.tolist()] == [b"ab", b"abcdefghijkl"]
    torch.testing.assert_close(leaf.log_prob(logits, text.long()), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(leaf.entropy(logits), torch.zeros(2), atol=1e-4, rtol=0)
    logits[:, 5:] = 0.0  # what follows the end of a text counts nowhere
    assert leaf.log_prob(logits, text.long())[0] == pytest.approx(0, abs=1e-4)
    assert leaf.entropy(logits)[0] == pytest.approx(0, abs=1e-4)
    assert leaf.entropy(logits)[1] > 5
    fair = torch.log(torch.tensor([0.5, 0.25, 0.25])).expand(1, 12, 3)
    expected = sum(0.5**place for place in range(12)) * 1.0397
    assert float(leaf.entropy(torch.nn.functional.pad(fair, (0, 253), value=-1e4))) == pytest.approx(expected, abs=1e-3)


def test_images_are_drawn_as_numbers():
    spec = specs.BoundedArray((4, 4, 3), np.uint8, 0, 255)
    decoder = Decoder({"a": spec}, {"a": ae.Modality("grid", "integer")}, 4)
    assert decoder.is_real(("a",))
    answer = decoder.answer({"a": torch.linspace(-2, 2, 96).view(2, 48)})["a"]
    assert answer.dtype == torch.uint8 and answer.min() == 0 and answer.max() == 255
    image = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    assert torch.equal(decoder.answer(decoder.from_answer({"a": image}))["a"], image)


def test_what_cannot_be_decoded_is_answered_with_its_smallest_value():
    tree = {"a": specs.Array((2,), np.int64), "b": specs.DiscreteArray(3)}
    told: list[str] = []
    decoder = Decoder(tree, ae.EnvSpec({}, tree).modalities["action"], 4, lambda name, error: told.append(name))
    parameters = decoder(torch.randn(5, 4))
    raw = decoder.sample(parameters, torch.Generator().manual_seed(0))
    action_checker(tree, 5)(decoder.answer(raw), lambda: True)
    assert told == ["a"] and decoder.learned == [("b",)] and not decoder.answer(raw)["a"].any()
    assert decoder.log_prob(parameters, raw).shape == decoder.entropy(parameters).shape == (5,)


def test_draws_follow_their_probabilities():
    action = {"a": specs.DiscreteArray(3)}
    decoder = Decoder(action, ae.EnvSpec({}, action).modalities["action"], 2)
    parameters = {"a": torch.tensor([0.7, 0.2, 0.1]).log().expand(20_000, 1, 3)}
    drawn = decoder.sample(parameters, torch.Generator().manual_seed(0))["a"].flatten()
    frequency = torch.bincount(drawn, minlength=3) / len(drawn)
    torch.testing.assert_close(frequency, torch.tensor([0.7, 0.2, 0.1]), atol=0.02, rtol=0)
    torch.testing.assert_close(decoder.log_prob(parameters, {"a": drawn[:, None]})[0], parameters["a"][0, 0, drawn[0]])
    expected = torch.distributions.Categorical(logits=parameters["a"][0, 0]).entropy()
    torch.testing.assert_close(decoder.entropy(parameters)[0], expected)


def test_real_answers_agree_with_torch():
    action = {"a": specs.BoundedArray((2,), np.float32, [-2, 0], [2, 1])}
    decoder = Decoder(action, ae.EnvSpec({}, action).modalities["action"], 2)
    mean, raw = torch.randn(5, 2), torch.randn(5, 2)
    normal = torch.distributions.Normal(mean, decoder.leaves[module_key("a")].log_std.exp())
    torch.testing.assert_close(decoder.log_prob({"a": mean}, {"a": raw}), normal.log_prob(raw).sum(-1))
    torch.testing.assert_close(decoder.entropy({"a": mean}), normal.entropy().sum(-1))
    far = decoder.answer({"a": torch.tensor([[9.0, -9.0], [0.0, 0.0]])})["a"]
    assert far.tolist() == [[2.0, 0.0], [0.0, 0.5]]


def test_refuses_integers_without_bounds():
    action = {"a": specs.Array((), np.int64)}
    with pytest.raises(ae.SpecError, match="bounds for the integers of 'a'"):
        Decoder(action, ae.EnvSpec({}, action).modalities["action"], 8)


def test_weights_come_from_their_own_seed():
    def weights(seed: int) -> torch.Tensor:
        with seeded(seed):
            return Body(*policy_inputs(nested()), width=8).encoder.join[0].weight

    state = torch.get_rng_state()
    assert torch.equal(weights(3), weights(3)) and not torch.equal(weights(3), weights(4))
    assert torch.equal(torch.get_rng_state(), state)
