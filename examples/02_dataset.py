"""A dataset is an environment: the agent predicts y for x, and is told y and what its prediction was worth."""

import torch
from torch.nn import functional

import aexp_torch as ae


def main(epochs: int = 3) -> float:
    """Learns handwritten digits by reward and answer, and returns the share of right predictions in the last pass."""
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    env = ae.digits(split="train", batch_size=64, epochs=epochs, mode="delayed", loss="correct")

    accuracy, rewards, x_before = 0.0, [], None
    for timestep in env:  # FIRST: x_0, then x_t with y_{t-1}, LAST: y_{N-1} alone; `epochs` times
        if timestep.observation["y"] is not None:
            real = timestep.observation.get("mask:y", torch.ones(64, dtype=torch.bool))  # the last minibatch is short
            rewards.append(timestep.reward[real].mean())
            loss = functional.cross_entropy(model(x_before)[real], timestep.observation["y"][real])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if timestep.last().all():
            accuracy = torch.stack(rewards).mean().item()
            print(f"pass over: {accuracy:.1%} of the predictions were right")
            rewards.clear()
            timestep.reply(torch.zeros(64, dtype=torch.int64))  # nothing is asked here, any answer will do
        else:
            x_before = timestep.observation["x"].flatten(1)
            timestep.reply(model(x_before).argmax(1))
    return accuracy


if __name__ == "__main__":
    main()
