"""The pure functions of the scripts, run where they run."""

from __future__ import annotations

import pytest


@pytest.fixture
def run(stranger):
    """Evaluates an expression over the exports of a module."""
    page = stranger.go("/sign-in/")

    def evaluate(module: str, expression: str):
        address = f"/static/js/lib/{module}.js"
        return page.evaluate(f"() => import('{address}').then((m) => ({expression}))")

    return evaluate


def test_escapes_become_classes_of_a_fixed_list_and_the_rest_is_dropped(run):
    spans = run(
        "ansi", r"m.spansOf('\u001b[1;31mE\u001b[0m \u001b[38;5;46mx\u001b[39my\u001b[2K').spans"
    )
    assert [(one["text"], one["classes"]) for one in spans] == [
        ("E", "sgr-bold sgr-f1"),
        (" ", ""),
        ("x", "sgr-f10"),
        ("y", ""),
    ]


@pytest.mark.parametrize(
    ("line", "bare"),
    [
        (r"a\u001b]0;title\u0007b", "ab"),
        (r"a\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\", "alink"),
        (r"a\u001b[", "a"),
        (r"\u0007bell", "bell"),
        (r"tab\there", "tab\there"),
        (r"\u2066x", "⟨U+2066⟩x"),
    ],
)
def test_what_is_no_colour_leaves_no_trace(run, line, bare):
    assert run("ansi", f"m.bare('{line}')") == bare


def test_lines_grow_and_a_carriage_return_overwrites(run):
    told = run(
        "lines",
        r"(() => { const l = new m.Lines(); l.add('a\nb'); l.add('c\n10%\r50%\r'); l.add('\nd');"
        r" return [l.count, ...l.all.map((_, n) => l.shown(n))]; })()",
    )
    assert told == [4, "a", "bc", "50%", "d"]


def test_a_line_that_is_too_long_is_cut_and_says_so(run):
    told = run(
        "lines",
        "(() => { const l = new m.Lines(); l.add('x'.repeat(20000)); return l.shown(0); })()",
    )
    assert told == "x" * 10_000 + " …"


def test_hits_are_found_whatever_the_case_and_cut_out(run):
    lines = r"(() => { const l = new m.Lines(); l.add('Loss\nok\nloss LOSS\n'); return l; })()"
    assert run("lines", f"m.hitsIn({lines}, 'loss', (text) => text)") == [0, 2]
    cut = [["a ", False], ["LOSS", True], [" b", False]]
    assert run("lines", "m.cutAt('a LOSS b', 'loss')") == cut


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (249, "4 min 09 s"), (3720, "1 h 02 min"), (273_600, "3 d 04 h")],
)
def test_durations_are_told_in_two_units(run, seconds, words):
    assert run("times", f"m.duration({seconds})") == words


def test_moments_are_told_from_now(run):
    assert run("times", "m.relative(0, 180000, 'en')") == "3 min. ago"


def test_who_listens_late_to_an_open_stream_is_told_the_log_from_its_beginning(run):
    heard, asked = run(
        "stream",
        """(async () => {
          const asked = [], heard = [], rest = () => new Promise((go) => setTimeout(go, 50));
          window.EventSource = class extends EventTarget {
            constructor(url) {
              super();
              asked.push(new URL(url).search);
              const told = { data: '{"text": "first"}', lastEventId: "1:5" };
              setTimeout(() => this.dispatchEvent(new MessageEvent("log", told)));
            }
            close() {}
          };
          m.listen("/stream", { state: () => {} });
          await rest();
          m.listen("/stream", { log: (piece) => heard.push(piece.text) });
          await rest();
          return [heard, asked];
        })()""",
    )
    assert heard == ["first"]
    assert asked == ["", ""]
