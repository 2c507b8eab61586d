"""A job by the form, and its page while it runs."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal

import pytest
from clusters import a_ready_cluster
from jobs import a_job, the_attempt
from playwright.sync_api import expect

from apps.jobs import logs, services
from apps.jobs.logs import Addition
from apps.jobs.models import Job, Source


@pytest.fixture
def cluster(team):
    return a_ready_cluster(team, name="lab", workers=2)


class Run:
    """A job that runs by its own word, and writes its log where the pages look for it."""

    def __init__(self, cluster):
        self.job = a_job(cluster, cpus=Decimal(1))
        self.attempt = the_attempt(self.job)
        self.attempt.advance("starting", reason="placed")
        self.attempt.advance("running", reason="seen_running")
        self.token, self.written = uuid.uuid4(), 0
        logs.take_over(self.token)

    def prints(self, text: str, ending: str = "") -> None:
        data = text.encode()
        one = Addition(
            attempt_id=self.attempt.pk, byte_from=self.written, data=data, ending=ending
        )
        assert logs.add(self.token, [one]) == set()
        self.written += len(data)

    def ends(self, state: str, reason: str, log_ending: str = "complete") -> None:
        self.prints("", ending=log_ending)
        assert self.attempt.advance(state, reason=reason)


@pytest.fixture
def run(cluster):
    return Run(cluster)


def test_a_job_is_submitted_by_keyboard_alone(owner, cluster):
    page = owner.at("jobs/")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("n")
    page.wait_for_url("**/jobs/new/")
    page.get_by_role("radio", name="A command").focus()
    page.keyboard.press("Space")
    page.get_by_role("textbox", name="Command").focus()
    page.keyboard.type("python -c 'print(6 * 7)'")
    page.keyboard.press("Tab")
    page.keyboard.type("answer")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    expect(page.get_by_role("heading", name="answer")).to_be_visible()
    job = Job.objects.get()
    assert (job.name, job.entrypoint) == ("answer", "python -c 'print(6 * 7)'")
    assert (job.source, job.cluster_id) == (Source.PAGE, cluster.pk)


def test_the_sample_job_fills_the_form(owner, cluster):
    page = owner.at("jobs/new/")
    page.get_by_role("link", name="Use the sample job").click()
    expect(page.get_by_role("textbox", name="Command")).to_have_value(
        "python -m regatta.training.main_job"
    )
    expect(page.get_by_role("spinbutton", name="CPUs")).to_have_value("2")
    expect(page.locator("#fit")).to_contain_text("Fits now")


def test_the_form_says_that_a_job_never_fits_and_submitting_changes_nothing(owner, cluster):
    page = owner.at("jobs/new/")
    page.wait_for_load_state("networkidle")
    page.get_by_text("A command", exact=True).click()
    page.get_by_role("textbox", name="Command").fill("python main.py")
    page.get_by_role("spinbutton", name="CPUs").fill("900")
    expect(page.locator("#fit")).to_contain_text("Never fits")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("#id_cpus_error")).to_contain_text("900")
    expect(page.get_by_role("textbox", name="Command")).to_have_value("python main.py")
    assert not Job.objects.exists()
    owner.forgive("422")


def test_a_script_is_sent_as_the_package_that_runs(owner, cluster):
    page = owner.at("jobs/new/")
    page.wait_for_load_state("networkidle")
    page.get_by_text("A script", exact=True).click()
    page.get_by_role("textbox", name="Script").fill("print('hello')")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    job = Job.objects.get()
    assert (job.entrypoint, job.package.members) == ("python main.py", 1)


def test_lines_appear_as_they_are_written_and_the_state_moves(owner, run):
    page = owner.at(f"jobs/{run.job.pk}/")
    run.prints("first\nsecond\n")
    lines = page.locator(".log__line")
    expect(lines).to_have_text(["first", "second"])
    run.prints("third, unfin")
    expect(lines.nth(2)).to_have_text("third, unfin")
    run.prints("ished\n")
    expect(lines.nth(2)).to_have_text("third, unfinished")
    run.ends("succeeded", "succeeded")
    expect(page.locator("h1 .badge")).to_contain_text("Succeeded")
    expect(page.locator(".log__status")).to_have_text("Complete")
    expect(page.get_by_text("It ended with exit code 0.").first).to_be_visible()


def test_an_open_page_says_that_the_log_was_cut(owner, run):
    page = owner.at(f"jobs/{run.job.pk}/")
    run.prints("first\n")
    expect(page.locator(".log__line")).to_have_text(["first"])
    run.ends("lost", "session_changed", log_ending="unreachable")
    expect(page.locator(".log__status")).to_contain_text("cut: the cluster could not be asked")


def test_an_open_page_says_that_nothing_was_printed_once_that_is_sure(owner, run):
    page = owner.at(f"jobs/{run.job.pk}/")
    told = page.locator("[data-log-empty]")
    expect(told).not_to_have_text("Nothing was printed.")
    run.ends("succeeded", "succeeded")
    expect(told).to_have_text("Nothing was printed.")


def test_progress_moves_without_a_reload(owner, run):
    services.note_progress(run.attempt.pk, step=10, total_steps=100, loss=3.25)
    page = owner.at(f"jobs/{run.job.pk}/")
    bar = page.locator("#live progress")
    expect(bar).to_have_attribute("value", "10")
    services.note_progress(run.attempt.pk, step=60, total_steps=100, loss=1.5)
    expect(bar).to_have_attribute("value", "60")
    expect(page.locator("[data-progress=loss]")).to_have_text("1.5")


def test_what_a_log_says_is_text_and_never_markup(owner, run):
    page = owner.at(f"jobs/{run.job.pk}/")
    run.prints(
        "<img src=x onerror=alert(1)>\n\x1b[31mred\x1b[0m \x1b]8;;http://evil/\x07link\x1b]8;;\x07\n"
        "user\u202egpj.exe\n\x1b[2J\x1b[Hmoved\n"
    )
    lines = page.locator(".log__line")
    expect(lines).to_have_text(
        ["<img src=x onerror=alert(1)>", "red link", "user⟨U+202E⟩gpj.exe", "moved"]
    )
    expect(page.locator(".log__line .sgr-f1")).to_have_text("red")
    assert page.locator(".log__line :is(img, a)").count() == 0


def test_a_long_log_holds_few_elements_and_is_searched_whole(owner, run):
    run.prints("".join(f"line {n} of many\n" for n in range(1, 100_001)))
    page = owner.at(f"jobs/{run.job.pk}/")
    expect(page.locator("[data-log-lines]")).to_have_text("100,000 lines")
    expect(page.get_by_text("line 100000 of many", exact=True)).to_be_visible()
    assert page.locator(".log__line").count() < 2_000
    page.get_by_label("Search the log").fill("line 77")
    expect(page.locator(".log__count")).to_have_text("1,111 / 1,111")
    expect(page.locator(".log__line[data-current]")).to_have_text("line 77999 of many")
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Search the log").press("Enter")
    expect(page.locator(".log__line[data-current]")).to_have_text("line 77 of many")


def test_scrolling_up_pauses_and_follow_goes_on(owner, run):
    run.prints("".join(f"line {n}\n" for n in range(500)))
    page = owner.at(f"jobs/{run.job.pk}/")
    expect(page.get_by_text("line 499", exact=True)).to_be_visible()
    view, follow = page.locator(".log__view").first, page.get_by_role("button", name="Follow")
    view.hover()
    page.mouse.wheel(0, -2_000)
    expect(follow).to_have_attribute("aria-pressed", "false")
    run.prints("news\n")
    expect(page.locator("[data-log-lines]")).to_have_text("501 lines")
    expect(page.get_by_text("news", exact=True)).not_to_be_in_viewport()
    follow.click()
    expect(page.get_by_text("news", exact=True)).to_be_in_viewport()


def test_a_running_job_is_stopped_after_a_question(owner, run):
    page = owner.at(f"jobs/{run.job.pk}/")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert Job.objects.get().desired == "running"
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop the job").click()
    expect(page.get_by_text("The job is asked to stop.")).to_be_visible()
    assert Job.objects.get().desired == "stopped"


def test_the_list_follows_by_itself_and_stops_when_nothing_lives(owner, run):
    page = owner.at("jobs/")
    expect(page.locator(".badge")).to_have_text("Running")
    run.ends("failed", "entrypoint_failed")
    expect(page.locator(".badge")).to_have_text("Failed")
    assert page.locator("#rows").get_attribute("hx-trigger") is None


def test_a_clusters_deletion_asks_for_its_name(owner, cluster):
    page = owner.at(f"clusters/{cluster.pk}/")
    page.get_by_role("button", name="Delete", exact=True).click()
    confirm = page.get_by_role("button", name="Delete the cluster")
    expect(confirm).to_be_disabled()
    page.get_by_label("Type lab to confirm").fill("lab")
    confirm.click()
    expect(page.get_by_text("The cluster is being deleted.")).to_be_visible()
    cluster.refresh_from_db()
    assert cluster.desired == "deleted"
