//! The table: a row for each measurement, with the figures that it has.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::child::Failure;

/// The columns, in order.
const COLUMNS: [&str; 9] = [
    "seeds per s",
    "seeds per min",
    "simulated s per s",
    "calls per s",
    "start, s",
    "KiB per host",
    "servers",
    "placing, simulated s",
    "placing, s",
];

/// One line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// By column.
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// Why there are none.
    reason: Option<String>,
}

impl Row {
    /// A row of what was seen.
    pub(crate) fn of(what: &str, seen: Result<Vec<(&'static str, f64)>, Failure>) -> Self {
        let what = what.to_owned();
        match seen {
            Ok(figures) => Self { what, figures: figures.into_iter().collect(), reason: None },
            Err(error) => Self { what, figures: BTreeMap::new(), reason: Some(error.to_string()) },
        }
    }
}

/// Three digits that count, or all of a large number, with commas.
pub(crate) fn short(figure: f64) -> String {
    if figure.abs() < 100.0 {
        let digits = if figure.abs() < 10.0 { 2 } else { 1 };
        return format!("{figure:.digits$}");
    }
    let whole = format!("{figure:.0}");
    let groups: Vec<&str> = whole
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// For people; it is Markdown, too.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["what"].into_iter().chain(COLUMNS));
    for row in rows {
        let mut cells = vec![row.what.clone()];
        match &row.reason {
            Some(reason) => cells.push(format!("not measured: {reason}")),
            None => cells.extend(
                COLUMNS
                    .map(|column| row.figures.get(column).copied().map(short).unwrap_or_default()),
            ),
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Row, short, text};

    #[test]
    fn a_row_without_figures_says_why() {
        let rows = [
            Row::of("one", Ok(vec![("calls per s", 12_345.6)])),
            Row::of("two", Err("it is not built".into())),
        ];
        let text = text(&rows);
        assert!(text.contains("12,346"), "{text}");
        assert!(text.contains("not measured: it is not built"), "{text}");
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.5, 12.34, 123.4, 1_234_567.0].map(short);
        assert_eq!(shown, ["0.50", "12.3", "123", "1,234,567"]);
    }
}
