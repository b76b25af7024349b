"""The mini-tasks' descriptions: which strings fit, and which are asked about."""

import itertools
import random
import re
import statistics

import pytest

from aexp_torch.commai.tasks import mini
from aexp_torch.commai.tasks.mini import Description
from tests.commai.challenge_solvers import fits

LONGEST = 6
ALL = ["".join(letters) for size in range(LONGEST + 1) for letters in itertools.product("ABC", repeat=size)]


def chains(groups: list[str]) -> set[str]:
    """Returns all strings, up to the longest, that consist of groups which touch or overlap."""
    found, new = {""}, {""}
    while new:
        grown = {
            text + group[shared:]
            for text in new
            for group in groups
            for shared in range(len(group))
            if text.endswith(group[:shared])
        }
        new = {text for text in grown if len(text) <= LONGEST} - found
        found |= new
    return found


@pytest.mark.parametrize("seed", range(60))
def test_the_strings_that_fit_are_those_that_can_be_built(seed):
    rng = random.Random(seed)
    groups = list(dict.fromkeys("".join(rng.choices("ABC", k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))))
    all_of, anything = len(groups) == 1 or rng.random() < 0.6, rng.random() < 0.4
    forbidden = groups[1:] if all_of and rng.random() < 0.4 else []
    groups = [group for group in groups if group not in forbidden]
    description = Description(groups, forbidden, all_of, anything)
    built = set(ALL) if anything else chains(groups)
    expected = {
        text
        for text in built
        if not any(group in text for group in forbidden) and (not all_of or all(group in text for group in groups))
    }
    assert {text for text in ALL if description.fits(text)} == expected
    assert {text for text in ALL if fits(str(description), text)} == expected


def questions(name: str, count: int) -> list[tuple[str, str, bool]]:
    """Returns descriptions, strings, and whether they are said to fit."""
    task = getattr(mini, name)()
    task.rng = random.Random(0)
    asked = []
    for _ in range(count):
        question, answer = task.ask()
        parts = re.fullmatch(r"description: (.*); verify: (\w*)\.", question).groups()
        asked.append((*parts, answer == "true."))
    return asked


@pytest.mark.parametrize("number", range(6))
def test_what_is_said_to_fit_does(number):
    for description, text, right in questions(f"TaskSet{number}", 1000):
        assert fits(description, text) == right or (description, text) == ("anything", "")
        for group in re.findall("[A-Z]+", description):
            assert len(group) <= 3
        assert ("not" in description) <= (number in (4, 5))
        assert (" or " in description) <= (number in (2, 5))
        assert (" and " in description) <= (number in (3, 4, 5))
    if number == 4:
        for description, _, _ in questions("TaskSet4", 300):
            forbidden = {letter for group in re.findall("not ([A-Z]+)", description) for letter in group}
            positive = set("".join(re.findall(r"(?<!not )\b[A-Z]+", description)))
            assert not forbidden & positive
            assert not forbidden or "anything" in description


def test_task_set_0_keeps_its_group_for_ten_instances():
    asked = [description for description, _, _ in questions("TaskSet0", 1100)]
    for first in range(0, 1100, 10):
        assert len(set(asked[first : first + 10])) == 1
        assert len(asked[first]) == (1 if first < 1000 else 2)
    assert len(set(asked[:1000])) > 20


# shortest, median and longest, of strings that fit and of those that do not, over 20,000 of each in the original
LENGTHS = {
    1: ((2, 6, 13), (3, 7, 14)),
    2: ((2, 7, 15), (0, 7, None)),
    3: ((2, 17, 36), (2, 16, 37)),
    4: ((2, 17, 37), (2, 18, 38)),
}
SHARES = {1: (0, 0), 2: (0.05, 0), 3: (0.5, 0), 4: (0.86, 0.71)}  # of "anything" and of "not"


@pytest.mark.slow
@pytest.mark.parametrize("number", LENGTHS)
def test_lengths_and_shares_are_those_of_the_original(number):
    asked = questions(f"TaskSet{number}", 20_000)
    for right, (shortest, median, longest) in zip((True, False), LENGTHS[number]):
        lengths = [len(text) for _, text, fits in asked if fits == right]
        assert len(lengths) / len(asked) == pytest.approx(0.5, abs=0.02)
        assert min(lengths) == shortest
        assert statistics.median(lengths) == pytest.approx(median, abs=1)
        assert longest is None or max(lengths) == pytest.approx(longest, abs=3)
    anything, negated = SHARES[number]
    assert statistics.mean("anything" in description for description, _, _ in asked) == pytest.approx(
        anything, abs=0.015
    )
    assert statistics.mean("not" in description for description, _, _ in asked) == pytest.approx(negated, abs=0.015)
    empty = statistics.mean(not text for _, text, _ in asked)
    assert empty == pytest.approx(0.024 if number == 2 else 0, abs=0.005)
