"""Options of every command, declared once: name, type, default, bounds, help and flags.

declare.py      what a declaration is
of_pipelines.py the options of `tagcorpus run PIPELINE`
of_commands.py  the options of all other commands, and the tree of commands
load.py         packaged defaults < --config < --set < flag, checked key by key
pages.py        the printed YAML, the tables of docs/options.md and the signatures in keywords.py
"""
