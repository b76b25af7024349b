"""Entries of simulators: all that are installed, under their own names, and they open."""

import importlib.util
import os
import re
import subprocess
import sys
import warnings

import pytest

from aexp_torch.catalog import find
from aexp_torch.catalog.simulators import ENTRIES

BY_NAME = {entry.name: entry for entry in ENTRIES}
NAMES = set(BY_NAME)
# What each provider registers is asked in a process of its own: some set up displays and threads when imported.
REGISTERED = {
    "box2d": """
        import gymnasium
        found = [name for name, spec in gymnasium.registry.items() if "box2d" in str(spec.entry_point)]
    """,
    "mujoco": """
        import gymnasium
        found = [name for name, spec in gymnasium.registry.items() if "mujoco" in str(spec.entry_point) and "v5" in name]
    """,
    "atari": """
        import ale_py, gymnasium
        gymnasium.register_envs(ale_py)
        found = [name for name in gymnasium.registry if name.startswith("ALE/")]
    """,
    "minigrid": """
        import gymnasium, minigrid
        gymnasium.register_envs(minigrid)
        found = [name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-")) and "WFC" not in name]
    """,
    "dm_control": """
        from dm_control import suite
        found = [f"dm_control/{domain}-{task}" for domain, task in suite.ALL_TASKS]
    """,
    "pettingzoo": """
        import pathlib, pettingzoo
        families = ("classic", "atari", "butterfly", "sisl")
        folder = pathlib.Path(pettingzoo.__file__).parent
        found = [f"pettingzoo/{name}/{path.stem}" for name in families for path in (folder / name).glob("*_v[0-9]*.py")]
    """,
}


def written(extra):
    return {entry.name for entry in ENTRIES if entry.extra == extra}


@pytest.mark.parametrize("extra", REGISTERED)
def test_the_table_names_what_is_installed(extra):
    needed = next(entry for entry in ENTRIES if entry.extra == extra).modules
    for module in needed:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    code = "import textwrap, warnings\nwarnings.simplefilter('ignore')\n"
    code += f"exec(textwrap.dedent('''{REGISTERED[extra]}'''))\nprint('found:', *found)"
    environ = {**os.environ, "MUJOCO_GL": "disable"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=environ)
    found = set(re.search(r"^found: (.*)$", ended.stdout, re.MULTILINE)[1].split())
    assert found == written(extra), ended.stderr


def test_the_tasks_of_envpool_are_there():
    if importlib.util.find_spec("envpool") is None:
        pytest.skip("envpool is not installed")
    code = "import envpool; print('found:', *envpool.list_all_envs())"
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=100)
    found = set(ended.stdout.partition("found: ")[2].split())
    assert {name.removeprefix("envpool/") for name in written("envpool")} <= found


def test_tags_overlap():
    def tagged(tag):
        return {entry.name for entry in ENTRIES if any(own == tag or own.startswith(f"{tag}.") for own in entry.tags)}

    assert "ALE/Pong-v5" in tagged("image") & tagged("game.atari")
    assert "pettingzoo/atari/mario_bros_v3" in tagged("multiagent.atari") & tagged("image")
    assert "MiniGrid-DoorKey-5x5-v0" in tagged("grid.navigation") & tagged("text.instruction") & tagged(
        "grid.instruction"
    )
    assert "HalfCheetah-v5" in tagged("control.continuous.mujoco")
    assert "pettingzoo/classic/chess_v6" in tagged("multiagent.board") - tagged("multiagent.atari")


def test_versions_are_those_of_the_names():
    assert {find(name).version for name in ("ALE/Pong-v5", "HalfCheetah-v5")} == {5}
    assert BY_NAME["pettingzoo/atari/quadrapong_v4"].version == 4 and BY_NAME["MiniGrid-Empty-5x5-v0"].version == 0


def opens(name):
    """Opens an entry, and steps it three times by chance."""
    entry = BY_NAME[name]
    module = entry.factory.partition(":")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not there")
    if entry.why_not() is not None:
        pytest.skip(entry.why_not())
    env = entry.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # providers' own; Box2D's, as an error, would end the process
        timestep = env.reset()
        assert timestep.first().all() and timestep.source == name and env.tags == entry.tags
        for _ in range(3):
            timestep = env.step(env.sample_action(name))
        env.close()


SOME = [
    "LunarLander-v3",
    "HalfCheetah-v5",
    "ALE/Pong-v5",
    "dm_control/cartpole-swingup",
    "MiniGrid-DoorKey-5x5-v0",
    "BabyAI-GoToObj-v0",
    "pettingzoo/classic/tictactoe_v3",
    "pettingzoo/atari/mario_bros_v3",
    "envpool/Jumanji/Snake-v1",
]


@pytest.mark.parametrize("name", SOME)
def test_some_open(name):
    opens(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES - set(SOME)))
def test_every_one_opens(name):
    opens(name)
