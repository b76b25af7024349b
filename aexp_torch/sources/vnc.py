"""VNCEnv: any desktop, or any program in one, as an environment: pixels in, pointer and keys out."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.sources.keysyms import KEYS, keysyms
from aexp_torch.sources.lanes import Lanes, Simulator, SingleLanes
from aexp_torch.sources.programs import Programs
from aexp_torch.sources.rfb import RemoteDesktop, socket_address
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec, Modality

__all__ = ["VNCEnv"]

Command = Sequence[str]
WHEEL = 0b11000  # buttons that are let go at once
MOST_BUTTONS = 5


class VNCEnv(SimulatorEnv):
    """Runs desktops behind VNC servers: the screen is seen, the pointer and the keyboard are used.

    Observation: `screen`, uint8 [H, W, 3], red, green and blue, with the pointer drawn.
    Action: `pointer`, int64 [2]: x in 0..W-1 from the left, y in 0..H-1 from the top. `buttons`, int8 [num_buttons], 0 or
    1: left, middle, right, wheel up, wheel down. The first three stay as they are until the next answer: a click takes two
    steps, 1 and 0, and what comes between two 1s is dragged; the wheel turns by one notch for each 1. `key`, int64: 0 for
    none, k for `keys[k - 1]`, which is held down for `step_seconds`.

    A step points, presses the key, lets the desktop run for `step_seconds`, lets the key go and looks; lanes run at the same
    time. Episodes begin with the pointer in the middle, nothing pressed, and what `reset_command` does. The desktop runs on
    in real time while the agent thinks: the same answers need not show the same, and no state can be taken.

    Commands are lists of words, in which `{display}`, `{port}`, `{address}`, `{slot}` and `{lane}` are replaced; they have
    DISPLAY in their environment. Whatever they start ends with the environment.

    Args:
      address: of the VNC server: `"host:display"` (port 5900 + display), `"host::port"` or the path of a Unix socket; for
        several lanes a list, for several slots a function of the slot and the lane. None, with `start_command`: a free
        display of this machine.
      num_envs: number of lanes B, with one desktop each.
      start_command: starts the server of a lane, and may be a list of commands: when the server of the first is there, the
        others are started, for example a program in the desktop. By default the server is there already.
      reset_command: begins an episode: a command, of which `{seed}` is a new number each time, and which is done when the
        episode can begin; or a function of the address. What a command leaves running is killed before the next episode.
      reward_fn: the reward after a step, of the screen (uint8 tensor [H, W, 3]); the default is 0.
      done_fn: whether the episode has ended for good (discount 0), of the same; the default is never.
      max_episode_steps: cuts longer episodes off (LAST, discount 1); the default is never.
      step_seconds: how long a step lets the desktop run.
      keys: what can be pressed: characters, names of keys as X has them, and either behind modifiers: `"a"`, `"Return"`,
        `"ctrl+c"`. The default is `aexp_torch.sources.keysyms.KEYS`: 147 keys. An empty list: no keyboard.
      num_buttons: 0 to 5 of the buttons above.
      password: for servers that ask for one.
      timeout: seconds that the server may take for an answer, and each command until it is done.
      name: names the source.
      seed: S of the seeds, which `reset_command` may use.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of a desktop that breaks, as for every `SimulatorEnv`: "restart" starts and connects anew.
      max_broken: with "restart": how many may break.

    Raises:
      ConnectionError: no server there, or it went away, in a step as well.
      PermissionError: the server refuses the password.
      TimeoutError: the server does not answer, or a command is not done in time.
      ChildProcessError: a command failed; the text has its output.

    Source: the VNC environments of OpenAI Universe (2016) for the idea.

    >>> paint = VNCEnv(
    ...     start_command=[
    ...         ["Xvnc", ":{display}", "-rfbport", "{port}", "-localhost", "-SecurityTypes", "None"],
    ...         ["xterm", "-maximized"],
    ...     ],
    ...     max_episode_steps=500,
    ... )
    """

    def __init__(
        self,
        address: str | Sequence[str] | Callable[[int, int], str] | None = None,
        num_envs: int = 1,
        *,
        start_command: Command | Sequence[Command] | None = None,
        reset_command: Command | Callable[[str], Any] | None = None,
        reward_fn: Callable[[Tensor], Any] | None = None,
        done_fn: Callable[[Tensor], Any] | None = None,
        max_episode_steps: int | None = None,
        step_seconds: float = 1 / 30,
        keys: Sequence[str] = KEYS,
        num_buttons: int = 3,
        password: str | None = None,
        timeout: float = 20.0,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
    ):
        options: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(num_envs, name, on_broken=on_broken, max_broken=max_broken, **options)
        self.address = self._check_address(address, start_command)
        self.start_commands = _commands(start_command)
        self.reset_command = reset_command
        self.reward_fn, self.done_fn = reward_fn, done_fn
        self.time_limit, self.step_seconds = max_episode_steps, step_seconds
        self.keys, self.num_buttons = tuple(keys), num_buttons
        for key in self.keys:
            keysyms(key)
        if not 0 <= num_buttons <= MOST_BUTTONS:
            raise SpecError(f"VNCEnv: expected num_buttons of 0 to {MOST_BUTTONS}, got {num_buttons!r}.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SpecError(f"VNCEnv: expected max_episode_steps of at least 1, or None, got {max_episode_steps!r}.")
        self.password, self.timeout = password, timeout

    def _check_address(self, address: Any, start_command: Any) -> Any:
        if address is None:
            if start_command is None:
                raise SpecError(
                    "VNCEnv: expected the address of a VNC server, or a start_command that starts one, got neither."
                )
            return None
        if callable(address):
            return address
        addresses = (address,) if isinstance(address, str) else tuple(address)
        if len(set(addresses)) != self.num_envs:
            raise SpecError(f"VNCEnv: expected {self.num_envs} addresses, one for each lane, got {addresses!r}.")
        for one in addresses:
            socket_address(one)
        return addresses

    @property
    def max_episode_steps(self) -> int | None:
        """The time limit."""
        return self.time_limit

    def address_of(self, lane: int) -> str | None:
        """Returns where the server of a lane is; None where a free place is still to be found.

        Raises:
          SpecError: several slots would share a desktop.
        """
        if callable(self.address):
            return self.address(self.slot, lane)
        if self.address is not None and self.num_slots > 1:
            raise SpecError(
                f"{self.name}: expected a desktop for each of {self.num_slots} slots, got the addresses of slot 0"
                f" {self.address}. Give address= as a function of the slot and the lane, or start_command= alone."
            )
        return None if self.address is None else self.address[lane]

    def open_lanes(self) -> Lanes:
        """Starts and connects the desktops."""
        desktops: list[Desktop] = []
        try:
            for lane in range(self.num_envs):
                desktops.append(Desktop(self, lane))
        except BaseException:
            for desktop in desktops:
                desktop.close()
            raise
        sizes = {desktop.size for desktop in desktops}
        if len(sizes) > 1:
            for desktop in desktops:
                desktop.close()
            raise SpecError(f"{self.name}: expected screens of one size in all lanes, got {sorted(sizes)}.")
        (self._size,) = sizes
        return SingleLanes(desktops, make=self._make, at_once=True)

    def _make(self, lane: int) -> "Desktop":
        desktop = Desktop(self, lane)
        if desktop.size != self._size:
            desktop.close()
            raise ConnectionError(f"{self.name}: expected a screen of {self._size} as before, got {desktop.size}.")
        return desktop

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes the screen, the pointer and the keys."""
        width, height = self._size
        action: dict[str, specs.Array] = {"pointer": specs.BoundedArray((2,), np.int64, 0, [width - 1, height - 1])}
        kinds = {"pointer": Modality("flat", "integer", "computer")}
        if self.num_buttons:
            action["buttons"] = specs.BoundedArray((self.num_buttons,), np.int8, 0, 1)
            kinds["buttons"] = Modality("flat", "binary", "computer")
        if self.keys:
            action["key"] = specs.DiscreteArray(len(self.keys) + 1, np.int64)
            kinds["key"] = Modality("flat", "categorical", "computer")
        screen = {"screen": specs.BoundedArray((height, width, 3), np.uint8, 0, 255)}
        modalities = {"observation": {"screen": Modality("grid", "integer", "computer")}, "action": kinds}
        return {self.name: EnvSpec(screen, action, modalities=modalities, num_envs=self.num_envs)}


class Desktop(Simulator):
    """Is the desktop of one lane."""

    def __init__(self, source: VNCEnv, lane: int):
        self._source, self._pressed = source, [keysyms(key) for key in source.keys]
        self._who = f"{source.name!r} (slot {source.slot}, lane {lane})"
        self._address = source.address_of(lane) or _free_place()
        self._words = {"address": self._address, "slot": str(source.slot), "lane": str(lane)} | _numbers(self._address)
        self._environment = {"DISPLAY": f":{self._words['display']}"} if "display" in self._words else {}
        self._programs = Programs(self._who) if source.start_commands or source.reset_command is not None else None
        self._client: RemoteDesktop | None = None
        try:
            self._client = client = self._start()
            for words in source.start_commands[1:]:
                self._programs.start(self._filled(words), self._environment)
        except BaseException:
            self.close()
            raise
        self.size = client.width, client.height
        self._generator = np.random.default_rng()
        self._place, self._held, self._count = (0, 0), 0, 0

    def _start(self) -> RemoteDesktop:
        """Starts a server, if this is asked for, and connects to it as soon as it is there."""
        source, deadline = self._source, time.monotonic() + self._source.timeout
        if source.start_commands:
            self._programs.start(self._filled(source.start_commands[0]), self._environment)
        while True:
            try:
                return RemoteDesktop(self._address, source.password, source.timeout, self._who)
            except ConnectionError as error:
                absent = isinstance(error.__cause__, ConnectionRefusedError | FileNotFoundError)
                if not (source.start_commands and absent) or time.monotonic() > deadline:
                    raise
            self._programs.check()
            time.sleep(0.02)

    def _filled(self, words: Command, **more: str) -> list[str]:
        filled = []
        for word in words:
            for name, value in (self._words | more).items():
                word = word.replace("{" + name + "}", value)
            filled.append(word)
        return filled

    def reset(self, seed: int | None) -> np.ndarray | dict:
        """Lets everything go, moves the pointer to the middle, and runs the command."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._place, self._held, self._count = (self.size[0] // 2, self.size[1] // 2), 0, 0
        self._client.point(*self._place, 0)
        command = self._source.reset_command
        if callable(command):
            command(self._address)
        elif command is not None:
            number = str(self._generator.integers(2**31))
            self._programs.run(self._filled(command, seed=number), self._environment, self._source.timeout)
        time.sleep(self._source.step_seconds)
        return {"screen": self._look()}

    def step(self, action: Any) -> tuple[Any, float, bool, float]:
        """Points, presses, waits and looks."""
        source, client = self._source, self._client
        x, y = action["pointer"].tolist()
        buttons = sum(int(down) << place for place, down in enumerate(action.get("buttons", ())))
        pressed = self._pressed[int(action["key"]) - 1] if action.get("key", 0) > 0 else ()
        client.point(x, y, buttons)
        if buttons & WHEEL:
            client.point(x, y, buttons & ~WHEEL)
        for key in pressed:
            client.press(key, True)
        time.sleep(source.step_seconds)
        for key in reversed(pressed):
            client.press(key, False)
        screen = self._look()
        self._count += 1
        shown = torch.from_numpy(screen)
        reward = float(source.reward_fn(shown)) if source.reward_fn is not None else 0.0
        ended = source.done_fn is not None and bool(source.done_fn(shown))
        return {"screen": screen}, reward, ended or self._count == source.time_limit, float(not ended)

    def _look(self) -> np.ndarray:
        try:
            return self._client.look()
        except ConnectionError as error:
            if self._programs is not None:  # perhaps a program has to say why
                try:
                    self._programs.check()
                except ChildProcessError as ended:
                    raise ended from error
            raise

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state."""
        return f"{self._who} is a desktop, which runs on in real time and gives no state"

    def close(self) -> None:
        """Ends the connection, and what was started."""
        if self._client is not None:
            self._client.close()
        if self._programs is not None:
            self._programs.close()
        if self._source.address is None:
            _tidy_up(int(self._words["display"]))


def _commands(start_command: Any) -> list[list[str]]:
    """Returns one command, or several, as a list of them."""
    commands = [] if start_command is None else [start_command]
    if commands and not isinstance(start_command, str) and not all(isinstance(word, str) for word in start_command):
        commands = list(start_command)
    if not all(isinstance(words, Sequence) and words and not isinstance(words, str) for words in commands):
        raise SpecError(
            f"VNCEnv: expected start_command as a list of words, or a list of such commands, got {start_command!r}."
        )
    return [list(words) for words in commands]


def _free_place() -> str:
    """Returns an address of this machine where neither a server nor a display is."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as trial:
            port = trial.getsockname()[1]
        if port > 5900 and not any(map(os.path.exists, _display_files(port - 5900))):
            return f"127.0.0.1::{port}"
    raise ConnectionError("VNCEnv: expected a free port above 5900 on this machine, found none in 100 trials.")


def _display_files(display: int) -> tuple[str, str]:
    return f"/tmp/.X11-unix/X{display}", f"/tmp/.X{display}-lock"


def _tidy_up(display: int) -> None:
    """Removes what a display leaves when its server is killed."""
    server, lock = map(Path, _display_files(display))
    with suppress(OSError, ValueError):
        if not Path(f"/proc/{int(lock.read_text())}").exists():
            lock.unlink()
            server.unlink()


def _numbers(address: str) -> dict[str, str]:
    """Returns the port of an address, and the display that X has there by custom."""
    _, place = socket_address(address)
    if isinstance(place, str):
        return {}
    return {"port": str(place[1])} | ({"display": str(place[1] - 5900)} if place[1] >= 5900 else {})
