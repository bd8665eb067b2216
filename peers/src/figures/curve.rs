//! How a figure grows, and its picture.

use std::ops::Range;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

/// Lines over one axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Of its file.
    pub name: String,
    /// Above it.
    pub title: String,
    /// One sentence: how to read it.
    pub reading: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Ours is the first.
    pub lines: Vec<Line>,
}

/// What is along it, with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What is along it, with its unit.
    pub what: String,
    /// Whether equal distances are equal factors: of two to the right, of ten upwards.
    pub log: bool,
}

/// One contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Who.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (760, 420);

/// How much higher the picture is for its legend, which is above the lines.
const LEGEND: f64 = 0.4;

/// Which nearly everybody can tell from each other, also on paper (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(110, 110, 110),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

impl Axis {
    /// Equal distances are equal amounts.
    #[must_use]
    pub fn even(what: impl Into<String>) -> Self {
        Self { what: what.into(), log: false }
    }

    /// Equal distances are equal factors.
    #[must_use]
    pub fn log(what: impl Into<String>) -> Self {
        Self { what: what.into(), log: true }
    }
}

impl Curve {
    /// A picture, on white whatever is around it.
    ///
    /// # Errors
    /// Without a point, or with more lines than there are colours.
    pub fn svg(&self) -> Result<String> {
        ensure!(self.lines.len() <= COLOURS.len(), "{}: too many lines", self.name);
        let x = self.extent(&self.x, 0.0, |point| point.0)?;
        let y = self.extent(&self.y, LEGEND, |point| point.1)?;
        let mut svg = String::new();
        match (self.x.log, self.y.log) {
            (false, false) => self.draw(&mut svg, x, y),
            (false, true) => self.draw(&mut svg, x, y.log_scale()),
            (true, false) => self.draw(&mut svg, x.log_scale().base(2.0), y),
            (true, true) => self.draw(&mut svg, x.log_scale().base(2.0), y.log_scale()),
        }?;
        Ok(svg)
    }

    /// From nothing, where the axis has it. `room` is the share of it that is left free above the points.
    fn extent(&self, axis: &Axis, room: f64, value: impl Fn(&(f64, f64)) -> f64) -> Result<Range<f64>> {
        let all = || self.lines.iter().flat_map(|line| &line.points).map(&value);
        let most = all().reduce(f64::max).with_context(|| format!("{}: no point", self.name))?;
        let least = all().fold(most, f64::min);
        Ok(match axis.log {
            true if most > least => least..most * (most / least).powf(room),
            true => least..least * 2.0,
            false if most > 0.0 => 0.0..most * (1.0 + room),
            false => 0.0..1.0,
        })
    }

    fn draw<X, Y>(&self, svg: &mut String, x: X, y: Y) -> Result<()>
    where
        X: AsRangedCoord<Value = f64, CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
        Y: AsRangedCoord<Value = f64, CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>>,
    {
        // What goes wrong in memory is said with a type that is not Send.
        let said = |e: &dyn std::error::Error| anyhow!("{}: {e}", self.name);
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|e| said(&e))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(x, y)
            .map_err(|e| said(&e))?;
        chart
            .configure_mesh()
            .x_desc(&self.x.what)
            .y_desc(&self.y.what)
            .label_style(("sans-serif", 12))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()
            .map_err(|e| said(&e))?;
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            let drawn = chart.draw_series(series).map_err(|e| said(&e))?;
            drawn
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.25))
            .label_font(("sans-serif", 13))
            .draw()
            .map_err(|e| said(&e))?;
        area.present().map_err(|e| said(&e))
    }
}

/// A number at an axis, without zeros behind the point.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "as plotters calls it")]
fn short(value: &f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::*;

    fn curve(log: [bool; 2]) -> Curve {
        let line = |name: &str, factor: f64| {
            let points = [1.0, 2.0, 4.0, 512.0].map(|x| (x, x * factor)).into();
            Line { name: name.into(), points }
        };
        Curve {
            name: "test".into(),
            title: "A < B & C".into(),
            reading: "Upwards is more.".into(),
            x: Axis { what: "processes at once".into(), log: log[0] },
            y: Axis { what: "time, µs".into(), log: log[1] },
            lines: vec![line("ours", 1.0), line("raw", 0.5), line("others", 30.0)],
        }
    }

    fn texts(svg: &Document<'_>) -> Vec<String> {
        let is_text = |node: &Node<'_, '_>| node.has_tag_name("text");
        svg.descendants().filter(is_text).filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
    }

    #[test]
    fn a_picture_has_every_line_the_axes_and_the_legend() {
        for log in [[false, false], [false, true], [true, false], [true, true]] {
            let svg = curve(log).svg().unwrap();
            let svg = Document::parse(&svg).unwrap();
            for colour in &COLOURS[..3] {
                let RGBColor(red, green, blue) = colour;
                let colour = format!("#{red:02X}{green:02X}{blue:02X}");
                let is_line = |node: &Node<'_, '_>| {
                    node.has_tag_name("polyline") && node.attribute("stroke") == Some(&colour)
                };
                let points = |node: Node<'_, '_>| node.attribute("points").unwrap().trim().split(' ').count();
                let mut points: Vec<_> = svg.descendants().filter(is_line).map(points).collect();
                points.sort_unstable();
                assert_eq!(points, [2, 4], "one in the legend, one line: {colour} {log:?}");
            }
            let texts = texts(&svg);
            for text in ["A < B & C", "processes at once", "time, µs", "ours", "raw", "others"] {
                assert!(texts.iter().any(|it| it == text), "{text}: {texts:?}");
            }
        }
    }

    #[test]
    fn a_picture_is_on_white_and_small() {
        let mut curve = curve([false, false]);
        for line in &mut curve.lines {
            line.points = (0..100).map(|x| (f64::from(x), 1.0 / 3.0)).collect();
        }
        let svg = curve.svg().unwrap();
        assert!(svg.len() < 50_000, "{}", svg.len());
        let svg = Document::parse(&svg).unwrap();
        let first = svg.root_element().first_element_child().unwrap();
        assert_eq!((first.tag_name().name(), first.attribute("fill")), ("rect", Some("#FFFFFF")));
        assert_eq!(first.attribute("width"), svg.root_element().attribute("width"));
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let mut curve = curve([true, true]);
        curve.lines.iter_mut().for_each(|line| line.points.clear());
        assert!(curve.svg().unwrap_err().to_string().contains("test: no point"));
    }

    #[test]
    fn one_point_is_enough() {
        for log in [[false, false], [true, true]] {
            let mut curve = curve(log);
            curve.lines.iter_mut().for_each(|line| line.points = vec![(1.0, 1.0)]);
            Document::parse(&curve.svg().unwrap()).unwrap();
        }
    }

    #[test]
    fn numbers_at_an_axis_are_short() {
        assert_eq!([512.0, 0.5, 0.126, 0.0].map(|value| short(&value)), ["512", "0.5", "0.13", "0"]);
    }
}
