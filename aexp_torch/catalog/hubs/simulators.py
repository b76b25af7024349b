"""Simulators that no package index has, or that need a licence: BEHAVIOR, Isaac Lab, StarCraft II, desktops.

What is here follows their documents. Isaac Lab, BEHAVIOR and StarCraft II do not run on the machines on which this
package is tested: what opens them here has not met them.
"""

from functools import partial
from typing import Any

from aexp_torch.catalog.entry import Entry
from aexp_torch.env import Env
from aexp_torch.provider import import_provider

__all__ = ["ENTRIES", "behavior", "isaac_lab"]

HERE = "aexp_torch.catalog.hubs.simulators"
OMNIGIBSON = "Install OmniGibson and the data of BEHAVIOR-1K as https://behavior.stanford.edu says"
ISAAC_LAB = "Install Isaac Sim and Isaac Lab as https://isaac-sim.github.io/IsaacLab says"


def behavior(
    activity: str, scene: str = "Rs_int", robot: str = "Fetch", name: str | None = None, **options: Any
) -> Env:
    """Returns an activity of BEHAVIOR-1K in OmniGibson, through its Gymnasium interface. It has not met the simulator.

    Args:
      activity: `"putting_away_Halloween_decorations"`.
      scene: a house.
      robot: who acts; it sees colours and depth and feels its joints.
      name: names the source; the default is the activity.
      options: of `GymnasiumEnv`.

    Raises:
      MissingDependencyError: when it is opened: OmniGibson is not installed.

    Source: Li et al. 2024, BEHAVIOR-1K, arXiv:2403.09227; https://behavior.stanford.edu.
    """
    from aexp_torch.sources.gymnasium import GymnasiumEnv

    config = {
        "scene": {"type": "InteractiveTraversableScene", "scene_model": scene},
        "robots": [{"type": robot, "obs_modalities": ["rgb", "depth", "proprio"]}],
        "task": {"type": "BehaviorTask", "activity_name": activity},
    }
    return GymnasiumEnv(partial(_omnigibson, config=config), name=name or activity, **options)


def _omnigibson(config: dict[str, Any], **_: Any) -> Any:
    return import_provider("omnigibson", "", "BEHAVIOR", OMNIGIBSON).Environment(configs=config)


def isaac_lab(task: str, num_envs: int = 1024, device: str = "cuda:0", name: str | None = None, **options: Any) -> Env:
    """Returns a task of Isaac Lab: all lanes at once, as tensors on the GPU. It has not met the simulator.

    Args:
      task: `"Isaac-Velocity-Flat-Anymal-C-v0"`.
      num_envs: number of lanes B.
      device: where it runs.
      name: names the source; the default is the task.
      options: of `TorchEnv`.

    Raises:
      MissingDependencyError: when it is opened: Isaac Lab is not installed.

    Source: Mittal et al. 2023, Orbit, arXiv:2301.04195; https://isaac-sim.github.io/IsaacLab.
    """
    from aexp_torch.sources.torch_env import TorchEnv

    return TorchEnv(partial(_isaac_lab, task=task, device=device), num_envs, name=name or task, **options)


def _isaac_lab(num_envs: int, task: str, device: str) -> Any:
    app = import_provider("isaaclab.app", "", "Isaac Lab", ISAAC_LAB)
    app.AppLauncher(headless=True, device=device)  # before anything else of it is imported
    gymnasium = import_provider("gymnasium", "", "Isaac Lab", ISAAC_LAB)
    import_provider("isaaclab_tasks", "", "Isaac Lab", ISAAC_LAB)  # registers the tasks
    parse = import_provider("isaaclab_tasks.utils", "", "Isaac Lab", ISAAC_LAB).parse_env_cfg
    return gymnasium.make(task, cfg=parse(task, device=device, num_envs=num_envs)).unwrapped


ISAAC = {
    "Isaac-Velocity-Flat-Anymal-B-v0": "Walk as you are told, on four legs.",
    "Isaac-Velocity-Flat-Anymal-C-v0": "Walk as you are told, on four legs.",
    "Isaac-Velocity-Flat-Anymal-D-v0": "Walk as you are told, on four legs.",
    "Isaac-Velocity-Rough-Anymal-B-v0": "Walk over rough ground as you are told, on four legs.",
    "Isaac-Velocity-Rough-Anymal-C-v0": "Walk over rough ground as you are told, on four legs.",
    "Isaac-Velocity-Rough-Anymal-D-v0": "Walk over rough ground as you are told, on four legs.",
    "Isaac-Velocity-Flat-Unitree-Go2-v0": "Walk as you are told, on four legs.",
    "Isaac-Velocity-Flat-H1-v0": "Walk as you are told, on two legs.",
    "Isaac-Cartpole-v0": "Keep the pole upright.",
    "Isaac-Ant-v0": "Walk forward on four legs.",
    "Isaac-Humanoid-v0": "Walk forward on two legs.",
    "Isaac-Reach-Franka-v0": "Reach the place with the hand.",
    "Isaac-Lift-Cube-Franka-v0": "Lift the cube.",
    "Isaac-Open-Drawer-Franka-v0": "Open the drawer.",
}
ACTIVITIES = {
    "putting_away_Halloween_decorations": "Put the decorations away.",
    "picking_up_trash": "Pick up the trash.",
    "setting_mousetraps": "Set the mousetraps.",
    "boxing_books_up_for_storage": "Put the books into the box.",
    "collecting_childrens_toys": "Collect the toys.",
}

STARCRAFT: dict[str, tuple[str, dict[str, Any]]] = {  # maps, with what to do and the arguments beside
    "MoveToBeacon": ("Move the marine to the beacon.", {"race": "terran"}),
    "CollectMineralShards": ("Collect the minerals.", {"race": "terran"}),
    "FindAndDefeatZerglings": ("Find the zerglings and defeat them.", {"race": "terran"}),
    "DefeatRoaches": ("Defeat the roaches.", {"race": "terran"}),
    "DefeatZerglingsAndBanelings": ("Defeat the zerglings and the banelings.", {"race": "terran"}),
    "CollectMineralsAndGas": ("Collect minerals and gas.", {"race": "terran"}),
    "BuildMarines": ("Build marines.", {"race": "terran"}),
    "Simple64": ("Win the game.", {"opponent": ("random", "very_easy")}),
}
SERVER = ["Xvnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None", "-geometry", "228x396"]

ENTRIES = [
    *(
        Entry(
            f"starcraft2-{name}",
            ("game.strategy.starcraft", "image.layers", "kind:simulator"),
            "aexp_torch.sources.starcraft:StarCraft2Env",
            {"map_name": name, **arguments},
            extra="starcraft",
            modules=("pysc2",),
            licence="Apache-2.0; the game: Blizzard's",
            instruction=instruction,
            about="StarCraft II through PySC2, which needs the game and its maps below SC2PATH",
            source="Vinyals et al. 2017, arXiv:1708.04782",
        )
        for name, (instruction, arguments) in STARCRAFT.items()
    ),
    Entry(
        "vnc-calculator",
        ("desktop", "image.screen", "kind:simulator"),
        "aexp_torch.sources.vnc:VNCEnv",
        {"start_command": [SERVER, ["xcalc"]], "max_episode_steps": 500},
        licence="GPL-2.0-or-later",
        instruction="Calculate with what is on the screen, with the pointer and the keys.",
        about="a calculator on a desktop of its own, through a VNC server",
        source="https://tigervnc.org",
        programs=("Xvnc", "xcalc"),
        by_hand="Install TigerVNC's server and X11's programs, on Debian: apt install tigervnc-standalone-server x11-apps",
    ),
    *(
        Entry(
            task,
            (
                "control.continuous.isaac",
                "control.locomotion" if "Velocity" in task else "control.robot",
                "kind:simulator",
            ),
            f"{HERE}:isaac_lab",
            {"task": task},
            modules=("isaaclab", "isaaclab_tasks"),
            licence="BSD-3-Clause; Isaac Sim: NVIDIA's",
            instruction=instruction,
            about="all lanes at once on a GPU of NVIDIA, in Isaac Lab",
            source="Mittal et al. 2023, arXiv:2301.04195",
            by_hand=ISAAC_LAB,
        )
        for task, instruction in ISAAC.items()
    ),
    *(
        Entry(
            f"behavior-{activity}",
            ("control.robot.household", "image.egocentric", "kind:simulator"),
            f"{HERE}:behavior",
            {"activity": activity},
            modules=("omnigibson",),
            licence="MIT; its data: BEHAVIOR's; Isaac Sim: NVIDIA's",
            instruction=instruction,
            about="an activity of BEHAVIOR-1K in a house",
            source="Li et al. 2024, arXiv:2403.09227",
            by_hand=OMNIGIBSON,
        )
        for activity, instruction in ACTIVITIES.items()
    ),
]
