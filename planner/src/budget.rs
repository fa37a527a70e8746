//! How much one load may cost in all, so that no file can make it slow or large:
//! aliases, extends, includes and ranges of ports multiply what is written.

use crate::diagnostic::{Problem, codes};
use crate::tree::{Node, Span, Value};

/// What is left.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// Nodes of all trees, copies included.
    nodes: usize,
    /// Bytes of text in them.
    text: usize,
    /// Bytes of environment files, each as often as it is read.
    variables: usize,
    /// Documents; each one costs a walk over the whole tree.
    documents: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: 300_000,
            text: 64 << 20,
            variables: 16 << 20,
            documents: 500,
        }
    }
}

/// What nodes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) nodes: usize,
    pub(crate) text: usize,
}

impl Weight {
    /// A scalar with this many bytes of text.
    pub(crate) fn scalar(text: usize) -> Self {
        Self { nodes: 1, text }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes + other.nodes,
            text: self.text + other.text,
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            nodes: self.nodes - other.nodes,
            text: self.text - other.text,
        }
    }

    /// A node with all below it.
    pub(crate) fn of(node: &Node) -> Self {
        let one = Self::scalar(0);
        match &node.value {
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => one,
            Value::String(text) => Self::scalar(text.len()),
            Value::Sequence(items) => items.iter().map(Self::of).fold(one, Self::plus),
            Value::Mapping(entries) => entries.values().map(Self::of).fold(one, Self::plus),
        }
    }
}

impl Budget {
    /// Takes the weight.
    ///
    /// # Errors
    /// The finding when there is not enough; `at` is who asks.
    pub(crate) fn take(&mut self, weight: Weight, at: Span) -> Result<(), Box<Problem>> {
        let left = (
            self.nodes.checked_sub(weight.nodes),
            self.text.checked_sub(weight.text),
        );
        let (Some(nodes), Some(text)) = left else {
            let message =
                "the stack is too large once aliases, variables, includes and extends are followed";
            return Err(Box::new(
                Problem::error(codes::TOO_BIG, message).at(at, "too much from here on"),
            ));
        };
        (self.nodes, self.text) = (nodes, text);
        Ok(())
    }

    /// No environment file is worth reading any more.
    pub(crate) fn has_no_variables(&self) -> bool {
        self.variables == 0
    }

    /// Takes an environment file of this many bytes.
    ///
    /// # Errors
    /// The finding when all of them together are too large.
    pub(crate) fn take_variables(&mut self, bytes: usize, at: Span) -> Result<(), Box<Problem>> {
        let left = self.variables.checked_sub(bytes);
        self.variables = left.unwrap_or(0);
        match left {
            Some(_) => Ok(()),
            None => Err(Box::new(
                Problem::error(codes::TOO_BIG, "the environment files are too large in all")
                    .at(at, "not read any more"),
            )),
        }
    }

    /// Takes one document.
    ///
    /// # Errors
    /// The finding when there are too many.
    pub(crate) fn take_document(&mut self, at: Span) -> Result<(), Box<Problem>> {
        match self.documents.checked_sub(1) {
            Some(left) => {
                self.documents = left;
                Ok(())
            }
            None => Err(Box::new(
                Problem::error(codes::TOO_BIG, "too many documents are read").at(at, "by this one"),
            )),
        }
    }
}
