"""Wire formats without I/O: bytes in, values out, and the other way round."""
