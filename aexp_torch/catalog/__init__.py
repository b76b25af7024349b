"""What is ready-made: datasets and environments that open with one call.

Every entry is a function that returns a source as a recipe; it needs no network unless it says so.
To add one: a function in a file of its own, with a return annotation, so that the command line can name it.
How a provider's data is read belongs in `sources`; how it is fetched from a hub, in `hubs`.
"""

from aexp_torch.catalog.digits import digits
from aexp_torch.catalog.entry import Entry
from aexp_torch.catalog.registry import entries, find, register
from aexp_torch.catalog.tags import Filter, Tag, domains, matches, tags_of

__all__ = ["Entry", "Filter", "Tag", "digits", "domains", "entries", "find", "matches", "register", "tags_of"]
