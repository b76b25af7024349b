"""CommAI-env: what there is, what it is like, and whose it is."""

import re
import string

from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.baskets import BASKETS, OBJECTS
from aexp_torch.commai.tasks.forms import OneAnswer
from aexp_torch.commai.words import NUMBERS, POSITIVE, enumerated, with_article

__all__ = [
    "AssociateObjectWithPropertyTask",
    "HowManyObjectsHaveACertainPropertyTask",
    "HowManyPropertiesDoesAnObjectHaveTask",
    "ListObjectsWithACertainPropertyTask",
    "ListPropertiesOfAnObjectTask",
    "ListThePropertiesThatAnObjectHasInABasketOnlyTask",
    "ListThePropertiesThatAnObjectHasInAllBasketsTask",
    "NameAPropertyOfAnObjectTask",
    "NameAnObjectWithAPropertyTask",
    "ObjectExistenceTask1",
    "ObjectExistenceTask2",
    "VerifyThatObjectHasPropertyTask",
    "WhoHasACertainObjectWithACertainPropertyTask",
]

BETWEEN_ITEMS = re.compile(r", and |, | and | ")
YES_OR_NO = re.compile(r"(yes|no).$")
NOBODY, NONE = "nobody", "none"


class ObjectExistenceTask1(Task):
    """`Let's play game with objects. I have pear. Do I have beet?`: `no.`; asked until it is right."""

    hears = b"so."
    max_time = 3000

    def start(self) -> None:
        """Has one thing, and asks for any."""
        has, self.asked = self.pick(*OBJECTS), self.pick(*OBJECTS)
        self.there = has == self.asked
        self.say(f"Let's play game with objects. I have {has}. Do I have {self.asked}?")

    def hear(self, text: str) -> None:
        """Judges yes and no at the next symbol: only with a period are they right."""
        self.listen(None if text.endswith(("yes", "no")) else self.hears)
        if text.endswith("yes." if self.there else "no."):
            self.finish(1, "Correct!")
        elif YES_OR_NO.search(text):
            self.say(f"Wrong, I do {'' if self.there else 'not '}have {self.asked}. Do I have {self.asked}?")

    def time_out(self) -> None:
        """Goes on to something else."""
        self.finish(0, "You are too slow! Let's try something else.")


class ObjectExistenceTask2(OneAnswer):
    """`I have a pear and an onion. Do I have a pear? `: `Yes.`."""

    max_time = 3000

    def ask(self) -> tuple[str, str]:
        """Lists up to five things, and asks for any."""
        things = self.rng.choices(OBJECTS, k=self.rng.randint(1, 5))
        self.asked = self.pick(*OBJECTS)
        self.there = self.asked in things
        listed = enumerated([with_article(thing) for thing in things])
        return f"I have {listed}. Do I have {with_article(self.asked)}? ", "Yes." if self.there else "No."

    def blame(self) -> str:
        """Tells the right answer."""
        return f"Wrong. I do {'' if self.there else 'not '}have {with_article(self.asked)}."


class PropertyTask(Task):
    """Asks until the answer is right, or the time is over, and tells it then.

    A subclass implements `ask`, `is_right` and `told`. With `retries`, a wrong answer is told, too, and the question asked
    again; otherwise, and as first published, it is ignored.
    """

    max_time = 3000
    retries = False
    question: str

    def ask(self) -> str:
        """Returns the question."""
        raise NotImplementedError

    def is_right(self, said: str) -> bool:
        """Tells whether what was said, without its period, is right."""
        raise NotImplementedError

    def told(self) -> str:
        """Returns the sentence that tells the answer."""
        raise NotImplementedError

    def start(self) -> None:
        """Asks."""
        self.question = self.ask()
        self.say(self.question)

    def hear(self, text: str) -> None:
        """Judges."""
        if self.is_right(text[:-1]):
            self.finish(1, self.pick(*POSITIVE))
        elif self.retries and not self.as_first_published:
            self.say(f"{self.told()} please try again. {self.question}")

    def time_out(self) -> None:
        """Tells the answer."""
        slow = "you are too slow. " if self.retries and not self.as_first_published else ""
        self.finish(0, f"{slow}{self.told()}")

    def draw(self) -> None:
        """Draws a basket, an object in it, and one of its properties."""
        self.basket = self.pick(*BASKETS)
        self.thing = self.pick(*BASKETS[self.basket])
        self.property = self.pick(*BASKETS[self.basket][self.thing])


class AnyOfTask(PropertyTask):
    """Takes any of several answers.

    A subclass sets `answers` in `ask`.
    """

    answers: list[str]

    def is_right(self, said: str) -> bool:
        """Takes what ends with any."""
        return said.endswith(tuple(self.answers))

    def told(self) -> str:
        """Tells one."""
        return f"the right answer is: {self.pick(*self.answers)}."


class AllOfTask(PropertyTask):
    """Takes an enumeration of all answers, in any order.

    A subclass sets `answers` in `ask`.
    """

    max_time = 3500
    answers: list[str]
    noun = "properties"

    def is_right(self, said: str) -> bool:
        """Compares the last items with the answers."""
        return sorted(BETWEEN_ITEMS.split(said)[-len(self.answers) :]) == sorted(self.answers)

    def told(self) -> str:
        """Tells all."""
        answers = self.rng.sample(self.answers, len(self.answers))
        return f"the right {self.noun} are: {' '.join(answers)}."


class AssociateObjectWithPropertyTask(AnyOfTask):
    """`pear in john's basket is soft. how is pear?`: `soft.`."""

    def ask(self) -> str:
        """Tells a property, and asks for it."""
        self.draw()
        self.answers = [self.property]
        return f"{self.thing} in {self.basket}'s basket is {self.property}. how is {self.thing}?"


class VerifyThatObjectHasPropertyTask(AnyOfTask):
    """`is pear soft in john's basket?'`: `yes.`."""

    def ask(self) -> str:
        """Asks for a property that an object has or lacks."""
        self.draw()
        has = BASKETS[self.basket][self.thing]
        if self.pick(True, False):
            asked, self.answers = self.property, ["yes"]
        else:
            asked, self.answers = self.pick(*[one for one in properties() if one not in has]), ["no"]
        return f"is {self.thing} {asked} in {self.basket}'s basket?'"


class ListPropertiesOfAnObjectTask(AllOfTask):
    """`which properties does pear have in john's basket?`: `green, juicy and soft.`."""

    def ask(self) -> str:
        """Asks for all."""
        self.draw()
        self.answers = BASKETS[self.basket][self.thing]
        return f"which properties does {self.thing} have in {self.basket}'s basket?"


class NameAPropertyOfAnObjectTask(AnyOfTask):
    """`can you tell me a property of pear in john's basket?`: `soft.`."""

    def ask(self) -> str:
        """Asks for any."""
        self.draw()
        self.answers = BASKETS[self.basket][self.thing]
        return f"can you tell me a property of {self.thing} in {self.basket}'s basket?"

    def told(self) -> str:
        """Tells one."""
        return f"one right answer is: {self.pick(*self.answers)}."


class HowManyPropertiesDoesAnObjectHaveTask(AnyOfTask):
    """`how many property does pear have in john's basket?`: `6.` or `six.`."""

    def ask(self) -> str:
        """Asks for the number."""
        self.draw()
        self.answers = either_way(len(BASKETS[self.basket][self.thing]))
        return f"how many property does {self.thing} have in {self.basket}'s basket?"


class ListObjectsWithACertainPropertyTask(AllOfTask):
    """`which objects are soft in john's basket?`: `banana, pear and tomato.`."""

    retries = True
    noun = "objects"

    def ask(self) -> str:
        """Asks for all."""
        self.draw()
        self.answers = having(self.basket, self.property)
        return f"which objects are {self.property} in {self.basket}'s basket?"


class NameAnObjectWithAPropertyTask(AnyOfTask):
    """`can you tell me an object that is soft in john's basket?`: `pear.`."""

    retries = True

    def ask(self) -> str:
        """Asks for any."""
        self.draw()
        self.answers = having(self.basket, self.property)
        return f"can you tell me an object that is {self.property} in {self.basket}'s basket?"

    def told(self) -> str:
        """Tells one."""
        return f"one right answer is: {self.pick(*self.answers)}."


class HowManyObjectsHaveACertainPropertyTask(AnyOfTask):
    """`how many objects are soft in john's basket?`: `3.` or `three.`; now and then the property is no word."""

    retries = True

    def ask(self) -> str:
        """Asks for the number."""
        self.basket = self.pick(*BASKETS)
        known = properties(self.basket)
        others = 1 if self.as_first_published else 6
        if self.rng.random() < others / (len(known) + others):
            asked = self._no_word(known)
        else:
            asked = self.pick(*known)
        self.answers = either_way(len(having(self.basket, asked)))
        return f"how many objects are {asked} in {self.basket}'s basket?"

    def _no_word(self, known: list[str]) -> str:
        while True:
            word = "".join(self.rng.sample(string.ascii_lowercase, self.rng.randint(1, 10)))
            if word not in known:
                return word


class WhoHasACertainObjectWithACertainPropertyTask(AllOfTask):
    """`who has a soft pear in the basket?`: `john and mary.`, or `nobody.`."""

    retries = True
    noun = "baskets"

    def ask(self) -> str:
        """Asks for all."""
        thing, asked = self.pick(*OBJECTS), self.pick(*properties())
        self.answers = [name for name, basket in BASKETS.items() if asked in basket.get(thing, ())] or [NOBODY]
        return f"who has {with_article(asked)} {thing} in the basket?"

    def told(self) -> str:
        """Tells all."""
        if self.as_first_published:
            return super().told()
        return f"the right answer is: {' '.join(self.answers)}."


class SharedPropertiesTask(AllOfTask):
    """Asks about an object that is in all baskets."""

    retries = True

    def draw_shared(self) -> list[set[str]]:
        """Draws a basket and an object; returns its properties there, and in the other one."""
        self.basket, other = self.rng.sample(list(BASKETS), 2)
        self.thing = self.pick(*[thing for thing in BASKETS[self.basket] if thing in BASKETS[other]])
        return [set(BASKETS[name][self.thing]) for name in (self.basket, other)]


class ListThePropertiesThatAnObjectHasInABasketOnlyTask(SharedPropertiesTask):
    """`which properties does pear have in john's basket only?`: `soft, sweet.`, or `none.`."""

    def ask(self) -> str:
        """Asks for the difference."""
        here, there = self.draw_shared()
        self.answers = sorted(here - there) or [NONE]
        return f"which properties does {self.thing} have in {self.basket}'s basket only?"


class ListThePropertiesThatAnObjectHasInAllBasketsTask(SharedPropertiesTask):
    """`which properties does pear have in all baskets?`: `green, juicy.`, or `none.`."""

    def ask(self) -> str:
        """Asks for what they share."""
        here, there = self.draw_shared()
        self.answers = sorted(here & there) or [NONE]
        if self.as_first_published:  # it compared the objects
            self.answers = [*sorted(set.intersection(*map(set, BASKETS.values()))), NONE]
        return f"which properties does {self.thing} have in all baskets?"


def properties(*baskets: str) -> list[str]:
    """Returns all properties of objects in some baskets, or in any."""
    found = [one for name in baskets or BASKETS for row in BASKETS[name].values() for one in row]
    return list(dict.fromkeys(found))


def having(basket: str, asked: str) -> list[str]:
    """Returns the objects in a basket that have a property."""
    return [thing for thing, has in BASKETS[basket].items() if asked in has]


def either_way(count: int) -> list[str]:
    """Returns a number in digits and as a word."""
    return [str(count), NUMBERS[count]]
