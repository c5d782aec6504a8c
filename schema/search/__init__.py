"""The read side: ranking chunks by vectors and words, within what whoever asks may see."""
