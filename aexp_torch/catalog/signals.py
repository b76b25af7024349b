"""Signals: sounds that are made by formulas, and series of numbers to go on with."""

from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, shipped
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.specs import Modality

__all__ = ["RATE", "eeg", "mackey_glass", "telephone_keys", "waveforms"]

RATE = 8000  # samples per second
KEYS = "123A456B789C*0#D"
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz
SOUND = {"x": Modality("sequence", "real", "audio")}


def waveforms(split: Split = "train", name: str = "waveforms", **options: Any) -> DatasetEnv:
    """Streams synthesized tones: x float32 [1000, 1] in [-1, 1], 1/8 s at 8 kHz, y int64 in 0..3.

    y is sine, square, sawtooth or triangle; pitch (110 to 880 Hz), loudness and phase are random (from a fixed seed), with
    some noise.

    Args:
      split: four fifths of 1,000 for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.
    """
    return prepared(_tones, split, name, classes=4, modalities=SOUND, **options)


def telephone_keys(split: Split = "train", name: str = "telephone_keys", **options: Any) -> DatasetEnv:
    """Streams the sounds of telephone keys: x float32 [800, 1] in [-1, 1], 1/10 s at 8 kHz, y int64 in 0..15.

    y is the index in `"123A456B789C*0#D"`. Loudness and phases are random (from a fixed seed), with noise.

    Args:
      split: four fifths of 1,600 for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: ITU-T Recommendation Q.23 (1988), for the frequencies.
    """
    return prepared(_keys, split, name, classes=len(KEYS), modalities=SOUND, **options)


def mackey_glass(split: Split = "train", name: str = "mackey_glass", context: int = 32, **options: Any) -> DatasetEnv:
    """Streams pieces of a chaotic series: x float32 [32, 1], y float32 [1], the value that follows.

    dv/dt = 0.2 v(t - 17) / (1 + v(t - 17)^10) - 0.1 v(t), Euler steps of 0.1, one value per unit of time. The last fifth
    of the series is for testing.

    Args:
      split: `"train"`, `"test"` or `"all"`.
      name: names the source.
      context: values of x.
      options: everything else that DatasetEnv takes.

    Source: M. Mackey, L. Glass (1977), Oscillation and chaos in physiological control systems.
    """
    series = {"x": Modality("sequence", "real")}
    return prepared(partial(_chaos, context), split, name, modalities=series, **options)


def eeg(split: Split = "train", name: str = "eeg", context: int = 32, **options: Any) -> DatasetEnv:
    """Streams pieces of an electroencephalogram: x float32 [32, 4], y float32 [4], what the four channels show next.

    Every channel has mean 0 and standard deviation 1. The last fifth of the 800 values is for testing.

    Args:
      split: `"train"`, `"test"` or `"all"`.
      name: names the source.
      context: values of x.
      options: everything else that DatasetEnv takes.

    Source: a recording that comes with Matplotlib as sample data.
    """
    series = {"x": Modality("sequence", "real")}
    return prepared(partial(_recording, context), split, name, modalities=series, **options)


def _tones(split: str) -> Columns:
    rng, num = np.random.default_rng(0), 1000
    kind = np.arange(num) % 4
    pitch, loudness, phase = (rng.uniform(low, high, (num, 1)) for low, high in ((110, 880), (0.3, 0.9), (0, 1)))
    turns = (pitch * np.arange(1000) / RATE + phase) % 1
    waves = (np.sin(2 * np.pi * turns), np.sign(0.5 - turns), 2 * turns - 1, 4 * np.abs(turns - 0.5) - 1)
    tones = loudness * np.choose(kind[:, None], waves) + rng.normal(0, 0.02, turns.shape)
    return part_of({"x": _sound(tones), "y": kind.astype(np.int64)}, split)


def _keys(split: str) -> Columns:
    rng, num = np.random.default_rng(0), 1600
    key = np.arange(num) % len(KEYS)
    frequencies = np.array(LOW)[key // 4], np.array(HIGH)[key % 4]
    time = np.arange(800) / RATE
    parts = [np.sin(2 * np.pi * (hertz[:, None] * time + rng.random((num, 1)))) for hertz in frequencies]
    sounds = rng.uniform(0.1, 0.45, (num, 1)) * (parts[0] + parts[1]) + rng.normal(0, 0.05, parts[0].shape)
    return part_of({"x": _sound(sounds), "y": key.astype(np.int64)}, split)


def _sound(samples: np.ndarray) -> np.ndarray:
    return samples.clip(-1, 1).astype(np.float32)[..., None]


def _chaos(context: int, split: str) -> Columns:
    delay, steps = 170, 20_000
    values = np.empty(steps + delay)
    values[:delay] = 1.2
    for t in range(delay, steps + delay):
        before = values[t - delay]
        values[t] = values[t - 1] + 0.1 * (0.2 * before / (1 + before**10) - 0.1 * values[t - 1])
    return _pieces(values[delay::10, None], context, split)


def _recording(context: int, split: str) -> Columns:
    values = np.fromfile(shipped("matplotlib", "mpl-data/sample_data/eeg.dat"), np.float64).reshape(-1, 4)
    return _pieces((values - values.mean(0)) / values.std(0), context, split)


def _pieces(series: np.ndarray, context: int, split: str) -> Columns:
    """Returns all pieces of a series [T, C] with the value after each; training and testing have none in common."""
    series, border = series.astype(np.float32), len(series) * 4 // 5
    part = {"train": series[:border], "test": series[border:], "all": series}[split]
    windows = np.lib.stride_tricks.sliding_window_view(part, context + 1, axis=0).swapaxes(1, 2)
    return {"x": windows[:, :context].copy(), "y": windows[:, context].copy()}
