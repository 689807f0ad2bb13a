"""The book's machinery: from records to tables and figures, and how notebooks run."""
