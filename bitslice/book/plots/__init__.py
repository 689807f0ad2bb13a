"""One module a figure family; notebooks call these, the style is in :mod:`bitslice.book.figures`."""
