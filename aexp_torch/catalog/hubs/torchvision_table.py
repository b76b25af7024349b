"""Pictures that torchvision downloads and reads: a table."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

TWO = {"splits": {"train": {"split": "train"}, "test": {"split": "test"}}}
THREE = {"splits": {"train": {"split": "train"}, "validation": {"split": "val"}, "test": {"split": "test"}}}
ONE: dict = {"splits": {"train": {}}}

# fmt: off
GROUPS = [
    Group("image.classification image.characters", "Say which character is in the picture.", [
        ("emnist-letters", "EMNIST", "image=x:image(28,28,1) label=y:class(27)", "", 561_753_746, "handwritten letters, 28 x 28, on their sides", "Cohen et al. 2017, arXiv:1702.05373", {"splits": {"train": {"split": "letters", "train": True}, "test": {"split": "letters", "train": False}}}),
        ("svhn", "SVHN", "image=x:image(32,32,3) label=y:class(10)", "non-commercial", None, "digits of house numbers", "Netzer et al. 2011", {"splits": {"train": {"split": "train"}, "test": {"split": "test"}, "extra": {"split": "extra"}}}),
    ]),
    Group("image.classification", "Say what is in the picture.", [
        ("stl10", "STL10", "image=x:image(96,96,3) label=y:class(10)", "", 2_640_397_119, "ten kinds of things, few labels", "Coates et al. 2011", TWO),
        ("oxford-pets", "OxfordIIITPet", "image=x:image(224,224,3) label=y:class(37)", "CC-BY-SA-4.0", None, "breeds of cats and dogs", "Parkhi et al. 2012", {"splits": {"train": {"split": "trainval"}, "test": {"split": "test"}}}),
        ("oxford-flowers", "Flowers102", "image=x:image(224,224,3) label=y:class(102)", "", None, "flowers", "Nilsback and Zisserman 2008", THREE),
        ("dtd", "DTD", "image=x:image(224,224,3) label=y:class(47)", "", None, "textures", "Cimpoi et al. 2014, arXiv:1311.3618", THREE),
        ("eurosat", "EuroSAT", "image=x:image(64,64,3) label=y:class(10)", "MIT", None, "land seen by a satellite", "Helber et al. 2019, arXiv:1709.00029", ONE),
        ("fgvc-aircraft", "FGVCAircraft", "image=x:image(224,224,3) label=y:class(100)", "", None, "aeroplanes", "Maji et al. 2013, arXiv:1306.5151", {"splits": {"train": {"split": "trainval"}, "test": {"split": "test"}}}),
        ("gtsrb", "GTSRB", "image=x:image(48,48,3) label=y:class(43)", "", None, "traffic signs", "Stallkamp et al. 2012", TWO),
        ("places365", "Places365", "image=x:image(256,256,3) label=y:class(365)", "", None, "365 kinds of places, small pictures", "Zhou et al. 2017", {"splits": {"train": {"split": "train-standard", "small": True}, "validation": {"split": "val", "small": True}}}),
        ("country211", "Country211", "image=x:image(224,224,3) label=y:class(211)", "", None, "which country it is", "Radford et al. 2021, arXiv:2103.00020", {"splits": {"train": {"split": "train"}, "validation": {"split": "valid"}, "test": {"split": "test"}}}),
        ("rendered-sst2", "RenderedSST2", "image=x:image(448,448,3) label=y:class(2)", "", None, "film reviews as pictures", "Radford et al. 2021, arXiv:2103.00020", THREE | {"tags": "text.sentiment"}),
        ("clevr-count", "CLEVRClassification", "image=x:image(160,240,3) label=y:class(11)", "CC-BY-4.0", None, "how many things there are", "Johnson et al. 2017, arXiv:1612.06890", {"splits": {"train": {"split": "train"}, "validation": {"split": "val"}}, "tags": "image.reasoning"}),
    ]),
]
# fmt: on

ENTRIES = entries_of(
    "torchvision",
    "aexp_torch.catalog.hubs.torchvision:from_torchvision",
    "torchvision",
    ("torchvision",),
    GROUPS,
)
