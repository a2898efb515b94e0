"""Kernels of the tagger `signals`: integers about one document, from its code points and its words."""
