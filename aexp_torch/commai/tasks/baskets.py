"""The baskets of john and mary: which objects are in them, and what these are like."""

__all__ = ["BASKETS", "OBJECTS"]

# The words are of our own choice; how many there are, and which are shared, is as in CommAI-env.
_JOHN = """
apple: red crunchy sweet juicy fresh big green
banana: yellow sweet soft ripe long healthy cheap
beet: red frozen hard dirty healthy sweet large cheap local
carrot: orange long hard healthy crunchy fresh cheap
cucumber: green long juicy fresh tasteless smooth crunchy cheap
mango: exotic expensive
onion: pungent white fresh smelly cheap small
pear: green juicy sweet ripe soft fresh
pineapple: exotic brown rough sweet hard yellow
potato: brown rough dirty hard cheap old local
tomato: red fresh juicy ripe soft smooth
"""
_MARY = """
apple: red sour hard small old sweet cheap
asparagus: green long expensive fresh healthy smelly
avocado: green soft exotic expensive healthy buttery brown bumpy
banana: yellow sweet soft ripe brown old
carrot: orange long hard healthy large dirty rotten
cucumber: green long fresh juicy large bumpy
mango: sweet juicy orange ripe soft large
onion: pungent smelly brown dry large old
pear: green juicy ripe bumpy tasteless small
pineapple: exotic sweet hard juicy large expensive
tomato: red fresh juicy ripe soft
"""


def _basket(lines: str) -> dict[str, list[str]]:
    rows = [line.partition(": ") for line in lines.strip().splitlines()]
    return {thing: properties.split() for thing, _, properties in rows}


BASKETS = {"john": _basket(_JOHN), "mary": _basket(_MARY)}
OBJECTS = sorted({thing for basket in BASKETS.values() for thing in basket})
