"""Names of keys, and the numbers ("keysyms") that X and VNC have for them.

Source: the X Window System's keysymdef.h for the numbers.
"""

from aexp_torch.errors import SpecError

__all__ = ["KEYS", "keysyms"]

MODIFIERS = {"shift": 0xFFE1, "ctrl": 0xFFE3, "alt": 0xFFE9, "super": 0xFFEB}
NAMED = {
    "BackSpace": 0xFF08,
    "Tab": 0xFF09,
    "Return": 0xFF0D,
    "Escape": 0xFF1B,
    "Delete": 0xFFFF,
    "Insert": 0xFF63,
    "Home": 0xFF50,
    "End": 0xFF57,
    "Left": 0xFF51,
    "Up": 0xFF52,
    "Right": 0xFF53,
    "Down": 0xFF54,
    "Page_Up": 0xFF55,
    "Page_Down": 0xFF56,
    **{f"F{number}": 0xFFBE + number - 1 for number in range(1, 13)},
    "space": 0x20,
}

KEYS = (
    *(chr(code) for code in range(0x20, 0x7F)),  # 1 to 95: printable ASCII, from the space on
    *list(NAMED)[:-1],  # 96 to 121
    *(f"ctrl+{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),  # 122 to 147
)
"""The keys that an agent chooses from by default. Number 0 is none; key number k is `KEYS[k - 1]`."""


def keysyms(key: str) -> tuple[int, ...]:
    """Returns what is held down for a key: its modifiers, and the key itself.

    Args:
      key: a character, a name (`"Return"`, `"F5"`), or either behind modifiers (`"ctrl+c"`, `"ctrl+alt+Delete"`).

    Raises:
      SpecError: there is no such key.

    >>> [hex(number) for number in keysyms("ctrl+a")]
    ['0xffe3', '0x61']
    """
    first, plus, rest = key.partition("+")
    if plus and rest and first in MODIFIERS:
        return (MODIFIERS[first], *keysyms(rest))
    if len(key) == 1:
        code = ord(key)
        return (code if 0x20 <= code < 0x7F or 0xA0 <= code < 0x100 else 0x1000000 + code,)
    if key not in NAMED:
        raise SpecError(
            f"VNCEnv: expected a key as one character or one of {list(NAMED)}, perhaps behind {list(MODIFIERS)} and a '+',"
            f" got {key!r}."
        )
    return (NAMED[key],)
