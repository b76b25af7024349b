"""CommAI-env, later: tables from strings of bits to strings of bits, and what two or more of them come to.

There are thousands of tasks, so each is made when it is asked for: `task("lookup_tables", "LookupTaskR2D1")`.

A family has tables of its own, 26 for every length of strings up to eight. A name says what is asked, for strings of which
length (`R`), and which tables are used (`D`), in this order:

- `LookupTaskR2D1`: `nba:01.`, what table 1 (`a`) has for `01`, among strings of 2 (`b`) bits.
- `FuncLookupTaskR2D1_2`: `fbab:01.`, what table 2 has for what table 1 has for `01`.
- `CatLookupTaskR2D1_2`: `cbab:01.`, what table 1 has for `01`, then what table 2 has for it.
- `ProcLookupTaskR2D1_2`, in split families: `PBab:01.`, all results on the way of `Func`, one after the other.

In a split family two strings are held out of every task with several tables: only `FuncLookupTestTaskR2D1_2` (or
`FuncLookupTaskR2D1_2TestTask`) asks for these, and for nothing else. Single tables are asked for in full: what a table has
for a string cannot be guessed. `short` families have no tasks with more than two tables. In a `rename` family tables are
called by other letters.

Source: Liska, Kruszewski & Baroni 2018, Memorize or generalize?
"""

import functools
import random
import re
import string
from collections.abc import Sequence

from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.forms import ImpatientTask
from aexp_torch.errors import SpecError

__all__ = ["LookupTask", "is_family", "table", "task"]

SEED = 42
LONGEST, NUM_TABLES, MOST_TABLES, NUM_HELD_OUT = 8, 26, 8, 2
LETTERS = string.ascii_lowercase
FAMILY = re.compile(r"(?P<tables>(?P<split>split_)?lookup_tables(?P<short>_short)?(_[1-5])?)(?P<rename>_rename)?")
NAME = re.compile(
    r"(?P<kind>Func|Cat|Proc|)Lookup(?P<test>Test)?TaskR(?P<length>\d+)D(?P<tables>\d+(_\d+)*)(?P<tested>TestTask)?"
)
CODES = {"": "n", "Func": "f", "Cat": "c", "Proc": "p"}


class LookupTask(ImpatientTask):
    """Asks for what tables have for a string of bits. A subclass is made by `task`.

    The learner may first ponder: say `p` as often as the time allows, five symbols more than it takes. Time-out is -1.

    Attributes:
      code: that the question begins with.
      kind: `""`, `"Func"`, `"Cat"` or `"Proc"`.
      tables: `{string: string}`, in the order of their use.
      inputs: the strings that are asked for.
    """

    pondering = "p"
    code = ""
    kind = ""
    tables: tuple[dict[str, str], ...] = ()
    inputs: tuple[str, ...] = ()

    def ask(self) -> tuple[str, str]:
        """Asks for any string."""
        bits = self.rng.choice(self.inputs)
        return f"{self.code}:{bits}.", f"{looked_up(self.kind, self.tables, bits)}."

    def limit(self) -> int:
        """Returns the steps that question and answer take, and five."""
        return len(self.question) + len(self.answer) + 5

    def time_out(self) -> None:
        """Takes pondering without end for a wrong answer."""
        self.finish(-1)


def looked_up(kind: str, tables: Sequence[dict[str, str]], bits: str) -> str:
    """Returns what tables have for a string.

    >>> tables = {"0": "1", "1": "0"}, {"0": "0", "1": "1"}
    >>> [looked_up(kind, tables, "0") for kind in ("Func", "Cat", "Proc")]
    ['1', '10', '11']
    """
    if kind == "Cat":
        return "".join(one[bits] for one in tables)
    on_the_way = []
    for one in tables:
        bits = one[bits]
        on_the_way.append(bits)
    return "".join(on_the_way) if kind == "Proc" else bits


def is_family(name: str) -> bool:
    """Tells whether a family has this name, which is that of the original's module."""
    return FAMILY.fullmatch(name) is not None


@functools.cache
def table(family: str, length: int, number: int) -> dict[str, str]:
    """Returns a table, one to one: the same on every machine.

    Args:
      family: `"lookup_tables"`, `"split_lookup_tables_1"`, ...
      length: of the strings, 1..8.
      number: of the table, 1..26.
    """
    strings = _strings(length)
    results = list(strings)
    random.Random(f"{SEED} {_family(family)['tables']} {length} {number}").shuffle(results)
    return dict(zip(strings, results))


@functools.cache
def task(family: str, name: str) -> type[Task]:
    """Returns the class of a task.

    Raises:
      SpecError: no such family, or a name that none of its tasks has.
    """
    parts, match = _family(family), NAME.fullmatch(name)
    if match is None:
        raise _wrong(family, name, "a name like LookupTaskR2D1 or FuncLookupTaskR2D1_2")
    kind, length = match["kind"], int(match["length"])
    numbers = [int(number) for number in match["tables"].split("_")]
    tests = bool(match["test"] or match["tested"])
    most = 2 if parts["short"] else MOST_TABLES
    if not 1 <= length <= LONGEST or not all(1 <= number <= NUM_TABLES for number in numbers):
        raise _wrong(family, name, f"strings of 1..{LONGEST} bits (R) and tables 1..{NUM_TABLES} (D)")
    if not (len(numbers) == 1 if not kind else 2 <= len(numbers) <= most):
        raise _wrong(family, name, f"one table, or 2..{most} of them for Func, Cat and Proc")
    if (kind == "Proc" or tests) and not parts["split"]:
        raise _wrong(family, name, "Proc and TestTask in split families only")
    if tests and not kind:
        raise _wrong(family, name, "a TestTask of Func, Cat or Proc: single tables are asked for in full")
    if parts["split"] and kind and length == 1:
        raise _wrong(family, name, "strings of two bits or more, of which two can be held out")
    inputs = _strings(length)
    if parts["split"] and kind:
        held_out = _held_out(parts["tables"], f"{kind} {length} {numbers}", inputs)
        inputs = tuple(bits for bits in inputs if (bits in held_out) == tests)
    made = {
        "__doc__": f"Is {name} of {family}.",
        "__module__": __name__,
        "code": _code(family, kind, length, numbers),
        "kind": kind,
        "tables": tuple(table(family, length, number) for number in numbers),
        "inputs": inputs,
    }
    return type(name, (LookupTask,), made)


def _family(name: str) -> re.Match[str]:
    found = FAMILY.fullmatch(name)
    if found is None:
        raise SpecError(
            "lookup_tables: expected a family, lookup_tables, lookup_tables_1 .. _5, split_lookup_tables_1 .. _5,"
            f" split_lookup_tables_short_1 .. _5 or split_lookup_tables_1_rename, got {name!r}."
        )
    return found


def _wrong(family: str, name: str, expected: str) -> SpecError:
    return SpecError(f"lookup_tables: expected {expected} in {family}, got {name!r}.")


def _held_out(tables: str, what: str, inputs: Sequence[str]) -> list[str]:
    return random.Random(f"{SEED} {tables} {what}").sample(inputs, NUM_HELD_OUT)


def _strings(length: int) -> tuple[str, ...]:
    return tuple(f"{number:0{length}b}" for number in range(2**length))


def _code(family: str, kind: str, length: int, numbers: Sequence[int]) -> str:
    """Returns what a question begins with."""
    parts = _family(family)
    letters = list(LETTERS)
    if parts["rename"]:
        random.Random(f"{SEED} {family}").shuffle(letters)
    head = CODES[kind] + LETTERS[length - 1]
    return (head.upper() if parts["split"] else head) + "".join(letters[number - 1] for number in numbers)
