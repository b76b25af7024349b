"""Simulators that install from the package index: one entry for each of their environments.

The names are written down here, so that nothing is imported to list them; a test compares them with what is installed.
"""

from aexp_torch.catalog.entry import Entry

__all__ = ["ENTRIES"]

KIND = "kind:simulator"

BOX2D = {
    "LunarLander-v3": ("control", "Land between the flags."),
    "LunarLanderContinuous-v3": ("control.continuous", "Land between the flags."),
    "BipedalWalker-v3": ("control.continuous", "Walk to the right."),
    "BipedalWalkerHardcore-v3": ("control.continuous", "Walk to the right, over stumps and pits."),
    "CarRacing-v3": ("control.continuous", "Drive round the track."),
}
MUJOCO = {
    "Ant-v5": "Walk forward on four legs.",
    "HalfCheetah-v5": "Run forward.",
    "Hopper-v5": "Hop forward.",
    "Humanoid-v5": "Walk forward on two legs.",
    "HumanoidStandup-v5": "Stand up.",
    "InvertedDoublePendulum-v5": "Keep both poles upright.",
    "InvertedPendulum-v5": "Keep the pole upright.",
    "Pusher-v5": "Push the object to its place.",
    "Reacher-v5": "Reach the target with the tip.",
    "Swimmer-v5": "Swim forward.",
    "Walker2d-v5": "Walk forward in the plane.",
}
GAMES = """
adventure air_raid alien amidar assault asterix asteroids atlantis atlantis2 backgammon bank_heist basic_math
battle_zone beam_rider berzerk blackjack bowling boxing breakout carnival casino centipede chopper_command
crazy_climber crossbow darkchambers defender demon_attack donkey_kong double_dunk earthworld elevator_action enduro
entombed et fishing_derby flag_capture freeway frogger frostbite galaxian gopher gravitar hangman haunted_house hero
human_cannonball ice_hockey jamesbond journey_escape kaboom kangaroo keystone_kapers king_kong klax koolaid krull
kung_fu_master laser_gates lost_luggage mario_bros miniature_golf montezuma_revenge mr_do ms_pacman name_this_game
othello pacman phoenix pitfall pitfall2 pong pooyan private_eye qbert riverraid road_runner robotank seaquest
sir_lancelot skiing solaris space_invaders space_war star_gunner superman surround tennis tetris tic_tac_toe_3d
time_pilot trondead turmoil tutankham up_n_down venture video_checkers video_chess video_cube video_pinball
wizard_of_wor word_zapper yars_revenge zaxxon
"""
SUITE = {
    "acrobot": ("swingup swingup_sparse", "Swing the two links up."),
    "ball_in_cup": ("catch", "Swing the ball into the cup."),
    "cartpole": (
        "balance balance_sparse swingup swingup_sparse two_poles three_poles",
        "Keep the poles on the cart upright.",
    ),
    "cheetah": ("run", "Run."),
    "dog": ("stand walk trot run fetch", "Move as the task says."),
    "finger": ("spin turn_easy turn_hard", "Turn the body on the hinge."),
    "fish": ("upright swim", "Swim."),
    "hopper": ("stand hop", "Stand or hop on one leg."),
    "humanoid": ("stand walk run run_pure_state", "Stand, walk or run on two legs."),
    "humanoid_CMU": ("stand walk run", "Stand, walk or run on two legs."),
    "lqr": ("lqr_2_1 lqr_6_2", "Bring the masses to rest."),
    "manipulator": ("bring_ball bring_peg insert_ball insert_peg", "Bring the object to its place."),
    "pendulum": ("swingup", "Swing the pendulum up."),
    "point_mass": ("easy hard", "Push the point to the middle."),
    "quadruped": ("walk run escape fetch", "Walk on four legs."),
    "reacher": ("easy hard", "Reach the target with the tip."),
    "stacker": ("stack_2 stack_4", "Stack the boxes."),
    "swimmer": ("swimmer6 swimmer15", "Swim to the target."),
    "walker": ("stand walk run", "Stand, walk or run on two legs in the plane."),
}
# MiniGrid-WFC-... are left out: they need pictures of patterns that the package does not bring.
MINIGRID = """
BlockedUnlockPickup-v0 DistShift1-v0 DistShift2-v0 DoorKey-16x16-v0 DoorKey-5x5-v0 DoorKey-6x6-v0 DoorKey-8x8-v0
Dynamic-Obstacles-16x16-v0 Dynamic-Obstacles-5x5-v0 Dynamic-Obstacles-6x6-v0 Dynamic-Obstacles-8x8-v0
Dynamic-Obstacles-Random-5x5-v0 Dynamic-Obstacles-Random-6x6-v0 Empty-16x16-v0 Empty-5x5-v0 Empty-6x6-v0
Empty-8x8-v0 Empty-Random-5x5-v0 Empty-Random-6x6-v0 Fetch-5x5-N2-v0 Fetch-6x6-N2-v0 Fetch-8x8-N3-v0 FourRooms-v0
GoToDoor-5x5-v0 GoToDoor-6x6-v0 GoToDoor-8x8-v0 GoToObject-6x6-N2-v0 GoToObject-8x8-N2-v0 KeyCorridorS3R1-v0
KeyCorridorS3R2-v0 KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0 KeyCorridorS6R3-v0 LavaCrossingS11N5-v0
LavaCrossingS9N1-v0 LavaCrossingS9N2-v0 LavaCrossingS9N3-v0 LavaGapS5-v0 LavaGapS6-v0 LavaGapS7-v0 LockedRoom-v0
MemoryS11-v0 MemoryS13-v0 MemoryS13Random-v0 MemoryS17Random-v0 MemoryS7-v0 MemoryS9-v0 MultiRoom-N2-S4-v0
MultiRoom-N4-S5-v0 MultiRoom-N4-S5-v1 MultiRoom-N6-v0 ObstructedMaze-1Dl-v0 ObstructedMaze-1Dlh-v0
ObstructedMaze-1Dlhb-v0 ObstructedMaze-1Q-v0 ObstructedMaze-1Q-v1 ObstructedMaze-2Dl-v0 ObstructedMaze-2Dlh-v0
ObstructedMaze-2Dlhb-v0 ObstructedMaze-2Dlhb-v1 ObstructedMaze-2Q-v0 ObstructedMaze-2Q-v1 ObstructedMaze-Full-v0
ObstructedMaze-Full-v1 Playground-v0 PutNear-6x6-N2-v0 PutNear-8x8-N3-v0 RedBlueDoors-6x6-v0 RedBlueDoors-8x8-v0
SimpleCrossingS11N5-v0 SimpleCrossingS9N1-v0 SimpleCrossingS9N2-v0 SimpleCrossingS9N3-v0 Unlock-v0 UnlockPickup-v0
"""
BABYAI = """
ActionObjDoor-v0 BlockedUnlockPickup-v0 BossLevel-v0 BossLevelNoUnlock-v0 FindObjS5-v0 FindObjS6-v0 FindObjS7-v0
GoTo-v0 GoToDoor-v0 GoToImpUnlock-v0 GoToLocal-v0 GoToLocalS5N2-v0 GoToLocalS6N2-v0 GoToLocalS6N3-v0
GoToLocalS6N4-v0 GoToLocalS7N4-v0 GoToLocalS7N5-v0 GoToLocalS8N2-v0 GoToLocalS8N3-v0 GoToLocalS8N4-v0
GoToLocalS8N5-v0 GoToLocalS8N6-v0 GoToLocalS8N7-v0 GoToObj-v0 GoToObjDoor-v0 GoToObjMaze-v0 GoToObjMazeOpen-v0
GoToObjMazeS4-v0 GoToObjMazeS4R2-v0 GoToObjMazeS5-v0 GoToObjMazeS6-v0 GoToObjMazeS7-v0 GoToObjS4-v0 GoToObjS6-v1
GoToOpen-v0 GoToRedBall-v0 GoToRedBallGrey-v0 GoToRedBallNoDists-v0 GoToRedBlueBall-v0 GoToSeq-v0 GoToSeqS5R2-v0
KeyCorridor-v0 KeyCorridorS3R1-v0 KeyCorridorS3R2-v0 KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0
KeyCorridorS6R3-v0 KeyInBox-v0 MiniBossLevel-v0 MoveTwoAcrossS5N2-v0 MoveTwoAcrossS8N9-v0 OneRoomS12-v0
OneRoomS16-v0 OneRoomS20-v0 OneRoomS8-v0 Open-v0 OpenDoor-v0 OpenDoorColor-v0 OpenDoorDebug-v0 OpenDoorLoc-v0
OpenDoorsOrderN2-v0 OpenDoorsOrderN2Debug-v0 OpenDoorsOrderN4-v0 OpenDoorsOrderN4Debug-v0 OpenRedBlueDoors-v0
OpenRedBlueDoorsDebug-v0 OpenRedDoor-v0 OpenTwoDoors-v0 Pickup-v0 PickupAbove-v0 PickupDist-v0 PickupDistDebug-v0
PickupLoc-v0 PutNextLocal-v0 PutNextLocalS5N3-v0 PutNextLocalS6N4-v0 PutNextS4N1-v0 PutNextS5N1-v0 PutNextS5N2-v0
PutNextS5N2Carrying-v0 PutNextS6N3-v0 PutNextS6N3Carrying-v0 PutNextS7N4-v0 PutNextS7N4Carrying-v0 Synth-v0
SynthLoc-v0 SynthS5R2-v0 SynthSeq-v0 UnblockPickup-v0 Unlock-v0 UnlockLocal-v0 UnlockLocalDist-v0 UnlockPickup-v0
UnlockPickupDist-v0 UnlockToUnlock-v0
"""
PETTINGZOO = {
    "classic": "chess_v6 connect_four_v3 go_v5 hanabi_v5 leduc_holdem_v4 rps_v2 texas_holdem_no_limit_v6 texas_holdem_v4"
    " tictactoe_v3",
    "atari": "basketball_pong_v3 boxing_v2 combat_plane_v2 combat_tank_v2 double_dunk_v3 entombed_competitive_v3"
    " entombed_cooperative_v3 flag_capture_v2 foozpong_v3 ice_hockey_v2 joust_v3 mario_bros_v3 maze_craze_v3 othello_v3"
    " pong_v3 quadrapong_v4 space_invaders_v2 space_war_v2 surround_v2 tennis_v3 video_checkers_v4 volleyball_pong_v3"
    " warlords_v3 wizard_of_wor_v3",
    "butterfly": "cooperative_pong_v6 knights_archers_zombies_v11 pistonball_v6",
    "sisl": "multiwalker_v9 pursuit_v5",
}
PETTINGZOO_TAGS = {
    "classic": ("multiagent.board", "game.board"),
    "atari": ("multiagent.atari", "game.atari", "image.game"),
    "butterfly": ("multiagent.butterfly", "image.game"),
    "sisl": ("multiagent.sisl", "control.multiagent"),
}
CARDS = ("hanabi_v5", "leduc_holdem_v4", "texas_holdem_no_limit_v6", "texas_holdem_v4")
PETTINGZOO_MODULES = {  # beside pettingzoo itself
    "chess_v6": ("chess",),
    "hanabi_v5": ("pyspiel",),
    "leduc_holdem_v4": ("rlcard",),
    "texas_holdem_v4": ("rlcard",),
    "texas_holdem_no_limit_v6": ("rlcard",),
    "knights_archers_zombies_v11": ("pygame",),
    "cooperative_pong_v6": ("pygame",),
    "pistonball_v6": ("pygame", "pymunk"),
    "multiwalker_v9": ("pygame", "Box2D"),
    "pursuit_v5": ("pygame", "scipy"),
}
ENVPOOL = {  # what no other provider here has, and what leaves no files behind
    "Jumanji/BinPack-v2": ("control.optimization", "Pack the boxes into the container."),
    "Jumanji/CVRP-v1": ("control.optimization", "Serve all customers on short tours."),
    "Jumanji/FlatPack-v0": ("grid.puzzle", "Fill the grid with the blocks."),
    "Jumanji/Game2048-v1": ("grid.puzzle", "Merge the tiles."),
    "Jumanji/GraphColoring-v1": ("control.optimization", "Colour the graph with few colours."),
    "Jumanji/JobShop-v0": ("control.optimization", "Finish all jobs early."),
    "Jumanji/Knapsack-v1": ("control.optimization", "Pack what is worth most."),
    "Jumanji/Maze-v0": ("grid.navigation", "Find the way through the maze."),
    "Jumanji/Minesweeper-v0": ("grid.puzzle", "Open all fields without a mine."),
    "Jumanji/PacMan-v1": ("grid.navigation", "Eat the pellets, flee the ghosts."),
    "Jumanji/RubiksCube-v0": ("grid.puzzle", "Solve the cube."),
    "Jumanji/SlidingTilePuzzle-v0": ("grid.puzzle", "Put the tiles in order."),
    "Jumanji/Snake-v1": ("grid.navigation", "Eat and grow, without biting yourself."),
    "Jumanji/Sokoban-v0": ("grid.puzzle", "Push the boxes to their places."),
    "Jumanji/Tetris-v0": ("grid.puzzle", "Fill the lines."),
    "Jumanji/TSP-v1": ("control.optimization", "Visit all cities on a short tour."),
    "highway-v0": ("control.driving", "Drive fast without a collision."),
    "parking-v0": ("control.driving", "Park the car."),
}


def _version(name: str) -> int:
    return int(name.rpartition("v")[2])


def _gymnasium(name: str, tags: tuple[str, ...], instruction: str, extra: str, *modules: str) -> Entry:
    return Entry(
        name,
        (*tags, KIND, "provider:gymnasium"),
        "aexp_torch.sources.gymnasium:GymnasiumEnv",
        {"id_or_factory": name},
        version=_version(name),
        extra=extra,
        modules=modules,
        licence="MIT",
        instruction=instruction,
        about=f"Gymnasium's {name}",
    )


def _box2d(name: str, tag: str, instruction: str) -> Entry:
    tags = (tag, "control.box2d", *(("image.control",) if name.startswith("CarRacing") else ()))
    return _gymnasium(name, tags, instruction, "box2d", "Box2D", "pygame")


def _mujoco(name: str, instruction: str) -> Entry:
    return _gymnasium(name, ("control.continuous.mujoco", "control.robot"), instruction, "mujoco", "mujoco")


def _atari(game: str) -> Entry:
    words = game.split("_")
    return Entry(
        f"ALE/{''.join(word.title() for word in words)}-v5",
        ("game.atari", "image.game", KIND, "provider:ale"),
        "aexp_torch.sources.atari:AtariEnv",
        {"game": game, "repeat_action_probability": 0.25},
        version=5,
        extra="atari",
        modules=("ale_py",),
        licence="GPL-2.0",
        instruction=f"Play {' '.join(words)} for points.",
        about="an Atari 2600 game, four grey frames of 84 x 84",
        source="Machado et al. 2018, Revisiting the Arcade Learning Environment",
    )


def _suite(domain: str, task: str, instruction: str) -> Entry:
    return Entry(
        f"dm_control/{domain}-{task}",
        ("control.continuous.mujoco", "control.robot", KIND, "provider:dm_control"),
        "aexp_torch.sources.dm_env:DmEnv",
        {"name_or_factory": f"{domain}/{task}"},
        extra="dm_control",
        modules=("dm_control", "mujoco"),
        licence="Apache-2.0",
        instruction=instruction,
        about=f"the Control Suite's {domain}, {task}",
        source="Tassa et al. 2018, DeepMind Control Suite",
    )


def _minigrid(name: str) -> Entry:
    tags = ("grid.navigation", "grid.instruction", "text.instruction", KIND, "provider:minigrid", "language:en")
    return Entry(
        name,
        tags,
        "aexp_torch.sources.minigrid:MiniGridEnv",
        {"id_or_factory": name},
        version=_version(name),
        extra="minigrid",
        modules=("minigrid",),
        licence="Apache-2.0",
        instruction="Do what the mission says.",
        about=f"a grid world of {'BabyAI' if name.startswith('BabyAI') else 'MiniGrid'}, with missions in English",
        source="Chevalier-Boisvert et al. 2023, Minigrid & Miniworld",
    )


def _pettingzoo(family: str, name: str) -> Entry:
    tags: tuple[str, ...] = PETTINGZOO_TAGS[family]
    if name in CARDS:
        tags = ("multiagent.cards", "game.cards")
    modules = ("multi_agent_ale_py", "ale_py") if family == "atari" else PETTINGZOO_MODULES.get(name, ())
    return Entry(
        f"pettingzoo/{family}/{name}",
        (*tags, KIND, "provider:pettingzoo"),
        "aexp_torch.sources.pettingzoo:PettingZooEnv",
        {"id_or_factory": f"pettingzoo.{family}.{name}"},
        version=_version(name),
        extra="pettingzoo",
        modules=("pettingzoo", *modules),
        licence="MIT",
        instruction=f"Play {name.rpartition('_v')[0].replace('_', ' ')}, for every player.",
        about=f"PettingZoo's {family} {name}, several players",
        source="Terry et al. 2021, PettingZoo",
    )


def _envpool(task: str, tag: str, instruction: str) -> Entry:
    return Entry(
        f"envpool/{task}",
        (tag, KIND, "provider:envpool"),
        "aexp_torch.sources.envpool:EnvPoolEnv",
        {"task_id": task},
        version=_version(task),
        extra="envpool",
        modules=("envpool",),
        licence="Apache-2.0",
        instruction=instruction,
        about=f"EnvPool's {task}",
        source="Weng et al. 2022, EnvPool",
    )


ENTRIES = [
    *(_box2d(name, *rest) for name, rest in BOX2D.items()),
    *(_mujoco(name, instruction) for name, instruction in MUJOCO.items()),
    *(_suite(domain, task, sentence) for domain, (tasks, sentence) in SUITE.items() for task in tasks.split()),
    *(_atari(game) for game in GAMES.split()),
    *(_minigrid(f"MiniGrid-{name}") for name in MINIGRID.split()),
    *(_minigrid(f"BabyAI-{name}") for name in BABYAI.split()),
    *(_pettingzoo(family, name) for family, names in PETTINGZOO.items() for name in names.split()),
    *(_envpool(task, *rest) for task, rest in ENVPOOL.items()),
]
