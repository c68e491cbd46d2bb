"""LPIPS: how different two images look, by the features of a network that was trained to recognize things."""

from rb2v.lpips.network import Lpips, Net
from rb2v.lpips.weights import load_lpips

__all__ = ["Lpips", "Net", "load_lpips"]
