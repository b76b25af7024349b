"""Tags and filters: paths, pairs and predicates; what nothing has is said."""

import pytest

import aexp_torch as ae
from aexp_torch.catalog import DOMAINS, Entry, Filter, domains, entries, matches, near, tags_of, unmatched
from aexp_torch.testing import CountingEnv


def thing(*tags, name="thing", version=0):
    return Entry(name, tags, "nowhere:nothing", version=version)


def tagged(*tags):
    env = CountingEnv(1)
    env.tags = tags
    return env


CAPTIONS = thing("image.captioning", "text.captioning", "language:en")


@pytest.mark.parametrize(
    ("item", "fits"),
    [
        (domains.image, True),
        (domains.image.captioning, True),
        (domains.image.classification, False),
        (domains.image_captioning, True),
        (domains.text_captioning, True),
        ("domains.image", True),
        ("domains.image.captioning", True),
        ("image", True),
        ("Image", True),
        ("image/captioning", True),
        ("domain:image/captioning", True),
        ("domain:text", True),
        ("captioning", False),
        ("ima", False),
        ("image.captioning.coco", False),
        ("language:en", True),
        ("LANGUAGE:EN", True),
        ("language:fr", False),
        ("language", False),
        ("domains", True),
        (domains, True),
        (lambda entry: entry.version < 2, True),
        (lambda entry: entry.name == "other", False),
    ],
)
def test_items(item, fits):
    assert matches(item, CAPTIONS) is fits


def test_a_tag_of_several_words_is_one_level_however_it_is_written():
    entry = thing("text.closed_book")
    for item in (domains.text.closed_book, "text.closed_book", "text/closed_book", domains.text_closed_book):
        assert matches(item, entry)
    assert not matches("text.closed_door", entry)


def test_environments_have_the_tags_of_what_they_are_made_of():
    env = ae.Interleave([tagged("image"), tagged("text.code", "language:en").pipe(ae.ObserveReward)])
    assert tags_of(env) == ("image", "text.code", "language:en")
    assert matches("text", env) and matches("language:en", env) and not matches("audio", env)
    assert tags_of(object()) == () and not matches("image", object())


def test_exclude_beats_include():
    wanted = Filter(include=["image", "text"], exclude=[domains.text.captioning])
    assert not wanted.admits(CAPTIONS)
    assert wanted.admits(thing("image")) and wanted.admits(thing("text.code")) and not wanted.admits(thing("audio"))


def test_no_include_is_everything_and_an_empty_one_nothing():
    assert Filter().admits(thing()) and Filter().admits(CAPTIONS)
    assert not Filter(include=[]).admits(CAPTIONS)
    assert not Filter(exclude=lambda entry: True).admits(CAPTIONS)
    assert Filter("image").admits(CAPTIONS) and Filter(domains.image).include == (domains.image,)


def test_the_filters_of_the_announcement():
    wanted = Filter(
        include=[domains.text_commonsense, "domains.image", "domains.multiagent"],
        exclude=[lambda env: env.version < 2, domains.multiagent.atari],
    )
    assert wanted.admits(thing("text.commonsense", version=2)) and wanted.admits(
        thing("image.classification", version=3)
    )
    assert not wanted.admits(thing("text.sentiment", version=2)) and not wanted.admits(thing("image", version=1))
    assert wanted.admits(thing("multiagent.board", version=3))
    assert not wanted.admits(thing("multiagent.atari", "image.game", version=3))


@pytest.mark.parametrize("wrong", [["image", 3], [None], [b"image"]])
def test_what_is_no_item_is_refused(wrong):
    with pytest.raises(ae.SpecError, match="include: expected tags, strings and predicates, got"):
        Filter(include=wrong)
    with pytest.raises(ae.SpecError, match="exclude: expected"):
        Filter(exclude=wrong)


@pytest.mark.parametrize("empty", ["", "  ", "."])
def test_an_empty_string_is_refused(empty):
    with pytest.raises(ae.SpecError, match="expected a tag, 'key:value' or a predicate"):
        Filter(include=[empty]).admits(CAPTIONS)


def test_near_tags():
    known = [CAPTIONS, thing("image.classification"), thing("game.atari", "multiagent.atari")]
    assert near("imge", known) == ["image"]
    assert near("domains.imag.classification", known)[0] == "image.classification"
    assert near(domains.image_captionning, known)[0] == "image.captioning"
    assert near("language:eng", known) == ["language:en"]
    assert near("atari", known) == ["game.atari", "multiagent.atari"]
    assert near("qqqq", known) == [] and near(lambda entry: False, known) == []


def test_tags_that_nothing_has_are_said():
    known = [CAPTIONS, thing("game.atari")]
    assert unmatched(["image", domains.game, "language:en", lambda entry: False], known) == []
    assert unmatched([domains.imag, "zzzz"], known) == [
        "nothing has the tag 'domains.imag', did you mean 'image'?",
        "nothing has the tag 'zzzz'. `aexp list` shows all tags.",
    ]
    with pytest.raises(ae.SpecError, match="filter: nothing has the tag 'txt', did you mean 'text'"):
        unmatched(["txt"], known, raises=True)


def test_every_entry_is_told_of():
    known = entries()
    assert len({entry.name for entry in known}) == len(known)
    for entry in known:
        paths = [tag for tag in entry.tags if ":" not in tag]
        assert paths and {path.split(".")[0] for path in paths} <= set(DOMAINS), entry.name
        assert all(tag == tag.lower() and " " not in tag for tag in entry.tags), entry.name
        assert isinstance(entry.licence, str), entry.name
        assert entry.instruction.endswith((".", "?")) and entry.instruction[0].isupper(), entry.name
        assert entry.about and isinstance(entry.version, int), entry.name


def test_every_domain_is_documented_once_and_in_order():
    assert list(DOMAINS) == sorted(DOMAINS) and all(DOMAINS.values())
