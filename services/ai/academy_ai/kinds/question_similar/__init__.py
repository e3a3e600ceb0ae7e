"""question.similar: the questions of a bank that are the same but for their wording."""
