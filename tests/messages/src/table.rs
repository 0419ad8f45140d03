//! The table: a row for each case and peer, with every figure beside what plain TCP had in the same run.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{aims::Aim, case::FLOOR};

/// A figure of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Column {
    /// Messages in a second.
    PerSecond,
    /// Half are faster.
    P50Us,
    /// 99 of 100 are.
    P99Us,
    /// 999 of 1,000 are.
    P999Us,
    /// Processor time of the caller for each message.
    CallerCpuUs,
    /// The same of everybody.
    CpuUs,
    /// Memory of the caller for each thing.
    CallerBytes,
    /// Memory of whoever holds it.
    Bytes,
}

impl Column {
    const ALL: [(Self, &str); 8] = [
        (Self::PerSecond, "per second"),
        (Self::P50Us, "p50 µs"),
        (Self::P99Us, "p99 µs"),
        (Self::P999Us, "p99.9 µs"),
        (Self::CallerCpuUs, "CPU µs, caller"),
        (Self::CpuUs, "CPU µs, all"),
        (Self::CallerBytes, "bytes, caller"),
        (Self::Bytes, "bytes"),
    ];
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) case: String,
    /// Over what.
    pub(crate) peer: String,
    /// The medians.
    pub(crate) figures: BTreeMap<Column, f64>,
    /// How many times plain TCP's figure each is.
    pub(crate) times_tcp: BTreeMap<Column, f64>,
    /// How many rounds were measured.
    rounds: usize,
    /// Why there are no figures.
    pub(crate) reason: Option<String>,
}

impl Row {
    /// A row of what was seen in all rounds.
    pub(crate) fn new(
        case: &str,
        peer: &str,
        seen: Result<Vec<BTreeMap<Column, f64>>, String>,
    ) -> Self {
        let (rounds, reason) = match seen {
            Ok(rounds) => (rounds, None),
            Err(reason) => (Vec::new(), Some(reason)),
        };
        Self {
            case: case.to_owned(),
            peer: peer.to_owned(),
            figures: medians(&rounds),
            times_tcp: BTreeMap::new(),
            rounds: rounds.len(),
            reason,
        }
    }

    /// Fills in how the rows of one case compare with plain TCP's.
    pub(crate) fn compare(rows: &mut [Self]) {
        let floor = rows.iter().find(|row| row.peer == FLOOR).map(|row| row.figures.clone());
        let floor = floor.unwrap_or_default();
        for row in rows {
            let times =
                |(column, figure): (&Column, &f64)| Some((*column, figure / floor.get(column)?));
            row.times_tcp = row.figures.iter().filter_map(times).collect();
        }
    }

    fn cell(&self, column: Column) -> String {
        let Some(figure) = self.figures.get(&column) else { return String::new() };
        match self.times_tcp.get(&column) {
            Some(times) if self.peer != FLOOR => format!("{} ({}x)", short(*figure), short(*times)),
            _ => short(*figure),
        }
    }
}

fn medians(rounds: &[BTreeMap<Column, f64>]) -> BTreeMap<Column, f64> {
    let median = |(column, _)| {
        let mut all: Vec<f64> =
            rounds.iter().filter_map(|round| round.get(&column).copied()).collect();
        all.sort_by(f64::total_cmp);
        let middle = all.get(all.len() / 2).copied();
        middle.map(|figure| (column, figure))
    };
    Column::ALL.into_iter().filter_map(median).collect()
}

/// Three digits that count, or all of a large number, with commas.
fn short(figure: f64) -> String {
    if figure.abs() < 100.0 {
        let digits = if figure.abs() < 10.0 { 2 } else { 1 };
        return format!("{figure:.digits$}");
    }
    let whole = format!("{:.0}", figure.abs());
    let groups: Vec<&str> = whole
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    format!("{}{}", if figure < 0.0 { "-" } else { "" }, groups.join(","))
}

/// For people; it is Markdown, too.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let columns = Column::ALL.map(|(_, title)| title);
    table.set_header(["case", "over"].into_iter().chain(columns));
    for row in rows {
        let mut cells = vec![row.case.clone(), row.peer.clone()];
        match &row.reason {
            Some(reason) => cells.push(format!("not measured: {reason}")),
            None => cells.extend(Column::ALL.map(|(column, _)| row.cell(column))),
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

/// For programs.
pub(crate) fn json(rows: &[Row], aims: &[Aim]) -> Value {
    json!({ "rows": rows, "aims": aims })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Column, Row, short};

    fn row(peer: &str, rounds: &[f64]) -> Row {
        let round = |figure: &f64| BTreeMap::from([(Column::CpuUs, *figure)]);
        Row::new("calls", peer, Ok(rounds.iter().map(round).collect()))
    }

    #[test]
    fn a_row_tells_the_median_of_its_rounds_and_how_it_compares_with_plain_tcp() {
        let mut rows = [row("updraft", &[9.0, 2.0, 3.0]), row("tcp", &[2.0, 1.0, 100.0])];
        Row::compare(&mut rows);
        assert_eq!(rows[0].cell(Column::CpuUs), "3.00 (1.50x)");
        assert_eq!(rows[1].cell(Column::CpuUs), "2.00");
    }

    #[test]
    fn a_row_without_figures_compares_with_nothing() {
        let mut rows = [row("updraft", &[1.0]), Row::new("calls", "tcp", Err("gone".to_owned()))];
        Row::compare(&mut rows);
        assert_eq!(rows[0].cell(Column::CpuUs), "1.00");
        assert_eq!(rows[1].cell(Column::CpuUs), "");
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.5, 12.34, 123.4, 1_234.0, 1_234_567.0].map(short);
        assert_eq!(shown, ["0.50", "12.3", "123", "1,234", "1,234,567"]);
    }
}
