from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nnopt.compare.statistics.survival import Watched, factors, kaplan_meier, logrank

# Weeks in remission of leukaemia, with 6-mercaptopurine and with a placebo; + is censored. Freireich et al. 1963,
# Blood 21:699, as analysed in Cox & Oakes, Analysis of Survival Data (1984), and Kleinbaum & Klein, Survival Analysis.
TREATED = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+"
PLACEBO = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23"

# Few different values, so that there are ties among and between events and censored times.
ENTRIES = st.tuples(st.integers(1, 8), st.booleans())
EXAMPLES = settings(max_examples=60, derandomize=True)


def read(text: str) -> Watched:
    words = text.split()
    return Watched.of([float(word.rstrip("+")) for word in words], [not word.endswith("+") for word in words])


def group(entries: list[tuple[int, bool]]) -> Watched:
    return Watched.of([time for time, _ in entries], [event for _, event in entries])


def groups(most: int, least: int = 1) -> st.SearchStrategy[Watched]:
    return st.lists(ENTRIES, min_size=least, max_size=most).map(group)


def censored(watched: Watched) -> stats.CensoredData:
    return stats.CensoredData.right_censored(watched.times, ~watched.events)


def slow_logrank(a: Watched, b: Watched) -> tuple[float, float]:
    """Observed - expected events of a and its hypergeometric variance, event time by event time."""
    difference = variance = 0.0
    for time in sorted({*a.times[a.events], *b.times[b.events]}):
        at_risk = [int((watched.times >= time).sum()) for watched in (a, b)]
        came = [int(((watched.times == time) & watched.events).sum()) for watched in (a, b)]
        n, d, share = sum(at_risk), sum(came), at_risk[0] / sum(at_risk)
        difference += came[0] - d * share
        variance += d * share * (1 - share) * (n - d) / (n - 1) if n > 1 else 0.0
    return difference, variance


def slow_p(a: Watched, b: Watched) -> float:
    """The share of all arrangements whose |observed - expected| is at least the one seen, each worked out anew."""
    times, events, n = np.append(a.times, b.times), np.append(a.events, b.events), len(a.times)
    seen = abs(slow_logrank(a, b)[0])
    found = []
    for chosen in itertools.combinations(range(len(times)), n):
        inside = np.isin(np.arange(len(times)), chosen)
        one, two = (Watched(times[which], events[which]) for which in (inside, ~inside))
        found.append(abs(slow_logrank(one, two)[0]) >= seen - 1e-9)
    return float(np.mean(found))


class TestKaplanMeier:
    def test_of_the_leukaemia_data_is_as_published(self) -> None:
        treated, placebo = read(TREATED), read(PLACEBO)
        curve = kaplan_meier(treated.times, treated.events)
        assert curve.times == (6, 7, 10, 13, 16, 22, 23)
        assert [round(share, 3) for share in curve.survival] == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
        assert (curve.median, kaplan_meier(placebo.times, placebo.events).median) == (23, 8)
        assert [curve.at(time) for time in (0, 5.9, 100)] == [1, 1, curve.survival[-1]]

    @EXAMPLES
    @given(groups(9))
    def test_is_that_of_scipy(self, watched: Watched) -> None:
        curve = kaplan_meier(watched.times, watched.events)
        other = stats.ecdf(censored(watched)).sf
        for time, share in zip(other.quantiles, other.probabilities, strict=True):
            assert curve.at(time) == pytest.approx(share, abs=1e-12)
        medians = [
            time for time, share in zip(other.quantiles, other.probabilities, strict=True) if share <= 0.5 + 1e-9
        ]
        assert curve.median == (medians[0] if medians else None)

    def test_without_censoring_has_the_lower_median_of_the_times(self) -> None:
        for n in range(1, 60):
            times = np.random.default_rng(n).permutation(n) + 1.0
            assert kaplan_meier(times, [True] * n).median == math.ceil(n / 2)

    def test_never_comes_to_a_half_where_more_than_half_are_lost(self) -> None:
        assert kaplan_meier([1, 2, 3, 3, 3], [True, True, False, False, False]).median is None
        assert kaplan_meier([math.inf] * 3, [False] * 3).median is None
        assert kaplan_meier([], []).median is None

    def test_takes_a_run_that_diverged_as_one_that_never_comes(self) -> None:
        curve = kaplan_meier([1, 2, math.inf, math.inf], [True, True, False, False])
        assert (curve.survival, curve.median) == ((0.75, 0.5), 2)

    @EXAMPLES
    @given(groups(9), st.integers(0, 8))
    def test_has_no_earlier_median_when_one_more_is_censored(self, watched: Watched, place: int) -> None:
        events = watched.events.copy()
        events[place % len(events)] = False
        before, after = (kaplan_meier(watched.times, seen).median for seen in (watched.events, events))
        assert (math.inf if after is None else after) >= (math.inf if before is None else before)


class TestLogRank:
    def test_of_the_leukaemia_data_is_as_published(self) -> None:
        treated, placebo = read(TREATED), read(PLACEBO)
        found = logrank(treated, placebo)
        assert found.observed == 9
        assert found.expected == pytest.approx(19.25, abs=0.005)
        difference, variance = slow_logrank(treated, placebo)
        assert (found.observed - found.expected) ** 2 / variance == pytest.approx(16.79, abs=0.005)
        assert difference == pytest.approx(found.observed - found.expected)
        assert (found.p, found.exact, found.smallest_p) == (0.0001, False, 0.0001)  # scipy's p is 4e-5

    @EXAMPLES
    @given(groups(8), groups(8))
    def test_counts_the_events_of_a_slow_twin_and_of_scipy(self, a: Watched, b: Watched) -> None:
        difference, variance = slow_logrank(a, b)
        found = logrank(a, b)
        assert found.observed == a.events.sum()
        assert found.observed - found.expected == pytest.approx(difference, abs=1e-9)
        if variance > 0:
            statistic = stats.logrank(censored(a), censored(b)).statistic
            assert (found.observed - found.expected) / math.sqrt(variance) == pytest.approx(statistic, abs=1e-6)

    @settings(EXAMPLES, max_examples=25)
    @given(groups(4, 2), groups(4, 2))
    def test_has_the_p_of_all_arrangements(self, a: Watched, b: Watched) -> None:
        found = logrank(a, b)
        assert found.exact
        assert found.p == pytest.approx(slow_p(a, b))
        assert found.p >= found.smallest_p > 0

    def test_has_the_p_of_scipys_permutation_test(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(5):
            pooled, events = generator.exponential(size=11), generator.random(11) < 0.7

            def statistic(a: np.ndarray, b: np.ndarray, pooled=pooled, events=events) -> float:  # type: ignore[no-untyped-def]
                chosen = np.isin(pooled, a)
                groups = [Watched(pooled[which], events[which]) for which in (chosen, ~chosen)]
                return abs(slow_logrank(*groups)[0])

            other = stats.permutation_test(
                (pooled[:5], pooled[5:]), statistic, n_resamples=np.inf, alternative="greater", vectorized=False
            )
            found = logrank(Watched(pooled[:5], events[:5]), Watched(pooled[5:], events[5:]))
            assert found.p == pytest.approx(other.pvalue)

    def test_drawn_arrangements_come_near_to_all(self) -> None:
        generator = np.random.default_rng(3)
        a, b = (Watched(generator.exponential(size), np.ones(8, bool)) for size in (np.ones(8), 2 * np.ones(8)))
        assert logrank(a, b).exact  # 12,870 arrangements
        # A ninth run in each that is lost before any event changes nothing that is counted, and makes 48,620 of them.
        early = [Watched(np.append(group.times, 1e-3), np.append(group.events, False)) for group in (a, b)]
        drawn = logrank(*early)
        assert not drawn.exact
        assert drawn.smallest_p == 1e-4
        assert drawn.p == pytest.approx(slow_p_of_scores(*early), abs=0.01)

    @pytest.mark.parametrize(("n", "smallest"), [(3, 2 / 20), (4, 2 / 70), (5, 2 / 252)])
    def test_says_the_smallest_p_that_n_allows(self, n: int, smallest: float) -> None:
        early, late = (Watched.of(np.arange(n) + offset, [True] * n) for offset in (1.0, 100.0))
        found = logrank(early, late)
        assert (found.p, found.smallest_p) == (pytest.approx(smallest), pytest.approx(smallest))
        nobody = Watched.of([9.0] * n, [False] * n)
        assert (logrank(nobody, nobody).p, logrank(nobody, nobody).smallest_p) == (1, 1)

    @EXAMPLES
    @given(groups(6), groups(6), st.randoms(use_true_random=False))
    def test_depends_on_neither_order_nor_unit(self, a: Watched, b: Watched, random: object) -> None:
        found, turned = logrank(a, b), logrank(b, a)
        assert found.observed - found.expected == pytest.approx(turned.expected - turned.observed, abs=1e-9)
        assert (found.p, found.smallest_p) == (turned.p, turned.smallest_p)
        order = sorted(range(len(a.times)), key=lambda _: random.random())  # type: ignore[attr-defined]
        shuffled = Watched(a.times[order] * 0.3, a.events[order])
        assert logrank(shuffled, Watched(b.times * 0.3, b.events)).p == found.p

    @EXAMPLES
    @given(groups(6), groups(6), st.integers(1, 8), st.integers(1, 8))
    def test_looks_no_further_than_both_were_watched(self, a: Watched, b: Watched, one: int, two: int) -> None:
        cut = [
            Watched(np.minimum(group.times, end), group.events & (group.times <= end))
            for group, end in ((a, min(one, two)), (b, min(one, two)))
        ]
        watched = [Watched(group.times, group.events, horizon) for group, horizon in ((a, one), (b, two))]
        assert logrank(*watched) == logrank(*cut)

    def test_takes_a_run_that_diverged_as_censored_after_everything(self) -> None:
        a, b = ([1.0, 2.0, 3.0, math.inf], [4.0, 5.0, math.inf, math.inf])
        late = [[min(time, 99.0) for time in times] for times in (a, b)]
        events = [[math.isfinite(time) for time in times] for times in (a, b)]
        diverged, censored_late = (logrank(*map(Watched.of, times, events)) for times in ((a, b), late))
        assert diverged == censored_late


def slow_p_of_scores(a: Watched, b: Watched) -> float:
    """p over all arrangements, from log-rank scores (Peto & Peto) of a loop over event times."""
    times, events, n = np.append(a.times, b.times), np.append(a.events, b.events), len(a.times)
    hazard = [
        sum(1 / (times >= times[j]).sum() for j in range(len(times)) if events[j] and times[j] <= time)
        for time in times
    ]
    scores = events - np.array(hazard)
    chosen = np.array(list(itertools.combinations(range(len(times)), n)))
    return float((np.abs(scores[chosen].sum(axis=1)) >= abs(scores[:n].sum()) - 1e-9).mean())


def drawn(n: int, factor: float, seed: int, horizon: float = math.inf, digits: int = 6) -> tuple[Watched, Watched]:
    generator = np.random.default_rng(seed)
    moments = np.round(generator.lognormal(0, 0.3, size=(2, n)) * [[factor], [1.0]], digits)
    a, b = (Watched(np.minimum(times, horizon), times <= horizon, horizon) for times in moments)
    return a, b


def stretched(watched: Watched, factor: float) -> Watched:
    return Watched(watched.times * factor, watched.events, watched.horizon * factor)


class TestFactors:
    @pytest.mark.parametrize("n", [4, 5, 7])
    @pytest.mark.parametrize("horizon", [math.inf, 1.2])
    @pytest.mark.parametrize("digits", [6, 1])
    def test_are_those_that_the_test_lets_pass(self, n: int, horizon: float, digits: int) -> None:
        """Inside the ends the outermost pass; outside none does, however finely one looks."""
        a, b = drawn(n, 0.8, n, horizon, digits)
        low, high = factors(a, b)
        looked = np.geomspace(0.05, 20, 400)
        passed = [factor for factor in looked if logrank(a, stretched(b, factor)).p > 0.05]
        assert all(low <= factor <= high for factor in passed)
        for end, inside in ((low, 1 + 1e-6), (high, 1 - 1e-6)):
            if 0 < end < math.inf:
                near = [logrank(a, stretched(b, end * step)).p for step in (1.0, inside)]
                assert max(near) > 0.05

    def test_of_twenty_runs_are_found_as_of_few(self) -> None:
        for seed, horizon in ((1, math.inf), (2, 1.1), (3, 0.9)):
            a, b = drawn(10, 0.9, seed, horizon)
            low, high = factors(a, b)
            looked = np.geomspace(0.3, 3, 200)
            passed = [factor for factor in looked if logrank(a, stretched(b, factor)).p > 0.05]
            assert low <= min(passed)
            assert max(passed) <= high
            step = looked[1] / looked[0]
            assert low == 0 or low >= min(passed) / step
            assert high == math.inf or high <= max(passed) * step

    def test_of_many_runs_are_near_those_of_scipys_test(self) -> None:
        """Beyond forty runs the critical value at factor 1 stands for all; scipy's is 1.96 standard deviations."""
        a, b = drawn(40, 0.9, 5, 1.2)
        looked = np.geomspace(0.5, 2, 300)
        passed = []
        for factor in looked:
            other = stretched(b, factor)
            end = min(a.horizon, other.horizon)
            cut = [Watched(np.minimum(g.times, end), g.events & (g.times <= end)) for g in (a, other)]
            if stats.logrank(*map(censored, cut)).pvalue > 0.05:
                passed.append(factor)
        assert factors(a, b) == (pytest.approx(min(passed), rel=0.02), pytest.approx(max(passed), rel=0.02))

    def test_of_the_leukaemia_data_hold_no_one(self) -> None:
        low, high = factors(read(TREATED), read(PLACEBO))
        assert 1 < low < 23 / 8 < high

    @settings(EXAMPLES, max_examples=30)
    @given(groups(5, 3), groups(5, 3), st.floats(0.1, 10))
    def test_turn_and_scale_with_the_groups(self, a: Watched, b: Watched, unit: float) -> None:
        low, high = factors(a, b)
        turned = factors(b, a)
        assert turned == (pytest.approx(1 / high if high else math.inf), pytest.approx(1 / low if low else math.inf))
        assert factors(stretched(a, unit), b) == (pytest.approx(low * unit), pytest.approx(high * unit))

    @settings(EXAMPLES, max_examples=30)
    @given(groups(5, 4), groups(5, 4))
    def test_hold_one_where_the_test_does_not_reject(self, a: Watched, b: Watched) -> None:
        low, high = factors(a, b)
        if logrank(a, b).p > 0.05:
            assert low <= 1 + 1e-9
            assert high >= 1 - 1e-9
        else:
            assert low >= 1 - 1e-9 or high <= 1 + 1e-9

    def test_have_no_bound_where_nothing_can_be_rejected(self) -> None:
        assert factors(*drawn(3, 0.1, 0)) == (0, math.inf)
        nobody = Watched.of([9.0] * 6, [False] * 6, 9.0)
        assert factors(nobody, nobody) == (0, math.inf)
        never = Watched.of([math.inf] * 6, [False] * 6)
        assert factors(never, never) == (0, math.inf)

    def test_have_one_bound_where_only_one_group_got_there(self) -> None:
        """Six runs by step 5, none of the others by step 20: at most 5/20 of their time."""
        fast, none = Watched.of([1, 2, 3, 4, 5, 5], [True] * 6, 20), Watched.of([20] * 6, [False] * 6, 20)
        low, high = factors(fast, none)
        assert low == 0
        assert high <= 5 / 20
