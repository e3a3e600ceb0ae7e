"""Cells for spreadsheets, shared by whoever writes a CSV: the AI worker's readings, the API's exports."""

_FORMULA = ("=", "+", "@", "\t", "\r")


def plain(text: str) -> str:
    """`text` so that a spreadsheet shows it and does not run it; numbers stay numbers.

    Source: OWASP, CSV injection: a cell that begins with one of these characters is taken for a formula.
    """
    risky = text.startswith(_FORMULA) or (text.startswith("-") and not _is_number(text))
    return f"'{text}" if risky else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
