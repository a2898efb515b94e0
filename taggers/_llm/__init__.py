"""Asking an LLM endpoint: the stage tree, requests, replies, blame, pace, bill and cache."""
