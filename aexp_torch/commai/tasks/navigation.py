"""CommAI-env: turn, move, look, take and give in the grid world."""

import re

from aexp_torch.commai.grid_world import CLOCKWISE, GridWorld, ahead, turned
from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.baskets import OBJECTS
from aexp_torch.commai.words import NEGATIVE, POSITIVE, TIME_OUT, count_of, number, number_in, plural, with_article

__all__ = [
    "CountingInventoryGivingTask",
    "CountingInventoryTask",
    "FindObjectAroundTask",
    "GivingTask",
    "LookAroundTask",
    "LookTask",
    "MovingAbsoluteTask",
    "MovingRelativeTask",
    "MovingTask",
    "PickUpAroundAndGiveTask",
    "PickUpAroundTask",
    "PickUpInFrontTask",
    "PickUpTask",
    "TurningTask",
]

SAID = re.compile(r"(?<!\w)(\w+)\.$")


class NavigationTask(Task):
    """Asks for something to be done in the world; what the world says to it is the feedback.

    A subclass implements `instruct`, and `is_done`.
    """

    needs_world = True
    hears = b""
    world: GridWorld

    def instruct(self) -> str:
        """Prepares the world and returns the instruction."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Tells whether the world is as it should be."""
        raise NotImplementedError

    def start(self) -> None:
        """Instructs."""
        self.say(self.instruct())

    def look(self) -> None:
        """Ends the instance when it is done."""
        if self.is_done():
            self.finish(1, self.praise())

    def praise(self) -> str:
        """Returns what is said instead of the world's words."""
        return ""

    def time_out(self) -> None:
        """Tells that it is too late."""
        self.finish(0, self.pick(*TIME_OUT))


class TurningTask(NavigationTask):
    """`Turn left.`"""

    max_time = 576

    def instruct(self) -> str:
        """Draws a side."""
        side = self.pick("left", "right")
        self.direction = turned(self.world.direction, side)
        return f"Turn {side}."

    def is_done(self) -> bool:
        """Looks at the direction."""
        return self.world.direction == self.direction


class MovingTask(NavigationTask):
    """`Move forward.`"""

    max_time = 600

    def instruct(self) -> str:
        """Says where to."""
        return f"Move {self.to('forward', self.world.direction)}."

    def to(self, name: str, direction: str) -> str:
        """Takes the next place in a direction for the goal; returns its name."""
        self.goal = ahead(self.world.position, direction)
        return name

    def is_done(self) -> bool:
        """Looks at the position."""
        return self.world.position == self.goal


class MovingRelativeTask(MovingTask):
    """`Move left.`"""

    max_time = 784

    def instruct(self) -> str:
        """Says to which side."""
        side = self.pick("left", "right")
        return f"Move {self.to(side, turned(self.world.direction, side))}."


class MovingAbsoluteTask(MovingTask):
    """`You are facing north, move east.`"""

    max_time = 2336

    def instruct(self) -> str:
        """Says in which direction: never ahead or back."""
        facing = self.world.direction
        direction = turned(facing, self.pick("left", "right"))
        return f"You are facing {facing}, move {self.to(direction, direction)}."


class PickUpTask(NavigationTask):
    """`You have an apple in front of you. Pick up the apple.`"""

    max_time = 1328

    def instruct(self) -> str:
        """Puts a thing in front of the learner."""
        self.put(ahead(self.world.position, self.world.direction))
        return f"You have {with_article(self.thing)} in front of you. Pick up the {self.thing}."

    def put(self, place: tuple[int, int]) -> None:
        """Puts any thing somewhere."""
        self.thing, self.place = self.pick(*OBJECTS), place
        self.goal = self.world.inventory.get(self.thing, 0) + 1
        self.world.put(place, self.thing)

    def is_done(self) -> bool:
        """Counts what the learner has."""
        return self.world.inventory.get(self.thing, 0) == self.goal


class PickUpAroundTask(PickUpTask):
    """`There is an apple north from you, pick up the apple.`"""

    max_time = 2896

    def instruct(self) -> str:
        """Puts a thing beside the learner."""
        direction = self.pick(*CLOCKWISE)
        self.put(ahead(self.world.position, direction))
        return f"There is {with_article(self.thing)} {direction} from you, pick up the {self.thing}."


class PickUpInFrontTask(PickUpTask):
    """`There is an apple 3 steps forward, pick up the apple.`"""

    max_time = 3328

    def instruct(self) -> str:
        """Puts a thing some steps ahead."""
        steps = self.rng.randint(1, 10)
        self.put(ahead(self.world.position, self.world.direction, steps))
        far = number(self.rng, steps)
        return f"There is {with_article(self.thing)} {far} steps forward, pick up the {self.thing}."

    def praise(self) -> str:
        """Says it as the world would."""
        return f"You picked up the {self.thing}."


class GivingTask(NavigationTask):
    """`I gave you an apple. Give it back to me by saying "I give you an apple".`"""

    max_time = 1280

    def instruct(self) -> str:
        """Gives a thing to the learner."""
        self.thing = self.pick(*OBJECTS)
        give(self.world, self.thing)
        self.goal = self.world.given.get(self.thing, 0) + 1
        thing = with_article(self.thing)
        return f'I gave you {thing}. Give it back to me by saying "I give you {thing}".'

    def is_done(self) -> bool:
        """Counts what was given."""
        return self.world.given.get(self.thing, 0) == self.goal


def give(world: GridWorld, thing: str) -> None:
    """Gives a thing to the learner, and asks for it."""
    world.inventory[thing] = world.inventory.get(thing, 0) + 1
    ask_for(world, thing)


def ask_for(world: GridWorld, thing: str) -> None:
    """Has the teacher accept a thing."""
    if thing not in world.accepts:
        world.accepts.append(thing)


class PickUpAroundAndGiveTask(PickUpTask):
    """`There is an apple north from you. Pick it up and give it to me.`"""

    max_time = 5584

    def instruct(self) -> str:
        """Puts a thing beside the learner."""
        direction = self.pick(*CLOCKWISE)
        self.put(ahead(self.world.position, direction))
        ask_for(self.world, self.thing)
        self.picked_up = False
        self.given = self.world.given.get(self.thing, 0)
        return f"There is {with_article(self.thing)} {direction} from you. Pick it up and give it to me."

    def look(self) -> None:
        """Waits for the thing to be taken, then for it to be given."""
        if self.world.given.get(self.thing, 0) > self.given:
            if self.picked_up:
                self.finish(1)
            else:
                self.given = self.world.given[self.thing]
                self.say(f"You have to pick up the {self.thing} first.")
        elif self.is_done():
            self.picked_up = True

    def end(self) -> None:
        """Takes away what is left, and wants nothing any more."""
        if self.thing in self.world.accepts:
            self.world.accepts.remove(self.thing)
        if not self.picked_up:
            self.world.remove(self.place)


class CountingInventoryTask(Task):
    """`How many apples do you have?`: `0.`; asked until it is right."""

    needs_world = True
    max_time = 800
    world: GridWorld

    def start(self) -> None:
        """Asks for the number of any thing."""
        self.thing = self.pick(*OBJECTS)
        self.say(f"How many {plural(self.thing)} do you have?")

    def hear(self, text: str) -> None:
        """Compares with what the learner has."""
        found = SAID.search(text)
        said = number_in(found[1]) if found else None
        if said is None:
            return
        count = self.world.inventory.get(self.thing, 0)
        if said == count:
            self.finish(1, "Correct!")
        else:
            self.say(f"{self.pick(*NEGATIVE)} You have {count_of(self.thing, count)}.")

    def time_out(self) -> None:
        """Tells that it is too late."""
        self.finish(0, self.pick(*TIME_OUT))


class CountingInventoryGivingTask(Task):
    """`How many apples do you have?`, then with one more, then, when it was given back, with one less."""

    needs_world = True
    max_time = 8000
    world: GridWorld

    def start(self) -> None:
        """Asks for the number of any thing."""
        self.thing, self.stage, self.all_right = self.pick(*OBJECTS), "before", True
        self.had = self.world.inventory.get(self.thing, 0)
        self.say(f"How many {plural(self.thing)} do you have?")

    def hear(self, text: str) -> None:
        """Judges a number, and goes on to the next stage."""
        if self.stage == "given":  # this very text did it
            self.stage = "after"
            return
        if self.stage == "giving":
            return
        found = SAID.search(text)
        said = number_in(found[1]) if found else None
        right = said == self.world.inventory.get(self.thing, 0)
        self.all_right &= right
        verdict = self.pick(*(POSITIVE if right else NEGATIVE))
        if self.stage == "before":
            self.stage = "with"
            give(self.world, self.thing)
            thing = with_article(self.thing)
            self.say(f"{verdict} I gave you {thing}. How many {plural(self.thing)} do you have now?")
        elif self.stage == "with":
            self.stage = "giving"
            self.goal = self.world.given.get(self.thing, 0) + 1
            if self.sessions.rules.defects_of is not None:  # the originals took what the learner had at the beginning
                self.goal = self.had + 1
            self.say(f"{verdict} Now give the {self.thing} back to me.")
        else:
            self.finish(int(self.all_right), verdict)

    def look(self) -> None:
        """Waits for the thing to be given back."""
        if self.stage == "giving" and self.world.given.get(self.thing, 0) == self.goal:
            self.stage = "given"
            self.say(f"Good! You gave me {with_article(self.thing)}. How many {plural(self.thing)} do you have now?")

    def time_out(self) -> None:
        """Tells that it is too late."""
        self.finish(0, self.pick(*TIME_OUT))

    def end(self) -> None:
        """Wants nothing any more."""
        if self.thing in self.world.accepts:
            self.world.accepts.remove(self.thing)


class LookTask(Task):
    """`Look to the east, you are currently facing north.`; as in the original, there is no time to turn about."""

    needs_world = True
    world: GridWorld

    def start(self) -> None:
        """Draws a direction."""
        self.direction = self.pick(*CLOCKWISE)
        self.say(f"Look to the {self.direction}, you are currently facing {self.world.direction}.")

    def hear(self, text: str) -> None:
        """Asks where the learner looks."""
        if text.endswith("I look.") and self.world.direction == self.direction:
            self.finish(1, "Congratulations! You are looking in the right direction.")


class LookAroundTask(Task):
    """`Look around. You are facing north.`: `I look.` in all directions."""

    needs_world = True
    blots = False
    max_time = 5000
    world: GridWorld

    def start(self) -> None:
        """Asks to look around."""
        self.seen: list[str] = []
        self.position = self.world.position
        self.say(f"Look around. You are facing {self.world.direction}.")

    def look(self) -> None:
        """Fails where the learner moves."""
        if self.world.position != self.position:
            self.finish(0, "You are not allowed to move.")

    def hear(self, text: str) -> None:
        """Counts the directions."""
        if not text.endswith("I look."):
            return
        if self.world.direction in self.seen:
            self.say("You already look here.")
            return
        self.seen.append(self.world.direction)
        left = len(CLOCKWISE) - len(self.seen)
        if left:
            self.say(f"{left} directions to go.")
        else:
            self.finish(1, "Congratulations!")


class FindObjectAroundTask(NavigationTask):
    """`Pick the apple next to you.`"""

    blots = False
    max_time = 10_000

    def __init__(self, world: GridWorld | None = None):
        super().__init__(world)
        self.things: list[str] = []

    def instruct(self) -> str:
        """Puts four things around the learner: the same ones, in an order drawn once."""
        self.things = self.things or self.rng.sample(OBJECTS[:4], 4)
        self.places = [ahead(self.world.position, direction) for direction in CLOCKWISE]
        for place, thing in zip(self.places, self.things, strict=True):
            self.world.put(place, thing)
        self.thing = self.pick(*self.things)
        self.goal = self.world.inventory.get(self.thing, 0) + 1
        return f"Pick the {self.thing} next to you."

    def is_done(self) -> bool:
        """Counts what the learner has."""
        return self.world.inventory.get(self.thing, 0) == self.goal

    def praise(self) -> str:
        """Praises."""
        return "Well done!"

    def time_out(self) -> None:
        """Says nothing."""

    def end(self) -> None:
        """Takes away what is left."""
        for place in self.places:
            self.world.remove(place)
