//! A series as SVG: bars of the medians, whiskers from the least to the largest.
//!
//! Columns that count the same share an axis. Several of them make a panel for each group, in which they are compared; a column that is
//! alone makes one panel, in which the groups are. A ratio's panels have one scale and a line at 1. Colours follow the column everywhere.

mod axis;
mod panel;

use std::fmt::Write;

use self::axis::Axis;
use self::panel::{Bar, Panel, panels};
use crate::series::Series;
use crate::summary::spread_in;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
/// Where the longest value text still fits behind the longest bar.
const VALUES_WIDTH: f64 = 190.0;
const BAR: f64 = 14.0;
const BAR_STEP: f64 = 22.0;
/// Of a letter, about.
const LETTER: f64 = 6.8;
/// Labels are cut behind this many letters.
const LABEL_MAX: usize = 26;

/// Light, and dark where the reader's system is.
const STYLE: &str = "\
text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1c2126; }
.name { font-size: 16px; font-weight: 600; } .panel { font-weight: 600; }
.muted { fill: #5a646e; } .value { paint-order: stroke; stroke: #ffffff; stroke-width: 3px; stroke-linejoin: round; }
.paper { fill: #ffffff; } .grid { stroke: #dfe3e8; } .one { stroke: #5a646e; stroke-dasharray: 4 3; }
.whisker { stroke: #1c2126; stroke-width: 1.5; }
.c0 { fill: #2563a8; } .c1 { fill: #d9730d; } .c2 { fill: #2f7d4f; } .c3 { fill: #7b4bb0; }
.c4 { fill: #a83a52; } .c5 { fill: #6b7b8b; } .c6 { fill: #a58000; } .c7 { fill: #0f7c8a; }
@media (prefers-color-scheme: dark) {
text { fill: #e8ecf0; } .muted { fill: #9aa5b1; } .paper { fill: #14181d; } .grid { stroke: #2c333b; }
.one { stroke: #9aa5b1; } .whisker { stroke: #e8ecf0; } .value { stroke: #14181d; }
.c0 { fill: #5b9be0; } .c1 { fill: #e88a45; } .c2 { fill: #53ab78; } .c3 { fill: #a482dd; }
.c4 { fill: #d9708a; } .c5 { fill: #93a1af; } .c6 { fill: #c7a638; } .c7 { fill: #41b0be; }
}
";
/// As many as the style has.
const COLOURS: usize = 8;

/// Draws a series.
pub fn svg(series: &Series) -> String {
    let panels = panels(series);
    let mut body = String::new();
    let mut canvas = Canvas { out: &mut body, y: MARGIN, labels_width: labels_width(&panels) };
    canvas.title(series);
    canvas.legend(series, &panels);
    panels.iter().for_each(|panel| canvas.panel(series, panel));
    let height = canvas.y + MARGIN / 2.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{}</title>\n<desc>{}</desc>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n{body}</svg>\n",
        escaped(&series.name),
        escaped(&series.what),
    )
}

fn labels_width(panels: &[Panel]) -> f64 {
    let labels = panels.iter().flat_map(|panel| &panel.bars);
    let longest = labels.map(|bar| bar.label.chars().count().min(LABEL_MAX)).max();
    (f64::from(u32::try_from(longest.unwrap_or(0)).unwrap_or(0)) * LETTER + 10.0).max(60.0)
}

/// What has been drawn so far, and how far down.
struct Canvas<'a> {
    out: &'a mut String,
    y: f64,
    labels_width: f64,
}

impl Canvas<'_> {
    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{element}");
    }

    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn title(&mut self, series: &Series) {
        self.text(MARGIN, self.y + 12.0, "name", "start", &series.name);
        self.y += 22.0;
        for line in wrapped(&series.what, WIDTH - 2.0 * MARGIN) {
            self.text(MARGIN, self.y + 12.0, "muted", "start", &line);
            self.y += 17.0;
        }
        self.y += 8.0;
    }

    fn legend(&mut self, series: &Series, panels: &[Panel]) {
        let mut x = MARGIN;
        for (at, column) in series.columns.iter().enumerate() {
            let drawn = panels.iter().flat_map(|panel| &panel.bars).any(|bar| bar.column == at);
            let width = 28.0 + width_of(&column.name);
            if !drawn {
                continue;
            }
            if x + width > WIDTH - MARGIN {
                (x, self.y) = (MARGIN, self.y + 18.0);
            }
            let (y, colour) = (self.y, at % COLOURS);
            self.push(format_args!(
                "<rect class=\"c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\" rx=\"2\"/>"
            ));
            self.text(x + 17.0, y + 10.5, "", "start", &column.name);
            x += width;
        }
        self.y += 20.0;
        let note = "bar: median of the rounds; whisker: least to largest";
        self.text(MARGIN, self.y + 8.0, "muted", "start", note);
        self.y += 22.0;
    }

    fn panel(&mut self, series: &Series, panel: &Panel) {
        if !panel.title.is_empty() {
            self.text(MARGIN, self.y + 11.0, "panel", "start", &panel.title);
            self.y += 20.0;
        }
        let left = MARGIN + self.labels_width;
        let axis = Axis::new(panel.top, left, WIDTH - MARGIN - VALUES_WIDTH);
        let rows = f64::from(u32::try_from(panel.bars.len()).unwrap_or(0));
        let (above, below) = (self.y, self.y + rows * BAR_STEP);
        for tick in axis.ticks() {
            let x = axis.x(tick);
            self.line("grid", [x, x], [above, below]);
            self.text(x, below + 14.0, "muted value", "middle", &axis::label(tick));
        }
        if panel.is_ratio {
            let x = axis.x(1.0);
            self.line("one", [x, x], [above, below]);
        }
        for bar in &panel.bars {
            self.bar(series, bar, &axis);
        }
        self.y += 32.0;
    }

    fn bar(&mut self, series: &Series, bar: &Bar, axis: &Axis) {
        let (y, middle) = (self.y + (BAR_STEP - BAR) / 2.0, self.y + BAR_STEP / 2.0);
        self.y += BAR_STEP;
        let label: String = bar.label.chars().take(LABEL_MAX).collect();
        self.text(axis.x(0.0) - 8.0, middle + 4.0, "", "end", &label);
        let Some(spread) = bar.spread else {
            self.text(axis.x(0.0) + 6.0, middle + 4.0, "muted", "start", "not measured");
            return;
        };
        let column = &series.columns[bar.column];
        let value = spread_in(&spread, column);
        let (x, end, colour) = (axis.x(0.0), axis.x(spread.median), bar.column % COLOURS);
        let width = (end - x).max(1.0);
        let said = escaped(&format!("{} {}: {value}", bar.label, column.name));
        self.push(format_args!(
            "<rect class=\"c{colour}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"><title>{said}</title></rect>"
        ));
        let (least, largest) = (axis.x(spread.min), axis.x(spread.max));
        if spread.rounds > 1 {
            self.line("whisker", [least, largest], [middle; 2]);
            for x in [least, largest] {
                self.line("whisker", [x; 2], [middle - 4.0, middle + 4.0]);
            }
        }
        self.text(largest.max(end) + 8.0, middle + 4.0, "value", "start", &value);
    }

    fn line(&mut self, class: &str, [x1, x2]: [f64; 2], [y1, y2]: [f64; 2]) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }
}

fn width_of(text: &str) -> f64 {
    f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)) * LETTER
}

/// The text in lines that fit.
fn wrapped(text: &str, width: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or("", String::as_str);
        if !line.is_empty() && width_of(line) + width_of(word) + LETTER > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# a < b; seconds\n# shunt 0.1.0\n# benches/x.sh\n";

    fn drawn(rest: &str) -> String {
        svg(&Series::parse("x", &format!("{HEAD}{rest}")).unwrap())
    }

    #[test]
    fn a_bar_has_its_label_its_whisker_and_its_value() {
        let svg = drawn("round shunt peer\n1 1.0 4.0\n2 2.0 4.0\n3 3.0 4.0\n");
        assert!(svg.starts_with("<svg xmlns="), "{svg}");
        assert!(svg.contains("<desc>a &lt; b; seconds</desc>"), "{svg}");
        assert!(svg.contains(">2.0 (1.0 to 3.0)</text>"), "{svg}");
        assert_eq!(svg.matches("class=\"whisker\"").count(), 6);
        assert_eq!(svg.matches("<rect class=\"c0\"").count(), 2, "legend and bar");
        assert!(svg.contains("prefers-color-scheme: dark"));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn a_single_round_has_no_whisker_and_what_is_missing_is_said() {
        let svg = drawn("round shunt peer\n1 1.0 -\n");
        assert!(!svg.contains("class=\"whisker\""));
        assert!(svg.contains("not measured"));
    }

    #[test]
    fn long_texts_are_wrapped() {
        assert_eq!(wrapped("aa bb cc", 6.0 * LETTER), ["aa bb", "cc"]);
        assert_eq!(wrapped("", 10.0), [""]);
    }
}
