//! The curves as a picture: one panel for each measure, one line for each variant, both axes logarithmic.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::curve::{Curve, Family, number};

/// Of one panel, in pixels.
const PANEL: (u32, u32) = (560, 340);
const COLUMNS: usize = 2;
const COLOURS: [RGBColor; 4] =
    [RGBColor(0x1f, 0x77, 0xb4), RGBColor(0xd6, 0x27, 0x28), RGBColor(0x2c, 0xa0, 0x2c), RGBColor(0x94, 0x67, 0xbd)];

pub fn draw(to: &Path, family: &Family, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let rows = family.measures.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let root = SVGBackend::new(to, size).into_drawing_area();
    root.fill(&WHITE)?;
    for (index, panel) in root.split_evenly((rows, COLUMNS)).iter().enumerate().take(family.measures.len()) {
        let measure = family.measures[index];
        let line = |curve: &Curve| -> Vec<(f64, f64)> {
            let points = curve.rows.iter().filter_map(|row| Some((row.size as f64, row.values[index]?)));
            points.filter(|(_, value)| *value > 0.0).collect()
        };
        let values = || curves.iter().flat_map(line).map(|(_, value)| value);
        let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        if high == 0.0 {
            continue;
        }
        let largest = family.steps.last().expect("there are steps");
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("{}, {}", measure.name, measure.unit.name()), ("sans-serif", 16))
            .margin(10)
            .margin_right(30)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d(
                (0.8..*largest as f64 * 1.25).log_scale(),
                // A factor of twenty at least, so that noise does not look like a mountain; and room for the names.
                (low / 2.0..(high * 4.0).max(low * 10.0)).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(family.of)
            .x_label_formatter(&|value| number(*value))
            .y_label_formatter(&|value| number(*value))
            .light_line_style(BLACK.mix(0.05))
            .draw()?;
        for (curve, colour) in curves.iter().zip(COLOURS) {
            let points = line(curve);
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
                .label(curve.variant)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.2));
        labels.draw()?;
    }
    root.present()?;
    Ok(())
}
