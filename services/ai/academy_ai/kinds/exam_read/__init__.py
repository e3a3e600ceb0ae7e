"""exam.read: a scanned exam becomes questions with text, choices, passages and crops, ready for a question bank."""
