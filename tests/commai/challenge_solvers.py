"""Players of the Challenge's tasks, which know no more than what they hear: symbols, and rewards.

`SOLVERS` has one for every class. A player's `answer` tells what it says after a question, `learn` takes a verdict. The same
players answer wrongly (`wrong`), not at all (`silent`) or now and then wrongly (`clumsy`).
"""

import itertools
import random
import re
import string
from collections.abc import Callable

IN_A_ROW = 10
LETTERS = string.ascii_lowercase
MARKS = ' !":?.,;'
SYMBOLS = LETTERS + string.ascii_uppercase + string.digits + " ,.!;?-"


class Player:
    """Answers questions; after ten right answers in a row, or when nothing is left to try, it forgets what held so far.

    Attributes:
      log: the questions that it has heard out.
      miss: an answer that is never right, as short as can be.
    """

    miss = "~."

    def __init__(self):
        self.log: list[str] = []
        self.streak = 0
        self.verdict = 0.0
        self.forget()

    def forget(self) -> None:
        """Begins an instance."""

    def answer(self, question: str) -> str:
        """Returns what to say."""
        raise NotImplementedError

    def learn(self, question: str, answer: str, right: bool, feedback: str) -> None:
        """Takes a verdict, and what was said after it."""

    def reward(self, reward: float) -> None:
        """Hears what the last symbol was worth."""
        if reward:
            self.verdict = reward
            self.streak = self.streak + 1 if reward > 0 else 0

    def close(self, feedback: str) -> None:
        """Has heard all about an answer."""
        self.learn(self.log[-1], self.said, self.verdict > 0, feedback)
        if self.streak == IN_A_ROW:
            self.streak = 0
            self.forget()


class SymbolPlayer(Player):
    """Hears a symbol and says one; with `told`, the right one is said in between."""

    miss = "~"
    told = False

    def __init__(self):
        super().__init__()
        self.said, self.telling = "", False

    def reward(self, reward: float) -> None:
        """Takes the verdict at once, where nothing else is said."""
        super().reward(reward)
        if reward and not self.told:
            self.close("")

    def next(self, symbol: str) -> str:
        """Answers."""
        if self.telling:
            self.telling = False
            self.close(symbol)
            return " "
        self.log.append(symbol)
        self.said = self.answer(symbol)
        self.telling = self.told
        return self.said


class TextPlayer(Player):
    """Hears a question up to its end, says an answer, and hears feedback up to a semicolon.

    Attributes:
      end: the last symbol of a question; empty: it has but one.
    """

    end = "."

    def __init__(self):
        super().__init__()
        self.phase, self.heard, self.said, self.left = "question", "", "", ""

    def next(self, symbol: str) -> str:
        """Listens, speaks, or listens again."""
        if self.phase == "answer" and symbol != " ":
            self.phase, self.heard = "feedback", ""
        if self.phase == "answer":
            return self.speak()
        self.heard += symbol
        if self.phase == "question" and symbol == (self.end or symbol):
            self.log.append(self.heard)
            self.said = self.left = self.answer(self.heard)
            self.phase = "answer"
            return self.speak()
        if self.phase == "feedback" and symbol == ";":
            self.close(self.heard[:-1])
            self.phase, self.heard = "question", ""
        return " "

    def speak(self) -> str:
        """Says the next symbol of the answer."""
        symbol, self.left = self.left[:1] or " ", self.left[1:]
        return symbol


class Micro1(SymbolPlayer):
    """Tries one symbol after the other."""

    def forget(self):
        self.candidates = list(SYMBOLS)

    def answer(self, question):
        return self.candidates[0]

    def learn(self, question, answer, right, feedback):
        if not right and answer in self.candidates:
            self.candidates.remove(answer)
        if not self.candidates:
            self.forget()


class Micro2(SymbolPlayer):
    """Echoes marks; tries for letters those that it has heard first, then all."""

    def forget(self):
        self.heard, self.wrong, self.found = "", "", ""

    def answer(self, question):
        if question in MARKS:
            return question
        self.heard += question
        left = [letter for letter in self.heard + LETTERS if letter not in self.wrong]
        if not left:
            self.forget()
        return self.found or (left[0] if left else question)

    def learn(self, question, answer, right, feedback):
        if question in LETTERS and right:
            self.found = answer
        elif question in LETTERS:
            self.wrong += answer


class Micro3(SymbolPlayer):
    """Echoes marks; tries for each letter those that no other stands for."""

    def forget(self):
        self.heard, self.wrong, self.found = "", set(), {}

    def answer(self, question):
        if question in MARKS:
            return question
        self.heard += question
        if question in self.found:
            return self.found[question]
        wrong = {*self.found.values(), *(letter for asked, letter in self.wrong if asked == question)}
        left = [letter for letter in self.heard + LETTERS if letter not in wrong]
        if not left:
            self.forget()
        return left[0] if left else question

    def learn(self, question, answer, right, feedback):
        if right:
            self.found[question] = answer
        else:
            self.wrong.add((question, answer))


class Micro4(SymbolPlayer):
    """Echoes."""

    def answer(self, question):
        return question


class Micro5Sub1(SymbolPlayer):
    """Remembers what it was told."""

    told = True

    def forget(self):
        self.table = {}

    def answer(self, question):
        return self.table.get(question, "0")

    def learn(self, question, answer, right, feedback):
        self.table[question] = feedback


class Micro5(TextPlayer):
    """Remembers what it was told, or found right."""

    miss = "~"

    def forget(self):
        self.table = {}

    def answer(self, question):
        return self.table.get(question, "?")

    def learn(self, question, answer, right, feedback):
        self.table[question] = answer if right else feedback


class Micro5Sub2(Micro5):
    """Hears questions of one symbol."""

    end = ""


class Micro5Noise(Micro5):
    """Remembers only the last digit that it was told."""

    def learn(self, question, answer, right, feedback):
        self.table[question] = feedback[-2:]


class Micro6(Micro5):
    """Remembers what was right after a wrong answer."""

    miss = "~."

    def answer(self, question):
        return self.table.get(question, ".")

    def learn(self, question, answer, right, feedback):
        if not right:
            self.table[question] = feedback.removeprefix("wrong! ")


ROWS = [
    "zero one two three four five six seven eight nine",
    "first second third fourth fifth sixth seventh eighth ninth",
    "ten twenty thirty forty fifty sixty seventy eighty ninety",
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
]


class Micro15(TextPlayer):
    """Keeps the rows of numbers, read either way, that agree with all it was told."""

    def forget(self):
        rows = [row.split() for row in ROWS]
        self.rows = [dict(itertools.pairwise(row)) for one in rows for row in (one, one[::-1])]

    def answer(self, question):
        item = question.removeprefix("say next after: ")[:-1]
        self.rows = [row for row in self.rows if item in row]
        if not self.rows:
            self.forget()
            return self.answer(question)
        return f"{self.rows[0][item]}."

    def learn(self, question, answer, right, feedback):
        item = question.removeprefix("say next after: ")[:-1]
        following = (answer if right else feedback.removeprefix("wrong! "))[:-1]
        self.rows = [row for row in self.rows if row.get(item) == following]


def said_words(question: str) -> list[str]:
    return re.findall(r"say: (\S+?)(?=\.| )", question)


def spell(question: str) -> str:
    return " ".join(question.removeprefix("spell: "))


def interleave(question: str) -> str:
    word, joint = re.fullmatch(r"interleave: (\S+) by (.)\.", question).groups()
    return "".join(letter + joint for letter in word)[:-1] + "."


def operate(question: str) -> str:
    """Reverses, puts together, interleaves, unites or excludes."""
    first, second, operation = re.fullmatch(r"say: (\w+) say: (\w+) (\w+):\.", question).groups()
    if operation == "reverse":
        return f"{second} {first}."
    if operation == "concatenate":
        return f"{first}{second}."
    if operation == "interleave":
        return f"{first[0]}{second[0]}{first[1]}{second[1]}."
    if operation == "union":
        return f"{first}." if second in first else f"{first}{second}."
    return "".join(letter for letter in first if letter != second) + "."


def following_letter(question: str) -> str:
    return chr(ord(question[len("after ")]) + 1) + "."


def tidy(question: str) -> str:
    return re.sub(" +", " ", question.removeprefix("say:")).strip()


def choose(question: str) -> str:
    """Answers ` say: x or y but not z.` and the like."""
    if found := re.search(r"anything and not (.)\.", question):
        return "ab.".replace(found[1], "")
    if found := re.search(r"(.) or (.) but not (.)\.", question):
        return f"{found[1]}{found[2]}.".replace(found[3], "")
    if found := re.search(r"(.) or (.)\.", question):
        return f"{found[1]}{found[2]}."
    return "{}{}.".format(*re.search(r"(.) and (.)\.", question).groups())


def join_clauses(question: str) -> str:
    said = question.removeprefix("say: ")
    return said.split(" or ")[0].removesuffix(".") + "." if " or " in said else said.replace(" and ", "")


def several(question: str) -> str:
    """Does what was asked in one of several tasks."""
    if question.startswith("spell"):
        return spell(question)
    if question.startswith("after"):
        return following_letter(question)
    return operate(question) if question.endswith(":.") else " ".join(said_words(question)) + "."


SYNONYMS = {
    "print": "say",
    "write": "say",
    "behind": "after",
    "next": "after",
    "consolidate": "union",
    "joint": "union",
    "prohibit": "exclude",
    "ignore": "exclude",
    "remove": "exclude",
}


def in_other_words(question: str) -> str:
    """Translates what is in front of a colon, and the first word."""
    plain = re.sub(r"(\w+)(?=:)", lambda word: SYNONYMS.get(word[0], word[0]), question)
    first, rest = plain.split(" ", 1)
    return several(f"{SYNONYMS.get(first, first)} {rest}")


def explained(question: str) -> str:
    """Translates a word that was explained."""
    new, old, asked = re.fullmatch(r"(\S+) is as (\w+) - (.*)", question).groups()
    asked = f"after{asked.removeprefix(new)}" if old == "after" else re.sub(rf"\b{new}:", f"{old}:", asked)
    return several(asked)


def answering(function: Callable[[str], str]) -> type[TextPlayer]:
    """Returns a player that needs to remember nothing."""

    class Answers(TextPlayer):
        def answer(self, question):
            return function(question)

    return Answers


class Mini(Player):
    """Answers once it has heard `description: ...; verify: ... .`"""

    def __init__(self):
        super().__init__()
        self.heard, self.left = "", ""

    def next(self, symbol: str) -> str:
        """Listens to the period."""
        self.heard += symbol
        if found := re.search(r"description: ([^;]*); verify: (\w*)\.$", self.heard):
            self.log.append(found[0])
            self.heard, self.left = "", self.answer(found[0])
        said, self.left = self.left[:1] or " ", self.left[1:]
        return said

    def answer(self, question):
        description, text = re.fullmatch(r"description: ([^;]*); verify: (\w*)\.", question).groups()
        # The environment takes the empty string for a wrong one, though anything fits.
        return "true." if text and fits(description, text) else "false."


def fits(description: str, text: str) -> bool:
    """Tells whether a text fits: reads on as long as occurrences of groups touch or overlap."""
    parts = re.split(" and | or ", description)
    forbidden = [part.removeprefix("not ") for part in parts if part.startswith("not ")]
    groups = [part for part in parts if part.isupper()]
    if any(group in text for group in forbidden):
        return False
    if " or " not in description and any(group not in text for group in groups):
        return False
    if "anything" in parts:
        return True
    reached = 0
    for start in range(len(text)):
        if start <= reached:
            reached = max([reached, *(start + len(group) for group in groups if text.startswith(group, start))])
    return reached == len(text)


SOLVERS: dict[str, type[Player]] = {
    "Micro1Task": Micro1,
    "Micro2Task": Micro2,
    "Micro3Task": Micro3,
    "Micro4Task": Micro4,
    "Micro5Sub1Task": Micro5Sub1,
    "Micro5Sub2Task": Micro5Sub2,
    **{f"Micro5Sub{number}Task": Micro5 for number in range(3, 19)},
    **{f"Micro5Sub{number}Task": Micro5Noise for number in (10, 11, 14)},
    "Micro6Task": Micro6,
    "Micro7Sub1Task": answering(lambda question: question.removeprefix("say: ")),
    "Micro7Sub2Task": answering(lambda question: question.removeprefix("say: ")),
    "Micro7Sub3Task": answering(lambda question: question.removeprefix("say: ")),
    "Micro8Task": answering(tidy),
    "Micro9Sub1Task": answering(spell),
    "Micro9Sub2Task": answering(spell),
    "Micro9Sub3Task": answering(interleave),
    "Micro10Task": answering(several),
    "Micro11Task": answering(several),
    "Micro12Task": answering(several),
    "Micro13Sub1Task": answering(choose),
    "Micro13Sub2Task": answering(join_clauses),
    "Micro14Task": answering(several),
    "Micro15Task": Micro15,
    "Micro16Task": answering(several),
    "Micro19Task": answering(in_other_words),
    "Micro20Task": answering(explained),
    **{f"TaskSet{number}": Mini for number in range(6)},
}


def wrong(name: str) -> Player:
    """Returns a player whose answers are never right, and as short as can be."""

    class Wrong(SOLVERS[name]):
        def answer(self, question):
            if name.startswith("TaskSet"):
                return "true." if super().answer(question) == "false." else "false."
            # A period is an end of any answer to `and`; anything else will do where something is not to be said.
            return "." if "anything and not" in question else self.miss

        def learn(self, question, answer, right, feedback):
            pass

    return Wrong()


def silent(name: str) -> Player:
    """Returns a player who says nothing."""

    class Silent(SOLVERS[name]):
        def answer(self, question):
            return " "

        def learn(self, question, answer, right, feedback):
            pass

    return Silent()


def clumsy(name: str, share: float, seed: int) -> Player:
    """Returns a player who knows, but now and then says something else."""
    rng = random.Random(seed)

    class Clumsy(SOLVERS[name]):
        def answer(self, question):
            known = super().answer(question)
            return known if rng.random() >= share else "~" * (len(known) - 1) + "~."[len(known) > 1]

    return Clumsy()
