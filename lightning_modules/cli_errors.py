"""Errors of the command line in one line: what was given, what is wrong with it, what was meant."""

import inspect
import pydoc
import re
from difflib import get_close_matches

__all__ = ["in_one_line"]

NOISE = (
    "Expected a <class 'NoneType'>",
    "Expected an instantiatable class",
    "Does not validate",
    "Expected a path but",
)


def in_one_line(error: BaseException, options: list[str] | None = None) -> str:
    """Condenses an error's text.

    Args:
      error: of this library, Lightning, or jsonargparse, whose texts list every alternative of a type.
      options: that there are, to suggest one for a misspelt one.

    >>> in_one_line(ValueError("unrecognized arguments: --modle 3"), ["--model", "--data"])
    'unrecognized option --modle. Did you mean --model?'
    """
    text = str(error).strip()
    notes = [" ".join(note.split()) for note in getattr(error, "__notes__", [])]
    unknown = re.match(r"unrecognized arguments?: (\S+)", text)
    if unknown:
        option = unknown[1].split("=")[0]
        return f"unrecognized option {option}.{_suggest(option, options or [])}"
    key = re.match(r'Parser key "([^"]+)":', text)
    if text.startswith("Does not validate against any"):
        return "; ".join([*_reasons(text), *notes])
    if key is None:
        return " ".join([*text.split(), *notes])
    reasons = _reasons(text)
    return f"--{key[1]}: {'; '.join(reasons) if reasons else ' '.join(text[key.end() :].split())}"


def _reasons(text: str) -> list[str]:
    """Picks from the alternatives those that say what is wrong."""
    body = re.split(r"\n *Given value", text)[0]
    given = re.search(r"Given value: (?:NestedArg\(.*val=)?'?([^'\n]*)'?", text)
    came = f", got {given[1].rstrip(')')!r}" if given and len(given[1]) < 40 else ""
    _, _, listed = body.partition("Errors:\n")
    found, of = [], ""
    for part in re.split(r"\n\s*- ", "\n" + (listed or body.partition(":")[2])):
        part = " ".join(part.split())
        if part.startswith("Problem with"):
            of, alternatives, _ = part.partition("Does not validate")  # what follows are the reasons of this
            part, of = ("", of) if alternatives else (part, "")
        if part and not part.startswith(NOISE):
            found.append(of + part)
    problems = [part for part in found if part.startswith("Problem with given class_path")]
    telling = [part for part in found if not part.startswith("Expected a <class")]
    reasons = [_sharpen(part, came) for part in problems or telling or found]
    return list(dict.fromkeys(reason for reason in reasons if reason))


def _sharpen(reason: str, came: str) -> str:
    misspelt = re.match(r"Problem with given class_path '([^']+)': .*?Option '([^']+)' is not accepted", reason)
    if misspelt:
        path, option = misspelt.groups()
        return f"{path.rpartition('.')[2]} has no option {option!r}.{_suggest(option, _parameters(path))}"
    nested = re.match(r"Problem with given class_path '([^']+)': Parser key \"([^\"]+)\": (.*)", reason)
    if nested:
        return f"{nested[1].rpartition('.')[2]}: {nested[2]}: {_sharpen(nested[3], came)}"
    choices = re.match(r"Expected a typing.Literal\[(.*)\]\.?(?: Got value: (.*))?$", reason)
    if choices:
        return f"expected one of {choices[1]}" + (f", got {choices[2]!r}" if choices[2] else came)
    expected = re.match(r"Expected a <class '([^']+)'>\.?(?: Got value: (.*))?$", reason)
    if expected:
        return f"expected {expected[1]}" + (f", got {expected[2]!r}" if expected[2] else came)
    unimportable = re.match(r"Expected a dot import path string: (.*)", reason)
    if unimportable:
        return f"no such class {unimportable[1]!r}: give its full path, or the name of one that comes with the library"
    return reason


def _parameters(path: str) -> list[str]:
    try:
        return list(inspect.signature(pydoc.locate(path)).parameters)  # type: ignore[arg-type]
    except (TypeError, ValueError, pydoc.ErrorDuringImport):
        return []


def _suggest(option: str, options: list[str]) -> str:
    close = get_close_matches(option, options, n=1)
    return f" Did you mean {close[0]}?" if close else ""
