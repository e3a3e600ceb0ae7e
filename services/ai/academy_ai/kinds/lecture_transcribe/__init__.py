"""lecture.transcribe: speech becomes subtitles with the time of each word."""
