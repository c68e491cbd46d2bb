import numpy as np
import pytest

from rb2v import device
from rb2v.errors import InputError, Rb2vError


@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_products_are_those_of_numpy(name):
    rng = np.random.default_rng(0)
    a, b = rng.random((30, 500)), rng.random((500, 20))
    np.testing.assert_allclose(device.make_matrix_product(name)(a, b), a @ b, rtol=1e-12)


def test_a_device_that_is_not_there_is_named(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Rb2vError, match="--device cuda: PyTorch finds no CUDA device"):
        device.make_matrix_product("cuda")
    monkeypatch.setattr(device, "_has_driver", lambda: True)
    assert device.make_matrix_product("auto") is np.matmul, "a driver without a device"


@pytest.mark.gpu
def test_products_on_a_gpu_are_those_of_numpy():
    rng = np.random.default_rng(1)
    a, b = rng.random((300, 3000)), rng.random((3000, 200))
    found = device.make_matrix_product("cuda")(a, b)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, a @ b, rtol=1e-12)


class TestTrainingThreads:
    def test_one_by_default_and_as_before_after_it(self, monkeypatch):
        import torch

        monkeypatch.delenv("RB2V_THREADS", raising=False)
        before = torch.get_num_threads()
        with device.training_threads():
            assert torch.get_num_threads() == 1
        monkeypatch.setenv("RB2V_THREADS", "3")
        with device.training_threads():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == before

    @pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
    def test_no_number_of_threads(self, monkeypatch, text):
        monkeypatch.setenv("RB2V_THREADS", text)
        with pytest.raises(InputError) as caught, device.training_threads():
            pass
        assert caught.value.source == "RB2V_THREADS"
