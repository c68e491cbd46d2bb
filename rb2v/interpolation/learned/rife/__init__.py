"""RIFE: the flow from a frame between to both of its neighbors, estimated by a network.

References
----------
.. [1] Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV 2022.
"""

from rb2v.interpolation.learned.rife.interpolator import Proposal, RifeInterpolator, make_rife
from rb2v.interpolation.learned.rife.network import VERSIONS
from rb2v.interpolation.learned.rife.weights import PARTS, catalogue_name, load_rife, weights_file

__all__ = [
    "PARTS",
    "VERSIONS",
    "Proposal",
    "RifeInterpolator",
    "catalogue_name",
    "load_rife",
    "make_rife",
    "weights_file",
]
