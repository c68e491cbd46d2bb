import json

import pytest
import safetensors.torch

from rb2v.blur2vid.backbones import make_backbone
from rb2v.blur2vid.checkpoint import load_backbone, save_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.deblur import find_run
from rb2v.blur2vid.train import run
from rb2v.errors import InputError


@pytest.fixture
def checkpoint(tmp_path):
    weights = make_backbone("unet", 3, 0).state_dict()
    return save_backbone(tmp_path / "checkpoint.safetensors", weights, TrainBlur2VidConfig(), 3, {})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": {"backbone": "jin"}}, r"checkpoint\.safetensors: n_frames: the backbone 'jin' recovers 7 frames"),
        ({"config": None}, r"checkpoint\.safetensors: config: is missing, or no JSON object"),
        ({"n_frames": 5}, r"checkpoint\.safetensors: ending\.bias: is float32 \(36,\)"),
    ],
)
def test_headers_that_do_not_fit(checkpoint, changed, message):
    with safetensors.safe_open(checkpoint, framework="pt") as file:
        header = json.loads(file.metadata()["rb2v"]) | changed
    tensors = safetensors.torch.load_file(checkpoint)
    safetensors.torch.save_file(tensors, checkpoint, metadata={"rb2v": json.dumps(header)})
    with pytest.raises(InputError, match=message):
        load_backbone(checkpoint)


def test_a_file_of_a_terabyte_is_refused_unread(tiny_shards, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="is larger than 512 MiB"):
        find_run(tmp_path)
    config = TrainBlur2VidConfig(regularizer="linear", crop_size=20)
    with pytest.raises(InputError, match="is larger than 512 MiB"):
        run(tiny_shards, tmp_path / "run", config, order_run=tmp_path, device="cpu")
