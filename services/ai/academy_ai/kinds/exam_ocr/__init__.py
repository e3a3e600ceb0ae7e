"""exam.ocr: pictures of questions become text: Korean, English, digits, circled digits; formulae stay pictures."""
