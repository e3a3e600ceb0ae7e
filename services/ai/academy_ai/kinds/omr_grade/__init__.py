"""omr.grade: photographed or scanned answer sheets become answers, marks, a picture for the teacher and a CSV."""
