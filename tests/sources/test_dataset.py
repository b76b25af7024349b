"""DatasetEnv: what each mode shows and when, what a prediction is worth, and every sample once."""

import numpy as np
import pytest
import torch
from dm_env import specs
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from torch.utils.data.datapipes.iter import IterableWrapper

import aexp_torch as ae
from aexp_torch.errors import ActionError, EndOfStream, SpecError

pytestmark = pytest.mark.timeout(60)
X = torch.tensor([10.0, 11, 12, 13, 14])
Y = torch.tensor([0, 1, 2, 0, 1])
NONE = None


def make(**options):
    return ae.DatasetEnv({"x": X, "y": Y}, name="five", **{"batch_size": 2, **options})


def told(env, num_steps=99, predict=lambda timestep: torch.tensor([0, 1])):
    """Lists (step type, x, y, reward, mask:x, mask:y) until the stream is over."""
    seen = []
    for _, timestep in zip(range(num_steps), env):
        observation = timestep.observation
        values = [observation[key].tolist() if observation.get(key) is not None else None for key in ("x", "y")]
        masks = [observation[key].tolist() if key in observation else None for key in ("mask:x", "mask:y")]
        assert len(set(timestep.step_type.tolist())) == 1 and timestep.discount.tolist() == [1, 1]
        seen.append((timestep.step_type[0].item(), *values, timestep.reward.tolist(), *masks))
        if env.specs["five"].action:
            timestep.reply(predict(timestep))
    return seen


A, B, C = ([10, 11], [0, 1]), ([12, 13], [2, 0]), ([14, 0], [1, 0])
PAD = [True, False]
FIRST, MID, LAST = 0, 1, 2

GOLDEN = {
    "joint pass": (
        {"epochs": 2},
        [
            (FIRST, *A, [0, 0], NONE, NONE),
            (MID, *B, [0, 0], NONE, NONE),
            (LAST, *C, [0, 0], PAD, PAD),
        ]
        * 2,
    ),
    "joint endless": (
        {},
        [
            (FIRST, *A, [0, 0], NONE, NONE),
            (MID, *B, [0, 0], NONE, NONE),
            (MID, *C, [0, 0], PAD, PAD),
            (MID, *A, [0, 0], NONE, NONE),
        ],
    ),
    "joint drop_last": (
        {"epochs": 1, "drop_last": True},
        [(FIRST, *A, [0, 0], NONE, NONE), (LAST, *B, [0, 0], NONE, NONE)],
    ),
    "delayed pass": (
        {"epochs": 2, "loss": "correct"},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (MID, B[0], A[1], [1, 1], NONE, NONE),
            (MID, C[0], B[1], [0, 0], PAD, NONE),
            (LAST, NONE, C[1], [0, 0], NONE, PAD),
        ]
        * 2,
    ),
    "delayed endless": (
        {"loss": "correct"},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (MID, B[0], A[1], [1, 1], NONE, NONE),
            (MID, C[0], B[1], [0, 0], PAD, NONE),
            (MID, A[0], C[1], [0, 0], NONE, PAD),
            (MID, B[0], A[1], [1, 1], NONE, NONE),
        ],
    ),
    "delayed, passes without episodes": (
        {"epochs": 1, "mode": "delayed", "episode": None, "loss": "correct"},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (MID, B[0], A[1], [1, 1], NONE, NONE),
            (MID, C[0], B[1], [0, 0], PAD, NONE),
            (MID, NONE, C[1], [0, 0], NONE, PAD),
        ],
    ),
    "delayed batch": (
        {"epochs": 1, "mode": "delayed", "episode": "batch", "loss": "correct"},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (LAST, NONE, A[1], [1, 1], NONE, NONE),
            (FIRST, B[0], NONE, [0, 0], NONE, NONE),
            (LAST, NONE, B[1], [0, 0], NONE, NONE),
            (FIRST, C[0], NONE, [0, 0], PAD, NONE),
            (LAST, NONE, C[1], [0, 0], NONE, PAD),
        ],
    ),
    "split pass": (
        {"epochs": 1, "mode": "split", "loss": "correct"},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (MID, NONE, A[1], [1, 1], NONE, NONE),
            (MID, B[0], NONE, [0, 0], NONE, NONE),
            (MID, NONE, B[1], [0, 0], NONE, NONE),
            (MID, C[0], NONE, [0, 0], PAD, NONE),
            (LAST, NONE, C[1], [0, 0], NONE, PAD),
        ],
    ),
    "split without a loss": (
        {"mode": "split", "drop_last": True},
        [
            (FIRST, A[0], NONE, [0, 0], NONE, NONE),
            (MID, NONE, A[1], [0, 0], NONE, NONE),
            (MID, B[0], NONE, [0, 0], NONE, NONE),
            (MID, NONE, B[1], [0, 0], NONE, NONE),
            (MID, A[0], NONE, [0, 0], NONE, NONE),
        ],
    ),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_what_each_mode_shows(case):
    options, expected = GOLDEN[case]
    env = make(**options)
    assert told(env, len(expected) + ("epochs" in options)) == expected
    assert env.stream_length == (len(expected) if "epochs" in options else None)


@pytest.mark.parametrize("case", [case for case in GOLDEN if "epochs" in GOLDEN[case][0]])
def test_after_its_end_a_stream_starts_over(case):
    options, expected = GOLDEN[case]
    env = make(**options)
    assert told(env) == told(env) == expected
    env.reset()
    for _ in range(len(expected) - 1):
        env.step(torch.tensor([0, 1]) if env.action_spec() else None)
    with pytest.raises(EndOfStream, match=r"DatasetEnv\('five'\): \d passes over the data are done"):
        env.step(torch.tensor([0, 1]) if env.action_spec() else None)
    assert env.step(None).first().all()


def test_reset_begins_a_new_pass():
    env = make(epochs=1, loss="correct")
    env.reset()
    env.step(torch.tensor([0, 0]))
    timestep = env.reset()
    assert timestep.first().all() and timestep.observation["x"].tolist() == A[0]
    assert len(told(env)) == 4


# What a prediction is worth


def test_cross_entropy_takes_logits_and_gives_minus_the_loss():
    env = make(loss="cross_entropy", epochs=1)
    assert env.action_spec() == {"predict:y": specs.Array((3,), np.float32, "logits")}
    env.reset()
    logits = torch.tensor([[2.0, 0, 0], [0.0, 0, 0]])
    reward = env.step(logits).reward
    np.testing.assert_allclose(reward, [2 - np.log(np.exp(2) + 2), -np.log(3)], rtol=1e-6)


def test_mse_is_the_mean_over_what_one_row_holds():
    pairs = torch.tensor([[1.0, 2], [3, 4]])
    env = ae.DatasetEnv({"x": torch.zeros(2), "y": pairs}, batch_size=2, loss="mse")
    assert env.action_spec()["predict:y"].shape == (2,)
    env.reset()
    assert env.step(torch.tensor([[1.0, 0], [0, 0]])).reward.tolist() == [-2.0, -12.5]
    scalar = ae.DatasetEnv({"x": torch.zeros(2), "y": torch.tensor([1.0, 3.0])}, batch_size=2, loss="mse")
    scalar.reset()
    assert scalar.step(torch.tensor([0.0, 1.0])).reward.tolist() == [-1, -4]


def test_correct_wants_every_element():
    env = ae.DatasetEnv({"x": torch.zeros(2), "y": torch.tensor([[1, 2], [3, 4]])}, batch_size=2, loss="correct")
    env.reset()
    assert env.step(torch.tensor([[1, 2], [3, 5]])).reward.tolist() == [1, 0]


def absolute(prediction, y):
    return (prediction - y).abs().float()


def test_a_loss_of_ones_own():
    env = make(loss=absolute)
    env.reset()
    assert env.step(torch.tensor([2, 2])).reward.tolist() == [-2, -1]


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda prediction, y: (prediction - y).float().mean(), r"finite float32 \[2\], got float32 \[\]"),
        (lambda prediction, y: (prediction - y) / 0.0, r"finite float32 \[2\], got \[nan"),
    ],
)
def test_a_loss_that_gives_something_else(loss, match):
    env = make(loss=loss)
    env.reset()
    with pytest.raises(SpecError, match=match):
        env.step(torch.tensor([0, 1]))


def test_predictions_have_ys_spec_unless_given():
    assert make(mode="split").action_spec()["predict:y"] == specs.DiscreteArray(3, np.int64, "y")
    given = specs.Array((7,), np.float32)
    env = make(mode="split", prediction_spec=given)
    assert env.action_spec()["predict:y"] is given
    env.reset().reply(torch.zeros(2, 7))
    env = make(mode="split")
    with pytest.raises(ActionError, match="got 3 in lane 0"):
        env.reset().reply(torch.tensor([3, 0]))


def test_another_target():
    data = {"image": torch.zeros(4, 2), "label": torch.tensor([0, 1, 1, 0])}
    env = ae.DatasetEnv(data, batch_size=2, mode="split", target="label")
    assert list(env.action_spec()) == ["predict:label"]
    assert env.reset().observation["label"] is None
    with pytest.raises(
        SpecError, match=r"expected the target 'y' and something to predict it from, .*\['image', 'label'\]"
    ):
        ae.DatasetEnv(data, batch_size=2, mode="split").reset()


# Specs


def test_specs_are_guessed_and_may_be_given():
    data = {
        "x": torch.zeros(3, 8, 8, 3, dtype=torch.uint8),
        "y": torch.tensor([0, 4, 2]),
        "z": {"deep": torch.zeros(3)},
    }
    spec = ae.DatasetEnv(data, batch_size=2).specs["dict"]
    assert spec.observation["x"] == specs.BoundedArray((8, 8, 3), np.uint8, 0, 255, "x")
    assert spec.observation["y"] == specs.DiscreteArray(5, np.int64, "y")
    assert spec.observation["z"]["deep"] == specs.Array((), np.float32, "z/deep")
    assert spec.modalities["observation"]["x"] == ae.Modality("grid", "integer", "natural")
    assert spec.action == {} and spec.num_envs == 2
    ten, tag = specs.DiscreteArray(10, np.int64), ae.Modality("flat", "categorical", "digits")
    spec = ae.DatasetEnv(data, batch_size=2, specs={"y": ten}, modalities={"y": tag}).specs["dict"]
    assert spec.observation["y"] is ten and spec.modalities["observation"]["y"] is tag
    with pytest.raises(SpecError, match="got one for"):
        ae.DatasetEnv(data, batch_size=2, specs={"label": ten}).reset()


def test_cross_entropy_needs_a_number_of_classes():
    samples = [{"x": 0.0, "y": 1}, {"x": 1.0, "y": 2}]
    with pytest.raises(SpecError, match="expected a known number of classes for loss='cross_entropy'"):
        ae.DatasetEnv(samples, batch_size=2, loss="cross_entropy").reset()
    three = {"y": specs.DiscreteArray(3, np.int64)}
    assert ae.DatasetEnv(samples, batch_size=2, loss="cross_entropy", specs=three).action_spec()["predict:y"].shape == (
        3,
    )


# Slots


@pytest.mark.parametrize("num_slots", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"shuffle": True}, {"mode": "delayed"}, {"mode": "split", "shuffle": True}])
def test_the_slots_of_a_pass_hold_every_sample_once(num_slots, options):
    seen = []
    for slot in range(num_slots):
        env = make(epochs=1, **options)
        env.place(seed=3, slot=slot, num_slots=num_slots)
        env.on_missing = "sample"
        count = 0
        for timestep in env:
            count += 1
            if timestep.observation["x"] is not None:
                mask = timestep.observation.get("mask:x", torch.ones(2, dtype=torch.bool))
                seen += timestep.observation["x"][mask].tolist()
        assert count == env.stream_length
    assert sorted(seen) == X.tolist()


def test_shuffled_passes_differ_and_follow_from_the_seed():
    def order(seed):
        env = make(shuffle=True, epochs=2, seed=seed, batch_size=1)
        return [timestep.observation["x"].item() for timestep in env]

    assert order(0) == order(0) != order(1)
    assert sorted(order(0)[:5]) == sorted(order(0)[5:]) == X.tolist()
    assert order(0)[:5] != order(0)[5:]


def test_a_slot_without_minibatches_ends_or_says_so():
    env = make(epochs=1)
    env.place(seed=0, slot=4, num_slots=5)
    assert list(env) == [] and env.stream_length == 0
    endless = make()
    endless.place(seed=0, slot=4, num_slots=5)
    with pytest.raises(SpecError, match="expected at least one minibatch per slot, this slot has none"):
        endless.reset()


# Data of every kind, end to end


class MapStyle(Dataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        return X[index], int(Y[index])


class Iterable(IterableDataset):
    def __iter__(self):
        return iter([MapStyle()[index] for index in range(5)])


@pytest.mark.filterwarnings("ignore:.*skip")
@pytest.mark.parametrize(
    "data",
    [
        {"x": X, "y": Y},
        {"x": X.numpy(), "y": Y.numpy()},
        (X, Y),
        [X, Y],
        TensorDataset(X, Y),
        MapStyle(),
        [MapStyle()[index] for index in range(5)],
        Iterable(),
        IterableWrapper([MapStyle()[index] for index in range(5)]),
        DataLoader(MapStyle(), batch_size=2),
        DataLoader(Iterable(), batch_size=2),
    ],
    ids=lambda data: type(data).__name__,
)
@pytest.mark.parametrize("mode", ["joint", "delayed", "split"])
def test_every_kind_of_data(data, mode):
    batching = {} if isinstance(data, DataLoader) else {"batch_size": 2}
    env = ae.DatasetEnv(data, mode=mode, epochs=1, name="five", **batching)
    case = {"joint": "joint pass", "delayed": "delayed pass", "split": "split pass"}[mode]
    expected = [(kind, x, y, [0, 0], *masks) for kind, x, y, _, *masks in GOLDEN[case][1]]
    expected = expected[: len(expected) // (1 if mode == "split" else 2)]
    assert told(env, predict=lambda _: torch.tensor([0, 0])) == expected
    lengths = {"joint": 3, "delayed": 4, "split": 6}
    if env.stream_length is not None:
        assert env.stream_length == lengths[mode]


def test_a_sample_of_one_value_and_of_text():
    env = ae.DatasetEnv(["ab", "cde"], batch_size=2, epochs=1)
    (timestep,) = list(env)
    (value,) = timestep.observation.values()
    assert value.tolist() == [[97, 98, 0], [99, 100, 101]]


# Errors


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: make(mode="both"), "expected mode 'joint', 'delayed' or 'split', got 'both'"),
        (lambda: make(episode="minibatch"), "expected episode 'pass', 'batch' or None, got 'minibatch'"),
        (lambda: make(mode="joint", loss="mse"), "expected no loss in mode 'joint'"),
        (lambda: make(episode="batch"), "one timestep cannot be FIRST and LAST"),
        (lambda: make(epochs=0), "expected epochs of at least 1, or None, got 0"),
        (lambda: make(loss="hinge"), r"one of \['correct', 'cross_entropy', 'mse'\], got 'hinge'"),
        (lambda: make(batch_size=0).reset(), "batch_size"),
        (lambda: ae.DatasetEnv({"x": X[:0], "y": Y[:0]}, batch_size=2).reset(), "at least one sample"),
        (lambda: ae.DatasetEnv({"x": X, "y": Y[:3]}, batch_size=2).reset(), r"equal length.*'x': 5, 'y': 3"),
        (lambda: ae.DatasetEnv([{"x": 1.0}, {"z": 1.0}], batch_size=2).reset(), "x|z"),
        (
            lambda: ae.DatasetEnv([{"x": np.zeros(2)}, {"x": np.zeros(3)}], batch_size=2).reset(),
            r"'x' to be float64 \[2\]",
        ),
        (lambda: ae.DatasetEnv({"x": X[:1]}, batch_size=2, drop_last=True).reset(), "drop_last"),
        (lambda: ae.DatasetEnv(iter([1, 2]), batch_size=2).reset(), "iterator"),
        (lambda: ae.DatasetEnv(3, batch_size=2).reset(), "expected data to be one of"),
        (lambda: ae.DatasetEnv(DataLoader(MapStyle(), batch_size=2), batch_size=2).reset(), "keeps its own batching"),
        (lambda: make(wrong_option=3).reset(), "wrong_option"),
    ],
)
def test_what_does_not_fit_is_refused(build, match):
    with pytest.raises((SpecError, TypeError), match=match):
        build()


def test_names():
    assert make().name == "five"
    assert ae.DatasetEnv(MapStyle(), batch_size=1).name == "MapStyle"
    assert ae.DatasetEnv({"x": X}, batch_size=1).name == "dict"


def test_building_reads_nothing():
    class Unread(Dataset):
        def __len__(self):
            raise AssertionError("read too early")

        def __getitem__(self, index):
            raise AssertionError("read too early")

    env = ae.DatasetEnv(Unread(), batch_size=2).pipe(ae.ObserveReward)
    ae.Loader(env, steps_per_epoch=2)
