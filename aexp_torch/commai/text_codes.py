"""Text as symbols and back, under the names that learners of the originals import from `core.serializer`."""

__all__ = ["IdentitySerializer", "StandardSerializer"]


class StandardSerializer:
    """Writes a character as the eight bits, `"0"` and `"1"`, of each of its bytes in UTF-8, the most significant first.

    >>> codes = StandardSerializer()
    >>> codes.to_binary("a.")
    '0110000100101110'
    >>> codes.to_text("0110000100101110" + "001")
    'a.'
    """

    SILENCE_TOKEN = " "

    def to_binary(self, text: str) -> str:
        """Returns the bits of a text."""
        return "".join(f"{byte:08b}" for byte in text.encode())

    def to_text(self, symbols: str, strict: bool = False) -> str | None:
        """Returns the text of some bits, without a last byte that is not whole.

        Args:
          symbols: bits.
          strict: None where it is no text; otherwise bytes at the beginning are left out until it is one.
        """
        code = bytes(int(symbols[place : place + 8], 2) for place in range(0, len(symbols) - 7, 8))
        for start in range(1 if strict else len(code)):
            try:
                return code[start:].decode()
            except UnicodeDecodeError:
                continue
        return None

    def can_deserialize(self, symbols: str) -> bool:
        """Tells whether some bits hold a text."""
        return len(symbols) >= 8 and self.to_text(symbols) is not None


class IdentitySerializer:
    """Takes a character for a symbol."""

    SILENCE_TOKEN = " "

    def to_binary(self, text: str) -> str:
        """Returns the text."""
        return text

    def to_text(self, symbols: str, strict: bool = False) -> str | None:
        """Returns the symbols."""
        return symbols

    def can_deserialize(self, symbols: str) -> bool:
        """Tells whether there are any."""
        return bool(symbols)
