//! How figures grow with the number of hosts, as drawings.

use std::path::Path;

use plotters::prelude::*;

use crate::{
    child::Failure,
    table::{Row, short},
};

const SIZE: (u32, u32) = (640, 360);

/// Each figure that is drawn: its column, its file and its title.
const PLOTS: [(&str, &str, &str); 4] = [
    ("simulated s per s", "speed", "simulated seconds in a second of real time, nothing going on"),
    ("KiB per host", "memory", "KiB of memory for each host"),
    ("placing, simulated s", "placing-simulated", "simulated seconds until all servers are active"),
    ("placing, s", "placing", "seconds of real time until all servers are active"),
];

/// Draws all of them into a folder.
pub(crate) fn all(rows: &[Row], folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (column, file, title) in PLOTS {
        let mut points: Vec<(f64, f64)> = rows
            .iter()
            .filter(|row| row.what.ends_with("tier 1"))
            .filter_map(|row| Some((*row.figures.get("hosts")?, *row.figures.get(column)?)))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        if points.len() > 1 {
            draw(&folder.join(format!("harness-{file}.svg")), title, &points)?;
        }
    }
    Ok(())
}

/// Powers of ten around all of these.
fn decades(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(0.0, f64::max);
    10_f64.powf(least.log10().floor())..10_f64.powf((most * 1.01).log10().ceil())
}

fn draw(path: &Path, title: &str, points: &[(f64, f64)]) -> Result<(), Failure> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let (x, y) = (decades(points.iter().map(|p| p.0)), decades(points.iter().map(|p| p.1)));
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .margin_right(28)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(x.log_scale(), y.log_scale())
        .map_err(|error| failed(&error))?;
    chart
        .configure_mesh()
        .x_desc("hosts")
        .x_label_formatter(&|value| plain(*value))
        .y_label_formatter(&|value| plain(*value))
        .draw()
        .map_err(|error| failed(&error))?;
    let line = LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)).point_size(3);
    chart.draw_series(line).map_err(|error| failed(&error))?;
    let labels = points.iter().map(|(x, y)| {
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        EmptyElement::at((*x, *y)) + Text::new(short(*y), (-8, -18), style)
    });
    chart.draw_series(labels).map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))?;
    Ok(())
}

/// A number of an axis.
fn plain(value: f64) -> String {
    if value >= 100.0 { short(value) } else { format!("{value}") }
}
