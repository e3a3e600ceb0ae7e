"""The question bank of an academy: adding, searching for similar questions, finding the same question twice."""
