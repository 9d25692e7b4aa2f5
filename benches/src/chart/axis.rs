//! A horizontal axis from 0 to a round number.

/// Steps between ticks at most.
const STEPS_MAX: f64 = 5.0;

/// An axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    top: f64,
    step: f64,
    left: f64,
    right: f64,
}

impl Axis {
    /// From 0 at `left` to a round number that is at least `largest` at `right`.
    pub(super) fn new(largest: f64, left: f64, right: f64) -> Self {
        let rough = if largest > 0.0 { largest } else { 1.0 } / STEPS_MAX;
        let power = 10_f64.powf(rough.log10().floor());
        // A little less would do for what only rounding has made larger.
        let fits = |step: &f64| step * power >= rough * (1.0 - 1e-9);
        let step = [1.0, 2.0, 5.0].into_iter().find(fits).unwrap_or(10.0) * power;
        let top = (largest / step * (1.0 - 1e-9)).ceil().max(1.0) * step;
        Self { top, step, left, right }
    }

    /// Where a number lies. What is below 0 or beyond the axis lies at its end.
    pub(super) fn x(&self, number: f64) -> f64 {
        self.left + (self.right - self.left) * (number / self.top).clamp(0.0, 1.0)
    }

    /// The numbers that are marked.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { top, step, .. } = *self;
        (0_u8..).map(move |at| f64::from(at) * step).take_while(move |tick| *tick <= top * 1.001)
    }
}

/// A tick's number as short as it can be.
pub(super) fn label(tick: f64) -> String {
    let text = format!("{tick:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_up_to_one_beyond_the_largest() {
        let ticks = |largest| {
            let ticks = Axis::new(largest, 0.0, 100.0).ticks().map(label);
            ticks.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ticks(1.0), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(ticks(12.68), "0 5 10 15");
        assert_eq!(ticks(0.47), "0 0.1 0.2 0.3 0.4 0.5");
        assert_eq!(ticks(20_000.0), "0 5000 10000 15000 20000");
        assert_eq!(ticks(0.0), "0 0.2");
    }

    #[test]
    fn numbers_lie_between_the_ends() {
        let axis = Axis::new(8.0, 100.0, 200.0);
        assert_eq!(
            [0.0, 4.0, 8.0, 9.0, -1.0].map(|n| axis.x(n)),
            [100.0, 150.0, 200.0, 200.0, 100.0]
        );
    }
}
