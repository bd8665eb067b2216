use super::PortRange;

/// Port numbers as disjoint runs, in the order in which they are tried: what an allocator picks from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// They need not ascend.
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u16,
    last: u16,
    /// How many numbers the runs before this one have.
    before: usize,
}

impl Run {
    /// How many numbers there are up to its end.
    fn end(&self) -> usize {
        self.before + usize::from(self.last - self.first) + 1
    }
}

impl Numbers {
    pub(crate) fn new(range: PortRange) -> Self {
        let mut numbers = Self::default();
        numbers.push(range.first().get(), range.last().get());
        numbers
    }

    /// Puts a run behind the others, none of whose numbers are among them yet.
    fn push(&mut self, first: u16, last: u16) {
        let before = self.len();
        match self.runs.last_mut() {
            Some(run) if run.last.checked_add(1) == Some(first) => run.last = last,
            _ => self.runs.push(Run { first, last, before }),
        }
    }

    /// Takes out the numbers `first` to `last`.
    pub(crate) fn remove(&mut self, first: u16, last: u16) {
        // Of the well-known numbers, most are not among the default ones.
        if self.runs.iter().any(|run| first <= run.last && run.first <= last) {
            self.remove_ascending(&[(first, last)]);
        }
    }

    /// Takes out these runs of first and last numbers, which ascend.
    pub(super) fn remove_ascending(&mut self, out: &[(u16, u16)]) {
        let mut left = Self::default();
        for run in &self.runs {
            let mut rest = Some(run.first);
            let near = out.partition_point(|(_, last)| *last < run.first);
            for (first, last) in out[near..].iter().take_while(|(first, _)| *first <= run.last) {
                let Some(from) = rest else { break };
                if from < *first {
                    left.push(from, first - 1);
                }
                rest = last.checked_add(1).filter(|next| *next <= run.last);
            }
            if let Some(from) = rest {
                left.push(from, run.last);
            }
        }
        *self = left;
    }

    /// Takes out what `others` has.
    pub(super) fn remove_all(&mut self, others: &Self) {
        for run in &others.runs {
            self.remove(run.first, run.last);
        }
    }

    /// Puts `more` behind these, without what is among them already.
    pub(super) fn append(&mut self, mut more: Self) {
        more.remove_all(self);
        for run in more.runs {
            self.push(run.first, run.last);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.last().map_or(0, Run::end)
    }

    /// Whether one of them is a multiple of this.
    pub(crate) fn has_multiple_of(&self, divisor: u16) -> bool {
        self.runs.iter().any(|run| run.last - run.last % divisor >= run.first)
    }

    /// The number at `index`, counted in the order of the runs.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub(crate) fn nth(&self, index: usize) -> u16 {
        let run = self.runs[self.runs.partition_point(|run| run.end() <= index)];
        run.first + u16::try_from(index - run.before).expect("below the length of a run")
    }

    /// Where [`nth`](Self::nth) has `port`.
    pub(crate) fn index_of(&self, port: u16) -> Option<usize> {
        let run = self.runs.iter().find(|run| (run.first..=run.last).contains(&port))?;
        Some(run.before + usize::from(port - run.first))
    }

    pub(crate) fn contains(&self, port: u16) -> bool {
        self.index_of(port).is_some()
    }
}
