"""core/cron.c beside croniter, and core/zone.c beside Python's zoneinfo, over random expressions, dates and zones.

croniter is asked in naive civil time; what it says is put into the zone by zoneinfo. On days of clock change the two
differ by design, so those are left out here; tests/unit/test-cron.c has a table of them written by hand.

Where croniter 1.3.5 differs by definition, or is wrong, this is not asked, or asked in other words:

  * `*/2` and the like in one of the days: for us a field that begins with a star is not restricted, as in Vixie's cron,
    so both days must fit. croniter takes it for restricted; it is asked with day_or=False.
  * `1-31` or `SUN-SAT`, a range of all days without a star: restricted for us (Vixie's cron looks at the star alone),
    "*" for croniter. Left out when the other day is restricted.
  * six fields: croniter has the second last; and it does not know 7 as Sunday there (an oversight: its table for that
    is applied to five fields only). 7 and ranges that end there are not made.
  * 29, 30 or 31 in a list of days: croniter runs past the end of a shorter month and into the next one, and misses
    what lies there: `*/5` never runs on 1 March after a 27 February. L is missed alike. Such a list is asked in parts
    (up to 28, above, L), of which the first answer counts.
  * days of month that never come, such as `31 2 THU`: croniter gives up, though the days of week come. It is asked for
    those alone then.
  * steps larger than the field, and what begins a range above its end: refused here, not by croniter. Not made.
  * what comes later than in 28 years: none for us.

The seed is printed; SKEP_SEED repeats it.
"""

import calendar
import datetime
import os
import random
import subprocess
import sys
import time
import zoneinfo

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scenario"))
from harness import BUILD, Skip, check, run

try:
    from croniter import CroniterBadDateError, croniter
except ImportError:
    croniter = None

SEED = int(os.environ.get("SKEP_SEED") or time.time_ns() % 1_000_000_000)
CASES = int(os.environ.get("SKEP_CRON_CASES") or 30_000)
NEXTS = 3
PROGRAM = os.path.join(BUILD, "tests", "cron", "cron-next")
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()
ZONES = ["", "", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo",
         "Africa/Casablanca", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "Antarctica/Troll"]
UTC = datetime.timezone.utc


def ask(lines):
    done = subprocess.run([PROGRAM], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=240, check=False)
    check(done.returncode == 0, f"cron-next ended with {done.returncode}: {done.stderr}")
    answers = done.stdout.split("\n")[:-1]
    check(len(answers) == len(lines), f"{len(lines)} questions, {len(answers)} answers")
    return answers


class Field:
    """How one field is made; `top`: the highest number that may be named."""

    def __init__(self, low, high, names=(), top=None):
        self.low, self.high, self.names, self.top = low, high, names, high if top is None else top

    def value(self, rng, number):
        named = self.names and number - self.low < len(self.names) and rng.random() < 0.3
        name = self.names[number - self.low] if named else str(number)
        return rng.choice([name, name.lower(), name.capitalize()])

    def item(self, rng):
        kind = rng.random()
        first = rng.randint(self.low, self.top)
        last = rng.randint(first, self.top)
        step = rng.randint(1, max(1, (self.high - self.low) // 2))
        if kind < 0.55:
            return self.value(rng, first)
        if kind < 0.75:
            return f"{self.value(rng, first)}-{self.value(rng, last)}"
        if kind < 0.9:
            return f"{self.value(rng, first)}-{self.value(rng, last)}/{step}"
        return f"{self.value(rng, first)}/{step}" if self.top == self.high else self.value(rng, first)

    def text(self, rng, stars):
        kind = rng.random()
        if kind < stars:
            return "*"
        if kind < stars + 0.12:
            return f"*/{rng.randint(2, max(2, (self.high - self.low) // 2))}"
        return ",".join(self.item(rng) for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 5])))


SECOND, MINUTE, HOUR = Field(0, 59), Field(0, 59), Field(0, 23)
DAY, MONTH = Field(1, 31), Field(1, 12, MONTHS)
WEEKDAY, WEEKDAY_OF_SIX = Field(0, 7, DAYS), Field(0, 7, DAYS, top=6)


def day_of_month(rng):
    if rng.random() < 0.08:
        return rng.choice(["L", "l", f"{rng.randint(1, 31)},L"])
    return DAY.text(rng, 0.45)


def never(rng):
    return f"{rng.randrange(60)} {rng.randrange(24)} {rng.choice(['30', '31', '30-31'])} 2 *"


def expression(rng):
    """Our text, and croniter's for the same."""
    if rng.random() < 0.005:
        text = never(rng)
        return text, text
    fields = [MINUTE.text(rng, 0.2), HOUR.text(rng, 0.25), day_of_month(rng), MONTH.text(rng, 0.6)]
    if rng.random() < 0.3:
        second, weekday = SECOND.text(rng, 0.15), WEEKDAY_OF_SIX.text(rng, 0.5)
        return " ".join([second, *fields, weekday]), " ".join([*fields, weekday, second])
    text = " ".join([*fields, WEEKDAY.text(rng, 0.5)])
    return text, text


def day_rule(theirs, expanded):
    """croniter's day_or for it; None: it means something else there."""
    fields = theirs.split()
    for which, other in ((2, 4), (4, 2)):
        if expanded[which] == ["*"] and fields[which][0] != "*" and fields[other] != "*":
            return None
    return not (fields[2][0] == "*" or fields[4][0] == "*")


def changes_on(zone, day):
    """Do the clocks change on that civil day, or within a few hours of it?"""
    if zone is None:
        return False
    midnight = datetime.datetime(day.year, day.month, day.day)
    return len({zone.utcoffset(midnight + datetime.timedelta(hours=hours)) for hours in (-3, 12, 28)}) > 1


def seconds(zone, civil):
    if zone is None:
        return calendar.timegm(civil.timetuple())
    return round(civil.replace(tzinfo=zone).timestamp())


def random_civil(rng):
    start = datetime.datetime(2001, 1, 1) + datetime.timedelta(seconds=rng.randrange(40 * 365 * 86400))
    if rng.random() < 0.3:
        return start.replace(second=0)
    return start


class Theirs:
    """croniter for one expression, its list of days cut where croniter would miss some."""

    def __init__(self, text):
        expanded, _ = croniter.expand(text)
        self.text, self.day_or = text, day_rule(text, expanded)
        days = [] if "*" in expanded[2] else expanded[2]
        cut = [[day for day in days if day != "l" and day <= 28], [day for day in days if day != "l" and day > 28],
               [day for day in days if day == "l"]]
        cut = [part for part in cut if part]
        cut = [",".join(map(str, part)) for part in cut] if len(cut) > 1 else [text.split()[2]]
        self.iterators = [self.iterator(days) for days in cut]

    def iterator(self, days):
        fields = self.text.split()
        return croniter(" ".join([*fields[:2], days, *fields[3:]]), 0, day_or=self.day_or, max_years_between_matches=30)

    def next_of(self, iterator, after):
        try:
            return int(iterator.get_next(float, start_time=after))
        except CroniterBadDateError:
            fields = self.text.split()
            if self.day_or and fields[2] != "*" and fields[4] != "*":
                return int(self.iterator(days="*").get_next(float, start_time=after))
            return None

    def next(self, civil):
        """The next civil times, one after the other; None where there is none within 28 years."""
        found, at = [], calendar.timegm(civil.timetuple())
        while len(found) < NEXTS and at is not None:
            last = at + 28 * 365.25 * 86400
            nexts = [following for one in self.iterators if (following := self.next_of(one, at)) is not None]
            at = min(nexts) if nexts and min(nexts) <= last else None
            found.append(datetime.datetime.utcfromtimestamp(at) if at is not None else None)
        return found


def expressions_run_when_croniter_says():
    if croniter is None:
        raise Skip("python3-croniter is not installed")
    rng = random.Random(SEED)
    print(f"seed {SEED}, {CASES} expressions")
    questions, wanted = [], []
    left_out = never = 0
    while len(questions) < CASES:
        ours, theirs = expression(rng)
        name, civil = rng.choice(ZONES), random_civil(rng)
        zone = zoneinfo.ZoneInfo(name) if name else None
        theirs = Theirs(theirs)
        if theirs.day_or is None or changes_on(zone, civil):
            left_out += 1
            continue
        instants = []
        for at in theirs.next(civil):
            if at is not None and changes_on(zone, at):
                break
            instants.append(seconds(zone, at) if at is not None else 0)
        never += 0 in instants
        questions.append(f"next|{ours}|{name}|{seconds(zone, civil)}|{len(instants)}")
        wanted.append(" ".join(str(instant) for instant in instants))
    answers = ask(questions)
    wrong = [(question, answer, right) for question, answer, right in zip(questions, answers, wanted) if answer != right]
    for question, answer, right in wrong[:10]:
        print(f"{question}\n   ours {answer}\n theirs {right}")
    compared = sum(len(right.split()) for right in wanted)
    print(f"{compared} instants compared, {never} expressions that never run, {left_out} left out")
    check(not wrong, f"seed {SEED}: {len(wrong)} of {len(questions)} differ")
    check(compared > CASES * 2 and never > 0, "too little was compared")


def what_croniter_refuses_is_refused():
    """Expressions with a letter more, less or changed: what we take, croniter takes."""
    if croniter is None:
        raise Skip("python3-croniter is not installed")
    rng = random.Random(SEED + 1)
    texts = []
    for _ in range(20_000):
        text = list(expression(rng)[0])
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(text))
            change = rng.random()
            if change < 0.4:
                text[at] = rng.choice("0123456789*/,-LMSUNJA? ")
            elif change < 0.7:
                text.insert(at, rng.choice("0123456789*/,-LMSUNJA "))
            elif len(text) > 1:
                del text[at]
        text = "".join(text)
        if len(text.split()) == 5:
            texts.append(text)
    answers = ask([f"next|{text}||0|1" for text in texts])
    refused = sum(answer.startswith("refused") for answer in answers)
    wrong = [text for text, answer in zip(texts, answers)
             if not answer.startswith("refused") and not croniter.is_valid(text)]
    print(f"{len(texts)} texts, {refused} of them refused")
    check(refused > 1000 and len(texts) - refused > 1000, "too few of one kind")
    check(not wrong, f"seed {SEED}: taken, but croniter refuses them: {wrong[:10]}")
    unclear = [answer for answer in answers if answer.startswith("refused") and
               ("position" not in answer or "for example" not in answer)]
    check(not unclear, f"refused without a place or an example: {unclear[:5]}")


def zones_have_the_offsets_that_zoneinfo_says():
    rng = random.Random(SEED + 2)
    names = sorted(name for name in zoneinfo.available_timezones() if name not in ("localtime", "Factory"))
    questions, wanted = [], []
    for name in names:
        zone = zoneinfo.ZoneInfo(name)
        instants = [rng.randrange(-3_000_000_000, 6_000_000_000) for _ in range(200)]
        questions.append("|".join(["offset", name, *map(str, instants)]))
        offsets = [datetime.datetime.fromtimestamp(instant, UTC).astimezone(zone).utcoffset() for instant in instants]
        wanted.append(" ".join(str(round(offset.total_seconds())) for offset in offsets))
    answers = ask(questions)
    wrong = []
    for name, question, answer, right in zip(names, questions, answers, wanted):
        for instant, mine, other in zip(question.split("|")[2:], answer.split(), right.split()):
            if mine != other:
                wrong.append((name, instant, mine, other))
    print(f"{len(names)} zones, {len(names) * 200} instants")
    check(len(names) > 300, f"only {len(names)} zones on this machine")
    check(not wrong, f"seed {SEED}: {len(wrong)} differ: {wrong[:10]}")


run(expressions_run_when_croniter_says, what_croniter_refuses_is_refused, zones_have_the_offsets_that_zoneinfo_says)
