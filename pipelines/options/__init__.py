"""Options of every command, declared once: name, type, default, bounds, help and flags.

declaring/      what a declaration is, and the options that commands share
commands/       the options of each command
tree.py         the tree of commands
load.py         packaged defaults < --config < --set < flag, checked key by key
pages.py        the printed YAML, the tables of docs/options.md and the signatures in keywords.py
"""
