"""What is ready-made: datasets and environments that open with one call.

Every entry is a function that returns a source as a recipe; it needs no network unless it says so.
To add one: a function in the file of its family (or a new one), with a return annotation, so that the command line can
name it, and a line in `core.py`; a simulator's name belongs in the table of `simulators.py`.
How a provider's data is read belongs in `sources`; how it is fetched from a hub, in `hubs`.
"""

from aexp_torch.catalog.ae_env import AEEnv
from aexp_torch.catalog.artificial_experience import ArtificialExperience
from aexp_torch.catalog.digits import digits
from aexp_torch.catalog.entry import Entry
from aexp_torch.catalog.registry import entries, find, register
from aexp_torch.catalog.tags import DOMAINS, Filter, Tag, domains, matches, near, tags_of, unmatched

__all__ = [
    "DOMAINS",
    "AEEnv",
    "ArtificialExperience",
    "Entry",
    "Filter",
    "Tag",
    "digits",
    "domains",
    "entries",
    "find",
    "matches",
    "near",
    "register",
    "tags_of",
    "unmatched",
]
