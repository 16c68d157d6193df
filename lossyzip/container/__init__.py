"""Bytes <-> parts: the frame, its header and its tiles; archives of frames. Imports no numba."""
