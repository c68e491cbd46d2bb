"""Train an order network: python train_order_network.py SHARDS OUT [STEPS]."""

import json
import sys
from pathlib import Path

import pandas as pd

from rb2v.hypercut.train import TrainHyperCutConfig, run

shards, out, steps = Path(sys.argv[1]), Path(sys.argv[2]), int((*sys.argv[3:], "600")[0])

# The same as "rb2v train-hypercut --arch motion --steps STEPS". A stopped run resumes.
checkpoint = run(shards, out, TrainHyperCutConfig(arch="motion", steps=steps, seed=0), device="cpu")

scores = json.loads((out / "metrics.json").read_text())["test"]
print({name: scores[name] for name in ("hit", "con@2", "con@3")})

labels = pd.read_csv(out / "order_labels.csv")
print(labels[["split", "take", "blurry_index", "order", "margin"]].head())
print(f"{checkpoint}: {(labels['order'] > 0).mean():.0%} of the sequences are kept, the others reversed")
