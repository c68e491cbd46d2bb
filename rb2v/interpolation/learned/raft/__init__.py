"""RAFT (Teed and Deng, ECCV 2020): optical flow by a recurrent network, for weights that the user brings."""

from rb2v.interpolation.learned.raft.network import Raft
from rb2v.interpolation.learned.raft.weights import load_raft

__all__ = ["Raft", "load_raft"]
