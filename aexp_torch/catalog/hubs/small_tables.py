"""Datasets of Deep Lake, of WebDataset shards, and of files: tables."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

SPEECH = "audio:audio(16000,16000) word:class(backward|bed|bird|cat|dog|down|eight|five|follow|forward|four|go|happy|house|learn|left|marvin|nine|no|off|on|one|right|seven|sheila|six|stop|three|tree|two|up|visual|wow|yes|zero)"
LIBRI = "https://www.openslr.org/resources/12/{split}.tar.gz"
OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
THREE = ("train", "validation", "test")
CLEVRER = "http://data.csail.mit.edu/clevrer"


def _idx(place: str) -> dict:
    """Returns the addresses of MNIST, or of what is laid out like it."""
    parts = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    return {"urls": tuple(f"{place}/{part}" for part in parts), "home": place}


# fmt: off
DEEPLAKE = [
    Group("image.classification image.characters", "Say which digit is written in the image.", [
        ("mnist-deeplake", "al://activeloop/mnist-{split}", "image=images:image(28,28,1) label=labels:class(10)", "CC-BY-SA-3.0", None, "handwritten digits, 28 x 28", "LeCun et al. 1998", {"splits": "train test"}),
    ]),
    Group("image.classification", "Say what is in the picture.", [
        ("fashion-mnist-deeplake", "al://activeloop/fashion-mnist-{split}", "image=images:image(28,28,1) label=labels:class(10)", "MIT", None, "clothes, 28 x 28", "Xiao et al. 2017, arXiv:1708.07747", {"splits": "train test"}),
        ("cifar10-deeplake", "al://activeloop/cifar10-{split}", "image=images:image(32,32,3) label=labels:class(10)", "", None, "ten kinds of things, 32 x 32", "Krizhevsky 2009", {"splits": "train test"}),
        ("cifar100-deeplake", "al://activeloop/cifar100-{split}", "image=images:image(32,32,3) label=labels:class(100)", "", None, "a hundred kinds of things, 32 x 32", "Krizhevsky 2009", {"splits": "train test"}),
    ]),
]
WEBDATASET = [
    Group("image.captioning text.captioning text.generation", "Say in a sentence what is in the picture.", [
        ("conceptual-captions", "https://huggingface.co/datasets/pixparse/cc3m-wds/resolve/main/{split}.tar", "image=jpg:image(224,224,3) caption=txt:text(256)", "", None, "3.3 million pictures of the web", "Sharma et al. 2018", {"splits": {"train": "cc3m-train-{0000..0575}", "validation": "cc3m-validation-{0000..0015}"}}),
        ("conceptual-captions-12m", "https://huggingface.co/datasets/pixparse/cc12m-wds/resolve/main/{split}.tar", "image=jpg:image(224,224,3) caption=txt:text(256)", "", None, "12 million pictures of the web", "Changpinyo et al. 2021, arXiv:2102.08981", {"splits": {"train": "cc12m-train-{0000..2175}"}}),
    ]),
]
FILES = [
    Group("image.classification image.characters", "Say which character is in the picture.", [
        ("mnist", "idx", "image:image(28,28,1) label:class(10)", "CC-BY-SA-3.0", 11_594_722, "handwritten digits, 28 x 28", "LeCun et al. 1998", _idx("https://ossci-datasets.s3.amazonaws.com/mnist")),
        ("kmnist", "idx", "image:image(28,28,1) label:class(10)", "CC-BY-SA-4.0", 21_240_888, "handwritten Hiragana, 28 x 28", "Clanuwat et al. 2018, arXiv:1812.01718", _idx("http://codh.rois.ac.jp/kmnist/dataset/kmnist")),
        ("emnist-letters", "emnist", "image:image(28,28,1) label:class(27)", "", 561_753_746, "handwritten letters, 1 to 26, 28 x 28", "Cohen et al. 2017, arXiv:1702.05373", {"urls": ("https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",), "home": "https://www.nist.gov/itl/products-and-services/emnist-dataset"}),
        ("svhn", "svhn", "image:image(32,32,3) label:class(10)", "non-commercial", None, "digits of house numbers", "Netzer et al. 2011", {"splits": ("train", "test", "extra"), "urls": ("http://ufldl.stanford.edu/housenumbers/{split}_32x32.mat",), "home": "http://ufldl.stanford.edu/housenumbers/"}),
        ("omniglot", "omniglot", "image:image(105,105,1) character:class(964)", "MIT", None, "characters of 30 alphabets, 20 pictures of each; for testing, of 20 others", "Lake et al. 2015", {"urls": ("https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_background.zip", "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/images_evaluation.zip"), "home": "https://github.com/brendenlake/omniglot"}),
    ]),
    Group("image.classification", "Say what is in the picture.", [
        ("stl10", "stl10", "image:image(96,96,3) label:class(10)", "", 2_640_397_119, "ten kinds of things, few labels", "Coates et al. 2011", {"urls": ("http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",), "home": "https://cs.stanford.edu/~acoates/stl10/"}),
        ("oxford-pets", "oxford_pets", "image:image(224,224,3) label:class(37)", "CC-BY-SA-4.0", None, "breeds of cats and dogs", "Parkhi et al. 2012", {"urls": (f"{OXFORD}/pets/data/images.tar.gz", f"{OXFORD}/pets/data/annotations.tar.gz"), "home": f"{OXFORD}/pets/"}),
        ("oxford-flowers", "oxford_flowers", "image:image(224,224,3) label:class(102)", "", None, "flowers", "Nilsback and Zisserman 2008", {"splits": THREE, "urls": tuple(f"{OXFORD}/flowers/102/{file}" for file in ("102flowers.tgz", "imagelabels.mat", "setid.mat")), "home": f"{OXFORD}/flowers/102/"}),
        ("dtd", "dtd", "image:image(224,224,3) label:class(47)", "", None, "textures, first division", "Cimpoi et al. 2014, arXiv:1311.3618", {"splits": THREE, "urls": (f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz",), "home": f"{OXFORD}/dtd/"}),
        ("fgvc-aircraft", "fgvc_aircraft", "image:image(224,224,3) label:class(100)", "", None, "variants of aeroplanes", "Maji et al. 2013, arXiv:1306.5151", {"splits": ("trainval", "train", "val", "test"), "urls": (f"{OXFORD}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",), "home": f"{OXFORD}/fgvc-aircraft/"}),
        ("eurosat", "eurosat", "image:image(64,64,3) label:class(10)", "MIT", None, "land seen by a satellite", "Helber et al. 2019, arXiv:1709.00029", {"splits": ("train",), "urls": ("https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip",), "home": "https://zenodo.org/records/7711810"}),
        ("gtsrb", "class_folders", "image=file:image(48,48,3) label:class(43)", "", None, "traffic signs", "Stallkamp et al. 2012", {"splits": ("Training",), "urls": ("https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/GTSRB-Training_fixed.zip",), "home": "https://benchmark.ini.rub.de/gtsrb_dataset.html"}),
        ("places365", "places365", "image:image(256,256,3) label:class(365)", "", None, "365 kinds of places, small pictures", "Zhou et al. 2017", {"splits": ("train", "validation"), "urls": tuple(f"http://data.csail.mit.edu/places/places365/{file}.tar" for file in ("train_256_places365standard", "val_256", "filelist_places365-standard")), "home": "http://places2.csail.mit.edu/"}),
        ("country211", "class_folders", "image=file:image(224,224,3) label:class(211)", "", None, "which country it is", "Radford et al. 2021, arXiv:2103.00020", {"splits": ("train", "valid", "test"), "urls": ("https://openaipublic.azureedge.net/clip/data/country211.tgz",)}),
        ("rendered-sst2", "class_folders", "image=file:image(448,448,3) label:class(2)", "", None, "film reviews as pictures: positive or negative", "Radford et al. 2021, arXiv:2103.00020", {"splits": ("train", "valid", "test"), "urls": ("https://openaipublic.azureedge.net/clip/data/rendered-sst2.tgz",), "tags": "text.sentiment"}),
        ("clevr-count", "clevr_count", "image:image(160,240,3) label:class(11)", "CC-BY-4.0", None, "how many things there are", "Johnson et al. 2017, arXiv:1612.06890", {"splits": ("train", "val"), "urls": ("https://dl.fbaipublicfiles.com/clevr/CLEVR_v1.0.zip",), "home": "https://cs.stanford.edu/people/jcjohns/clevr/", "tags": "image.reasoning"}),
        ("fashion-mnist", "idx", "image:image(28,28,1) label:class(10)", "MIT", 30_878_645, "clothes, 28 x 28", "Xiao et al. 2017, arXiv:1708.07747", _idx("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com")),
    ]),
    Group("video.reasoning video.qa text.qa.visual", "Answer the question about the video.", [
        ("clevrer", "clevrer", "video:video(16,96,144) question:text(128) choices:texts(4,128) correct:classes(4) answer:text(16)", "CC0-1.0", None, "what happens, why, what next and what if, among colliding things", "Yi et al. 2020, arXiv:1910.01442", {"splits": ("train", "validation"), "urls": (f"{CLEVRER}/videos/{{split}}/video_{{split}}.zip", f"{CLEVRER}/questions/{{split}}.json"), "home": "http://clevrer.csail.mit.edu/"}),
    ]),
    Group("video.classification", "Say what happens in the video.", [
        ("ucf101", "ucf101", "video:video(8,112,112) class:class(101)", "", None, "101 actions, first division", "Soomro et al. 2012, arXiv:1212.0402", {"by_hand": "Get UCF101.rar and UCF101TrainTestSplits-RecognitionTask.zip at https://www.crcv.ucf.edu/data/UCF101.php and unpack both.", "home": "https://www.crcv.ucf.edu/data/UCF101.php"}),
        ("hmdb51", "class_folders", "video=file:video(8,112,112) label:class(51)", "CC-BY-4.0", None, "51 actions of films", "Kuehne et al. 2011", {"splits": ("hmdb51",), "by_hand": "Get hmdb51_org.rar at https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/ and unpack it to hmdb51/<action>/.", "home": "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"}),
        ("kinetics400", "kinetics", "video:video(8,112,112) class:class(400)", "CC-BY-4.0", None, "400 actions", "Kay et al. 2017, arXiv:1705.06950", {"splits": ("train", "val", "test"), "by_hand": "Get the videos and the lists train.csv, val.csv and test.csv with https://github.com/cvdfoundation/kinetics-dataset.", "home": "https://github.com/cvdfoundation/kinetics-dataset"}),
        ("something-something-v2", "something_something", "video:video(8,112,112) label:text(128) class:class(174)", "", None, "what hands do with things", "Goyal et al. 2017, arXiv:1706.04261", {"splits": ("train", "validation"), "by_hand": "It needs a registration: get the videos and the labels at https://www.qualcomm.com/developer/software/something-something-v-2-dataset and unpack them.", "home": "https://www.qualcomm.com/developer/software/something-something-v-2-dataset", "tags": "text.captioning"}),
    ]),
    Group("video.prediction video.generation", "Predict the next frames.", [
        ("moving-mnist", "moving_mnist", "video:video(20,64,64)", "", 819_200_000, "two digits that bounce", "Srivastava et al. 2015, arXiv:1502.04681", {"urls": ("http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy",)}),
    ]),
    Group("audio.environment audio.classification", "Say what makes the sound.", [
        ("esc50", "esc50", "audio:audio(80000,16000) target:class(50)", "CC-BY-NC-3.0", None, "fifty kinds of sounds, five seconds each", "Piczak 2015", {"urls": ("https://github.com/karolpiczak/ESC-50/archive/master.zip",), "home": "https://github.com/karolpiczak/ESC-50"}),
        ("fsd50k", "fsd50k", "audio:audio(160000,16000) classes:classes(200)", "CC-BY-4.0", None, "200 kinds of sounds", "Fonseca et al. 2022, arXiv:2010.00475", {"splits": ("train", "validation", "test"), "by_hand": "Get the parts of its archives at https://zenodo.org/records/4060432, join and unpack them.", "home": "https://zenodo.org/records/4060432"}),
    ]),
    Group("audio.speech.commands audio.classification", "Say which word is spoken.", [
        ("speech-commands", "speech_commands", SPEECH, "CC-BY-4.0", 2_428_923_189, "35 words, one second each", "Warden 2018, arXiv:1804.03209", {"splits": ("train", "validation", "test"), "urls": ("http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",)}),
    ]),
    Group("audio.speech.recognition text.transcription", "Write what is said.", [
        ("librispeech", "librispeech", "audio:audio(256000,16000) text:text(512)", "CC-BY-4.0", 6_387_309_499, "people read books", "Panayotov et al. 2015", {"splits": ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "dev-other", "test-clean", "test-other"), "urls": (LIBRI,), "home": "https://www.openslr.org/12/"}),
        ("common-voice-en", "common_voice", "audio:audio(160000,16000) sentence:text(256)", "CC0-1.0", None, "people read sentences", "Ardila et al. 2020, arXiv:1912.06670", {"splits": ("train", "dev", "test"), "by_hand": "Get it at https://commonvoice.mozilla.org/datasets and unpack it.", "home": "https://commonvoice.mozilla.org/datasets"}),
    ]),
    Group("audio.music audio.classification", "Say which instrument plays.", [
        ("nsynth", "nsynth", "audio:audio(64000,16000) pitch:class(128) instrument_family:class(11)", "CC-BY-4.0", None, "single notes, four seconds each", "Engel et al. 2017, arXiv:1704.01279", {"splits": ("train", "valid", "test"), "urls": ("http://download.magenta.tensorflow.org/datasets/nsynth/nsynth-{split}.jsonwav.tar.gz",), "home": "https://magenta.tensorflow.org/datasets/nsynth"}),
    ]),
]
# fmt: on

ENTRIES = [
    *entries_of("deeplake", "aexp_torch.catalog.hubs.deeplake:from_deeplake", "deeplake", ("deeplake",), DEEPLAKE),
    *entries_of("webdataset", "aexp_torch.catalog.hubs.webdataset:from_webdataset", None, ("webdataset",), WEBDATASET),
    *entries_of("files", "aexp_torch.catalog.hubs.files:from_files", None, (), FILES),
]
