"""Expressions, the process pool behind them, and that no grading takes a second."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r3v.grading import answers_equal, extract, grade, pool
from r3v.records import Outcome, Problem

PRODUCT = Problem("product", "q", "x(x+1)", "expression")
ROOT = Problem("root", "q", "\\frac{5\\sqrt{3}}{2}", "expression")
TOWER = "9^{9^{9^{9}}}"  # sympy would work on it for ever


def cpu_seconds() -> float:
    """Processor time of this process and the workers that ended; waiting on a busy machine is not counted."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


@pytest.fixture(scope="module", autouse=True)
def _warm():
    """Workers load sympy once (about 2 s), outside of any measured time."""
    assert pool.shared().ask({"op": "verify", "gold": "x", "answer": "x"}).status == "equal"
    yield
    pool.close_shared()


@pytest.mark.parametrize(
    ("problem", "text", "expected"),
    [
        (PRODUCT, "Answer: x(x+1)", "correct"),
        (PRODUCT, "Answer: $x^2 + x$", "correct"),
        (PRODUCT, "so \\boxed{x + x^2}", "correct"),
        (PRODUCT, "Answer: x**2 + x", "correct"),
        (PRODUCT, "Answer: A = x^2 + x", "correct"),
        (PRODUCT, "Answer: x^2", "wrong"),
        (PRODUCT, "Answer: 7", "wrong"),
        (PRODUCT, "So x^2 + x = x(x+1)", "unparsed"),
        (PRODUCT, "Answer: banana", "unparsed"),
        (PRODUCT, "Answer: \\frac{x}{", "unparsed"),
        (PRODUCT, "", "unparsed"),
        (ROOT, "Answer: 5√3/2", "correct"),
        (ROOT, "Answer: 2.5*sqrt(3) cm", "correct"),
        (ROOT, "Answer: \\dfrac{5\\sqrt3}{2}", "correct"),
        (ROOT, "Answer: 4.33", "wrong"),
        (Problem("half", "q", "50%", "expression"), "Answer: 0.5", "correct"),
        (Problem("degree", "q", "95^\\circ", "expression"), "Answer: 95\\degree", "correct"),
    ],
)
def test_expressions(problem, text, expected):
    verdict = grade(problem, text)
    assert verdict.outcome.value == expected, verdict
    assert verdict.extracted == extract(problem, text) or verdict.outcome is Outcome.UNPARSED


def test_votes_for_equal_expressions_are_the_same_string():
    assert len({extract(PRODUCT, f"Answer: {form}") for form in ("x(x+1)", "x^2+x", "$x + x^2$")}) == 1
    assert len({extract(ROOT, f"Answer: {form}") for form in ("5√3/2", "\\frac{5\\sqrt{3}}{2}")}) == 1
    assert answers_equal(PRODUCT, "x^2+x", "x(1+x)")
    assert not answers_equal(PRODUCT, "x^2+x", "x")


def test_a_gold_that_cannot_be_read_is_unavailable_and_named():
    for gold in ("see the figure", "\\frac{x}{"):
        verdict = grade(Problem("p7", "q", gold, "expression"), "Answer: x")
        assert verdict.outcome is Outcome.UNAVAILABLE
        assert "p7" in verdict.reason
        assert gold in verdict.reason


def test_an_endless_comparison_is_unavailable_and_the_pool_goes_on():
    start = cpu_seconds()
    verdict = grade(PRODUCT, f"Answer: {TOWER}")
    assert cpu_seconds() - start < 60  # it would go on for ever; the killed workers spent some time before
    assert verdict.outcome is Outcome.UNAVAILABLE
    assert "product" in verdict.reason
    assert "each of 2 tries" in verdict.reason
    assert grade(PRODUCT, "Answer: x + x*x").correct


def test_a_worker_that_is_killed_is_replaced_and_the_request_tried_again():
    own = pool.Pool(size=1)
    try:
        assert own.ask({"op": "verify", "gold": "x", "answer": "x"}).status == "equal"
        (first,) = own._all
        first.process.kill()
        first.process.wait()
        assert own.ask({"op": "verify", "gold": "x", "answer": "y"}).status == "different"
        (second,) = own._all
        assert second is not first
    finally:
        own.close()
    assert second.process.poll() is not None
    assert own.ask({"op": "verify", "gold": "x", "answer": "x"}).status == "down"


def test_threads_share_the_pool():
    answers: dict[int, bool] = {}

    def work(i: int) -> None:
        answers[i] = grade(Problem(f"t{i}", "q", f"x + {i}", "expression"), f"Answer: {i}+x").correct

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == dict.fromkeys(range(8), True)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_script_without_a_main_guard_grades_in_parent_and_children(method, tmp_path):
    """Daemonic children too, with warnings as errors, and nothing on standard error at exit."""
    (tmp_path / "child.py").write_text(
        "from r3v.grading import grade\nfrom r3v.records import Problem\n"
        "def work(queue):\n"
        "    queue.put(grade(Problem('c', 'q', 'x(x+1)', 'expression'), 'Answer: x^2+x').outcome.value)\n"
    )
    parent = "" if method == "fork" else "if __name__ == '__main__':\n"
    body = f"""
        import multiprocessing, child, r3v.grading
        from r3v.records import Problem
        context = multiprocessing.get_context({method!r})
        print(r3v.grading.grade(Problem('c', 'q', 'x(x+1)', 'expression'), 'Answer: x+x^2').outcome.value)
        queue = context.Queue()
        process = context.Process(target=child.work, args=(queue,), daemon=True)
        process.start()
        print(queue.get(timeout=100))
        process.join()
    """
    script = tmp_path / "script.py"
    script.write_text(parent + textwrap.indent(textwrap.dedent(body).strip(), "    " if parent else "") + "\n")
    warnings = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]  # Python's own word about fork
    run = subprocess.run(
        [sys.executable, *warnings, str(script)], capture_output=True, text=True, timeout=150, cwd=tmp_path
    )
    assert (run.stdout.split(), run.stderr, run.returncode) == (["correct", "correct"], "", 0)


def test_importing_grading_starts_nothing_and_loads_nothing_heavy():
    code = (
        "import sys, r3v.grading, r3v.grading.pool as p\n"
        "heavy = {'torch', 'sympy', 'math_verify', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\nassert p._shared is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


pieces = st.sampled_from(
    [
        "Answer: ",
        "x",
        "^",
        "{",
        "}",
        "2",
        "\\frac",
        "\\sqrt",
        "(",
        ")",
        "+",
        "-",
        "=",
        "$",
        "\\boxed{",
        "\n",
        " ",
        "\\infty",
        "\\text{",
        ",",
        "[",
        "%",
        "�",
        "\x00",
        "π",
        "\\left",
        "!",
        "\\int_",
    ]
)


@settings(max_examples=60)
@given(st.lists(pieces, max_size=12).map("".join))
def test_no_expression_raises(text):
    start = cpu_seconds()
    verdict = grade(PRODUCT, text)
    assert cpu_seconds() - start < 60
    assert verdict.outcome is not Outcome.CORRECT or "x" in text


@settings(max_examples=30)
@given(
    st.sampled_from(
        [
            "x^2-1",
            "\\frac{a}{b}",
            "2\\pi r",
            "5√3",
            "(1,2)",
            "\\{1,2\\}",
            "x=3",
            "45",
            "1/2",
            "95^\\circ",
            "[0,1)",
        ]
    )
)
def test_stating_the_gold_expression_is_correct(gold):
    assert grade(Problem("p", "q", gold, "expression"), f"Some steps.\nAnswer: {gold}").correct
