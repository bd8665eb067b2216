use super::PortRange;

/// A set of port numbers as ascending, disjoint runs: what an allocator picks from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// First and last number of each run.
    runs: Vec<(u16, u16)>,
    len: usize,
}

impl Numbers {
    pub(crate) fn new(range: PortRange) -> Self {
        Self { runs: vec![(range.first().get(), range.last().get())], len: range.len() }
    }

    /// Takes the numbers `first` to `last` out of the set.
    pub(crate) fn remove(&mut self, first: u16, last: u16) {
        let cut = |&(from, to): &(u16, u16)| {
            let below = (from < first).then(|| (from, to.min(first.saturating_sub(1))));
            let above = (to > last).then(|| (from.max(last.saturating_add(1)), to));
            [below, above].into_iter().flatten()
        };
        self.runs = self.runs.iter().flat_map(cut).collect();
        self.len = self.runs.iter().map(|(from, to)| usize::from(to - from) + 1).sum();
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The index of the lowest number that is not below `port`; 0 if there is none.
    pub(crate) fn first_from(&self, port: u16) -> usize {
        let mut index = 0;
        for (from, to) in &self.runs {
            if *to >= port {
                return index + usize::from(port.saturating_sub(*from));
            }
            index += usize::from(to - from) + 1;
        }
        0
    }

    /// The number at `index`, counted upwards from the lowest.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub(crate) fn nth(&self, mut index: usize) -> u16 {
        for (from, to) in &self.runs {
            let len = usize::from(to - from) + 1;
            if index < len {
                return from + u16::try_from(index).expect("below the length of a run");
            }
            index -= len;
        }
        panic!("index {index} is past the end of the numbers");
    }
}
