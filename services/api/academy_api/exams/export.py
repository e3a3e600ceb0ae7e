"""Results as a table for a spreadsheet: CSV and XLSX. Pure; CPU work, run off the event loop."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import xlsxwriter

from academy_api.exams.results import Result
from academy_core.spreadsheet import plain

HEAD = ("file", "page", "score", "out_of", "right", "wrong", "blank", "open", "refused")


@dataclass(frozen=True, slots=True)
class Row:
    """One page."""

    file_name: str
    page: int
    refused: str
    """Code of the reason; empty when the page was read."""
    result: Result

    def head(self) -> tuple[str | float, ...]:
        """The cells before the columns. What is not known is empty, not 0."""
        marks = self.result.marks
        known = ("", "", "", "", "", "")
        counted = (
            known if marks is None else (marks.score, marks.out_of, marks.right, marks.wrong, marks.blank, marks.open)
        )
        return (self.file_name, self.page, *counted, self.refused)


def as_csv(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """UTF-8 with a byte order mark, which Excel needs to read Korean."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(plain, (*HEAD, *columns)))
    for row in rows:
        cells = (*row.head(), *(row.result.answers.get(column, "") for column in columns))
        writer.writerow([plain(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue().encode("utf-8-sig")


def as_xlsx(columns: Sequence[str], rows: Sequence[Row]) -> bytes:
    """A workbook; corrected cells are green, those that a person still has to look at yellow."""
    data = io.BytesIO()
    # Text stays text: no formula, number or link is made of what a student or a file name says.
    book = xlsxwriter.Workbook(
        data, {"in_memory": True, "strings_to_formulas": False, "strings_to_numbers": False, "strings_to_urls": False}
    )
    page = book.add_worksheet("results")
    marked = {"corrected": book.add_format({"bg_color": "#C6EFCE"}), "unsure": book.add_format({"bg_color": "#FFEB9C"})}
    bold = book.add_format({"bold": True})
    page.write_row(0, 0, (*HEAD, *columns), bold)
    page.freeze_panes(1, 1)
    for at, row in enumerate(rows, start=1):
        page.write_row(at, 0, row.head())
        for offset, column in enumerate(columns, start=len(HEAD)):
            kind = "corrected" if column in row.result.corrected else "unsure" if column in row.result.unsure else ""
            page.write_string(at, offset, row.result.answers.get(column, ""), marked.get(kind))
    book.close()
    return data.getvalue()
