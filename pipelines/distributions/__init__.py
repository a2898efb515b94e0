"""Columns of attributes streamed part by part, as histograms by group, and the effects that come of the histograms."""
