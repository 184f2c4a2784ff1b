"""Against the printed tables (NIST/SEMATECH e-Handbook, 1.3.6.7.2)."""

from __future__ import annotations

import pytest

from loom_dagster.monitors.student import t_cdf, t_quantile


@pytest.mark.parametrize(
    ("p", "df", "printed"),
    [
        (0.95, 1, 6.314),
        (0.90, 2, 1.886),
        (0.99, 4, 3.747),
        (0.99, 5, 3.365),
        (0.975, 19, 2.093),
        (0.99, 19, 2.539),
        (0.995, 30, 2.750),
        (0.999, 100, 3.174),
    ],
)
def test_quantiles_are_those_of_the_tables(p, df, printed):
    assert t_quantile(p, df) == pytest.approx(printed, abs=0.0006)
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-12)


def test_it_is_symmetric_about_its_median():
    for df in (1, 2, 7, 30):
        assert t_cdf(0.0, df) == 0.5
        assert t_cdf(-1.3, df) == pytest.approx(1 - t_cdf(1.3, df))


def test_what_has_no_quantile_is_refused():
    with pytest.raises(ValueError, match="must lie"):
        t_quantile(1.0, 5)
    with pytest.raises(ValueError, match="degree of freedom"):
        t_cdf(1.0, 0)
