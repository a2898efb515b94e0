"""Options of every command, declared once: name, type, default, bounds, help and flags.

declare.py      what a declaration is
common.py       the options that every pipeline has, and those that commands share
commands/       the options of each command
tree.py         the tree of commands
load.py         packaged defaults < --config < --set < flag, checked key by key
pages.py        the printed YAML, the tables of docs/options.md and the signatures in keywords.py
"""
