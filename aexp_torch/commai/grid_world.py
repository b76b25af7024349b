"""GridWorld: an endless grid through which the learner moves by words, and from which it takes things."""

import re

from aexp_torch.commai.words import with_article
from aexp_torch.commai.world import World

__all__ = ["DIRECTIONS", "GridWorld", "ahead", "turned"]

DIRECTIONS = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}  # y grows to the south
CLOCKWISE = list(DIRECTIONS)
MOST_THINGS = 1000
Position = tuple[int, int]

PICK_UP = re.compile(r"I pick up the (\w+)\.$")
GIVE = re.compile(r"I give you an? (\w+)\.$")
SIGHT, CELL = 2, 3  # cells to each side that are drawn, and letters of a row of a cell, which has two


def turned(direction: str, side: str) -> str:
    """Returns the direction to the left or right of another."""
    return CLOCKWISE[(CLOCKWISE.index(direction) + (1 if side == "right" else -1)) % 4]


def ahead(position: Position, direction: str, steps: int = 1) -> Position:
    """Returns the position so many steps in a direction."""
    x, y = DIRECTIONS[direction]
    return position[0] + steps * x, position[1] + steps * y


class GridWorld(World):
    """Is a grid with a learner, who looks in one direction, and things, which may be taken or passed.

    Commands, at the end of what the learner says: `I turn left.`, `I turn right.`, `I move forward.`, `I look.`, `I pick up
    the X.`, `I give you an X.`.
    """

    def restart(self) -> None:
        """Puts the learner at (0, 0), facing north, into an empty world."""
        self.position: Position = (0, 0)
        self.direction = "north"
        self.entities: dict[Position, tuple[str, bool, bool]] = {}  # name, can be picked up, can be walked over
        self.inventory: dict[str, int] = {}  # the learner's
        self.given: dict[str, int] = {}  # the teacher's
        self.accepts: list[str] = []  # what the teacher has asked for

    def put(self, position: Position, name: str, pickable: bool = True, traversable: bool = False) -> None:
        """Puts a thing somewhere; of very many, those that have lain there for longest are taken away."""
        self.entities.pop(position, None)
        self.entities[position] = (name, pickable, traversable)
        if len(self.entities) > MOST_THINGS:
            del self.entities[next(iter(self.entities))]

    def remove(self, position: Position) -> None:
        """Takes away what is somewhere."""
        self.entities.pop(position, None)

    def columns(self) -> range:
        """Returns the coordinates, from west to east, of what is drawn: 5 x 5 cells, the learner in the middle."""
        return range(self.position[0] - SIGHT, self.position[0] + SIGHT + 1)

    def rows(self) -> range:
        """Returns the coordinates, from north to south, of what is drawn."""
        return range(self.position[1] - SIGHT, self.position[1] + SIGHT + 1)

    def label(self, position: Position) -> str:
        """Returns what is drawn in a cell: the learner's direction, three times its first letter, or a thing's name."""
        if position == self.position:
            return self.direction[0].upper() * CELL
        return self.entities.get(position, ("",))[0][: 2 * CELL]

    def picture(self) -> str:
        """Draws what is around the learner.

        >>> world = GridWorld()
        >>> world.restart()
        >>> world.put((1, 0), "banana")
        >>> print("\\n".join(world.picture().splitlines()[7:11]))
            +---+---+---+---+---+
          0 |   |   |NNN|ban|   |
            |   |   |   |ana|   |
            +---+---+---+---+---+
        """
        rule = " " * 4 + "+---" * len(self.columns()) + "+"
        lines = [" " * 4 + "".join(f"{x:4d}" for x in self.columns()), rule]
        for y in self.rows():
            labels = [self.label((x, y)).ljust(2 * CELL) for x in self.columns()]
            lines.append(f"{y:3d} |" + "".join(f"{label[:CELL]}|" for label in labels))
            lines.append("    |" + "".join(f"{label[CELL:]}|" for label in labels))
            lines.append(rule)
        return "\n".join(line.rstrip() for line in lines)

    def hear(self, text: str) -> None:
        """Obeys a command."""
        if text.endswith("I turn left."):
            self._turn("left")
        elif text.endswith("I turn right."):
            self._turn("right")
        elif text.endswith("I move forward."):
            self._move()
        elif text.endswith("I look."):
            self._look()
        elif found := PICK_UP.search(text):
            self._pick_up(found[1])
        elif found := GIVE.search(text):
            self._give(found[1])

    def _turn(self, side: str) -> None:
        self.direction = turned(self.direction, side)
        self.changed()
        self.say(f"You turned {side}, you are now facing {self.direction}.")

    def _move(self) -> None:
        place = ahead(self.position, self.direction)
        if place in self.entities and not self.entities[place][2]:
            self.say("You can't move.")
            return
        self.position = place
        self.changed()
        self.say("You moved.")

    def _look(self) -> None:
        seen = self.entities.get(ahead(self.position, self.direction))
        self.say(f"There is a {seen[0]}." if seen else "There is nothing here.")

    def _pick_up(self, name: str) -> None:
        place = ahead(self.position, self.direction)
        found = self.entities.get(place)
        if found is None or found[0] != name:
            self.say(f"There is no {name} here.")
        elif not found[1]:
            self.say(f"You can't pick up the {name}.")
        else:
            self.inventory[name] = self.inventory.get(name, 0) + 1
            self.remove(place)
            self.changed()
            self.say(f"You picked up the {name}.")

    def _give(self, name: str) -> None:
        if name not in self.accepts:
            self.say(f"I haven't asked you for {with_article(name)}.")
            return
        self.inventory[name] = self.inventory.get(name, 0) - 1
        self.given[name] = self.given.get(name, 0) + 1
        self.changed()
        self.say(f"You gave me {with_article(name)}.")
