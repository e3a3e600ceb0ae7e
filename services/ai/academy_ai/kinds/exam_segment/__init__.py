"""exam.segment: scanned exam pages become questions, their choices and shared passages, in reading order."""
