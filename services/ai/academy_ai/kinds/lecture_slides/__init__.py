"""lecture.slides: slide changes of a lecture become chapters with thumbnails."""
