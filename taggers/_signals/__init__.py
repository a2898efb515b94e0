"""Parts of the tagger `signals`: the list of its columns, tables of code points, and the counts of a document."""
