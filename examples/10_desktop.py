"""A program on a desktop as an environment: a mark in a terminal, to be clicked, seen as pixels through a VNC server.

Needs the Debian packages tigervnc-standalone-server and xterm. Nothing that runs here listens on another machine's network.
"""

import sys
from pathlib import Path

import matplotlib.image
import torch

import aexp_torch as ae

# Fills a terminal with black and one red mark somewhere, and with green when somebody clicks on the mark.
GAME = r"""
import random, re, sys, tty
place = random.Random(int(sys.argv[1]))
left, top = place.randrange(1, 44), place.randrange(1, 12)
tty.setraw(0)
write = lambda text: (sys.stdout.write(text), sys.stdout.flush())
write("\033[?1000h\033[?1006h\033[?25l\033[40m\033[2J\033[41m")  # report clicks, hide the cursor, black; then red
write("".join(f"\033[{top + row};{left}H{' ' * 6}" for row in range(3)))
heard = ""
while True:
    heard += sys.stdin.read(1)
    click = re.search(r"<0;(\d+);(\d+)M$", heard)
    if click and 0 <= int(click[1]) - left < 6 and 0 <= int(click[2]) - top < 3:
        write("\033[42m\033[2J")
"""
XVNC = ["Xvnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None"]
XTERM = ["xterm", "-geometry", "60x20+0+0", "-e", sys.executable, "-c", GAME, "{seed}"]


def is_green(screen: torch.Tensor) -> torch.Tensor:
    """Tells whether at least half of a screen, uint8 [H, W, 3], is green."""
    red, green, blue = screen.int().unbind(-1)
    return ((green - red > 80) & (green - blue > 80)).float().mean() > 0.5


def desktop(num_envs: int, seed: int) -> ae.VNCEnv:
    """Starts a server for each lane, and the game anew for each episode."""
    return ae.VNCEnv(
        num_envs=num_envs,
        start_command=[*XVNC, "-geometry", "320x200", "-depth", "24"],
        reset_command=["sh", "-c", '"$@" & sleep 0.3', "game", *XTERM],
        reward_fn=is_green,
        done_fn=is_green,
        max_episode_steps=20,
        step_seconds=0.05,
        keys=(),
        num_buttons=1,
        seed=seed,
    )


class Clicker:
    """Points to what is red, and clicks; without eyes, it points anywhere."""

    def __init__(self, sees: bool, num_envs: int):
        self.sees, self.down = sees, torch.zeros(num_envs, 1, dtype=torch.int8)
        self.generator = torch.Generator().manual_seed(0)
        self.frames: list[torch.Tensor] = []

    def __call__(self, timestep: ae.TimeStep) -> dict:
        screen = timestep.observation["screen"]  # uint8 [B, H, W, 3]
        self.frames.append(screen)
        size = torch.tensor([screen.shape[2], screen.shape[1]])
        pointer = (torch.rand(len(screen), 2, generator=self.generator) * size).long()
        red = (screen[..., 0].int() - screen[..., 1] > 80) & (screen[..., 0].int() - screen[..., 2] > 80)
        for lane, mark in enumerate(red if self.sees else []):
            if mark.any():
                pointer[lane] = mark.nonzero().float().mean(0).flip(0).long()  # from rows and columns to x and y
        self.down = 1 - self.down  # a click: down in one step, up in the next
        return {"pointer": pointer, "buttons": self.down}


def main(episodes: int = 4, folder: str = "runs/desktop") -> dict:
    """Plays with and without eyes; returns mean rewards of an episode, and saves the first screens, lanes side by side."""
    rewards = {}
    for label, sees in (("sees", True), ("is blind", False)):
        agent, env = Clicker(sees, num_envs=2), desktop(num_envs=2, seed=1)
        rewards[label] = ae.evaluate(agent, env, episodes)[env.name]["return"].mean().item()
        env.close()
        if sees:
            Path(folder).mkdir(parents=True, exist_ok=True)
            rows = [torch.cat(list(frame), 1) for frame in agent.frames[:3]]  # lanes beside each other, time downwards
            matplotlib.image.imsave(Path(folder) / "desktop.png", torch.cat(rows).numpy())
    print("mean reward of an episode:", rewards)
    return rewards


if __name__ == "__main__":
    main()
