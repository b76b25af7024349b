"""Pictures, sounds, and both with text, on the Hugging Face hub: a table."""

# ruff: noqa: E501 - one line for each dataset
from aexp_torch.catalog.hubs.table import Group, entries_of

__all__ = ["ENTRIES"]

TRAIN_TEST = {"splits": "train test"}

# fmt: off
GROUPS = [
    Group("image.classification", "Say what is in the picture.", [
        ("cifar10", "uoft-cs/cifar10", "image=img:image(32,32,3) label:class(10)", "", 143_646_105, "ten kinds of things, 32 x 32", "Krizhevsky 2009", {"config": "plain_text", **TRAIN_TEST}),
        ("cifar100", "uoft-cs/cifar100", "image=img:image(32,32,3) coarse_label:class(20) fine_label:class(100)", "", 142_291_368, "a hundred kinds of things in 20 groups, 32 x 32", "Krizhevsky 2009", {"config": "cifar100", **TRAIN_TEST}),
        ("imagenet", "ILSVRC/imagenet-1k", "image:image(224,224,3) label:class(1000)?", "ImageNet terms of access", None, "a thousand kinds of things; needs an agreement and a login", "Deng et al. 2009; Russakovsky et al. 2015, arXiv:1409.0575", {"home": "https://image-net.org/", "revision": "main", "files": ["data/{split}-*", "data/{split}_images*"]}),
        ("tiny-imagenet", "zh-plus/tiny-imagenet", "image:image(64,64,3) label:class(200)", "ImageNet terms of access", None, "200 kinds of things, 64 x 64", "Le and Yang 2015", {"splits": "train valid"}),
        ("food101", "ethz/food101", "image:image(128,128,3) label:class(101)", "", None, "dishes", "Bossard et al. 2014", {"splits": "train validation"}),
        ("beans", "AI-Lab-Makerere/beans", "image:image(128,128,3) labels:class(3)", "MIT", None, "diseases of bean leaves", "Makerere AI Lab 2020", {}),
        ("cats-vs-dogs", "microsoft/cats_vs_dogs", "image:image(128,128,3) labels:class(2)", "", None, "cats and dogs", "Elson et al. 2007", {"splits": "train"}),
        ("caltech101", "flwrlabs/caltech101", "image:image(128,128,3) label:class(102)", "CC-BY-4.0", None, "101 kinds of things, and a background", "Fei-Fei et al. 2004", {"splits": "train"}),
        ("stanford-cars", "tanganke/stanford_cars", "image:image(128,128,3) label:class(196)", "", None, "makes of cars", "Krause et al. 2013", TRAIN_TEST),
        ("resisc45", "tanganke/resisc45", "image:image(128,128,3) label:class(45)", "", None, "land seen from above", "Cheng et al. 2017, arXiv:1703.00121", TRAIN_TEST),
        ("sun397", "tanganke/sun397", "image:image(224,224,3) label:class(397)", "", None, "scenes", "Xiao et al. 2010", TRAIN_TEST),
        ("celeba", "flwrlabs/celeba", "image:image(109,89,3) Smiling:class(False|True) Male:class(False|True) Eyeglasses:class(False|True)", "", None, "faces and what they show, for research only", "Liu et al. 2015, arXiv:1411.7766", {"splits": "train valid test"}),
        ("ham10000", "marmal88/skin_cancer", "image:image(128,128,3) dx:text(32)", "CC-BY-NC-4.0", None, "marks on skin", "Tschandl et al. 2018, arXiv:1803.10417", {}),
    ]),
    Group("image.detection", "Say what is where in the picture.", [
        ("coco", "detection-datasets/coco", "image:image(256,256,3) bbox=objects.bbox:matrix(32,4) category=objects.category:tokens(32)", "CC-BY-4.0", None, "80 kinds of things in everyday scenes, 2017; boxes in pixels of the picture as it was", "Lin et al. 2014, arXiv:1405.0312", {"splits": "train val"}),
        ("cppe5", "rishitdagli/cppe-5", "image:image(256,256,3) bbox=objects.bbox:matrix(16,4) category=objects.category:tokens(16)", "", None, "protective equipment", "Dagli and Shaikh 2021, arXiv:2112.09569", TRAIN_TEST),
    ]),
    Group("image.generation image.unlabelled", "Predict the picture.", [
        ("lsun-bedrooms", "pcuenq/lsun-bedrooms", "image:image(64,64,3)", "", None, "bedrooms", "Yu et al. 2015, arXiv:1506.03365", TRAIN_TEST),
    ]),
    Group("image.captioning text.captioning text.generation", "Say in a sentence what is in the picture.", [
        ("flickr30k", "lmms-lab/flickr30k", "image:image(224,224,3) caption:texts(5,256)", "", None, "people doing things, five captions each", "Young et al. 2014", {"splits": "test"}),
        ("coco-captions", "lmms-lab/COCO-Caption2017", "image:image(224,224,3) caption=answer:texts(5,256)", "CC-BY-4.0", None, "everyday scenes, five captions each", "Chen et al. 2015, arXiv:1504.00325", {"splits": "val"}),
        ("nocaps", "lmms-lab/NoCaps", "image:image(224,224,3) caption=annotations_captions:texts(10,256)", "CC-BY-2.0", None, "things that COCO has not", "Agrawal et al. 2019, arXiv:1812.08658", {"splits": "validation"}),
        ("textcaps", "lmms-lab/TextCaps", "image:image(224,224,3) caption=caption_str:texts(5,256)", "CC-BY-4.0", None, "pictures with text that matters", "Sidorov et al. 2020, arXiv:2003.12462", {"splits": "train val"}),
    ]),
    Group("image.qa text.qa.visual", "Answer the question about the picture.", [
        ("vqa-v2", "lmms-lab/VQAv2", "image:image(224,224,3) question:text(128) answer=multiple_choice_answer:text(64)", "CC-BY-4.0", None, "questions about everyday scenes", "Goyal et al. 2017, arXiv:1612.00837", {"splits": "validation"}),
        ("ok-vqa", "lmms-lab/OK-VQA", "image:image(224,224,3) question:text(128) answers:texts(10,64)", "", None, "questions that need knowledge", "Marino et al. 2019, arXiv:1906.00067", {"splits": "val2014"}),
        ("textvqa", "lmms-lab/textvqa", "image:image(224,224,3) question:text(128) answers:texts(10,64)", "CC-BY-4.0", None, "questions about text in pictures", "Singh et al. 2019, arXiv:1904.08920", {"splits": "train validation"}),
        ("docvqa", "lmms-lab/DocVQA", "image:image(512,384,3) question:text(128) answers:texts(4,128)", "", None, "questions about documents", "Mathew et al. 2021, arXiv:2007.00398", {"config": "DocVQA", "splits": "validation"}),
        ("chartqa", "HuggingFaceM4/ChartQA", "image:image(256,256,3) question=query:text(256) answer=label.0:text(64)", "GPL-3.0", None, "questions about charts", "Masry et al. 2022, arXiv:2203.10244", {"splits": "train val test"}),
        ("ai2d", "lmms-lab/ai2d", "image:image(256,256,3) question:text(256) options:texts(4,128) answer:class(0|1|2|3)", "", None, "diagrams of schoolbooks", "Kembhavi et al. 2016, arXiv:1603.07396", {"splits": "test"}),
        ("scienceqa", "derek-thomas/ScienceQA", "question:text(1024) choices:texts(5,128) hint:text(1024) answer:class(5)", "CC-BY-SA-4.0", None, "science of schools, its text", "Lu et al. 2022, arXiv:2209.09513", {}),
        ("mmmu-art", "MMMU/MMMU", "image=image_1:image(256,256,3) question:text(1024) options:text(512) answer:class(A|B|C|D|E)", "Apache-2.0", None, "exams of universities: art", "Yue et al. 2024, arXiv:2311.16502", {"config": "Art", "splits": "dev validation"}),
    ]),
    Group("audio.speech.recognition text.transcription", "Write what is said.", [
        ("librispeech-100", "openslr/librispeech_asr", "audio:audio(256000,16000) text:text(512)", "CC-BY-4.0", None, "100 hours of clear reading", "Panayotov et al. 2015", {"config": "clean", "splits": "train.100 validation test", "split": "train.100"}),
        ("fleurs-en", "google/fleurs", "audio:audio(256000,16000) transcription:text(512)", "CC-BY-4.0", None, "sentences in 102 languages: English", "Conneau et al. 2022, arXiv:2205.12446", {"config": "en_us"}),
        ("fleurs-de", "google/fleurs", "audio:audio(256000,16000) transcription:text(512)", "CC-BY-4.0", None, "sentences in 102 languages: German", "Conneau et al. 2022, arXiv:2205.12446", {"config": "de_de", "language": "de"}),
        ("voxpopuli-en", "facebook/voxpopuli", "audio:audio(256000,16000) normalized_text:text(1024)", "CC0-1.0", None, "speeches of the European Parliament", "Wang et al. 2021, arXiv:2101.00390", {"config": "en"}),
        ("ljspeech", "keithito/lj_speech", "audio:audio(220500,22050) normalized_text:text(256)", "Unlicense", None, "one speaker reads books", "Ito and Johnson 2017", {"config": "main", "splits": "train"}),
    ]),
    Group("audio.speech.intent audio.classification", "Say what the caller wants.", [
        ("minds14", "PolyAI/minds14", "audio:audio(128000,8000) intent_class:class(14)", "CC-BY-4.0", None, "calls to a bank", "Gerz et al. 2021, arXiv:2104.08524", {"config": "en-US", "splits": "train", "language": "en"}),
    ]),
    Group("audio.environment audio.classification", "Say what makes the sound.", [
        ("audioset-balanced", "agkphysics/AudioSet", "audio:audio(160000,16000) human_labels:texts(8,64)", "CC-BY-4.0", None, "sounds of videos, ten seconds each", "Gemmeke et al. 2017", {"config": "balanced", "splits": "train test"}),
        ("urbansound8k", "danavery/urbansound8K", "audio:audio(64000,16000) classID:class(10)", "CC-BY-NC-4.0", None, "sounds of a city", "Salamon et al. 2014", {"splits": "train"}),
    ]),
    Group("audio.music audio.classification", "Say which genre it is.", [
        ("gtzan", "marsyas/gtzan", "audio:audio(480000,16000) genre:class(10)", "", None, "thirty seconds of music", "Tzanetakis and Cook 2002", {"config": "all", "splits": "train"}),
    ]),
]
# fmt: on

ENTRIES = entries_of(
    "huggingface", "aexp_torch.catalog.hubs.huggingface:from_huggingface", "huggingface", ("datasets",), GROUPS
)
