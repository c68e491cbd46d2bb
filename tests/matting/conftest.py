"""What the tests of matters share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Threads that wait for each other take far longer than the small images here, where cores are busy."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
