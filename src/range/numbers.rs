use super::PortRange;

/// Port numbers as disjoint runs, in the order in which they are tried: what an allocator picks from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// First and last number of each run. They need not ascend.
    runs: Vec<(u16, u16)>,
    len: usize,
}

impl Numbers {
    pub(crate) fn new(range: PortRange) -> Self {
        Self { runs: vec![(range.first().get(), range.last().get())], len: range.len() }
    }

    /// Takes the numbers `first` to `last` out of the set.
    pub(crate) fn remove(&mut self, first: u16, last: u16) {
        if first > last || self.runs.iter().all(|(from, to)| *to < first || *from > last) {
            return;
        }
        let cut = |&(from, to): &(u16, u16)| {
            let below = (from < first).then(|| (from, to.min(first.saturating_sub(1))));
            let above = (to > last).then(|| (from.max(last.saturating_add(1)), to));
            [below, above].into_iter().flatten()
        };
        self.runs = self.runs.iter().flat_map(cut).collect();
        self.len = self.runs.iter().map(|(from, to)| usize::from(to - from) + 1).sum();
    }

    /// Takes out what `others` has.
    pub(super) fn remove_all(&mut self, others: &Self) {
        for (first, last) in &others.runs {
            self.remove(*first, *last);
        }
    }

    /// Puts `more` behind these, without what is among them already.
    pub(super) fn append(&mut self, mut more: Self) {
        more.remove_all(self);
        for (first, last) in more.runs {
            match self.runs.last_mut() {
                Some(run) if run.1.checked_add(1) == Some(first) => run.1 = last,
                _ => self.runs.push((first, last)),
            }
        }
        self.len += more.len;
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

    /// The number at `index`, counted in the order of the runs.
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

    /// Where [`nth`](Self::nth) has `port`.
    pub(crate) fn index_of(&self, port: u16) -> Option<usize> {
        let mut index = 0;
        for (from, to) in &self.runs {
            if (*from..=*to).contains(&port) {
                return Some(index + usize::from(port - from));
            }
            index += usize::from(to - from) + 1;
        }
        None
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.index_of(port).is_some()
    }
}
