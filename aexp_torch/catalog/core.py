"""What runs with the core dependencies alone, and without a network."""

from typing import Any

from aexp_torch.catalog.entry import Entry

__all__ = ["ENTRIES"]

UCI = "CC-BY-4.0"
PHOTOGRAPHS = "CC-BY-2.0"
FONTS = "Bitstream-Vera AND OFL-1.1"
PYTHON = "PSF-2.0"
OWN = "Apache-2.0"  # made by rules of this package
MADE = "synthetic:true"


def _data(module: str, name: str, tags: tuple[str, ...], instruction: str, about: str, licence: str = "") -> Entry:
    factory = f"aexp_torch.catalog.{module}:{name}"
    return Entry(name, (*tags, "kind:dataset"), factory, licence=licence, instruction=instruction, about=about)


def _gymnasium(name: str, tags: tuple[str, ...], instruction: str, about: str, **arguments: Any) -> Entry:
    return Entry(
        name,
        (*tags, "kind:simulator", "provider:gymnasium"),
        "aexp_torch.sources.gymnasium:GymnasiumEnv",
        {"id_or_factory": name, **arguments},
        version=int(name.rpartition("-v")[2]),
        licence="MIT",
        instruction=instruction,
        about=about,
    )


TABLES = [
    _data("tabular", "iris", ("tabular.classification",), "Tell the species of the iris.", "150 flowers", UCI),
    _data("tabular", "wine", ("tabular.classification",), "Tell the cultivar of the wine.", "178 analyses", UCI),
    _data(
        "tabular",
        "breast_cancer",
        ("tabular.classification", "tabular.medicine"),
        "Tell whether the tumour is benign.",
        "569 tumours, 30 features",
        UCI,
    ),
    _data(
        "tabular",
        "diabetes",
        ("tabular.regression", "tabular.medicine"),
        "Predict how the disease progresses within a year.",
        "442 patients, 10 features",
    ),
    _data(
        "tabular",
        "linnerud",
        ("tabular.regression",),
        "Predict weight, waist and pulse from the exercises.",
        "20 men, 3 exercises",
    ),
]

IMAGES = [
    _data(
        "digits",
        "digits",
        ("image.classification", "image.characters"),
        "Tell which digit is written in the image.",
        "1,797 handwritten digits, 8 x 8",
        UCI,
    ),
    _data(
        "characters",
        "characters",
        ("image.classification", "image.characters"),
        "Tell which character is printed in the image.",
        "2,976 printed letters and digits, 24 x 24",
        FONTS,
    ),
    _data(
        "characters",
        "fonts",
        ("image.classification", "image.style"),
        "Tell the family of the font.",
        "2,976 printed characters of four fonts",
        FONTS,
    ),
    _data(
        "characters",
        "printed_words",
        ("image.reading", "text.reading"),
        "Read the word in the image.",
        "1,680 printed words, 20 x 88",
        FONTS,
    ),
    _data(
        "photos",
        "photos",
        ("image.classification",),
        "Tell which of two photographs the tile is of.",
        "2,080 tiles of a temple and a flower",
        PHOTOGRAPHS,
    ),
    _data(
        "photos",
        "photo_rotation",
        ("image.classification", "image.rotation"),
        "Tell how the tile was turned.",
        "520 tiles, turned by quarters",
        PHOTOGRAPHS,
    ),
    _data(
        "photos",
        "photo_colors",
        ("image.colorization",),
        "Put the colours back into the grey tile.",
        "2,080 tiles of two photographs",
        PHOTOGRAPHS,
    ),
    _data(
        "photos",
        "photo_inpainting",
        ("image.inpainting",),
        "Fill the hole in the tile.",
        "2,080 tiles of two photographs",
        PHOTOGRAPHS,
    ),
    _data(
        "photos",
        "photo_super_resolution",
        ("image.super_resolution",),
        "Draw the tile at twice its size.",
        "2,080 tiles of two photographs",
        PHOTOGRAPHS,
    ),
]

TEXTS = [
    _data(
        "language",
        "docstring_modules",
        ("text.classification", "text.code", "language:en"),
        "Tell which module of Python the documentation is of.",
        "some 1,700 docstrings of 29 modules",
        PYTHON,
    ),
    _data(
        "language",
        "next_byte",
        ("text.modeling", "language:en"),
        "Tell which byte comes next.",
        "some 29,000 pieces of Python's reference",
        PYTHON,
    ),
    _data(
        "language",
        "python_names",
        ("text.classification", "text.code"),
        "Tell whether the word is a keyword, built in, an exception or a module.",
        "some 400 words that Python knows",
        PYTHON,
    ),
    _data(
        "language",
        "scripts",
        ("text.classification", "text.multilingual"),
        "Tell which script the letters are of.",
        "4,800 strings in 24 scripts",
        "Unicode-3.0",
    ),
    _data(
        "language",
        "html_entities",
        ("text.closed_book",),
        "Write the character that HTML names so.",
        "2,550 names of characters",
        "W3C",
    ),
]

ALGORITHMS = [
    _data("algorithms", name, (f"text.{kind}", "text.algorithm", MADE), instruction, about, OWN)
    for name, kind, instruction, about in (
        ("copy_text", "transduction", "Repeat the letters.", "4,000 strings of letters"),
        ("reverse_text", "transduction", "Write the letters from last to first.", "4,000 strings of letters"),
        ("sort_text", "transduction", "Write the digits in ascending order.", "4,000 strings of digits"),
        ("addition", "arithmetic", "Write the sum.", "4,000 sums of numbers of up to four digits"),
        ("number_words", "transduction", "Write the number in words.", "4,000 numbers below a million"),
        ("roman_numerals", "transduction", "Write the Roman numeral in digits.", "3,999 numerals"),
        ("parity", "classification", "Tell whether the number of ones is odd.", "4,000 strings of 0 and 1"),
        ("brackets", "classification", "Tell whether every bracket is closed in order.", "4,000 strings"),
        ("weekdays", "classification", "Tell the day of the week.", "4,000 dates of two centuries"),
    )
]

GRIDS = [
    _data(
        "grids",
        "game_of_life",
        ("grid.prediction", MADE),
        "Draw the cells that live next.",
        "2,000 worlds of the game of life, 16 x 16",
        OWN,
    ),
    _data(
        "grids",
        "mazes",
        ("grid.navigation", "grid.classification", MADE),
        "Tell the first move of the way through the maze.",
        "1,000 mazes, 11 x 11",
        OWN,
    ),
    Entry(
        "rooms",
        ("grid.navigation", "grid.instruction", "text.instruction", "language:en", MADE, "kind:simulator"),
        "aexp_torch.catalog.rooms:RoomsEnv",
        licence=OWN,
        instruction="Do what the instruction says.",
        about="two rooms and three objects, one of which is named",
    ),
    _gymnasium(
        "FrozenLake-v1", ("grid.navigation",), "Cross the ice without falling in.", "4 x 4 fields of slippery ice"
    ),
    _gymnasium(
        "FrozenLake8x8-v1", ("grid.navigation",), "Cross the ice without falling in.", "8 x 8 fields of slippery ice"
    ),
    _gymnasium("CliffWalking-v1", ("grid.navigation",), "Go to the goal along the cliff.", "4 x 12 fields"),
    _gymnasium("Taxi-v4", ("grid.navigation",), "Fetch the passenger and bring them to their place.", "5 x 5 streets"),
]

SIGNALS = [
    _data(
        "signals",
        "waveforms",
        ("audio.classification", MADE),
        "Tell the waveform of the tone.",
        "1,000 synthesized tones, 1/8 s",
        OWN,
    ),
    _data(
        "signals",
        "telephone_keys",
        ("audio.classification", MADE),
        "Tell which key was pressed.",
        "1,600 synthesized sounds of telephone keys",
        OWN,
    ),
    _data(
        "signals",
        "mackey_glass",
        ("sequence.forecasting", MADE),
        "Predict the next value.",
        "2,000 values of a chaotic series",
        OWN,
    ),
    _data(
        "signals",
        "eeg",
        ("sequence.forecasting", "sequence.medicine"),
        "Predict what the four channels show next.",
        "800 values of an electroencephalogram",
    ),
]

CONTROL = [
    _gymnasium("CartPole-v1", ("control.classic",), "Keep the pole upright.", "a pole on a cart, pushed left or right"),
    _gymnasium("Acrobot-v1", ("control.classic",), "Swing the tip above the line.", "two links, one driven joint"),
    _gymnasium("MountainCar-v0", ("control.classic",), "Drive up the hill.", "a weak car in a valley"),
    _gymnasium(
        "MountainCarContinuous-v0",
        ("control.classic", "control.continuous"),
        "Drive up the hill with little effort.",
        "a weak car in a valley, any force",
    ),
    _gymnasium(
        "Pendulum-v1",
        ("control.classic", "control.continuous"),
        "Swing the pendulum up and hold it.",
        "a pendulum, any torque",
    ),
    _gymnasium(
        "Blackjack-v1", ("game.cards",), "Come closer to 21 than the dealer, but not above.", "cards against a dealer"
    ),
]

CONVERSATIONS = [
    Entry(
        name,
        ("text.conversation", *tags, "language:en", MADE, "kind:simulator"),
        "aexp_torch.commai:CommAIEnv",
        {"config": config, "mode": "byte"},
        licence=OWN,
        instruction="Find out what is asked, and answer, a symbol at a time.",
        about=about,
    )
    for name, config, tags, about in (
        ("commai", "commai", ("text.instruction", "grid.navigation"), "39 tasks of CommAI-env, a character a step"),
        ("commai_micro", "micro", (), "40 micro-tasks of the General AI Challenge, whose rules are to be found"),
        ("commai_mini", "mini", ("text.classification",), "6 mini-tasks of the General AI Challenge"),
        ("commai_challenge", "challenge", (), "all 46 tasks of the General AI Challenge, one after the other"),
    )
]

ENTRIES = [*CONTROL, *GRIDS, *TEXTS, *ALGORITHMS, *IMAGES, *TABLES, *SIGNALS, *CONVERSATIONS]
