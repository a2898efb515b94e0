"""How right labels are, and how many documents have each.

label_table.py  labels of documents out of an output folder or a table
matrix.py       confusion matrices, and what follows from them, with bootstrap intervals
agreement.py    `tagcorpus agreement`
shares.py       `tagcorpus shares`; its intervals are in share_intervals.py
page.py         its text on the terminal, its CSV and its picture
"""
