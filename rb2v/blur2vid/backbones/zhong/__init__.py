"""Two stages guided by motion, after the decomposer of Zhong et al.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022.
"""

from rb2v.blur2vid.backbones.zhong.network import Zhong, ZhongSmall
from rb2v.blur2vid.backbones.zhong.upstream import UpstreamZhong

__all__ = ["UpstreamZhong", "Zhong", "ZhongSmall"]
