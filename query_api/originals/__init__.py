"""A document's original file: its bytes as they were stored, and pages of a PDF as pictures."""
