"""The lossyzip format read slowly: docs/FORMAT.md in plain Python, one value at a time.

Written from the document alone; imports nothing of lossyzip. It decodes and checks what a decoder must
find to be so, but it is no judge of damaged frames.
"""

from reference.frame import decode_archive, decode_frame
from reference.models import read_model

__all__ = ["decode_archive", "decode_frame", "read_model"]
