"""Made exam pages with known questions, passages, choices and text, and what scanner and phone do to them; seeded.

A4 at 200 dpi in Debian's Korean fonts (fonts-nanum, fonts-noto-cjk): one or two columns, figures, tables, formulae,
shared passages, choices in one row, in two or one a line.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import omr_made
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the page."""

NANUM = Path("/usr/share/fonts/truetype/nanum")
NOTO = Path("/usr/share/fonts/opentype/noto")
KOREAN = 1
"""Place of the Korean face in a Noto CJK collection."""
FONTS: tuple[tuple[Path, int], ...] = (
    (NANUM / "NanumMyeongjo.ttf", 0),
    (NANUM / "NanumGothic.ttf", 0),
    (NANUM / "NanumBarunGothic.ttf", 0),
    (NOTO / "NotoSerifCJK-Regular.ttc", KOREAN),
    (NOTO / "NotoSansCJK-Regular.ttc", KOREAN),
)
MISSING = [str(path) for path, _ in FONTS if not path.exists()]
WIDTH, HEIGHT, MARGIN, GUTTER = 1654, 2339, 110, 70
CIRCLED = "①②③④⑤"

SENTENCES = (
    "조선 후기에는 상품 화폐 경제가 발달하면서 신분 질서가 크게 흔들리기 시작하였다.",
    "식물은 빛 에너지를 이용하여 이산화 탄소와 물로부터 포도당을 합성한다.",
    "화자는 떠나간 임을 그리워하며 자신의 처지를 강물에 비유하고 있다.",
    "두 물체가 충돌하기 전과 후의 운동량의 합은 외력이 없으면 일정하게 보존된다.",
    "시장 가격은 수요와 공급이 만나는 점에서 결정되며 정부의 정책에 영향을 받는다.",
    "글쓴이는 기술의 발전이 인간의 삶을 풍요롭게 하지만 새로운 문제도 낳는다고 본다.",
    "위도가 높아질수록 태양의 남중 고도가 낮아져 단위 면적이 받는 에너지가 줄어든다.",
    "세포막을 통한 물질의 이동에는 에너지를 쓰는 방식과 쓰지 않는 방식이 있다.",
    "그는 창밖을 바라보다가 문득 어린 시절 할머니와 걷던 논둑길을 떠올렸다.",
    "민주주의 사회에서 시민은 투표뿐 아니라 다양한 방법으로 정치에 참여할 수 있다.",
    "온도가 일정할 때 기체의 부피는 압력에 반비례하고 밀도는 압력에 비례한다.",
    "밑줄 친 부분은 앞 문단의 내용을 요약하면서 뒤에 이어질 논의를 예고한다.",
    "1970년대 이후 도시로 인구가 집중되면서 주택과 교통 문제가 심각해졌다.",
    "이 실험에서 비커 A와 B에 들어 있는 용액의 농도는 각각 10%와 25%이다.",
    "컴퓨터의 CPU는 메모리에서 명령어를 읽어 해석하고 그 결과를 다시 저장한다.",
    "학생들은 Internet 자료를 조사한 뒤 모둠별로 보고서를 작성하여 발표하였다.",
    "DNA에 저장된 유전 정보는 RNA를 거쳐 단백질로 전달되어 형질로 나타난다.",
    "열차가 120 km 떨어진 두 도시 사이를 시속 80 km로 달리면 얼마나 걸리는가?",
    "바다에서 불어오는 습한 바람이 산맥을 넘으면서 비를 뿌리고 건조해진다.",
    "한글은 소리를 내는 기관의 모양을 본떠 만든 과학적인 문자로 평가받는다.",
)  # fmt: skip
ENGLISH = (
    "Many students believe that reading every day improves their vocabulary.",
    "The museum was built in 1987 and attracts over two million visitors a year.",
    "She decided to leave early because the weather forecast warned of heavy snow.",
    "Plants use sunlight to turn water and carbon dioxide into sugar and oxygen.",
    "Although he practiced for months, he was nervous before the first concert.",
    "Which of the following best describes the attitude of the writer?",
    "People who sleep well tend to remember new words for a longer time.",
    "The price of oil rose sharply, so many companies looked for other sources.",
    "Honesty is not always easy, but it makes friendships grow stronger.",
    "In 2015, only 12% of the households in the village had access to the Internet.",
    "If you want to join the science club, please write your name on the list.",
    "The author suggests that failure is often the beginning of real learning.",
    "Dolphins communicate with each other by means of whistles and clicks.",
    "My grandmother used to tell us stories about the village where she grew up.",
    "It is important to check whether the information comes from a reliable source.",
    "The city plans to plant 3,000 trees along the river by next spring.",
    "Modern artists do not simply copy nature; they express what they feel.",
    "Because the bridge was closed, we had to take a different road home.",
    "Some experts argue that robots will create more jobs than they replace.",
    "The train to Busan leaves at half past nine and arrives before noon.",
)
"""As many as SENTENCES."""
ASKS = (
    "윗글의 내용과 일치하지 않는 것은?",
    "다음 중 옳은 것을 모두 고른 것은?",
    "다음 설명에 해당하는 것으로 가장 적절한 것은?",
    "빈칸에 들어갈 말로 알맞은 것은?",
    "이에 대한 설명으로 옳은 것만을 고르시오.",
)
SHORT = (
    "농업", "광합성", "반비례", "자본주의", "운동량", "단백질", "위도", "공급 곡선", "비유법", "Energy", "12", "48",
    "3.5", "RNA", "민주주의",
)  # fmt: skip


@dataclass
class Question:
    """A made question: its boxes (more than one when it goes on in the next column), choices and text."""

    number: int
    boxes: list[Box] = field(default_factory=list)
    choices: dict[int, Box] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    formulae: list[Box] = field(default_factory=list)
    drawn: bool = False
    """Has a figure or table, whose words are not in `lines`."""


@dataclass
class Passage:
    """A made passage shared by the questions `first` to `last`."""

    first: int
    last: int
    box: Box
    lines: list[str]


@dataclass
class Page:
    """A made page in grey."""

    picture: Picture
    questions: list[Question]
    passages: list[Passage]


def font(which: int, size: int) -> ImageFont.FreeTypeFont:
    """One of FONTS."""
    path, index = FONTS[which % len(FONTS)]
    return ImageFont.truetype(str(path), size, index=index)


class _Writer:
    """Writes down a column."""

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        random: np.random.Generator,
        which: int,
        size: int,
        sentences: tuple[str, ...],
    ) -> None:
        self.draw, self.random, self.sentences = draw, random, sentences
        self.face, self.small = font(which, size), font(which, round(size * 0.62))
        self.size, self.leading = size, round(size * 1.55)
        self.x = self.y = self.width = 0

    def wrapped(self, text: str, first: float, rest: float) -> list[str]:
        """Lines that fit; `first` and `rest`: indents."""
        lines, line, indent = [], "", first
        for word in text.split(" "):
            longer = f"{line} {word}".strip()
            if line and self.face.getlength(longer) > self.width - indent:
                lines.append(line)
                line, indent = word, rest
            else:
                line = longer
        return [*lines, line]

    def line(self, text: str, indent: float = 0.0) -> Box:
        """One line of text; its box."""
        at = (self.x + indent, self.y)
        self.draw.text(at, text, font=self.face, fill=int(self.random.integers(0, 50)))
        box = self.draw.textbbox(at, text, font=self.face)
        self.y += self.leading
        return tuple(round(v) for v in box)  # type: ignore[return-value]

    def formula(self) -> Box:
        """A fraction with a root or a power, on a line of its own."""
        left, top = self.x + 2 * self.size, self.y
        middle = top + round(self.size * 1.1)
        a, b, c = self.random.integers(2, 10, 3)
        self.draw.text((left, middle - self.size * 0.62), "x =", font=self.face, fill=0)
        start = left + round(2.1 * self.size)
        above = f"{a} + √{b}y" if self.random.random() < 0.5 else f"y² − {a}y + {b}"
        length = self.face.getlength(above)
        self.draw.text((start + 6, middle - 1.28 * self.size), above, font=self.face, fill=0)
        self.draw.line((start, middle, start + length + 12, middle), fill=0, width=3)
        self.draw.text(
            (start + length / 2 - self.size * 0.5, middle + 0.05 * self.size), f"{c}z", font=self.face, fill=0
        )
        self.y += round(2.9 * self.size)
        return left, top - 4, round(start + length + 14), middle + round(1.35 * self.size)

    def figure(self) -> None:
        """Axes and a curve, or circles."""
        left, top, wide, high = self.x + 60, self.y + 8, 360, 240
        if self.random.random() < 0.5:
            self.draw.line((left, top + high, left + wide, top + high), fill=20, width=3)
            self.draw.line((left, top, left, top + high), fill=20, width=3)
            xs = np.linspace(0, wide, 60)
            ys = top + high - 30 - 80 * (1 + np.sin(xs / 50 + self.random.random() * 6))
            self.draw.line(list(zip((left + xs).tolist(), ys.tolist(), strict=True)), fill=20, width=3)
            self.draw.text((left + wide + 6, top + high - 20), "t", font=self.small, fill=0)
        else:
            for _ in range(3):
                x, y, r = (
                    left + self.random.integers(60, 300),
                    top + self.random.integers(60, 180),
                    self.random.integers(30, 60),
                )
                self.draw.ellipse((x - r, y - r, x + r, y + r), outline=20, width=3)
            self.draw.text((left + 10, top), "A", font=self.small, fill=0)
        self.y += high + round(self.size * 1.2)

    def table(self) -> None:
        """Three by three cells of short words."""
        left, top, wide, high = self.x + 30, self.y + 6, min(160, (self.width - 80) // 3), round(1.6 * self.size)
        for row in range(4):
            self.draw.line((left, top + row * high, left + 3 * wide, top + row * high), fill=20, width=2)
            self.draw.line((left + row * wide, top, left + row * wide, top + 3 * high), fill=20, width=2)
        for row in range(3):
            for column in range(3):
                text = SHORT[int(self.random.integers(0, len(SHORT)))]
                self.draw.text((left + column * wide + 10, top + row * high + 6), text, font=self.small, fill=10)
        self.y += 3 * high + round(self.size * 0.9)


def _choices(pen: _Writer, question: Question, way: int) -> None:
    """`way` 0: all in one row, 1: two rows, 2: one a line."""
    random = pen.random
    if way == 2:
        for number, label in enumerate(CIRCLED, start=1):
            text = pen.sentences[int(random.integers(0, len(pen.sentences)))]
            lines = pen.wrapped(f"{label} {text}", 12, 12 + pen.size * 1.3)
            boxes = [pen.line(line, 12 if place == 0 else 12 + pen.size * 1.3) for place, line in enumerate(lines)]
            question.lines += lines
            question.choices[number] = _around(boxes)
        return
    words = [SHORT[int(i)] for i in random.choice(len(SHORT), 5, replace=False)]
    widest = max(pen.face.getlength(f"{CIRCLED[0]} {word}") for word in words) + pen.size
    one_row = way == 0 and 5 * widest < pen.width - 24
    for row in ([0, 1, 2, 3, 4],) if one_row else ([0, 1, 2], [3, 4]):
        place = 12.0
        step = (pen.width - 24) / (5 if one_row else 3)
        top, shown = pen.y, []
        for index in row:
            pen.y = top
            shown.append(f"{CIRCLED[index]} {words[index]}")
            question.choices[index + 1] = pen.line(shown[-1], place)
            place += step
        question.lines.append(" ".join(shown))


def _around(boxes: list[Box]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _stem(pen: _Writer, question: Question) -> None:
    random = pen.random
    lead = f"{question.number}. "
    indent = pen.face.getlength(lead) if random.random() < 0.6 else 0.0
    body = ASKS[int(random.integers(0, len(ASKS)))]
    if random.random() < 0.7:
        body = f"{pen.sentences[int(random.integers(0, len(pen.sentences)))]} {body}"
    lines = pen.wrapped(lead + body, 0, indent)
    for place, line in enumerate(lines):
        pen.line(line, indent if place else 0)
    question.lines += lines


def _question(pen: _Writer, number: int) -> Question:
    random = pen.random
    question = Question(number)
    top = pen.y
    _stem(pen, question)
    extra = random.random()
    question.drawn = extra < 0.35
    if extra < 0.2:
        pen.figure()
    elif extra < 0.35:
        pen.table()
    elif extra < 0.6:
        question.formulae.append(pen.formula())
    _choices(
        pen,
        question,
        int(
            random.choice(
                3,
                p=[0.4 if pen.width > 600 else 0.15, 0.3 if pen.width > 600 else 0.45, 0.3 if pen.width > 600 else 0.4],
            )
        ),
    )
    question.boxes.append((pen.x, top, pen.x + pen.width, pen.y - (pen.leading - pen.size)))
    pen.y += int(random.integers(round(0.9 * pen.size), 2 * pen.size))
    return question


def _passage(pen: _Writer, first: int, last: int) -> Passage:
    random = pen.random
    top = pen.y
    lines = pen.wrapped(f"[{first}~{last}] 다음 글을 읽고 물음에 답하시오.", 0, 0)
    for line in lines:
        pen.line(line)
    pen.y += 10
    frame = pen.y
    chosen = random.choice(len(pen.sentences), int(random.integers(3, 6)), replace=False)
    text = " ".join(pen.sentences[int(i)] for i in chosen)
    whole, pen.x, pen.width, pen.y = (pen.x, pen.width), pen.x + 16, pen.width - 32, pen.y + 12
    inside = pen.wrapped(text, 0, 0)
    for line in inside:
        pen.line(line)
    pen.x, pen.width = whole
    if random.random() < 0.6:
        pen.draw.rectangle((pen.x, frame, pen.x + pen.width, pen.y), outline=20, width=2)
    box = (pen.x, top, pen.x + pen.width, pen.y)
    pen.y += round(1.1 * pen.size)
    return Passage(first, last, box, lines + inside)


def page(seed: int, *, columns: int | None = None, first: int = 1, sentences: tuple[str, ...] = SENTENCES) -> Page:
    """A page of as many questions as fit, numbered from `first`; what is asked is in Korean, whatever the sentences."""
    random = np.random.default_rng(seed)
    columns = columns or int(random.integers(1, 3))
    sheet = Image.new("L", (WIDTH, HEIGHT), 255)
    draw = ImageDraw.Draw(sheet)
    which = int(random.integers(0, len(FONTS)))
    pen = _Writer(draw, random, which, int(random.integers(28, 33)), sentences)
    title = font(which, 48)
    draw.text(
        (WIDTH / 2 - title.getlength("2학기 기말고사 문제지") / 2, 90), "2학기 기말고사 문제지", font=title, fill=0
    )
    draw.line((MARGIN, 180, WIDTH - MARGIN, 180), fill=0, width=3)
    draw.text((WIDTH / 2 - 12, HEIGHT - 90), str(first // 8 + 1), font=pen.small, fill=0)
    pen.width = (WIDTH - 2 * MARGIN - (columns - 1) * GUTTER) // columns
    if columns == 2 and random.random() < 0.7:
        draw.line((WIDTH // 2, 200, WIDTH // 2, HEIGHT - 130), fill=0, width=2)
    questions: list[Question] = []
    passages: list[Passage] = []
    number, under = first, 0
    for column in range(columns):
        pen.x, pen.y = MARGIN + column * (pen.width + GUTTER), 220
        while pen.y < HEIGHT - 800:
            if under == 0 and random.random() < 0.25 and pen.y < HEIGHT - 1300:
                under = int(random.integers(2, 4))
                passages.append(_passage(pen, number, number + under - 1))
            questions.append(_question(pen, number))
            number, under = number + 1, max(0, under - 1)
    return Page(np.asarray(sheet, np.uint8), questions, passages)


def scanned(picture: Picture, random: np.random.Generator) -> Picture:
    """A flatbed's: grey paper, a little turned, soft and noisy, JPEG."""
    grey = np.asarray(255 - (255 - picture.astype(np.float32)) * 0.88 - 8, np.float32)
    turned = omr_made.rotated(np.asarray(grey, np.uint8), float(random.uniform(-1.2, 1.2)))
    soft = cv2.GaussianBlur(turned, (0, 0), 0.6).astype(np.float32) + random.normal(0, 3, picture.shape)
    return omr_made.jpeg(np.asarray(np.clip(soft, 0, 255), np.uint8), 80)


def photographed(picture: Picture, random: np.random.Generator) -> Picture:
    """A phone's: on a dark table, in perspective, light falling off, soft, noisy, JPEG."""
    height, width = picture.shape
    border = 120
    out = np.clip(55 + random.normal(0, 5, (height + 2 * border, width + 2 * border)), 0, 255).astype(np.uint8)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = corners + border + random.uniform(-70, 70, (4, 2)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    paper = np.asarray(np.clip(picture.astype(np.float32) * 0.86 + 10, 0, 255), np.uint8)
    cv2.warpPerspective(paper, matrix, (out.shape[1], out.shape[0]), dst=out, borderMode=cv2.BORDER_TRANSPARENT)
    lit = cv2.GaussianBlur(omr_made.shadow(out, random), (0, 0), 0.7).astype(np.float32)
    return omr_made.jpeg(np.asarray(np.clip(lit + random.normal(0, 4, lit.shape), 0, 255), np.uint8), 85)


DEGRADATIONS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "clean": lambda p, _: p,
    "scan": scanned,
    "photo": photographed,
}
