"""Image registration engines: a pair of frames in, a map of source px to target px out."""
