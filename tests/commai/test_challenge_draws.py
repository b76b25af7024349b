"""What the Challenge's tasks draw: the grammar of their questions, and how often each form comes."""

import random
import re
import string

import pytest

from aexp_torch.commai.tasks import micro
from tests.commai.challenge_solvers import ROWS, SOLVERS, wrong
from tests.commai.transcripts import play

ONE, DIGITS = r"\d", string.digits
# keys, answers, what stands in the feedback before the answer, the lengths of keys and answers that are possible
MICRO5 = {
    1: (ONE, ONE, "", 1, 1),
    2: (ONE, ONE, "", 1, 1),
    3: (ONE, ONE, "", 1, 1),
    4: (ONE, r"\d{2}", "", 1, 1),
    5: (ONE, r"\d\.", "", 1, 1),
    6: (ONE, r"\d\.", "", 1, 1),
    7: (ONE, r"\d{1,2}\.", "", 1, 2),
    8: (r"\d{2}", r"\d\.", "", 1, 1),
    9: (r"\d{1,2}", r"\d\.", "", 2, 1),
    10: (ONE, r"\d\.", r"\d", 1, 1),
    11: (ONE, r"\d\.", r"\d?", 1, 1),
    12: (ONE, r"\d{3,5}\.", "", 1, 3),
    13: (r"\d{3,5}", r"\d\.", "", 3, 1),
    14: (ONE, r"\d\.", r"\d{2,4}", 1, 1),
    15: (ONE, r"\d{1,5}\.", "", 1, 5),
    16: (r"\d{1,5}", r"\d\.", "", 5, 1),
    17: (r"\d{1,5}", r"\d{1,5}\.", "", 5, 5),
    18: (r"\d{1,10}", r"\d{1,10}\.", "", 10, 10),
}


@pytest.mark.parametrize("number", MICRO5)
def test_the_grammar_of_micro5(number):
    """Each question, a pause as long as the answer, and the answer."""
    key, answer, noise, key_lengths, answer_lengths = MICRO5[number]
    name = f"Micro5Sub{number}Task"
    played = [instance for seed in range(6) for instance in play(name, wrong(name), 1, seed)[0]]
    all_keys, all_answers, all_noise = set(), set(), set()
    for instance in played:
        end = "" if number == 1 else ";"
        form = rf"({key})" + (r"\." if number > 2 else "") + rf"( *)({noise})({answer}){end}"
        table = {}
        found = list(re.finditer(form, instance.said))
        assert "".join(one[0] for one in found) == instance.said
        for one in found:
            # The reply to the last symbol of the question is the first of the answer.
            assert len(one[2]) == len(one[4]) - 1
            assert table.setdefault(one[1], one[4]) == one[4]
        assert len(table) == 10 or (len(table) <= 10 and number in (8, 9, 13, 16, 17, 18))
        if number <= 3:
            assert sorted(table.values()) == list(DIGITS)
        all_keys |= {len(key) for key in table}
        all_answers |= {len(answer) for answer in table.values()}
        all_noise |= {len(one[3]) for one in found}
    assert (len(all_keys), len(all_answers)) == (key_lengths, answer_lengths)
    assert len(all_noise) == {11: 2, 14: 3}.get(number, 1)


def test_words_have_letters_and_hyphens_and_come_once():
    words = micro.dictionary()
    assert len(words) == len(set(words)) > 400
    assert all(re.fullmatch(r"[A-Za-z]+(-[A-Za-z]+)*", word) for word in words)
    for later in micro._plain_words(200, 400):
        assert later in words[200:400]
        assert not re.search(
            "say|print|write|and|together with|also|or|after|behind|next|joint|union|ignore|remove", later
        )


def shares(name: str, count: int, form: str) -> dict[tuple, float]:
    """Returns how often the parts of questions that are drawn take which values."""
    played, _ = play(name, SOLVERS[name](), count, 4)
    found = [re.fullmatch(form, question).groups() for instance in played for question in instance.questions]
    return {values: found.count(values) / len(found) for values in set(found)}


WORD = "[A-Za-z-]+"


@pytest.mark.parametrize(
    "name, form, values",
    [
        ("Micro7Sub1Task", r"say: (.)\.", 26),
        ("Micro8Task", r"say: ( *)[a-z] *[a-z] *\.", 7),
        ("Micro8Task", r"say:  *[a-z] *[a-z]( *)\.", 7),
        ("Micro9Sub3Task", rf"interleave: {WORD} by (.)\.", 3),
        ("Micro10Task", rf"say: {WORD} say: {WORD}( say:)?.*\.", 2),
        ("Micro11Task", r"say: (ab|ac|ad|bc|bd|cd) say: .. (?:reverse|concatenate|interleave):\.", 6),
        ("Micro11Task", r"say: .. say: (ab|ac|ad|bc|bd|cd) (reverse|concatenate|interleave):\.", 18),
        ("Micro12Task", r"say: (abc|acd|adc|bcd|bda|cdb) say: [a-d] (?:union|exclude):\.", 6),
        ("Micro12Task", r"say: ... say: (.) (union|exclude):\.", 8),
        ("Micro13Sub1Task", r" say: (?:.|anything) (and not|and|or) .( but)?.*\.", 4),
        ("Micro13Sub2Task", r"say: [a-z]{1,3} (and|or) [a-z]{1,3}(?: (?:and|or) [a-z]{1,3}){0,2}\.", 2),
        ("Micro14Task", r"after ([a-y]) comes what:\.", 25),
    ],
)
def test_what_is_drawn(name, form, values):
    found = shares(name, 60, form)
    assert len(found) == values
    assert max(found.values()) < 2.2 / values
    assert min(found.values()) > 0.25 / values


def test_numbers_are_asked_backwards_in_two_instances_of_three():
    task = micro.Micro15Task()
    task.rng = random.Random(0)
    rows = [" ".join([*table, list(table.values())[-1][:-1]]) for table in (task.draw() for _ in range(1200))]
    forwards = dict.fromkeys(ROWS, 1 / 12)
    backwards = {" ".join(reversed(row.split())): 1 / 6 for row in ROWS}
    assert {row: rows.count(row) / len(rows) for row in set(rows)} == pytest.approx(forwards | backwards, abs=0.03)


@pytest.mark.parametrize("name", ["Micro19Task", "Micro20Task"])
def test_all_four_kinds_come_before_one_comes_again(name):
    played, _ = play(name, SOLVERS[name](), 12, 2)
    kinds = [frozenset(kind_of(question) for question in instance.questions) for instance in played]
    for first in range(0, 12, 4):
        assert len(set(kinds[first : first + 4])) == 4
        assert set().union(*kinds[first : first + 4]) == {"words", "letters", "sets", "alphabet"}


def kind_of(question: str) -> str:
    if "comes what" in question:
        return "alphabet"
    operation = re.search(r"(\S+):\.$", question)
    if operation is None:
        return "words"
    return "letters" if operation[1] in ("reverse", "concatenate", "interleave") else "sets"
