"""PufferLib 3.0.0, which needs NumPy 1 and Gymnasium 0.29.

`python -m benchmarks.peers.pufferlib` makes its environment in build/peers/pufferlib, of about 1 GB and in some minutes.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.turns import Turns

__all__ = ["PYTHON", "cartpole", "transport"]

FOLDER = Path(__file__).resolve().parents[2] / "build" / "peers" / "pufferlib"
PYTHON = FOLDER / "bin" / "python"
BUILD = ("setuptools<81", "wheel", "cython", "numpy<2", "torch==2.13.0")
RUN = ("gym==0.23.0", "gymnasium==0.29.1", "pettingzoo==1.24.1", "shimmy<2", "psutil")
MEND = "import builtins; builtins.c_extension_paths = []"  # NO_OCEAN: setup.py uses the name without defining it


def cartpole(turns: Turns, num_workers: int, num_envs: int) -> None:
    """Steps CartPole-v1, one lane after the other in each worker."""
    import gymnasium
    import numpy as np
    from pufferlib.emulation import GymnasiumPufferEnv

    def make(buf=None, seed=0, **options):
        return GymnasiumPufferEnv(env_creator=lambda: gymnasium.make("CartPole-v1"), buf=buf, seed=seed)

    generator = np.random.default_rng(0)
    actions = [generator.integers(0, 2, num_envs) for _ in range(97)]
    run(turns, make, actions, num_workers, num_envs, num_envs)


def transport(turns: Turns, num_workers: int, payload: str, joint: bool) -> None:
    """Copies ready observations into PufferLib's buffers.

    An observation is one array there; the small tensors are slices of it.

    Args:
      turns: of the contest.
      num_workers: processes.
      payload: small, image or large.
      joint: one environment of many agents per process: one copy a step. Otherwise there are 32 environments.
    """
    import gymnasium
    import numpy as np
    import pufferlib
    import torch

    shape, dtype = {
        "small": ((32,), np.float32),
        "image": ((84, 84, 4), np.uint8),
        "large": ((512, 512), np.uint8),
    }[payload]

    class Ready(pufferlib.PufferEnv):
        def __init__(self, buf=None, seed=0):
            self.single_observation_space = gymnasium.spaces.Box(0, 9, shape, dtype)
            self.single_action_space = gymnasium.spaces.Discrete(2)
            self.num_agents = 32 // num_workers if joint else 1
            super().__init__(buf)
            self.ready = np.ones((self.num_agents, *shape), dtype)

        def reset(self, seed=0):
            self.observations[:] = self.ready
            return self.observations, []

        def step(self, actions):
            self.observations[:] = self.ready
            return self.observations, self.rewards, self.terminals, self.truncations, []

        def close(self):
            pass

    def take(array):
        observation = torch.from_numpy(array)
        if payload != "small":
            return {"image": observation}
        return {f"sensor_{number}": observation[:, 4 * number : 4 * number + 4] for number in range(8)}

    turns.note("the next step overwrites what was handed out")
    run(turns, Ready, [np.zeros(32, np.int64)], num_workers, num_workers if joint else 32, 1, take)


def run(
    turns: Turns, make, actions: list, num_workers: int, num_envs: int, units: int, take=lambda array: array
) -> None:
    """Steps what `make` makes in workers, and takes its observations."""
    import pufferlib.vector

    envs = pufferlib.vector.make(
        make, num_envs=num_envs, num_workers=num_workers, batch_size=num_envs, backend=pufferlib.vector.Multiprocessing
    )
    envs.reset(seed=0)
    try:
        while True:
            for action in actions:
                take(envs.step(action)[0])
                turns(units)
    finally:
        envs.close()


def main() -> None:
    """Makes the Python environment."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--no-build-isolation"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(MEND)
        environment = {**os.environ, "PYTHONPATH": folder, "NO_OCEAN": "1", "NO_TRAIN": "1"}
        subprocess.run([*pip, *BUILD], check=True)
        subprocess.run([*pip, *RUN], check=True)
        subprocess.run([*pip, "--no-deps", "pufferlib==3.0.0"], check=True, env=environment)
        subprocess.run([str(PYTHON), "-c", "import pufferlib.vector"], check=True, cwd=folder)
    print(f"PufferLib is in {FOLDER.name}")


if __name__ == "__main__":
    main()
