//! Scales from values to places in a drawing.

/// A linear scale from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// Makes a scale that draws 0 at `from`, and `most` at `to`.
    pub(super) fn new(most: f64, from: f64, to: f64) -> Self {
        Self { most: if most > 0.0 { most } else { 1.0 }, from, to }
    }

    /// Returns the place of a value; never outside, to a tenth.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = (value / self.most).clamp(0.0, 1.0);
        tenth(self.from + share * (self.to - self.from))
    }

    /// Returns round values from 0 to the end, about `count` of them.
    pub(super) fn ticks(&self, count: f64) -> Vec<f64> {
        let step = nice(self.most / count);
        let ticks = std::iter::successors(Some(0.0), |at| Some(at + step));
        ticks.take_while(|at| *at <= self.most * 1.0001).collect()
    }
}

/// Rounds a place to a tenth.
pub(super) fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Returns the next of 1, 2, 5, 10, 20 … that is not smaller.
pub(super) fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value * 0.9999).unwrap_or(10.0 * power)
}

/// Returns a number with as few digits as it needs: `12.5k`, `0.25`.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_stay_inside() {
        let scale = Scale::new(12.3, 10.0, 110.0);
        assert!((scale.at(6.15) - 60.0).abs() < 0.1);
        assert!((scale.at(99.0) - 110.0).abs() < 0.1);
        assert_eq!(scale.ticks(6.0), [0.0, 5.0, 10.0]);
        assert_eq!(Scale::new(0.0, 0.0, 1.0).ticks(2.0), [0.0, 0.5, 1.0]);
        let nice = [0.0, 0.03, 7.0, 120.0].map(|value| short(nice(value)));
        assert_eq!(nice, ["1", "0.05", "10", "200"]);
        assert_eq!([0.25, 10_000.0, 12_500.0, 0.0].map(short), ["0.25", "10k", "12.5k", "0"]);
    }
}
