"""Grayscale and Resize: beside Gymnasium's own, and golden values of OpenCV."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import GrayscaleObservation

import aexp_torch as ae
from tests.stages.beside_gymnasium import pairs, same_space

DRIVE = [np.float32([0, 1, 0])] * 4 + [np.float32([0.5, 0.5, 0])] * 8


def pictures(x):
    return ae.DatasetEnv({"x": x}, batch_size=len(x))


def shown(env):
    return env.reset().observation["x"]


@pytest.mark.parametrize("keep_dim", [False, True])
def test_grey_beside_gymnasium(keep_dim):
    theirs = GrayscaleObservation(gymnasium.make("CarRacing-v3"), keep_dim=keep_dim)
    env = ae.GymnasiumEnv("CarRacing-v3").pipe(ae.Grayscale, keep_dim=keep_dim)
    same_space(theirs, env)
    for (one, *_), (other, *_) in pairs(theirs, env, DRIVE):
        difference = other.astype(int) - one
        assert difference.shape == (96, 96, 1) if keep_dim else (96, 96)
        assert difference.min() >= 0 and difference.max() <= 1  # Gymnasium's floats miss some whole numbers


def test_brightness_is_rounded_down_exactly():
    colours = np.random.default_rng(0).integers(0, 256, (1, 500, 400, 3), dtype=np.uint8)
    colours[0, 0, :256] = np.arange(256)[:, None]  # greys stay what they are
    exact = colours.astype(np.int64) @ [2125, 7154, 721] // 10000
    np.testing.assert_array_equal(shown(pictures(torch.from_numpy(colours)).pipe(ae.Grayscale)), exact)


def test_channels_may_be_in_front_and_numbers_may_be_floats():
    x = torch.rand(2, 5, 4, 3)
    last = shown(pictures(x).pipe(ae.Grayscale))
    front = shown(pictures(x.movedim(-1, 1).contiguous()).pipe(ae.Grayscale, keep_dim=True))
    torch.testing.assert_close(front, last[:, None])
    torch.testing.assert_close(last, x @ torch.tensor([0.2125, 0.7154, 0.0721]))


def test_what_has_no_three_channels_is_refused():
    env = pictures(torch.zeros(2, 8, 8, dtype=torch.uint8)).pipe(ae.Grayscale)
    with pytest.raises(ae.SpecError, match="Grayscale: observation 'x': expected an image with 3 channels.*uint8"):
        env.observation_spec()
    with pytest.raises(ae.SpecError, match="to choose something, there is"):
        ae.GymnasiumEnv("CartPole-v1").pipe(ae.Grayscale).reset()


ONE = (torch.arange(6 * 8) * 37 % 256).to(torch.uint8).view(1, 6, 8)
THREE = (torch.arange(4 * 4 * 3) * 53 % 256).to(torch.uint8).view(1, 4, 4, 3)
OPENCV = {  # cv2.resize(x, (width, height), interpolation=cv2.INTER_AREA)
    (4, 3): [[46, 143, 112], [99, 175, 59], [166, 103, 104], [176, 71, 157]],
    (5, 6): [
        [16, 62, 108, 164, 189, 54],
        [63, 109, 155, 189, 86, 47],
        [109, 156, 202, 97, 48, 94],
        [156, 202, 120, 48, 94, 140],
        [203, 142, 50, 95, 141, 187],
    ],
}
OPENCV_COLOUR = [
    [[55, 108, 113], [110, 162, 88], [164, 73, 110]],
    [[162, 119, 140], [104, 158, 82], [143, 100, 121]],
    [[125, 130, 167], [100, 152, 78], [122, 127, 132]],
]


@pytest.mark.parametrize("shape", OPENCV)
def test_sizes_beside_opencv(shape):
    assert shown(pictures(ONE).pipe(ae.Resize, shape=shape))[0].tolist() == OPENCV[shape]
    floats = shown(pictures(ONE.float()).pipe(ae.Resize, shape=shape))[0]
    np.testing.assert_allclose(floats, OPENCV[shape], atol=0.5)


def test_colours_and_stacks_beside_opencv():
    assert shown(pictures(THREE).pipe(ae.Resize, shape=(3, 3)))[0].tolist() == OPENCV_COLOUR
    wide = THREE.repeat(1, 1, 2, 1)
    last = shown(pictures(wide).pipe(ae.Resize, shape=(3, 6)))
    front = shown(pictures(wide.movedim(-1, 1).contiguous()).pipe(ae.Resize, shape=(3, 6)))
    assert last[0, :, :3].tolist() == OPENCV_COLOUR and torch.equal(front.movedim(1, -1), last)
    stack = THREE[:, None].repeat(1, 5, 1, 1, 1)
    small = shown(pictures(stack).pipe(ae.Resize, shape=(3, 3)))
    assert small.shape == (1, 5, 3, 3, 3) and small[0, 4].tolist() == OPENCV_COLOUR


def test_larger_images_repeat_pixels():
    x = (torch.arange(4) * 80).to(torch.uint8).view(1, 2, 2)
    assert shown(pictures(x).pipe(ae.Resize, shape=(3, 3)))[0].tolist() == [
        [0, 40, 80],
        [80, 120, 160],
        [160, 200, 240],
    ]
    assert shown(pictures(x).pipe(ae.Resize, shape=(4, 2)))[0].tolist() == [[0, 80]] * 2 + [[160, 240]] * 2


def test_the_usual_chain_for_pixels():
    env = ae.GymnasiumEnv("CarRacing-v3").pipe(ae.Grayscale).pipe(ae.Resize, shape=(84, 84)).pipe(ae.FrameStack)
    spec = env.observation_spec()["observation"]
    assert spec.shape == (4, 84, 84) and spec.dtype == np.uint8
    assert env.specs["CarRacing-v3"].modalities["observation"]["observation"].structure == "grid"
    assert env.reset().observation["observation"].shape == (1, 4, 84, 84)


def test_options_are_checked():
    for shape in ((0, 3), (3,), (3, 3, 3), (2.0, 3)):
        with pytest.raises(ae.SpecError, match="expected shape as height and width of at least 1"):
            pictures(ONE).pipe(ae.Resize, shape=shape)
    with pytest.raises(ae.SpecError, match="expected an image of numbers, with height and width"):
        pictures(torch.zeros(2, 3)).pipe(ae.Resize, keys="x").observation_spec()
