"""Answers to questions, from the chunks that are retrieved: generated with checked citations, or extracted."""
