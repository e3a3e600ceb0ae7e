"""image.quality: is a photograph good enough to be read, and if not, what should the student do?"""
