"""The public API, `/api/v1/…`, with its documentation at `/api/docs`. Each app adds its router here."""

from academy_api.accounts.api import router as accounts
from academy_api.exams.api import router as exams
from academy_api.lectures.api import router as lectures
from academy_api.ninja_api import make_api
from academy_api.playback.api import router as playback
from academy_api.questions.api import router as questions
from academy_api.questions.scan_api import router as scans
from academy_api.tracks.api import router as tracks

api = make_api("Academy", "api", docs=True)
api.add_router("/v1", accounts)
api.add_router("/v1/lectures", lectures)
api.add_router("/v1/lectures", playback)
api.add_router("/v1/lectures", tracks)
api.add_router("/v1/exams", exams)
api.add_router("/v1/questions", questions)
api.add_router("/v1/questions/scans", scans)
