"""CDFI: a network that makes the frame halfway between two, with kernels whose taps choose where they look.

References
----------
.. [1] Ding et al., "CDFI: Compression-Driven Network Design for Frame Interpolation", CVPR 2021.
.. [2] Lee et al., "AdaCoF: Adaptive Collaboration of Flows for Video Frame Interpolation", CVPR 2020.
"""
