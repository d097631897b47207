//! Axes with ticks at round numbers.

use crate::text::fixed;

/// A linear axis from `low` to `high` with ticks.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub label: String,
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
    digits: usize,
}

impl Axis {
    /// An axis that covers `low..=high`, widened to round numbers; the values must be finite.
    pub(crate) fn nice(label: &str, low: f64, high: f64) -> Self {
        let size = low.abs().max(high.abs());
        let (low, high) = if high - low > (1e-9 * size).max(1e-200) {
            (low, high)
        } else {
            // One value only, or a spread that no tick can resolve: give it some room.
            let room = (size * 0.1).max(0.5);
            (low - room, high + room)
        };
        let step = round_step((high - low) / 5.0, &[1.0, 2.0, 5.0, 10.0]);
        Self::stepped(label, low, high, step)
    }

    /// From 0 to 1.
    pub(crate) fn probability(label: &str) -> Self {
        Self::stepped(label, 0.0, 1.0, 0.2)
    }

    /// From 0 to at least `most`, with ticks at whole numbers.
    pub(crate) fn counts(label: &str, most: usize) -> Self {
        let most = most.max(1) as f64;
        let step = round_step(most / 5.0, &[1.0, 2.0, 5.0, 10.0]).max(1.0);
        Self::stepped(label, 0.0, most, step)
    }

    /// From 0 to just after `last`; months are cut at multiples of 3, 6, 12 or 24.
    pub(crate) fn time(label: &str, unit: &str, last: f64) -> Self {
        let last = if last > 0.0 { last } else { 1.0 };
        let wanted = last / 8.0;
        let step = if unit.starts_with("month") && wanted > 1.0 {
            let steps = [2.0, 3.0, 6.0, 12.0, 24.0, 60.0, 120.0];
            steps
                .into_iter()
                .find(|s| *s >= wanted)
                .unwrap_or_else(|| round_step(wanted, &[1.2, 2.4, 6.0, 12.0]))
        } else {
            round_step(wanted, &[1.0, 2.0, 5.0, 10.0])
        };
        let mut axis = Self::stepped(label, 0.0, last, step);
        // Room up to the next tick would squeeze the curves; a little is enough.
        axis.high = (last * 1.02).min(axis.high);
        axis.ticks.retain(|t| *t <= axis.high);
        axis
    }

    fn stepped(label: &str, low: f64, high: f64, step: f64) -> Self {
        // The slack keeps 0.6000000000000001 from opening another interval.
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let count = (last - first).clamp(0.0, 100.0) as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
        let digits = (-step.log10() - 1e-9).ceil().clamp(0.0, 12.0) as usize;
        let ends = (first * step, last * step);
        Self { label: label.to_owned(), low: ends.0, high: ends.1, ticks, digits }
    }

    /// The text of a tick.
    pub(crate) fn tick_text(&self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        if !(1e-4..1e6).contains(&largest) { format!("{tick:.1e}") } else { fixed(tick, self.digits) }
    }

    /// Position of `value` as a share of the axis, held within it.
    pub(crate) fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The smallest round number (a mantissa times a power of ten) of at least `step`.
fn round_step(step: f64, mantissas: &[f64]) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let fits = |m: &&f64| **m * power >= step * (1.0 - 1e-9);
    mantissas.iter().find(fits).map_or(10.0 * power, |m| m * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|t| axis.tick_text(*t)).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(texts(&Axis::nice("", 0.13, 0.87)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&Axis::nice("", -3.0, 21.0)), ["-5", "0", "5", "10", "15", "20", "25"]);
        assert_eq!(texts(&Axis::probability("")), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let one = Axis::nice("", 2.0, 2.0);
        assert!(one.low < 2.0 && one.high > 2.0);
        assert_eq!(texts(&Axis::nice("", 0.0, 2e7))[1], "5.0e6");
    }

    #[test]
    fn counts_are_whole() {
        assert_eq!(texts(&Axis::counts("", 3)), ["0", "1", "2", "3"]);
        assert_eq!(texts(&Axis::counts("", 48)), ["0", "10", "20", "30", "40", "50"]);
    }

    #[test]
    fn months_are_cut_by_the_calendar() {
        assert_eq!(Axis::time("", "months", 61.0).ticks, [0.0, 12.0, 24.0, 36.0, 48.0, 60.0]);
        assert_eq!(Axis::time("", "months", 30.0).ticks, [0.0, 6.0, 12.0, 18.0, 24.0, 30.0]);
        assert_eq!(Axis::time("", "days", 900.0).ticks, [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(Axis::time("", "days", 0.0).low, 0.0);
        assert_eq!(Axis::time("", "months", 2000.0).ticks, [0.0, 600.0, 1200.0, 1800.0]);
    }
}
