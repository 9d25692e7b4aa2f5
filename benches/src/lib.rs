//! The report of runs beside peers: the raw tables that the bench scripts keep in `runs/<date>-<machine>/`, read, summed up and drawn.
//!
//! All of it is pure, text in and text out; the binary `shunt-bench-report` does the reading and writing. The micro benches of
//! this crate stand apart, in `micro/`.
//!
//! Reading order: [`series`] (a raw table), [`spread`] (median, min and max), [`measure`] (what a column counts), [`summary`] (all
//! series of a run as Markdown and JSON), [`chart`] (a series as SVG).

pub mod chart;
pub mod measure;
pub mod series;
pub mod spread;
pub mod summary;
