"""SynEnv: which row is where, what it sees there, and how it gets from one environment to the next."""

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.composition.syn import SynEnv
from aexp_torch.errors import ActionError, EndOfStream, SpecError
from aexp_torch.specs.check import torch_dtype
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import snapshot, streams_differ

pytestmark = pytest.mark.timeout(60)
STAY = -1


def long(**options):
    return CountingEnv(1, [9], **options)


def three():
    return {"a": long(), "b": long(), "c": long(nested=True)}


def data(number=2, **options):
    return ae.DatasetEnv({"x": torch.arange(number)}, batch_size=1, epochs=1, name="data", **options)


def go(env, *following, action=1):
    """Answers with one number in all rows, and with what is to follow."""
    spec = env.specs[env.name].action
    answer = ae.specs.map_tree(
        lambda leaf: torch.full((env.batch_size, *leaf.shape), action, dtype=torch_dtype(leaf)), spec
    )
    if "next_environments" in spec:
        answer["next_environments"] = torch.tensor(following or [STAY] * env.batch_size)
    return env.step(answer)


def place(timestep, row=0):
    """Draws where a row is: its environment's number (- for none) and its step type."""
    current = timestep.observation["current_environments"][row].item()
    return f"{'-' if current < 0 else current}{'FML'[timestep.step_type[row]]}"


def test_the_agent_steps_through_environments():
    env = SynEnv(three(), batch_size=2)
    timesteps = [env.reset()]
    for following in ((STAY, STAY), (1, STAY), (STAY, 2), (STAY, STAY), (0, 0), (STAY, 1), (STAY, STAY), (STAY, STAY)):
        timesteps.append(go(env, *following))
    assert [place(t, 0) for t in timesteps] == ["0F", "0M", "0L", "1F", "1M", "1L", "0F", "0M", "0M"]
    # The new choice at LAST counts: row 1 was to go to 0, and goes to 1.
    assert [place(t, 1) for t in timesteps] == ["1F", "1M", "1M", "1L", "2F", "2L", "1F", "1M", "1M"]
    assert [t.reward.tolist() for t in timesteps][:4] == [[0, 0], [1, 1], [1, 1], [0, 1]]
    assert timesteps[2].truncated().tolist() == [True, False] and timesteps[3].truncated().tolist() == [False, True]


def test_choosing_where_one_is_begins_anew():
    env = SynEnv({"a": long(), "b": long()})
    env.reset()
    assert [place(go(env, following)) for following in (0, STAY, STAY)] == ["0L", "0F", "0M"]


def test_an_episode_that_ends_by_itself_stays_what_it_is():
    env = SynEnv([CountingEnv(1, [2]), long()])
    env.reset()
    go(env)
    timestep = go(env, 1)
    assert place(timestep) == "0L" and timestep.terminated().all()
    assert place(go(env)) == "1F"
    env = SynEnv([CountingEnv(1, [2]), long()])
    env.reset()
    assert [place(go(env)) for _ in range(3)] == ["0M", "0L", "0F"]  # it stays and starts over


def test_what_a_row_does_not_have_is_masked_and_what_none_has_is_none():
    env = SynEnv(three(), batch_size=2)
    seen = env.reset().observation
    assert seen["observation"].tolist() == [0, 0] and "mask:observation" not in seen
    assert seen["count"] is None and seen["where"] == {"lane": None, "age": None}
    go(env, STAY, 2)
    seen = go(env).observation
    assert seen["mask:observation"].tolist() == [True, False] and seen["observation"].tolist() == [2, 0]
    assert seen["mask:count"].tolist() == [False, True] and seen["where"]["mask:age"].tolist() == [False, True]


def test_unequal_specs_have_keys_of_their_own():
    cart, lake = ae.GymnasiumEnv("CartPole-v1"), ae.GymnasiumEnv("FrozenLake-v1")
    env = SynEnv({"cart": cart, "lake": lake}, batch_size=2)
    spec = env.specs["SynEnv"]
    names = ["observation@cart", "observation@lake", "all_environments", "current_environments"]
    assert list(spec.observation) == names
    assert list(spec.action) == ["action@cart", "action@lake", "next_environments"]
    assert spec.modalities["observation"]["observation@cart"].optional
    assert spec.modalities["observation"]["all_environments"] == ae.Modality("set", "categorical")
    push = {"action@cart": torch.tensor([1, 1]), "action@lake": torch.tensor([3, 3])}
    timestep = env.reset()
    alone = ae.GymnasiumEnv("FrozenLake-v1", name="lake")
    alone.place(seed=0, slot=1)  # row r of slot 0 is slot r
    other = alone.reset()
    for _ in range(5):
        timestep = env.step(push | {"next_environments": torch.tensor([STAY, STAY])})
        other = alone.step(torch.tensor([3]))
        assert timestep.observation["observation@lake"][1] == other.observation["observation"][0]
        assert timestep.observation["mask:observation@lake"].tolist() == [False, True]


def test_answers_reach_the_environment_of_their_row():
    env = SynEnv({"a": long(), "b": long()}, batch_size=3)
    env.reset()
    timestep = env.step({"action": torch.tensor([1, 2, 3]), "next_environments": torch.full((3,), STAY)})
    assert timestep.reward.tolist() == [1, 2, 3]
    with pytest.raises(ActionError, match="next_environments"):
        timestep.reply({"action": torch.tensor([1, 2, 3]), "next_environments": torch.tensor([0, 0, 2])})


def test_what_is_done_is_not_offered():
    env = SynEnv({"data": data(4), "a": long()}, batch_size=2)
    timesteps = [env.reset(), *(go(env) for _ in range(2)), go(env, 0, 0)]
    assert [place(t, 0) for t in timesteps] == ["0F", "0L", "-F", "-M"]  # row 0 has two of the four samples
    assert [t.observation["all_environments"].tolist() for t in timesteps[:2]] == [[[0, 1], [0, 1]], [[-1, 1], [0, 1]]]
    assert timesteps[1].truncated()[0] and timesteps[2].observation["x"] is None
    assert timesteps[3].reward.tolist() == [0, 1] and place(timesteps[3], 1) == "1L"
    assert place(go(env, 1, STAY), 1) == "0F"
    assert [place(go(env), 0) for _ in range(2)] == ["1F", "1M"]


def test_last_when_nothing_remains_then_the_stream_ends():
    env = SynEnv([data(3), CountingEnv(1, stream_length=2, num_actions=0)], transition="on_done")
    drawing = [place(timestep) for timestep in env]
    assert drawing == ["0F", "0M", "0L", "1F", "1L"]
    assert place(env.reset()) == "0F"
    env = SynEnv([data(3)], transition="on_done")
    for _ in range(3):
        timestep = env.step({})
    assert timestep.truncated().all() and timestep.observation["all_environments"].tolist() == [[-1]]
    with pytest.raises(EndOfStream, match="every environment is done on every row"):
        env.step({})


def test_rows_deal_a_dataset_out_and_go_on_where_they_left_it():
    env = SynEnv({"data": ae.DatasetEnv({"x": torch.arange(12)}, batch_size=1), "a": long()}, batch_size=2)
    seen = [env.reset()]
    for following in ((STAY, 0), (1, STAY), (STAY, STAY), (0, STAY), (STAY, STAY), (STAY, STAY)):
        seen.append(go(env, *following))
    assert [place(t, 0) for t in seen] == ["0F", "0M", "0L", "1F", "1L", "0F", "0M"]
    assert [place(t, 1) for t in seen] == ["1F", "1L", "0F", "0M", "0M", "0M", "0M"]
    assert [sample(t, 0) for t in seen] == [0, 2, 4, None, None, 6, 8]
    assert [sample(t, 1) for t in seen] == [None, None, 1, 3, 5, 7, 9]


def sample(timestep, row):
    x, mask = timestep.observation["x"], timestep.observation.get("mask:x")
    return None if x is None or (mask is not None and not mask[row]) else x[row].item()


def test_an_environment_with_actions_and_no_episodes_shows_what_was_not_answered_again():
    asked = ae.DatasetEnv({"x": torch.arange(9), "y": torch.zeros(9)}, batch_size=1, loss="mse", name="data")
    env = SynEnv({"data": asked, "a": long()})
    seen = [env.reset(), go(env), go(env, 1), go(env), go(env, 0), go(env)]
    assert [place(t) for t in seen] == ["0F", "0M", "0L", "1F", "1L", "0F"]
    assert [sample(t, 0) for t in seen] == [0, 1, 2, None, None, 2]
    assert seen[-1].reward.tolist() == [0] and sample(go(env), 0) == 3


def test_on_done_goes_on_with_the_next():
    env = SynEnv([CountingEnv(1, [1]), CountingEnv(1, [2]), CountingEnv(1, [1])], 2, "on_done")
    timesteps = [env.reset(), *(go(env) for _ in range(8))]
    assert [place(t, 0) for t in timesteps] == ["0F", "0L", "1F", "1M", "1L", "2F", "2L", "0F", "0L"]
    assert [place(t, 1) for t in timesteps] == ["1F", "1M", "1L", "2F", "2L", "0F", "0L", "1F", "1M"]
    assert "next_environments" not in env.specs["SynEnv"].action


def test_a_function_chooses():
    asked = []

    def choose(step, current, available):
        asked.append((step, current.tolist(), available.tolist()))
        return torch.tensor([1, STAY]) if step == 1 else [STAY, STAY]

    env = SynEnv({"a": long(), "b": long()}, 2, choose)
    timesteps = [env.reset(), *(go(env) for _ in range(3))]
    assert [place(t, 0) for t in timesteps] == ["0F", "0M", "0L", "1F"]
    assert asked[:2] == [(0, [0, 1], [[0, 1], [0, 1]]), (1, [0, 1], [[0, 1], [0, 1]])]
    for wrong in ([0], [0, 2], [0.5, 0.5], [-2, 0]):
        env.transition = lambda step, current, available, wrong=wrong: wrong
        with pytest.raises(SpecError, match=r"int64 \[2\] in -1\.\.1 from transition="):
            go(env)


def test_callbacks_can_be_changed_at_any_time():
    changes, later = [], []
    env = SynEnv({"a": long(), "b": long()}, transition_fn=lambda old, new: changes.append((old, new)))
    env.reset()
    go(env, 1)
    go(env)
    assert changes == [(-1, 0), (0, 1)]
    env.transition_fn = lambda old, new: later.append((old, new))
    env.transition = lambda step, current, available: 1 - current
    assert [place(go(env)) for _ in range(3)] == ["1L", "0F", "0L"]
    env.transition = "agent"
    go(env)
    assert changes == [(-1, 0), (0, 1)] and later == [(1, 0), (0, 1)]
    env.close()
    env.reset()
    assert later[-1] == (-1, 0)
    assert env.transition == "agent" and place(go(env, 1)) == "0L"


def test_instructions_come_before_a_new_environment():
    texts = {"a": "go", "b": "héé"}
    env = SynEnv({"a": CountingEnv(1, [2]), "b": long()}, instruction_steps=2, instructions=texts)
    timesteps = [env.reset()]
    for following in (STAY, STAY, STAY, STAY, STAY, 1, STAY, STAY, STAY):
        timesteps.append(go(env, following))
    assert [place(t) for t in timesteps] == ["0F", "0M", "0M", "0M", "0L", "0F", "0L", "1F", "1M", "1M"]
    told = [t.observation["text:instruction"] for t in timesteps]
    assert [text is not None for text in told] == [True, True, False, False, False, False, False, True, True, False]
    assert bytes(told[0][0].tolist()).rstrip(b"\0").decode() == "go"
    assert bytes(told[7][0].tolist()).rstrip(b"\0").decode() == "héé"
    assert [t.observation["observation"] is None for t in timesteps[:3]] == [True, True, False]
    assert timesteps[1].reward.tolist() == [0]
    assert env.environments[0].received[1].tolist() == [1]  # answers to instructions go nowhere
    assert env.specs["SynEnv"].modalities["observation"]["text:instruction"].representation == "categorical"


def test_a_row_may_be_replaced_while_it_is_told():
    env = SynEnv({"a": long(), "b": long()}, instruction_steps=3, instructions=["go", "stay"])
    timesteps = [env.reset(), go(env), go(env, 1), go(env)]
    assert [place(t) for t in timesteps] == ["0F", "0M", "0L", "1F"]
    assert timesteps[2].truncated().all() and timesteps[2].observation["text:instruction"] is not None


def test_lanes_of_one_environment_serve_several_rows():
    env = SynEnv({"two": CountingEnv(2, [9, 9]), "one": long(nested=True)}, batch_size=3)
    env.reset()
    timesteps = [go(env, STAY, 0, STAY), go(env), go(env), go(env)]
    assert [place(t, 1) for t in timesteps] == ["1L", "0F", "0M", "0M"]
    assert timesteps[3].observation["observation"].tolist() == [4, 2, 4]  # row 2 has the first lane of another copy
    vector = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    with pytest.raises(SpecError, match=r"has 2 lanes and steps all at once\. Use num_envs=1"):
        SynEnv([vector, long()], batch_size=2).reset()


def test_copies_are_made_when_they_are_needed():
    env = SynEnv({"a": long(), "b": long()}, batch_size=2)
    env.reset()
    assert len(env.children) == 3  # a on row 0, b on row 1, and b itself for its specs
    go(env, 1, STAY)
    go(env)
    assert len(env.children) == 3
    env.close()
    assert len(env.children) == 2


def test_rows_have_seeds_of_their_own():
    env = SynEnv([CountingEnv(1, random=True)], batch_size=3)
    assert len(set(env.reset().observation["random"].tolist())) == 3
    first = env.reset().observation["random"]
    env.place(seed=0, slot=1, num_slots=2)
    assert not set(env.reset().observation["random"].tolist()) & set(first.tolist())


def test_what_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="one source each, Interleave has .*put it inside the Interleave"):
        SynEnv([ae.Interleave([long(), long()])])
    with pytest.raises(SpecError, match="batch_size of at least 1, got 0"):
        SynEnv([long()], 0)
    with pytest.raises(SpecError, match="'agent', 'on_done' or a function, got 'both'"):
        SynEnv([long()], transition="both")
    with pytest.raises(SpecError, match="transition='agent' from the start"):
        SynEnv([long()], transition="on_done").transition = "agent"
    with pytest.raises(SpecError, match="transition_fn as a function of two numbers, got 3"):
        SynEnv([long()], transition_fn=3)
    with pytest.raises(SpecError, match=r"instruction for each of \['a', 'b'\].*got {'a': 'go'}"):
        SynEnv({"a": long(), "b": long()}, instruction_steps=1, instructions={"a": "go"})
    with pytest.raises(SpecError, match=r"without the keys \['current_environments'\]"):
        SynEnv([long().pipe(ae.ObserveReward, key="current_environments")]).reset()


def test_a_live_environment_serves_one_row():
    import gymnasium

    live = gymnasium.make("CartPole-v1")
    assert SynEnv([ae.GymnasiumEnv(live)]).reset().first().all()
    with pytest.raises(SpecError, match="live environment.*cannot be copied") as caught:
        SynEnv([ae.GymnasiumEnv(live)], batch_size=2).reset()
    assert "use batch_size=1" in caught.value.__notes__[0]
    live.close()


def choose_by_step(step, current, available):
    return torch.where(torch.arange(len(current)) == step % 4, (current + 1) % 3, -1)


@pytest.mark.parametrize("transition", ["agent", "on_done", choose_by_step])
def test_a_loader_gives_the_same_with_and_without_workers(transition):
    envs = {"a": CountingEnv(1, random=True), "c": CountingEnv(1, nested=True), "data": data(20, shuffle=True)}
    env = SynEnv(envs, 3, transition, instruction_steps=1, instructions=["a", "b", "c"])

    def steps(num_workers, stop=None):
        loader = ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=40)
        seen, state = [], None
        for _ in range(2):
            for timestep in loader:
                seen.append(snapshot(timestep))
                answer(timestep)
                if len(seen) == stop:
                    state = loader.state_dict()
                    break
            if state is not None:
                loader.close()
                loader = ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=40)
                loader.load_state_dict(state)
                state = stop = None
                continue
            break
        loader.close()
        return seen

    def answer(timestep):
        generator = np.random.default_rng(timestep.ticket.step)
        reply = {"action": torch.tensor([1, 2, 3])}
        if transition == "agent":
            reply["next_environments"] = torch.from_numpy(generator.integers(-1, 3, 3))
        timestep.reply(reply)

    without = steps(0)
    assert streams_differ(without, steps(2)) is None
    assert streams_differ(without, steps(0, stop=17)) is None


def test_the_border_to_dm_env_says_what_is_absent():
    env = ae.to_dm_env(SynEnv({"a": long(), "c": long(nested=True)}))
    observation = env.reset().observation
    assert observation["mask:observation"] and not observation["mask:count"]


class UnknownLength(CountingEnv):
    """Ends without having said when."""

    @property
    def stream_length(self):
        return None


def test_a_row_does_not_enter_a_stream_that_ends_in_that_very_step():
    shared = UnknownLength(2, [9, 9], stream_length=3)
    env = SynEnv({"a": shared, "b": CountingEnv(2, [2, 2])}, batch_size=2)
    timesteps = [env.reset()]
    for following in ((STAY, STAY), (STAY, STAY), (STAY, 0), (STAY, STAY), (STAY, 1), (STAY, STAY)):
        timesteps.append(go(env, *following))
    assert [place(t, 0) for t in timesteps][:4] == ["0F", "0M", "0M", "0L"]
    assert [place(t, 1) for t in timesteps] == ["1F", "1M", "1L", "-F", "-M", "-L", "1F"]
