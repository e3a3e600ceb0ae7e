"""Exams: templates and answer keys, batches of answer sheets, their readings, a teacher's corrections, exports."""
