"""Write, train and score an order network: python own_order_network.py SHARDS [STEPS]."""

import sys

import torch

import rb2v
from rb2v.hypercut.losses import agreement
from rb2v.hypercut.networks.antisymmetric import AntisymmetricNetwork, FrontEnd, make_trunk
from rb2v.hypercut.pair_order import sequence_pairs

shards, steps = sys.argv[1], int((*sys.argv[2:], "300")[0])


class NormalFlow(FrontEnd):
    """Temporal times spatial gradients of gray frames: motion, whatever the brightness."""

    n_cues = 2

    def forward(self, first, second):
        """Return the cues (B, 2, H - 1, W - 1) of two (B, 3, H, W) frames."""
        mean = (first + second).mean(dim=1) / 2
        change = (second - first).mean(dim=1)[:, 1:, 1:]
        across, down = mean.diff(dim=2)[:, 1:], mean.diff(dim=1)[:, :, 1:]
        return 100 * torch.stack([change * across, change * down], dim=1)

    def swap(self, cues):
        """Return the cues of the pair in the other order."""
        return -cues


torch.manual_seed(0)
network = AntisymmetricNetwork(NormalFlow(), make_trunk(2, (2, 2, 2), 16), 16, seed=0)
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
data = rb2v.ShardDataset(shards, "train", size=64)
loader = rb2v.make_loader(data, batch_size=min(16, len(data)), drop_last=True)
for step in range(steps):
    loader.set_epoch(step // len(loader))
    if step % len(loader) == 0:
        batches = iter(loader)
    scores, reversed_scores = network(*sequence_pairs(next(batches)["sharp"]))  # (B, 3) each: three pairs a sequence
    loss = agreement(scores, reversed_scores)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

network.eval()
with torch.no_grad():
    held_out = rb2v.ShardDataset(shards, "test", size=64)
    scores, reversed_scores = network(*sequence_pairs(torch.stack([sample["sharp"] for sample in held_out])))
hit = (scores.sign() != reversed_scores.sign()).float().mean()
con = (scores.sign().sum(dim=1).abs() == scores.shape[1]).float().mean()
print(f"after {steps} steps on {len(held_out)} held-out sequences: hit {100 * hit:.1f} %, con@3 {100 * con:.1f} %")
