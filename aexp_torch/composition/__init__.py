"""Several environments in, one out.

Each child keeps its own episode boundaries and gets back exactly its own actions.
To add one: a subclass of `Composition` in a file of its own, a line here, a row in the conformance test.
What changes one environment is a stage; what runs copies in parallel is the loader.
"""

from aexp_torch.composition.composition import Composition, unique_names
from aexp_torch.composition.interleave import Interleave
from aexp_torch.composition.multitasking import Multitasking
from aexp_torch.composition.syn import SynEnv

__all__ = ["Composition", "Interleave", "Multitasking", "SynEnv", "unique_names"]
