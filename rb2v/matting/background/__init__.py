"""Background matting: a network tells the foreground from a picture of the background without it.

References
----------
.. [1] Lin et al., "Real-Time High-Resolution Background Matting", CVPR 2021.
"""

from rb2v.matting.background.matter import BackgroundMatter, load_matter

__all__ = ["BackgroundMatter", "load_matter"]
