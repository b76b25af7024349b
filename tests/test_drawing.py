"""Drawings say what is there: every box and key, nothing over anything else, and nothing is stepped for it."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations, pairwise

import pytest
import torch

import aexp_torch as ae
from aexp_torch.drawing.graph import Node, graph_of
from aexp_torch.drawing.words import columns
from aexp_torch.specs import flatten, path_name
from aexp_torch.testing import CountingEnv, FakeGymEnv
from tests.test_conformance import ROWS

SVG = "{http://www.w3.org/2000/svg}"
LETTER, BOLD_LETTER, ABOVE, BELOW = 7.23, 7.83, 9.5, 3.0  # of DejaVu Sans Mono, the widest that is asked for


def wide_and_narrow() -> dict:
    return {"narrow": CountingEnv(2, random=True), "wide": CountingEnv(3, nested=True).pipe(ae.ObserveReward)}


def ten_stages() -> ae.Env:
    env = ae.GymnasiumEnv("CartPole-v1", 4, "sync").pipe(ae.TimeLimit, max_episode_steps=50)
    env = env.pipe(ae.FrameSkip, skip=2).pipe(ae.NormalizeObservation).pipe(ae.ClipObservation, minimum=-5, maximum=5)
    env = env.pipe(ae.FrameStack, stack_size=3).pipe(ae.ObserveActions, history=2).pipe(ae.ObserveReward)
    return env.pipe(ae.Noisy, std=0.01, keys="obs*").pipe(ae.DropKeyValue, keys="reward").pipe(ae.NormalizeReward)


def five_members() -> ae.Env:
    data = ae.DatasetEnv({"x": torch.zeros(6, 8, 8, 3, dtype=torch.uint8), "y": torch.zeros(6)}, batch_size=1, epochs=1)
    envs = [ae.GymnasiumEnv("CartPole-v1"), ae.GymnasiumEnv("FrozenLake-v1"), data, ae.GymnasiumEnv(FakeGymEnv)]
    texts = ["balance", "go home", "look", "anything", "count"]
    return ae.SynEnv([*envs, CountingEnv(1, nested=True)], batch_size=4, instruction_steps=1, instructions=texts)


def nested_compositions() -> ae.Env:
    pair = ae.Multitasking({"left": CountingEnv(2), "right": CountingEnv(2, [4, 6], nested=True)}, done="first")
    inner = ae.Interleave({"pair": pair.pipe(ae.ObserveReward), "alone": CountingEnv(1)}, ["alone", "pair", "pair"])
    syn = ae.SynEnv({"a": CountingEnv(1), "b": CountingEnv(1, nested=True)}, 2).pipe(ae.Noisy)
    return ae.Interleave({"inner": inner.pipe(ae.Noisy, side="action"), "syn": syn}).pipe(ae.NormalizeReward)


def odd_names() -> ae.Env:
    pair = {
        '<a> & "b"': CountingEnv(1, name="x"),
        "line\nbreak\0": CountingEnv(1, nested=True),
        "数字の環境": CountingEnv(1),
    }
    return ae.Interleave(pair).pipe(ae.Lambda, obs=lambda observation: {"<&>": torch.zeros(1), **observation})


def many_keys() -> ae.Env:
    return ae.DatasetEnv({f"key{number}": torch.zeros(4, number + 1) for number in range(30)}, batch_size=2)


def loader() -> ae.Loader:
    data = ae.DatasetEnv({"x": torch.zeros(8, 4), "y": torch.zeros(8)}, batch_size=2)
    pole, both = ae.GymnasiumEnv("CartPole-v1", 8).pipe(ae.Noisy), ae.Interleave(wide_and_narrow())
    return ae.Loader({"pole": pole, "data": data, "both": both}, weights=[1, 2, 1], in_flight=3, steps_per_epoch=100)


DRAWN = {
    "one stage": lambda: CountingEnv(2).pipe(ae.ObserveReward),
    "no stage": lambda: CountingEnv(2, num_actions=0),
    "ten stages": ten_stages,
    "different keys": lambda: ae.Interleave(wide_and_narrow()).pipe(ae.Noisy),
    "five members": five_members,
    "multitasking": lambda: ae.Multitasking({"a": CountingEnv(2), "b": CountingEnv(2, nested=True)}, reward="mean"),
    "nested": nested_compositions,
    "twelve children": lambda: ae.Interleave([CountingEnv(1, name=f"env {number}") for number in range(12)]),
    "odd names": odd_names,
    "many keys": many_keys,
    "loader": loader,
    "mapping": lambda: {**wide_and_narrow(), "both": ae.Interleave(wide_and_narrow())},
}


def test_text_of_a_stage():
    env = CountingEnv(2, random=True).pipe(ae.Noisy, std=0.2, keys="ran*").pipe(ae.TimeLimit, max_episode_steps=7)
    assert str(ae.draw(env)) == (
        "CountingEnv(random=True)\n"
        "│  CountingEnv, 2 lanes\n"
        "│  ↓ observation  float32 []\n"
        "│  ↓ random       float32 [] 0..1\n"
        "│  ↑ action       int64 [] 0..4\n"
        "Noisy(std=0.2, keys='ran*')\n"
        "│  CountingEnv, 2 lanes\n"
        "│  ↓ observation  float32 []\n"
        "│  ↓ random       float32 [] 0..1\n"
        "│  ↑ action       int64 [] 0..4\n"
        "TimeLimit(max_episode_steps=7)\n"
        "│  CountingEnv, 2 lanes\n"
        "│  ↓ observation  float32 []\n"
        "│  ↓ random       float32 [] 0..1\n"
        "│  ↑ action       int64 [] 0..4\n"
        "agent"
    )


def test_text_of_compositions_in_a_loader():
    data = ae.DatasetEnv({"x": torch.zeros(8, 5, 5, 3, dtype=torch.uint8), "y": torch.zeros(8)}, batch_size=2)
    pair = ae.Interleave({"A": CountingEnv(1), "B": CountingEnv(3).pipe(ae.ObserveReward)}, ["B", "A"])
    drawn = ae.draw(ae.Loader({"pair": pair, "data": data}, weights=[1, 3], in_flight=2, steps_per_epoch=9))
    assert drawn.text == (
        "      CountingEnv(num_envs=1)\n"
        "   ┌──┘  pair/A, 1 lane\n"
        "   │     ↓ observation  float32 []\n"
        "   │     ↑ action       int64 [] 0..4\n"
        "   │  CountingEnv(num_envs=3)\n"
        "   │  │  pair/B, 3 lanes\n"
        "   │  │  ↓ observation  float32 []\n"
        "   │  │  ↑ action       int64 [] 0..4\n"
        "   │  ObserveReward\n"
        "   ├──┘  pair/B, 3 lanes\n"
        "   │     ↓ observation  float32 []\n"
        "   │     ↓ reward       float32 []\n"
        "   │     ↑ action       int64 [] 0..4\n"
        "   Interleave(pattern=(1, 0))\n"
        "┌──┘  pair, 25 % of steps\n"
        "│     pair/A, 1 lane\n"
        "│     ↓ observation  float32 []\n"
        "│     ↑ action       int64 [] 0..4\n"
        "│     pair/B, 3 lanes\n"
        "│     ↓ observation  float32 []\n"
        "│     ↓ reward       float32 []\n"
        "│     ↑ action       int64 [] 0..4\n"
        "│  DatasetEnv({x: uint8 [8, 5, 5, 3], y: float32 [8]}, batch_size=2, mode='joint')\n"
        "├──┘  75 % of steps\n"
        "│     data, 2 lanes\n"
        "│     ↓ x  uint8 [5, 5, 3] 0..255\n"
        "│     ↓ y  float32 []\n"
        "│     ↑ no answer is due\n"
        "Loader(in_flight=2, num_workers=0, steps_per_epoch=9)\n"
        "│  pair/A, 1 lane\n"
        "│  ↓ observation  float32 []\n"
        "│  ↑ action       int64 [] 0..4\n"
        "│  pair/B, 3 lanes\n"
        "│  ↓ observation  float32 []\n"
        "│  ↓ reward       float32 []\n"
        "│  ↑ action       int64 [] 0..4\n"
        "│  data, 2 lanes\n"
        "│  ↓ x  uint8 [5, 5, 3] 0..255\n"
        "│  ↓ y  float32 []\n"
        "│  ↑ no answer is due\n"
        "agent"
    )


def test_optional_keys_are_marked():
    drawn = ae.draw(five_members())
    for text in ("float32 [4]", "int64 [] 0..15", "uint8 [8, 8, 3] 0..255"):  # which only some rows have
        assert f"{text}, optional" in drawn.text and f"{text}, optional" in words(drawn.svg)


def test_many_keys_and_sources_are_shortened():
    drawn = ae.draw(many_keys())
    assert drawn.text.count("↓ key") == 8 and "↓ … 22 more" in drawn.text and "… 22 more" in words(drawn.svg)
    assert ae.draw(many_keys(), max_keys=29).text.count("↓ key") == 30  # no line for one
    drawn = ae.draw(DRAWN["twelve children"](), max_keys=4)
    assert "… 8 more sources" in drawn.text and "… 8 more sources" in words(drawn.svg)


# The SVG.


def elements(svg: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(svg).iter(SVG + tag)
    return [each for each in found if not kind or kind in each.get("class", "").split(" ")]


def words(svg: str) -> str:
    return "\n".join("".join(text.itertext()) for text in elements(svg, "text"))


def box(rectangle: ElementTree.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(rectangle.get(name, 0)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def extent(text: ElementTree.Element) -> tuple[float, float, float, float]:
    """Returns the room that words take in the widest of the fonts, bold parts included."""
    is_title, letters = text.get("class") == "title", columns("".join(text.itertext()))
    length = letters * (BOLD_LETTER if is_title else LETTER)
    x, y = float(text.get("x")), float(text.get("y"))
    left = x - length / 2 if text.get("text-anchor") == "middle" else x
    return left, y - ABOVE, left + length, y + BELOW


def overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def within(inner, outer) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


def nodes_of(node: Node) -> list[Node]:
    return [each for edge in node.edges for each in nodes_of(edge.node)] + [node]


def lines_of(path: ElementTree.Element) -> list[tuple[float, float, float, float]]:
    """Returns the straight lines between the corners of a way."""
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", path.get("d"))]
    corners = zip(numbers[::2], numbers[1::2])
    return [(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)) for (x0, y0), (x1, y1) in pairwise(corners)]


@pytest.mark.parametrize("name", DRAWN)
def test_everything_is_drawn(name):
    graph, drawn = graph_of(DRAWN[name]()), ae.draw(DRAWN[name](), max_keys=40)
    boxes, written = nodes_of(graph), words(drawn.svg)
    assert len(elements(drawn.svg, "rect", "box")) == len(boxes)
    assert sorted(text.text for text in elements(drawn.svg, "text", "title")) == sorted(node.title for node in boxes)
    for node in boxes:
        assert sum(line.lstrip("│ ").startswith(node.title) for line in drawn.text.splitlines()) >= 1
        assert all(argument in written and argument in drawn.text for argument in node.arguments)
        for flow in (flow for edge in node.edges for flow in edge.flows):
            assert flow.head in written and flow.head in drawn.text
            for leaf in (*flow.observation, *flow.action):
                assert f"{leaf.key} {leaf.text}" in written
                assert re.search(rf"[↓↑] {re.escape(leaf.key)} +{re.escape(leaf.text)}", drawn.text)


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_drawn_over_anything(name):
    svg = ae.draw(DRAWN[name](), max_keys=40).svg
    page = tuple(map(float, ElementTree.fromstring(svg).get("viewBox").split()))
    boxes, texts = (
        [box(each) for each in elements(svg, "rect", "box")],
        [extent(each) for each in elements(svg, "text")],
    )
    assert all(within(each, page) for each in (*boxes, *texts))
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    assert not any(overlap(one, other) for one, other in combinations(texts, 2))
    for text in texts:  # beside all boxes, or in one
        assert sum(overlap(text, each) for each in boxes) == sum(within(text, each) for each in boxes) <= 1
    ways = [lines_of(path) for path in elements(svg, "path", "down") + elements(svg, "path", "up")]
    for line in (line for way in ways for line in way):
        assert within(line, page)
        assert not any(overlap(line, (x + 1, y + 1, right - 1, below - 1)) for x, y, right, below in boxes)
        assert not any(overlap(line, text) for text in texts)
    for way, other in combinations(ways, 2):
        assert not any(overlap(one, two) for one in way for two in other)  # do not cross


@pytest.mark.parametrize("name", DRAWN)
def test_answers_go_back_where_they_are_due(name):
    graph, svg = graph_of(DRAWN[name]()), ae.draw(DRAWN[name]()).svg
    edges = [edge for node in nodes_of(graph) for edge in node.edges]
    answered = [edge for edge in edges if any(flow.action for flow in edge.flows)]
    in_legend = 1
    assert len(elements(svg, "path", "down")) == len(edges) + in_legend
    assert len(elements(svg, "path", "up")) == len(answered) + in_legend


def test_page_is_light_and_dark_and_self_contained():
    svg = ae.draw(odd_names()).svg
    assert "@media (prefers-color-scheme:dark)" in svg
    tags = {each.tag.removeprefix(SVG) for each in ElementTree.fromstring(svg).iter()}
    assert tags == {"svg", "title", "style", "rect", "path", "text", "tspan"}
    assert "href" not in svg and "url(" not in svg and svg.count("http") == 1
    assert '<a> & "b"' in words(svg) and "line\N{REPLACEMENT CHARACTER}break\N{REPLACEMENT CHARACTER}" in words(svg)


@pytest.mark.parametrize("row", ROWS)
def test_every_pipeline_is_drawn(row):
    env = ROWS[row][0]()
    drawn = ae.draw(env)
    ElementTree.fromstring(drawn.svg)
    last = [type(env).__name__ in line for line in drawn.text.splitlines()]
    assert any(last) and drawn.text.endswith("\nagent")
    for name, spec in env.specs.items():
        head = f"{name}, {spec.num_envs} lane"
        assert head in drawn.text and head in words(drawn.svg)
        for path, _ in list(flatten(spec.observation))[:8]:
            assert path_name(path) in words(drawn.svg)
    env.close()


def test_nothing_is_stepped():
    env = ae.Interleave({"a": CountingEnv(2), "b": CountingEnv(1)}).pipe(ae.ObserveReward)
    ae.draw(env)
    sources = env.env.environments
    assert env._outstanding is None and all(source.received == [] for source in sources)
    timestep = env.reset()
    before = env.state_dict()["children"][0]["turn"], [len(source.received) for source in sources]
    ae.draw(env)
    assert env._outstanding is timestep
    assert before == (env.state_dict()["children"][0]["turn"], [len(source.received) for source in sources])
    timestep.reply(torch.tensor([1, 2]))


def test_only_what_is_asked_for_specs_is_opened():
    class Opened(CountingEnv):
        times = 0

        def on_open(self):
            super().on_open()
            Opened.times += 1

    ae.draw(ae.Loader(Opened(2).pipe(ae.ObserveReward), in_flight=3, steps_per_epoch=5))
    assert Opened.times == 1  # one slot


def test_workers_are_not_started():
    mixed = ae.Loader(CountingEnv(2).pipe(ae.TrainerSide).pipe(ae.ObserveReward), num_workers=1, steps_per_epoch=5)
    drawn = ae.draw(mixed)
    assert "num_workers=1" in drawn.text and "in_flight=2" in drawn.text and "CountingEnv" in drawn.text
    assert all(worker._process is None for worker in mixed._workers)
    mixed.close()


def test_saved_as_its_suffix_says(tmp_path):
    drawn = ae.draw(CountingEnv(1))
    drawn.save(tmp_path / "pipeline.svg")
    drawn.save(str(tmp_path / "pipeline.txt"))
    assert (tmp_path / "pipeline.svg").read_text() == drawn.svg == drawn._repr_svg_()
    assert (tmp_path / "pipeline.txt").read_text() == drawn.text + "\n" == repr(drawn) + "\n"
    with pytest.raises(ae.SpecError, match=r"expected a path that ends in \['.svg', '.txt'\], got 'pipeline.png'"):
        drawn.save("pipeline.png")


def test_what_cannot_be_drawn():
    with pytest.raises(ae.SpecError, match="draw: expected an Env, a Loader, or a mapping of names to Envs, got str"):
        ae.draw("CartPole-v1")
    with pytest.raises(ae.SpecError, match="draw: expected .*, got dict"):
        ae.draw({})
    with pytest.raises(ae.SpecError, match="draw: expected max_keys of at least 1, got 0"):
        ae.draw(CountingEnv(1), max_keys=0)


def test_an_environment_that_does_not_open_says_so_itself():
    with pytest.raises(ae.SpecError, match="NoSuchEnv-v0"):
        ae.draw(ae.GymnasiumEnv("NoSuchEnv-v0").pipe(ae.ObserveReward))


def test_arguments():
    def weigh(values, timestep):
        return values

    env = (
        CountingEnv(1, on_missing="sample").pipe(ae.Advantage, baseline=weigh, reset=True).pipe(ae.Resize, keys="none")
    )
    with pytest.raises(ae.SpecError):
        ae.draw(env)
    env = CountingEnv(1, on_missing="sample").pipe(ae.Advantage, baseline=weigh, reset=True)
    env = env.pipe(ae.ReplayBuffer, capacity=10, on_append=lambda record: None)
    text = ae.draw(env).text
    assert "CountingEnv(num_envs=1, on_missing='sample')" in text
    assert "Advantage(baseline=weigh, reset=True)" in text
    assert "ReplayBuffer(capacity=10, mode='record', sampler=UniformSampler)" in text


def test_of_a_large_catalogue_the_first_are_drawn():
    members = {f"member-{number}": CountingEnv(1) for number in range(30)}
    env = ae.AEEnv(members)
    text = str(ae.draw(env.pipe(ae.ObserveReward)))
    assert "member-7, 1 lane" in text and "member-8" not in text and "and 22 more" in text
    assert sum(member._recipe is not None for member in env.environments) == 8
