import json
import struct

import pytest

from rb2v.errors import InputError
from rb2v.training.tensor_files import read_tensors


@pytest.mark.parametrize("size", [2**63, 2**64 - 1])
def test_sizes_that_no_tensor_has(tmp_path, size):
    header = {"a": {"dtype": "F32", "shape": [0, size], "data_offsets": [0, 0]}, "__metadata__": {"rb2v": "{}"}}
    content = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content)
    with pytest.raises(InputError, match=r"x\.safetensors: is not a safetensors file"):
        read_tensors(path, "weights")
