"""Frames warped from the center frame by the flow of a recurrent decoder, first trained as a video autoencoder.

References
----------
.. [1] Purohit, Shah and Rajagopalan, "Bringing alive blurred moments", CVPR 2019.
"""

from rb2v.blur2vid.backbones.purohit.network import Purohit
from rb2v.blur2vid.backbones.purohit.upstream import UpstreamPurohit

__all__ = ["Purohit", "UpstreamPurohit"]
