"""answer_challenge: proves to a VNC server that the password is known. Just enough DES for that, in plain Python.

VNC authentication encrypts 16 random bytes with DES, under the first 8 bytes of the password, each with its bits in reverse.
It keeps honest people out of a desktop, and nobody else: 8 letters, and pixels and keys in the open. Use a tunnel.

Sources: RFC 6143 section 7.2.2 for the authentication, FIPS 46-3 for the tables of DES.
"""

__all__ = ["answer_challenge", "encrypt_block"]

# Numbers of bits, from 1 on the left, as the standard prints them.
INITIAL = [start - 8 * row for start in (58, 60, 62, 64, 57, 59, 61, 63) for row in range(8)]
FINAL = [INITIAL.index(bit) + 1 for bit in range(1, 65)]
EXPANSION = [(4 * group + place - 1) % 32 + 1 for group in range(8) for place in range(6)]
ROUND = [16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10]
ROUND += [2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25]
KEY_LEFT = [57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36]
KEY_RIGHT = [63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4]
KEY_CHOICE = [14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2]
KEY_CHOICE += [41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32]
SHIFTS = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1]
# The eight substitution boxes, four rows of sixteen hexadecimal digits each.
BOXES = [
    "e4d12fb83a6c59070f74e2d1a6cb953841e8d62bfc973a50fc8249175b3ea06d",
    "f18e6b34972dc05a3d47f28ec01a69b50e7ba4d158c6932fd8a13f42b67c05e9",
    "a09e63f51dc7b428d709346a285ecbf1d6498f30b12c5ae71ad069874fe3b52c",
    "7de3069a1285bc4fd8b56f03472c1ae9a690cb7df13e52843f06a1d8945bc72e",
    "2c417ab6853fd0e9eb2c47d150fa3986421bad78f9c5630eb8c71e2d6f09a453",
    "c1af92680d34e75baf427c9561de0b389ef528c3704a1db6432c95fabe17608d",
    "4b2ef08d3c975a61d0b7491ae35c2f8614bdc37eaf6805926bd814a7950fe23c",
    "d2846fb1a93e50c71fd8a374c56b0e927b419ce206adf35821e74a8dfc90356b",
]


def answer_challenge(challenge: bytes, password: str) -> bytes:
    """Returns the 16 bytes that answer a server's 16.

    Args:
      challenge: what the server sent.
      password: only its first 8 letters count.
    """
    letters = password.encode("latin-1", "replace")[:8].ljust(8, b"\0")
    key = bytes(int(f"{letter:08b}"[::-1], 2) for letter in letters)
    return encrypt_block(challenge[:8], key) + encrypt_block(challenge[8:16], key)


def encrypt_block(block: bytes, key: bytes) -> bytes:
    """Encrypts 8 bytes with DES under a key of 8 bytes."""
    bits, key_bits = _chosen(_bits(block), INITIAL), _bits(key)
    left, right = bits[:32], bits[32:]
    key_left, key_right = _chosen(key_bits, KEY_LEFT), _chosen(key_bits, KEY_RIGHT)
    for shift in SHIFTS:
        key_left, key_right = (half[shift:] + half[:shift] for half in (key_left, key_right))
        subkey = _chosen(key_left + key_right, KEY_CHOICE)
        mixed = [bit ^ key_bit for bit, key_bit in zip(_chosen(right, EXPANSION), subkey, strict=True)]
        substituted = [bit for number in range(8) for bit in _substitute(number, mixed[6 * number : 6 * number + 6])]
        left, right = right, [bit ^ other for bit, other in zip(left, _chosen(substituted, ROUND), strict=True)]
    bits = _chosen(right + left, FINAL)
    return bytes(int("".join(map(str, bits[start : start + 8])), 2) for start in range(0, 64, 8))


def _substitute(number: int, bits: list[int]) -> list[int]:
    row, column = 2 * bits[0] + bits[5], 8 * bits[1] + 4 * bits[2] + 2 * bits[3] + bits[4]
    return _bits(bytes([int(BOXES[number][16 * row + column], 16)]))[4:]


def _bits(data: bytes) -> list[int]:
    return [byte >> place & 1 for byte in data for place in range(7, -1, -1)]


def _chosen(bits: list[int], places: list[int]) -> list[int]:
    return [bits[place - 1] for place in places]
