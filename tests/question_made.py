"""Made Korean exam questions, and the same question as somebody else would put it; seeded.

A bank is full of near misses on purpose: each pattern is used hundreds of times with other numbers, names and terms, so
that a search has to tell apart questions that share most of their words. `asked_otherwise` gives another wording of one
question: other verb endings, other word order, and on request what a hurried reader does to it (lost spaces, typing and
recognition errors).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_NAMES = [
    "민수",
    "지영",
    "철호",
    "서연",
    "준혁",
    "하은",
    "도윤",
    "수아",
    "예준",
    "지우",
    "건우",
    "다은",
    "현우",
    "유진",
    "태민",
    "소희",
]
_SHAPES = ["삼각형", "사각형", "직사각형", "정사각형", "평행사변형", "사다리꼴", "마름모", "원", "부채꼴", "정육각형"]
_FUNCTIONS = ["일차함수", "이차함수", "삼차함수", "지수함수", "로그함수", "삼각함수", "유리함수", "무리함수"]
_WORKS = [
    "진달래꽃",
    "서시",
    "광야",
    "님의침묵",
    "향수",
    "소나기",
    "동백꽃",
    "운수좋은날",
    "메밀꽃필무렵",
    "홍길동전",
    "춘향전",
    "관동별곡",
]
_DEVICES = ["역설", "반어", "은유", "직유", "의인", "대구", "영탄", "설의", "공감각", "상징"]
_KINGS = ["태조", "태종", "세종", "세조", "성종", "광해군", "인조", "효종", "숙종", "영조", "정조", "고종"]
_POLICIES = ["과전법", "경국대전", "대동법", "균역법", "탕평책", "호패법", "훈민정음", "직전법", "영정법", "규장각"]
_CELLS = ["미토콘드리아", "엽록체", "리보솜", "소포체", "골지체", "액포", "핵", "세포막", "세포벽", "중심체"]
_ELEMENTS = ["수소", "산소", "질소", "탄소", "나트륨", "칼륨", "칼슘", "마그네슘", "염소", "구리", "철", "아연"]
_GRAMMAR = ["관계대명사", "분사구문", "가정법", "수동태", "도치", "강조구문", "동명사", "부정사", "완료시제", "비교급"]
_WORDS = [
    "achieve",
    "benefit",
    "concern",
    "develop",
    "establish",
    "identify",
    "maintain",
    "require",
    "significant",
    "approach",
    "evidence",
    "method",
]


@dataclass(frozen=True)
class Pattern:
    """One kind of question: how its slots are drawn, and several ways to put it."""

    draw: Callable[[random.Random], dict[str, object]]
    wordings: Sequence[str]


def _pick(*names: tuple[str, Sequence[str]]) -> Callable[[random.Random], dict[str, object]]:
    def draw(rng: random.Random) -> dict[str, object]:
        slots: dict[str, object] = {name: rng.choice(values) for name, values in names}
        return slots | {letter: rng.randint(2, 99) for letter in "abcd"}

    return draw


PATTERNS = (
    Pattern(
        _pick(("f", _FUNCTIONS)),
        (
            "{f} y={a}x+{b}의 그래프가 점 ({c}, {d})를 지날 때, 상수의 값을 구하시오.",
            "점 ({c}, {d})가 {f} y={a}x+{b}의 그래프 위에 있다. 이때 상수의 값은 얼마인가?",
            "그래프가 점 ({c}, {d})를 지나는 {f} y={a}x+{b}에서 상수의 값을 고르면?",
        ),
    ),
    Pattern(
        _pick(("s", _SHAPES), ("n", _NAMES)),
        (
            "{n}이는 한 변의 길이가 {a}cm이고 높이가 {b}cm인 {s}을 그렸다. 이 {s}의 넓이를 구하시오.",
            "한 변이 {a}cm, 높이가 {b}cm인 {s}의 넓이는 얼마인가? (단, {n}이가 그린 그림이다.)",
            "{n}이가 그린 {s}의 높이는 {b}cm이고 한 변은 {a}cm이다. 넓이로 알맞은 것은?",
        ),
    ),
    Pattern(
        _pick(("n", _NAMES), ("m", _NAMES)),
        (
            "{n}이가 시속 {a}km로 {b}시간 걸은 거리와 {m}이가 시속 {c}km로 걸은 거리가 같을 때, {m}이가 걸은 시간은?",
            "{m}이는 시속 {c}km로, {n}이는 시속 {a}km로 {b}시간을 걸었더니 거리가 같았다. {m}이는 몇 시간 걸었나?",
            "시속 {a}km로 {b}시간 걸은 {n}이와 같은 거리를 {m}이가 시속 {c}km로 간다면 걸리는 시간은?",
        ),
    ),
    Pattern(
        _pick(("w", _WORKS), ("v", _DEVICES), ("u", _DEVICES)),
        (
            "다음 작품 「{w}」에 쓰인 {v}적 표현과 {u}의 효과로 적절하지 않은 것은? ({a}쪽)",
            "「{w}」에서 {v}과 {u}이 사용된 효과에 대한 설명으로 알맞지 않은 것을 고르시오. ({a}쪽)",
            "{a}쪽 「{w}」의 {v} 표현과 {u}에 대한 감상으로 적절하지 않은 것을 고르면?",
        ),
    ),
    Pattern(
        _pick(("k", _KINGS), ("p", _POLICIES), ("q", _POLICIES)),
        (
            "{k} 때 시행된 {p}에 대한 설명으로 옳은 것을 <보기>에서 모두 고르시오. (단, {q}과 비교할 것, {a}점)",
            "<보기>에서 {k} 시기의 {p}에 관한 옳은 설명만을 있는 대로 고른 것은? {q}과 견주어 보시오. ({a}점)",
            "다음 중 {p}에 대하여 바르게 말한 것은? {k} 때의 일이며 {q}과의 차이를 생각한다. [{a}점]",
        ),
    ),
    Pattern(
        _pick(("o", _CELLS), ("e", _CELLS)),
        (
            "그림은 동물 세포의 구조를 나타낸 것이다. {o}와 {e}의 기능에 대한 설명으로 옳지 않은 것은? (자료 {a}-{b})",
            "자료 {a}-{b}의 세포 그림에서 {e}와 {o}가 하는 일을 잘못 설명한 것을 고르시오.",
            "동물 세포를 그린 자료 {a}-{b}를 보고 {o}, {e}의 역할에 관해 틀린 설명을 찾으시오.",
        ),
    ),
    Pattern(
        _pick(("x", _ELEMENTS), ("y", _ELEMENTS)),
        (
            "{x} {a}g과 {y} {b}g이 완전히 반응하여 화합물이 생성되었다. 생성된 화합물의 질량과 남은 물질을 구하시오.",
            "{y} {b}g과 {x} {a}g을 반응시켰다. 반응이 끝난 뒤 남은 물질과 화합물의 질량은?",
            "화합물을 만들기 위해 {x} {a}g, {y} {b}g을 모두 반응시킬 때 생기는 화합물의 질량으로 옳은 것은?",
        ),
    ),
    Pattern(
        _pick(("g", _GRAMMAR), ("w", _WORDS), ("z", _WORDS)),
        (
            "다음 글의 밑줄 친 부분 중 {g}의 쓰임이 어법상 틀린 것은? ({w}, {z}가 쓰인 {a}번 지문)",
            "{a}번 지문에서 {w}와 {z}가 나온 문장의 {g}이 어법에 맞지 않는 것을 고르시오.",
            "밑줄 친 것 가운데 {g}을 잘못 쓴 것은? 지문 {a}번, 낱말 {w}·{z} 참고.",
        ),
    ),
    Pattern(
        _pick(("n", _NAMES)),
        (
            "주머니에 흰 공 {a}개와 검은 공 {b}개가 들어 있다. {n}이가 동시에 {c}개를 꺼낼 때 모두 흰 공일 확률은?",
            "{n}이가 흰 공 {a}개, 검은 공 {b}개가 든 주머니에서 {c}개의 공을 꺼낸다. 전부 흰 공이 나올 확률은?",
            "흰 공이 {a}개, 검은 공이 {b}개 있다. 이 가운데 {c}개를 꺼내 전부 흰색일 확률을 {n}이가 구하려 한다. 답은?",
        ),
    ),
)


@dataclass(frozen=True)
class Question:
    """One question of a bank, with what is needed to put it otherwise."""

    text: str
    pattern: Pattern
    slots: dict[str, object]


def bank(size: int, seed: int) -> list[Question]:
    """`size` questions, no two alike."""
    rng = random.Random(seed)  # noqa: S311 - always the same bank
    made: dict[str, Question] = {}
    while len(made) < size:
        pattern = rng.choice(PATTERNS)
        slots = pattern.draw(rng)
        text = rng.choice(pattern.wordings).format(**slots)
        made[text] = Question(text, pattern, slots)
    return list(made.values())


def asked_otherwise(question: Question, rng: random.Random, *, errors: float = 0.0) -> str:
    """The same question in another wording; `errors` is the share of characters that are lost or wrong."""
    others = [wording.format(**question.slots) for wording in question.pattern.wordings]
    text = rng.choice([other for other in others if other != question.text])
    return "".join(_hurried(character, rng, errors) for character in text)


def with_trifles(text: str, rng: random.Random) -> str:
    """The same wording as another person types it: spaces and commas come and go, now and then a letter is lost."""
    kept = []
    for character in text:
        lost = {" ": 0.3, ",": 0.5, ".": 0.5, "?": 0.5}.get(character, 0.0 if character.isdigit() else 0.01)
        if rng.random() >= lost:
            kept.append(character)
    return "".join(kept)


def _hurried(character: str, rng: random.Random, errors: float) -> str:
    if rng.random() >= errors:
        return character
    return rng.choice(("", "", chr(rng.randint(0xAC00, 0xD7A3))))
