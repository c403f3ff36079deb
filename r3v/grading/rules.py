# ruff: noqa: E501 (a row is read across)
"""The reader's rules, one row each: where a text states its answer, how signs are spelled, what an answer is made of.

    Rule(name, stage, pattern, meaning)

A stage says who reads the row. Take a row away and the reader no longer knows that form: what it meant is UNPARSED, or
no statement at all. Nothing outside of this table knows a marker, a sign, a unit or a word.

| stage | read by | pattern | meaning |
|---|---|---|---|
| end | where | a token that ends the turn | - |
| thought | where | opening tag | closing tag |
| marker | where | text before an answer | (strength, extent, words one of which it needs, in lower case) |
| doubt | where | words before a sentence that deny or suppose it | - |
| taken back | where | words that withdraw the statement before them | - |
| spelling | writing | a way of typing | the one spelling |
| token | value | a piece of a value | (kind, what it stands for) |
| unit | value | names, separated by blanks | (dimensions, factor) |
| noun | value | names, separated by blanks | "many" counts things, "never" changes the number |
| lead, tail, remark | numeric | words around a value that do not change it; `remark` stands in parentheses | - |
| link | numeric | what joins a subject and its value | - |
| subject | numeric | words no subject of such a sentence has | - |
| refusal, reason | numeric, choice, text | no answer is given; a reason follows | - |
| label | choice | words around an option's letter | "before" or "behind" it |

Names of units and nouns are matched in lower case unless they contain a capital."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table; `name` is unique."""

    name: str
    stage: str
    pattern: str
    meaning: Any = None


TAG, BOX, FINAL, LINE, HASH, HEADING, FIELD, SENTENCE = range(8, 0, -1)
"""Strength of a marker. The strongest that states anything counts; two of one strength must agree."""

_OPEN = r"(?<![A-Za-z])"
_COLON = r"[ \t*_]{0,4}(?::|：|=)[*_]{0,3}"
_TO = r"(?:\s+(?:to|for|of|choice|option)\b[^.\n:]{0,60}?|\s*\([^()\n]{0,40}\))?"
_IS = r"\s+(?:is|are|was|were|must be|should be|would be|will be|equals)\b[ \t]*[:：]?[*_]{0,3}"
_LETTER = r"[\(\[*]{0,3}(?P<letter>[A-Z])[\)\]*]{0,3}"
_STOP = r"(?=\s*(?:$|[.,;:!\n]|because\b|since\b|as\b|with\b|which\b))"

# fmt: off
WHERE = (
    Rule("turn end", "end", r"<\|(?:im_end|im_start|eot_id|end|endoftext|end_of_text|return)\|>|</s>|<end_of_utterance>"),
    Rule("other turn end", "end", r"<end_of_turn>|<｜end▁of▁sentence｜>|<eos>|\[/INST\]"),
    Rule("think", "thought", r"<think(?:ing)?>", r"</think(?:ing)?>"),
    Rule("thought", "thought", r"<thoughts?>", r"</thoughts?>"),
    Rule("reasoning", "thought", r"<reasoning>", r"</reasoning>"),
    Rule("begin of thought", "thought", r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    Rule("kimi thought", "thought", r"◁think▷", r"◁/think▷"),
    Rule("bracket thought", "thought", r"\[THINK\]", r"\[/THINK\]"),
    Rule("seed thought", "thought", r"<seed:think>", r"</seed:think>"),
    Rule("analysis channel", "thought", r"<\|channel\|>analysis", r"<\|channel\|>final(?:<\|message\|>)?"),
    Rule("answer tag", "marker", r"<(?:final_)?answer>", (TAG, r"</(?:final_)?answer>", "answer>")),
    Rule("box token", "marker", r"<\|begin_of_box\|>", (TAG, r"<\|end_of_box\|>", "begin_of_box")),
    Rule("box", "marker", r"\\(?:boxed|fbox)\s*\{", (BOX, "braces", "box")),
    Rule("final answer", "marker", rf"{_OPEN}final\s+answer\b{_TO}{_COLON}", (FINAL, "line", "final")),
    Rule("answer", "marker", rf"{_OPEN}(?<!final )(?:answer|ans)\b{_TO}{_COLON}", (LINE, "line", "ans")),
    Rule("chinese answer", "marker", r"(?:最终)?答案\s*[:：]", (LINE, "line", "答案")),
    Rule("chinese reply", "marker", r"(?<![回解应问])答\s*[:：]", (LINE, "line", "答")),
    Rule("japanese answer", "marker", r"(?:答え|正解|解答)\s*[:：]", (LINE, "line", "答え 正解 解答")),
    Rule("korean answer", "marker", r"(?:정답|답)\s*[:：]", (LINE, "line", "답")),
    Rule("german answer", "marker", r"(?<![A-Za-z])(?:Antwort|Lösung)\s*:", (LINE, "line", "antwort lösung")),
    Rule("french answer", "marker", r"(?<![A-Za-z])R[ée]ponse(?: finale)?\s*:", (LINE, "line", "ponse")),
    Rule("spanish answer", "marker", r"(?<![A-Za-z])Respuesta(?: final)?\s*:", (LINE, "line", "respuesta")),
    Rule("portuguese answer", "marker", r"(?<![A-Za-z])Resposta(?: final)?\s*:", (LINE, "line", "resposta")),
    Rule("italian answer", "marker", r"(?<![A-Za-z])Risposta(?: finale)?\s*:", (LINE, "line", "risposta")),
    Rule("dutch answer", "marker", r"(?<![A-Za-z])Antwoord\s*:", (LINE, "line", "antwoord")),
    Rule("russian answer", "marker", r"(?<![А-Яа-я])Ответ\s*:", (LINE, "line", "ответ")),
    Rule("arabic answer", "marker", r"(?:الإجابة|الجواب)\s*:", (LINE, "line", "الإجابة الجواب")),
    Rule("hindi answer", "marker", r"उत्तर\s*:", (LINE, "line", "उत्तर")),
    Rule("turkish answer", "marker", r"(?<![A-Za-z])(?:Cevap|Yanıt)\s*:", (LINE, "line", "cevap yanıt")),
    Rule("vietnamese answer", "marker", r"(?:Đáp án|Trả lời)\s*:", (LINE, "line", "đáp trả")),
    Rule("indonesian answer", "marker", r"(?<![A-Za-z])Jawaban\s*:", (LINE, "line", "jawaban")),
    Rule("polish answer", "marker", r"(?<![A-Za-z])Odpowiedź\s*:", (LINE, "line", "odpowiedź")),
    Rule("hashes", "marker", r"(?m:^|(?<=\s))####(?!#)", (HASH, "last line", "####")),
    Rule("heading", "marker", r"(?m:^)[ \t]*[#*_]{1,6}[ \t]*[*_]{0,3}(?:(?:the|my) )?(?:final |correct )?answer[*_]{0,3}[ \t]*(?m:$)", (HEADING, "next line", "answer")),
    Rule("plain heading", "marker", r"(?m:^)[ \t]*(?:the )?final answer[ \t]*(?m:$)", (HEADING, "next line", "final")),
    Rule("json field", "marker", r"\"(?:final[_ ])?answer\"\s*:\s*", (FIELD, "json", "answer")),
    Rule("the answer is", "marker", rf"\banswer{_TO}{_IS}", (SENTENCE, "line", "answer")),
    Rule("correct option", "marker", r"\b(?:correct|right|best)\s+(?:option|choice|one)\s*(?:is\b[ \t]*:?|:)[*_]{0,3}", (SENTENCE, "line", "option choice one")),
    Rule("chinese sentence", "marker", r"答案(?:应该|应)?(?:是|为|选)[:：]?", (SENTENCE, "line", "答案")),
    Rule("chinese choice", "marker", r"(?:故|应|因此|所以|本题)选(?:择|项)?(?:是|为)?[:：]?|正确(?:选项|答案)(?:是|为)[:：]?", (SENTENCE, "line", "选 正确")),
    Rule("choose option", "marker", r"(?i:\b(?:choose|select|pick|chose|corresponds? to|corresponding to|match(?:es)?|(?:which|this|that) is|so|thus|hence|therefore,?)\s+(?:the\s+)?(?:option|choice)\s+)" + _LETTER + _STOP, (SENTENCE, "letter", "option choice")),
    Rule("choose letter", "marker", r"(?i:\b(?:we|i)\s+(?:choose|select|pick)\s+)[\(\[*]{1,3}(?P<letter>[A-Z])[\)\]*]{1,3}" + _STOP, (SENTENCE, "letter", "choose select pick")),
    Rule("option is correct", "marker", rf"(?<![\w'∠△-])(?:(?i:option|choice|answer)\s+)?{_LETTER}\s+(?i:is|must be)\s+(?i:the\s+)?(?i:correct(?:\s+(?:answer|option|choice|one))?|right\s+(?:answer|option|choice|one)|answer)\b(?!-|\s*\?)", (SENTENCE, "letter", "correct right answer")),
    Rule("option is right", "marker", rf"\b(?i:option|choice)\s+{_LETTER}\s+(?i:is|must be)\s+(?i:right|true)\b(?!-|\s*(?:\?|angle|triangle))", (SENTENCE, "letter", "right true")),
    Rule("supposed", "doubt", r"\b(?:if|whether|suppose|supposing|assume|assuming|unless|otherwise|maybe|perhaps)\b[^.!?\n;]*$"),
    Rule("hypothetical", "doubt", r"\b(?:were|had been)\b[^.!?\n;]*,[^.!?\n;]*$"),
    Rule("denied", "doubt", r"(?:\b(?:not|nor|never|cannot|neither)|n't)\s*(?:that\s+)?(?:the\s+|then\s+)?(?:correct\s+|final\s+|right\s+)?$"),
    Rule("a name of a point", "doubt", r"\b(?:angle|triangle|point|line|segment|vertex|side)\s*$"),
    Rule("wait", "taken back", r"\b(?:wait|oops|scratch that|hold on|on second thought)\b"),
    Rule("actually", "taken back", r"(?:^|[.!?\n])\W*(?:actually|sorry|correction|hmm)\b"),
    Rule("no", "taken back", r"(?:^|[.!?,\n])\s*no\s*(?:[,.!]|$)"),
    Rule("wrong", "taken back", r"\b(?:that|this|it)(?:'s|\s+is|\s+was|\s+seems|\s+looks)\s+(?:wrong|not right|not correct|incorrect|a mistake)\b"),
    Rule("mistake", "taken back", r"\bI\s+(?:misread|miscounted|misjudged|was wrong|made an?\s+(?:\w+\s+)?(?:mistake|error))\b"),
    Rule("again", "taken back", r"\blet(?:'s| me| us)\s+(?:re-?\w+|try again|check again|double.check|correct)\b"),
    Rule("chinese taken back", "taken back", r"不对|等等|等一下|更正|搞错|重新"),
    Rule("unwilling", "refusal", r"^(?:(?:i|we)\s+(?:do\s*n[o'’]t|cannot|can\s*not|can['’]t|am not|['’]m not|are not)\b|i['’]m not\b)"),
    Rule("unknown", "refusal", r"^(?:unknown|n/?a|unclear|undetermined|unsure|none)$"),
    Rule("none of", "refusal", r"^(?:none of\b|neither\b|not\b)"),
    Rule("impossible", "refusal", r"^(?:(?:it\s+)?(?:cannot|can['’]t|can not|could not) be\b|impossible to\b|there is no (?:answer|way|correct))"),
    Rule("because", "reason", r"[\s,;(\[-]*\b(?:because|since|as (?:the|it|we|this)|so that|where)\b.*$"),
    Rule("chinese because", "reason", r"[\s,，;；(（]*(?:因为|理由).*$"),
)

# fmt: on
_RAISED = {c: str(i) for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
_LOW = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉", "0123456789+-0123456789")


def _plain(text: str) -> str:
    return text.translate(_LOW)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("⁄", "/")


# fmt: off
_PLACES = r"(?:decimal places?|d\.?p\.?|significant figures?|sig\.? ?figs?)"
_POINT = r"(?:nearest|closest)\s+[\w-]+(?:\s+\w+)?"
WHAT = (
    Rule("invisible", "spelling", r"[\u200b-\u200f\u2060-\u2064\ufe0e\ufe0f\ufeff\u00ad]", ""),
    Rule("root with raised index", "spelling", r"(?<![\w)])([³⁴⁵⁶⁷⁸⁹])√(\d+)", lambda m: f"\\sqrt[{_RAISED[m[1]]}]{{{m[2]}}}"),
    Rule("raised fraction", "spelling", r"([⁰¹²³⁴-⁹]+)[⁄/]([₀-₉]+)", lambda m: f" {_plain(m[1])}/{_plain(m[2])}"),
    Rule("raised", "spelling", r"[⁰¹²³⁴-⁹⁺⁻]+", lambda m: f"^({_plain(m[0])})"),
    Rule("vulgar fraction", "spelling", r"[¼½¾⅐-⅞↉]", lambda m: f" {_nfkc(m[0])}"),
    Rule("unit sign", "spelling", r"[㎟-㎦]", lambda m: f"{_nfkc(m[0])[:-1]}^{_nfkc(m[0])[-1]}"),
    Rule("degree sign", "spelling", r"[º˚∘゜]", "°"),
    Rule("compatible", "spelling", r"[\uff01-\uff5e\uffe0-\uffe6\u3300-\u33ff\u2100-\u214f\U0001d400-\U0001d7ff﹣﹢﹪﹩﹕﹐]", lambda m: _nfkc(m[0])),
    Rule("minus", "spelling", r"[−‐‑‒–➖˗﹣－]", "-"),
    Rule("plus", "spelling", r"[➕＋]", "+"),
    Rule("arabic point", "spelling", r"(?<=\d)٫(?=\d)", "."),
    Rule("fraction slash", "spelling", r"[⁄∕]", "/"),
    Rule("quotes", "spelling", r"[’‘ʼ]", "'"),
    Rule("size of braces", "spelling", r"\\(?:left|right|displaystyle|textstyle|limits|[bB]igg?[lr]?)(?![A-Za-z])", ""),
    Rule("thousands in braces", "spelling", r"\{,\}", ","),
    Rule("empty group", "spelling", r"\{\}", ""),
    Rule("degree command", "spelling", r"\^\s*\{?\s*(?:\\circ|°)\s*\}?|\\degrees?(?![A-Za-z])|\\textdegree", "° "),
    Rule("text command", "spelling", r"\\(?:text|textbf|textit|textrm|textsf|mathrm|mathbf|mathit|mathsf|mbox|boldsymbol|bm|operatorname|underline|overline|boxed|fbox|emph)\s*\{([^{}]*)\}", r" \1 "),
    Rule("text command around", "spelling", r"\\(?:text|textbf|mathrm|mathbf|boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r" \1 "),
    Rule("blank command", "spelling", r"\\[,;: ]|\\q?quad(?![A-Za-z])|~", " "),
    Rule("no blank", "spelling", r"\\!", ""),
    Rule("percent command", "spelling", r"\\%", "%"),
    Rule("fraction command", "spelling", r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    Rule("fraction of digits", "spelling", r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    Rule("fraction of digit and group", "spelling", r"\\frac\s*(\d)\s*(?=\{)", r"\\frac{\1}"),
    Rule("fraction of group and digit", "spelling", r"\\frac\s*(\{[^{}]*\})\s*(\d)", r"\\frac\1{\2}"),
    Rule("pi command", "spelling", r"\\pi(?![A-Za-z])", "π"),
    Rule("times command", "spelling", r"\\(?:times|cdot|ast)(?![A-Za-z])", "*"),
    Rule("times sign", "spelling", r"[×·⋅∙∗✕]", "*"),
    Rule("power of ten by x", "spelling", r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", "*"),
    Rule("power by stars", "spelling", r"\*\*(?=\s*[-\d({])", "^"),
    Rule("about command", "spelling", r"\\(?:approx|simeq|doteq)(?![A-Za-z])|[≒≃≅]", "≈"),
    Rule("angle command", "spelling", r"\\angle(?![A-Za-z])|[∡∢]", "∠"),
    Rule("triangle command", "spelling", r"\\triangle(?![A-Za-z])", "△"),
    Rule("greek", "spelling", r"\\(alpha|beta|gamma|delta|theta|phi|varphi|lambda|mu|omega|rho|sigma)(?![A-Za-z])", r"\1"),
    Rule("chinese minus", "spelling", r"负(?=[\d零一二两三四五六七八九十百千])", "-"),
    Rule("chinese root", "spelling", r"根号(?=[\d])", "√"),
    Rule("chinese percent", "spelling", r"百分之(\d+(?:\.\d+)?)", r"\1%"),
    Rule("chinese fraction", "spelling", r"(\d+)分之(\d+)", r"\2/\1"),
    Rule("and a half", "spelling", r"(?<=\d)\s+and\s+(?:a|one)\s+half\b", " 1/2"),
    Rule("and a fraction", "spelling", r"(?<=\d)\s+and\s+(?=\d+/\d+)", " "),
    # values
    Rule("mixed number", "token", r"(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.,/]\d?)", ("mixed", None)),
    Rule("mixed number in LaTeX", "token", r"(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", ("mixed", None)),
    Rule("power of ten by e", "token", r"(\d+(?:\.\d+)?)[eE]([-+]?\d{1,3})(?![\w.])", ("scientific", None)),
    Rule("thousands", "token", r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!,?\d)", ("number", ",")),
    Rule("lakhs", "token", r"\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?(?!,?\d)", ("number", ",")),
    Rule("thousands by blanks", "token", r"[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?(?![ ,.]?\d)(?!\s*/)", ("number", " ")),
    Rule("thousands by marks", "token", r"\d{1,3}(?:'\d{3})+(?:\.\d+)?(?!'?\d)", ("number", "'")),
    Rule("number", "token", r"\d+(?:\.\d+)?(?!\d|[,.]\d)|\.\d+(?!\d|[,.]\d)", ("number", "")),
    Rule("fraction", "token", r"\\frac(?![A-Za-z])", ("fraction", None)),
    Rule("root", "token", r"\\sqrt(?![A-Za-z])|√|sqrt(?![A-Za-z])|(?:the\s+)?square\s+root\s+of(?![A-Za-z])|root(?=\s*[\d({])", ("root", 2)),
    Rule("cube root", "token", r"∛|cbrt(?![A-Za-z])|(?:the\s+)?(?:cube|third)\s+root\s+of(?![A-Za-z])", ("root", 3)),
    Rule("fourth root", "token", r"∜|(?:the\s+)?fourth\s+root\s+of(?![A-Za-z])", ("root", 4)),
    Rule("root with an index", "token", r"(?:the\s+)?(\d+)th\s+root\s+of(?![A-Za-z])", ("root", None)),
    Rule("pi", "token", r"π|pi(?![A-Za-z])", ("pi", None)),
    Rule("half", "token", r"(?:(?<=[A-Za-z])-)?hal(?:f|ves)(?![A-Za-z])", ("part", 2)),
    Rule("third", "token", r"(?:(?<=[A-Za-z])-)?thirds?(?![A-Za-z])", ("part", 3)),
    Rule("quarter", "token", r"(?:(?<=[A-Za-z])-)?(?:quarter|fourth)s?(?![A-Za-z])", ("part", 4)),
    Rule("fifth", "token", r"(?:(?<=[A-Za-z])-)?fifths?(?![A-Za-z])", ("part", 5)),
    Rule("sixth", "token", r"(?:(?<=[A-Za-z])-)?sixths?(?![A-Za-z])", ("part", 6)),
    Rule("eighth", "token", r"(?:(?<=[A-Za-z])-)?eighths?(?![A-Za-z])", ("part", 8)),
    Rule("tenth", "token", r"(?:(?<=[A-Za-z])-)?tenths?(?![A-Za-z])", ("part", 10)),
    Rule("hundredth", "token", r"(?:(?<=[A-Za-z])-)?hundredths?(?![A-Za-z])", ("part", 100)),
    Rule("thousandth", "token", r"(?:(?<=[A-Za-z])-)?thousandths?(?![A-Za-z])", ("part", 1000)),
    Rule("operator", "token", r"[-+*/^(){}÷]", ("operator", None)),
    Rule("index", "token", r"[\[\]]", ("operator", None)),
    Rule("sign in words", "token", r"(?:minus|negative)(?![A-Za-z])", ("minus", None)),
    Rule("positive", "token", r"positive(?=\s+[\d])", ("plus", None)),
    Rule("squared", "token", r"squared(?![A-Za-z])", ("power", 2)),
    Rule("cubed", "token", r"cubed(?![A-Za-z])", ("power", 3)),
    Rule("percent", "token", r"%|percent(?![A-Za-z])|per\s+cent(?![A-Za-z])|pct\.?(?![A-Za-z])", ("percent", Fraction(1))),
    Rule("permille", "token", r"‰|per\s+mill?e(?![A-Za-z])|permil(?![A-Za-z])", ("permille", Fraction(1, 1000))),
    Rule("dollar", "token", r"(?:US)?\$|USD(?![A-Za-z])", ("currency", "dollar")),
    Rule("euro", "token", r"€|EUR(?![A-Za-z])", ("currency", "euro")),
    Rule("pound sterling", "token", r"£|GBP(?![A-Za-z])", ("currency", "sterling")),
    Rule("yuan", "token", r"[¥￥]|RMB(?![A-Za-z])|CNY(?![A-Za-z])", ("currency", "yuan")),
    Rule("rupee", "token", r"₹|Rs\.?(?![A-Za-z])|INR(?![A-Za-z])", ("currency", "rupee")),
    Rule("cent", "token", r"¢", ("unit sign", "cent")),
    Rule("degree", "token", r"°\s*(?![CFcf](?![A-Za-z]))|degs?\.?(?![A-Za-z])|degrees?(?!\s+(?:[Cc]elsius|[Ff]ahrenheit))(?![A-Za-z])", ("unit sign", "degree")),
    Rule("celsius", "token", r"°\s*[Cc](?![A-Za-z])|(?:°|degrees?)\s*[Cc]elsius(?![A-Za-z])", ("unit sign", "celsius")),
    Rule("fahrenheit", "token", r"°\s*[Ff](?![A-Za-z])|(?:°|degrees?)\s*[Ff]ahrenheit(?![A-Za-z])", ("unit sign", "fahrenheit")),
    Rule("hundred", "token", r"hundred(?![A-Za-z])", ("scale", 100)),
    Rule("thousand", "token", r"thousand(?![A-Za-z])|(?<=\d)[kK](?![A-Za-z/])", ("scale", 10**3)),
    Rule("million", "token", r"million(?![A-Za-z])|mn(?![A-Za-z])|(?<=\d)(?-i:M)(?![A-Za-z/])", ("scale", 10**6)),
    Rule("billion", "token", r"billion(?![A-Za-z])|bn(?![A-Za-z])|(?<=\d)(?-i:B)(?![A-Za-z/])", ("scale", 10**9)),
    Rule("trillion", "token", r"trillion(?![A-Za-z])", ("scale", 10**12)),
    Rule("lakh", "token", r"lakhs?(?![A-Za-z])", ("scale", 10**5)),
    Rule("crore", "token", r"crores?(?![A-Za-z])", ("scale", 10**7)),
    Rule("ten thousand", "token", r"万", ("scale", 10**4)),
    Rule("hundred million", "token", r"亿", ("scale", 10**8)),
    Rule("dozen", "token", r"dozens?(?![A-Za-z])", ("scale", 12)),
    Rule("tens in words", "token", r"(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[-\s]+(one|two|three|four|five|six|seven|eight|nine))?(?![A-Za-z])", ("words", None)),
    Rule("number in words", "token", r"(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen)(?![A-Za-z])", ("words", None)),
    Rule("chinese number", "token", r"[零〇一二两三四五六七八九十百千]+(?![\u4e00-\u9fff]*[分倍成折])", ("chinese", None)),
    Rule("article", "token", r"(?:an?)(?=\s+(?:half|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|dozen|hundred|thousand|million|billion)(?![A-Za-z]))", ("article", None)),
    Rule("square unit", "token", r"square(?=\s+[A-Za-z])|sq\.?(?=\s*[A-Za-z])|平方(?=[\u4e00-\u9fff])", ("before unit", 2)),
    Rule("cubic unit", "token", r"cubic(?=\s+[A-Za-z])|cu\.?(?=\s+[A-Za-z])|立方(?=[\u4e00-\u9fff])", ("before unit", 3)),
    Rule("per", "token", r"per(?![A-Za-z])|an?(?=\s+(?:second|minute|hour|day|week|month|year|piece)(?![A-Za-z]))", ("per", None)),
    Rule("of", "token", r"of(?![A-Za-z])", ("of", None)),
    Rule("word", "token", r"[A-Za-zµμΩÅ]+(?:'[a-z]+)?|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]+", ("word", None)),
    Rule("point", "token", r"\.(?!\d)", ("point", None)),
    # around values
    Rule("closing words", "lead", r"(?:therefore|thus|hence|so|then|finally|and so)\b[\s,:]*"),
    Rule("about", "lead", r"(?:approximately|approx\.?|about|around|roughly|nearly|almost|exactly|precisely|only|just)(?=[\s\d])\s*|[~≈]\s*"),
    Rule("equal to", "lead", r"(?:equal to|equals)\b\s*|=\s*"),
    Rule("it is", "lead", r"(?:it|this|that|he|she|they|these)(?:\s+(?:is|are|was|were|will be|must be|has|have|had|takes?|took|costs?|measures?|weighs?|needs?)|'s)\b\s*"),
    Rule("we get", "lead", r"(?:we|i)\s+(?:get|have|find|obtain|see)\b\s*(?:that\b\s*)?"),
    Rule("a total of", "lead", r"(?:a|the)\s+total\s+(?:of|is)\b\s*"),
    Rule("in a year", "lead", r"(?:in|the)\s+(?:the\s+)?(?:year\s+)?(?=(?:1[5-9]|20)\d\d\s*$)"),
    Rule("chinese is", "lead", r"(?:等于|约为|约|为|是|大约|共)\s*"),
    Rule("in total", "tail", r"[\s,]+(?:in total|in all|altogether|total|overall|on average)$"),
    Rule("left over", "tail", r"(?<=[A-Za-z])\s+(?:left|remaining|each|apiece|long|wide|tall|high|deep|old|apart|away)$"),
    Rule("approximately", "tail", r"[\s,]+(?:approximately|approx\.?|roughly|exactly)$"),
    Rule("rounded", "tail", rf"[\s,]+(?:when\s+|if\s+)?(?:rounded\s+|correct\s+|accurate\s+)?(?:to|up to)\s+(?:the\s+{_POINT}|(?:\d+|one|two|three|four)\s+{_PLACES})$"),
    Rule("is the answer", "tail", r"\s+is\s+(?:(?:the\s+)?(?:correct|right|final)(?:\s+(?:answer|value|result))?|the\s+answer)$"),
    Rule("hedge remark", "remark", r"(?:approx(?:imately|\.)?|about|rounded|exactly|exact|rounded\s+.*|to\s+.*)"),
    Rule("reason remark", "remark", r"(?:since|because|as|from|by|using|given|i\.e\.)\b.*"),
    Rule("equation", "link", r"[=≈]"),
    Rule("is", "link", r"\b(?:is|are|was|were|equals|will be|must be|should be|would be)\b"),
    Rule("has", "link", r"\b(?:has|have|had|measures|weighs|costs|takes|took|contains|needs|gets|got|sold|spent|paid|earned|saved|made|bought|scored|travels|makes)\b"),
    Rule("chinese link", "link", r"(?:等于|是|为|约为)"),
    Rule("suppositions", "subject", r"\b(?:if|when|whether|suppose|assum\w+|unless|unlikely|impossible|false|untrue|wrong|say|says|said|thinks?|claims?|guess\w*|maybe|perhaps|might|could|may|let)\b"),
    Rule("denials", "subject", r"\b(?:not|no|none|neither|nor|never|nobody|nothing|hardly|without|cannot)\b|n't"),
    Rule("multiples", "subject", r"\b(?:half|twice|thrice|double|triple|times|squared|cubed|(?:third|quarter|square|cube|reciprocal|opposite|negative|inverse|logarithm|log|percent)\s+of)\b"),
    Rule("several statements", "subject", r"[,;]|\b(?:but|then|so|because|therefore|while|or)\b"),
    # labels of options
    Rule("option", "label", r"(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:option|choice|letter|answer)|选项?)(?:\s+is)?\s*:?\s*", "before"),
    Rule("it is option", "label", r"(?:it|this|that)(?:\s+is|'s)\s+", "before"),
    Rule("so option", "label", r"(?:therefore|thus|hence|so)[\s,]+", "before"),
    Rule("is correct", "label", r"(?:\s+is|,)?\s+(?:correct|right|true|the\s+(?:correct\s+|right\s+|best\s+)?(?:answer|option|choice|one))$", "behind"),
    Rule("not the other", "label", r"[\s,]*(?:and\s+)?not\s+(?:option\s+)?\(?[A-Z]\)?$", "behind"),
    Rule("chinese item", "label", r"\s*(?:项|选项|正确)$", "behind"),
)

UNITS = (
    Rule("meter", "unit", "m meter meters metre metres 米 メートル 미터", ("length", Fraction(1))),
    Rule("centimeter", "unit", "cm cms centimeter centimeters centimetre centimetres 厘米 公分", ("length", Fraction(1, 100))),
    Rule("millimeter", "unit", "mm millimeter millimeters millimetre millimetres 毫米", ("length", Fraction(1, 1000))),
    Rule("decimeter", "unit", "dm decimeter decimeters decimetre decimetres 分米", ("length", Fraction(1, 10))),
    Rule("kilometer", "unit", "km kms kilometer kilometers kilometre kilometres 千米 公里", ("length", Fraction(1000))),
    Rule("inch", "unit", "in inch inches 英寸", ("length", Fraction(254, 10000))),
    Rule("foot", "unit", "ft foot feet 英尺", ("length", Fraction(3048, 10000))),
    Rule("yard", "unit", "yd yds yard yards 码", ("length", Fraction(9144, 10000))),
    Rule("mile", "unit", "mi mile miles 英里", ("length", Fraction(1609344, 1000))),
    Rule("hectare", "unit", "ha hectare hectares 公顷", ("area", Fraction(10000))),
    Rule("acre", "unit", "acre acres 英亩", ("area", Fraction(40468564224, 10**7))),
    Rule("liter", "unit", "l L liter liters litre litres 升 リットル", ("volume", Fraction(1, 1000))),
    Rule("milliliter", "unit", "ml mL milliliter milliliters millilitre millilitres 毫升", ("volume", Fraction(1, 10**6))),
    Rule("second", "unit", "s sec secs second seconds 秒", ("time", Fraction(1))),
    Rule("minute", "unit", "min mins minute minutes 分钟", ("time", Fraction(60))),
    Rule("hour", "unit", "h hr hrs hour hours 小时", ("time", Fraction(3600))),
    Rule("day", "unit", "d day days 天 日", ("time", Fraction(86400))),
    Rule("week", "unit", "wk wks week weeks 周 星期", ("time", Fraction(604800))),
    Rule("month", "unit", "month months 个月", ("months", Fraction(1))),
    Rule("year", "unit", "yr yrs year years 年", ("months", Fraction(12))),
    Rule("gram", "unit", "g gram grams gm 克", ("mass", Fraction(1))),
    Rule("kilogram", "unit", "kg kgs kilogram kilograms kilo kilos 千克 公斤", ("mass", Fraction(1000))),
    Rule("milligram", "unit", "mg milligram milligrams 毫克", ("mass", Fraction(1, 1000))),
    Rule("tonne", "unit", "t tonne tonnes 吨", ("mass", Fraction(10**6))),
    Rule("pound", "unit", "lb lbs pound pounds 磅", ("mass", Fraction(45359237, 100000))),
    Rule("ounce", "unit", "oz ounce ounces 盎司", ("mass", Fraction(45359237, 1600000))),
    Rule("degrees", "unit", "degree 度", ("angle", Fraction(1))),
    Rule("radian", "unit", "rad rads radian radians 弧度", ("angle", 180 / math.pi)),
    Rule("degrees celsius", "unit", "celsius", ("celsius", Fraction(1))),
    Rule("degrees fahrenheit", "unit", "fahrenheit", ("fahrenheit", Fraction(1))),
    Rule("kelvin", "unit", "kelvin kelvins", ("kelvin", Fraction(1))),
    Rule("dollars", "unit", "dollar dollars bucks usd 美元", ("dollar", Fraction(1))),
    Rule("cents", "unit", "cent cents", ("dollar", Fraction(1, 100))),
    Rule("euros", "unit", "euro euros eur 欧元", ("euro", Fraction(1))),
    Rule("pounds sterling", "unit", "sterling 英镑", ("sterling", Fraction(1))),
    Rule("yuan and renminbi", "unit", "yuan rmb 元 块", ("yuan", Fraction(1))),
    Rule("jiao", "unit", "jiao 角", ("yuan", Fraction(1, 10))),
    Rule("rupees", "unit", "rupee rupees", ("rupee", Fraction(1))),
    Rule("yen", "unit", "yen 円", ("yen", Fraction(1))),
    Rule("miles per hour", "unit", "mph", ("speed", Fraction(1609344, 3600000))),
    Rule("kilometers per hour", "unit", "kph kmh kmph", ("speed", Fraction(1000, 3600))),
    Rule("newton", "unit", "N newton newtons 牛", ("force", Fraction(1))),
    Rule("joule", "unit", "J joule joules 焦", ("energy", Fraction(1))),
    Rule("kilojoule", "unit", "kJ kilojoule kilojoules", ("energy", Fraction(1000))),
    Rule("watt", "unit", "W watt watts 瓦", ("power", Fraction(1))),
    Rule("volt", "unit", "V volt volts 伏", ("voltage", Fraction(1))),
    Rule("ampere", "unit", "A amp amps ampere amperes 安", ("current", Fraction(1))),
    Rule("ohm", "unit", "Ω ohm ohms 欧", ("resistance", Fraction(1))),
    Rule("pascal", "unit", "Pa pascal pascals", ("pressure", Fraction(1))),
    Rule("hertz", "unit", "Hz hertz", ("frequency", Fraction(1))),
    Rule("mole", "unit", "mol mole moles", ("amount", Fraction(1))),
    Rule("a unit", "unit", "unit units 单位", ("", Fraction(1))),
)
"""Known units. Lengths multiply to areas and volumes; months and dollars are not converted to days and euros."""

NOUNS = (
    Rule("plural", "noun", r".{2,}s", "plural"),
    Rule("irregular plurals", "noun", "people children men women teeth geese mice fish sheep deer oxen cattle dice data police aircraft staff crew fruit", "many"),
    Rule("counting words", "noun", "个 只 条 支 本 张 人 名 位 次 棵 朵 辆 颗 件 台 岁 人民币 個 人 本 枚 つ 개 명 원", "many"),
    Rule("comparisons", "noun", "less more fewer greater larger smaller higher lower least most than below above under over short minus plus or and to nor versus vs times fold out off from by with without as", "never"),
    Rule("further multiples", "noun", "tens hundreds thousands millions billions trillions dozens scores pairs couples gross halves thirds fourths fifths sixths sevenths eighths ninths tenths hundredths thousandths squares cubes roots powers inverses reciprocals logs", "never"),
    Rule("verbs and pronouns", "noun", "is was has does this its his hers theirs us yes perhaps always sometimes besides towards backwards downwards upwards afterwards unless equals means makes gives if because not", "never"),
    Rule("times of day", "noun", "am pm oclock o'clock hours' bc ad bce", "never"),
)

# fmt: on
RULES = (*WHERE, *WHAT, *UNITS, *NOUNS)


class Table:
    """The rules compiled. `TABLE` is the one in use; a reader looks it up each time it reads."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.spelling = [(re.compile(rule.pattern), rule.meaning) for rule in self.stage("spelling")]
        tokens = self.stage("token")
        self.lexer = re.compile("|".join(f"(?P<t{i}>{rule.pattern})" for i, rule in enumerate(tokens)), re.IGNORECASE)
        self.meanings = {f"t{i}": rule.meaning for i, rule in enumerate(tokens)}
        self.units = {name: rule.meaning for rule in self.stage("unit") for name in rule.pattern.split()}
        nouns = [rule for rule in self.stage("noun") if rule.meaning != "plural"]
        self.nouns = {name: rule.meaning for rule in nouns for name in rule.pattern.split()}
        self.plurals = [re.compile(rule.pattern) for rule in self.stage("noun") if rule.meaning == "plural"]

    def stage(self, name: str) -> list[Rule]:
        return [rule for rule in self.rules if rule.stage == name]

    def patterns(self, name: str, before: str = "", behind: str = "") -> list[re.Pattern[str]]:
        flags = re.IGNORECASE | re.DOTALL
        return [re.compile(before + rule.pattern + behind, flags) for rule in self.stage(name)]


TABLE = Table(RULES)
