//! Plain text in columns.

/// Cells under a header. The first column and the last are flush left, those between flush right.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with the names of its columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        let header = header.iter().map(ToString::to_string).collect();
        Self { rows: vec![header] }
    }

    /// Adds a row, with as many cells as the header has.
    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.rows[0].len());
        self.rows.push(row);
    }

    /// Its lines.
    #[must_use]
    pub fn render(&self) -> String {
        let widths = self.widths();
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let outer = column == 0 || column == row.len() - 1;
                if outer { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let line: Vec<_> = cells.collect();
            format!("{}\n", line.join("  ").trim_end())
        });
        lines.collect()
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        (0..self.rows[0].len()).filter_map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["what", "time", "verdict"]);
        table.push(["hold", "13.7µs", "holds"].map(String::from).into());
        assert_eq!(table.render(), "what    time  verdict\nhold  13.7µs  holds\n");
    }
}
