//! Several `--filter` of one command, as Docker takes them.

use std::mem::discriminant;

/// Values of one key are alternatives; of labels, all are needed.
pub(super) struct Filters<'a, F> {
    filters: &'a [F],
    all_count: fn(&F) -> bool,
}

impl<'a, F> Filters<'a, F> {
    /// `all_count`: for filters that are no alternatives of each other.
    pub(super) fn new(filters: &'a [F], all_count: fn(&F) -> bool) -> Filters<'a, F> {
        Filters { filters, all_count }
    }

    /// Do they take something, if each of them does what `takes` says?
    pub(super) fn take(&self, takes: impl Fn(&F) -> bool) -> bool {
        let alike = |one: &F| {
            let mut all = self.filters.iter();
            let kind = discriminant(one);
            all.any(|other| discriminant(other) == kind && takes(other))
        };
        let counts = |one: &F| match (self.all_count)(one) {
            true => takes(one),
            false => alike(one),
        };
        self.filters.iter().all(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Filter {
        Name(&'static str),
        Label(&'static str),
    }

    #[test]
    fn names_are_alternatives_and_labels_are_not() {
        use Filter::{Label, Name};
        let take = |filters: &[Filter]| {
            let filters = Filters::new(filters, |filter| matches!(filter, Label(_)));
            filters.take(|filter| match filter {
                Name(name) => *name == "a",
                Label(label) => ["x", "y"].contains(label),
            })
        };
        assert!(take(&[]) && take(&[Name("a"), Name("b")]) && take(&[Label("x"), Label("y")]));
        assert!(!take(&[Name("b")]) && !take(&[Name("a"), Label("z")]));
        assert!(!take(&[Label("x"), Label("z")]));
    }
}
