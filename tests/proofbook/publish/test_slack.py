"""What the lint says of checks that hold less than their words, and of figures that are scaled by hand."""

import pytest

from proofbook.publish.slack import in_checks

RIGHT = {
    "a difference": "attacked('left', bound - found)",
    "a margin with a name": "attacked('left', room)",
    "slack for rounding": "attacked('left', bound - found + 1e-12)",
    "slack on a side": "checked('falls', low <= high + 1e-12)",
    "slack that is named": "checked('lower by more than 0.01', low < high - 0.01)",
    "one less something": "attacked('left', 1 - ratio)",
    "one less something, inside": "attacked('left', torch.cat([1 - ratio(one) for one in orders]))",
    "less, and more": "attacked('left', bound - found + other)",
    "a difference from one": "measured('sum to one', total - 1, below=1e-9)",
    "other elements": "checked('falls', x[0] > x[1])",
    "an element of a variable": "measured('first', found[0] - known, below=1e-9)",
    "a name of a result": "measured('gain', gain(one, other).mean, below=1e-9)",
    "an end that is said": "checked('over 2 nats', high - low > 2)",
    "an end in a word": "checked('more than five times', ratio > 5)",
    "an end that a variable has": "checked(f'over {least} nats', high - low > least)",
    "a sign": "checked('falls', slope < 0)",
    "what is as good as nothing": "violates('zero', gap > 1e-9)",
    "a number in an end": "checked('a thousandth of the length', low < length / 1000)",
    "a factor in a word": "checked('at twice the place', low(2 * place) < high)",
    "a part in a word": "checked('at half the place', low(place / 2) < high)",
    "what is no check": "print(x - x, room + 2, f(x)[0])",
    "a curve": "axes.plot(x, law(x))",
    "a curve of a product": "axes.plot(x, share * law(x))",
    "magic": "%time x",
}
WRONG = {
    "an element and itself": ("violates('falls', x[1] < x[1])", "x[1] is held against itself"),
    "itself, reckoned": ("violates('falls', x[(0 + 1)] < x[1])", "x[1] is held against itself"),
    "a chain": ("checked('between', low < mid < mid)", "mid is held against itself"),
    "less itself": ("measured('agree', f(x) - f(x), below=1e-9)", "f(x) is held against itself"),
    "over itself": ("measured('agree', f(x) / f(x) - 1, below=1e-9)", "f(x) is held against itself"),
    "slack in a margin": ("attacked('left', room + 0.5)", "0.5 is added"),
    "slack before it": ("attacked('left', 0.5 + room)", "0.5 is added"),
    "slack, reckoned": ("attacked('left', room + (1e-12 + 1))", "1.000000000001 is added"),
    "slack on a side": ("checked('falls', low <= high + 1)", "1 is added"),
    "slack that others name": ("checked('by 10.01', low < high - 0.01)", "0.01 is added"),
    "an end that is not said": ("checked('it falls', slope < -0.1)", "holds something against -0.1"),
    "another end than is said": ("checked('more than five times', ratio > 6)", "holds something against 6"),
    "reckoned": ("checked('over 2 nats', high - low > (2 + 1))", "holds something against 3"),
    "a loose end": ("checked('small', error < 100)", "holds something against 100"),
    "equal to it": ("checked('three', len(found) == 4)", "holds something against 4"),
    "another factor than is said": ("checked('at twice the place', low(3 * x) < high)", "3 is a factor"),
    "another part than is said": ("checked('a thousandth', low < length / (2 * 1000))", "2000 is a factor"),
    "a factor that is not said": ("violates('it shrinks', low < 1.01 * high)", "1.01 is a factor"),
    "more room than there is": ("attacked('at most 1', (1 + 1) - ratio)", "2 is added"),
    "more room, inside": ("attacked('at most 1', torch.cat([3 - ratio(one)]))", "3 is added"),
    "an error that is raised": ("measured('stays bounded', 1 + close, below=2)", "1 is added"),
    "a sum": ("attacked('left', bound + found)", "bound + found is a sum"),
    "a result by its number": ("measured('gain', gain(one)[0], below=1)", "takes a result by its number"),
    "inside": ("measured('gain', max(gain(k)[0] for k in ks), below=1)", "takes a result by its number"),
    "a curve times a number": ("axes.plot(x, 1.1 * law(x))", "1.1 * law(x) is drawn"),
    "a curve and a number": ("axes.loglog(x, law(x) + 2)", "law(x) + 2 is drawn"),
}


@pytest.mark.parametrize("code", RIGHT.values(), ids=RIGHT)
def test_a_check_that_holds_what_it_says_passes(code):
    assert list(in_checks(code)) == []


@pytest.mark.parametrize("code, said", WRONG.values(), ids=WRONG)
def test_a_check_that_holds_less_is_told(code, said):
    assert any(said in problem for problem in in_checks(code)), list(in_checks(code))


def test_numbers_that_cannot_be_reckoned_are_left_alone():
    assert list(in_checks("checked('a', x < 1 / 0)")) == []
