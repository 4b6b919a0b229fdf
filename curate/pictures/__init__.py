"""Bytes of an image file to upright sRGB pixels, the same whichever way the file came."""
