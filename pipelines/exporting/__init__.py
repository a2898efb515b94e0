"""Documents and their tags in files that other programs read.

documents.py   the records of an input with the tags of each, chunk by chunk
json_lines.py  one JSON object a document, with the input's own fields
parquet.py     the same as Parquet, and a folder that Hugging Face datasets reads
dolma.py       attributes in Dolma's format
export.py      `tagcorpus export`
"""
