"""Datasets of TFDS: a table, those that other hubs lack or have in another form."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

ANLI = "premise=context:text(512) hypothesis:text label:class(3)"

# fmt: off
GROUPS = [
    Group("text.inference", "Say whether the hypothesis follows from the premise, contradicts it, or neither.", [
        ("anli-r1-tfds", "anli/r1", ANLI, "CC-BY-NC-4.0", 18_620_000, "adversarial inference, round 1", "Nie et al. 2020, arXiv:1910.14599", {}),
        ("anli-r2-tfds", "anli/r2", ANLI, "CC-BY-NC-4.0", 18_620_000, "adversarial inference, round 2", "Nie et al. 2020, arXiv:1910.14599", {}),
        ("anli-r3-tfds", "anli/r3", ANLI, "CC-BY-NC-4.0", 18_620_000, "adversarial inference, round 3", "Nie et al. 2020, arXiv:1910.14599", {}),
    ]),
    Group("text.sentiment text.classification", "Say whether the text is positive or negative.", [
        ("sentiment140-tfds", "sentiment140", "text:text polarity:class(0|2|4)", "", 81_363_704, "1.6 million tweets", "Go et al. 2009", {"splits": "train test"}),
        ("imdb-tfds", "imdb_reviews/plain_text", "text:text(2048) label:class(2)", "", 84_125_825, "film reviews", "Maas et al. 2011", {"splits": "train test unsupervised"}),
    ]),
    Group("text.struct_to_text text.generation", "Say in a sentence what the data says.", [
        ("common-gen-tfds", "gem/common_gen", "concepts:texts(6,32) target:text", "MIT", None, "a sentence with these words", "Lin et al. 2020, arXiv:1911.03705", {}),
        ("e2e-nlg-tfds", "gem/e2e_nlg", "meaning_representation:text target:text(384)", "CC-BY-SA-4.0", None, "restaurants", "Novikova et al. 2017, arXiv:1706.09254", {}),
        ("web-nlg-tfds", "gem/web_nlg_en", "input:texts(7,128) target:text(512)", "CC-BY-NC-SA-4.0", None, "triples of DBpedia", "Gardent et al. 2017", {}),
    ]),
    Group("image.detection", "Say what is where in the picture.", [
        ("coco-tfds", "coco/2017", "image:image(256,256,3) bbox=objects.bbox:matrix(32,4) label=objects.label:tokens(32)", "CC-BY-4.0", None, "80 kinds of things in everyday scenes; boxes as parts of the picture: ymin, xmin, ymax, xmax", "Lin et al. 2014, arXiv:1405.0312", {}),
        ("voc-2007", "voc/2007", "image:image(256,256,3) bbox=objects.bbox:matrix(16,4) label=objects.label:tokens(16) labels:classes(20)", "", None, "20 kinds of things", "Everingham et al. 2010", {}),
        ("wider-face", "wider_face", "image:image(256,256,3) bbox=faces.bbox:matrix(32,4)", "CC-BY-NC-ND-4.0", None, "faces", "Yang et al. 2016, arXiv:1511.06523", {}),
    ]),
    Group("image.reasoning image.qa text.qa.visual", "Answer the questions about the picture.", [
        ("clevr", "clevr", "image:image(160,240,3) questions=question_answer.question:texts(10,256) answers=question_answer.answer:texts(10,16)", "CC-BY-4.0", None, "cubes, balls and cylinders", "Johnson et al. 2017, arXiv:1612.06890", {}),
    ]),
    Group("image.classification", "Say what is in the picture.", [
        ("stanford-dogs", "stanford_dogs", "image:image(224,224,3) label:class(120)", "", None, "breeds of dogs", "Khosla et al. 2011", {"splits": "train test"}),
        ("caltech-birds", "caltech_birds2011", "image:image(224,224,3) label:class(200)", "", None, "birds", "Wah et al. 2011", {"splits": "train test"}),
        ("plant-village", "plant_village", "image:image(128,128,3) label:class(38)", "CC-BY-SA-3.0", None, "diseases of leaves", "Hughes and Salathe 2015, arXiv:1511.08060", {"splits": "train"}),
        ("uc-merced", "uc_merced", "image:image(128,128,3) label:class(21)", "", None, "land seen from above", "Yang and Newsam 2010", {"splits": "train"}),
        ("malaria", "malaria", "image:image(128,128,3) label:class(2)", "", None, "blood cells", "Rajaraman et al. 2018", {"splits": "train"}),
        ("tf-flowers", "tf_flowers", "image:image(128,128,3) label:class(5)", "CC-BY-2.0", None, "flowers", "The TensorFlow Team 2019", {"splits": "train"}),
    ]),
]
# fmt: on

ENTRIES = entries_of("tfds", "aexp_torch.catalog.hubs.tfds:from_tfds", None, ("tensorflow_datasets",), GROUPS)
