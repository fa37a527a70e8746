//! One document onto what earlier ones said.

use std::path::PathBuf;

use super::{Loader, Scope};
use crate::canonical::canonical;
use crate::defaults;
use crate::diagnostic::{Problem, codes};
use crate::interpolate::interpolate;
use crate::merge::{enforce_unicity, merge, strip};
use crate::paths::{self, Base};
use crate::rules;
use crate::tree::{Mapping, Node, Path, Span};
use crate::validate::validate;

impl Loader<'_> {
    /// Several files as one tree: canonical, with defaults and absolute paths.
    /// `chain` has the files that are being included.
    pub(super) fn model(
        &mut self,
        files: Vec<(PathBuf, Vec<Node>)>,
        scope: Scope<'_>,
        chain: &mut Vec<PathBuf>,
    ) -> Node {
        let mut tree = Node::mapping(Mapping::new(), Span::NONE);
        for (path, documents) in files {
            chain.push(path.clone());
            for document in documents {
                tree = self.document(tree, document, &path, scope, chain);
            }
            chain.pop();
        }
        defaults::set(&mut tree);
        rules::check(&tree, &mut self.report);
        // What is included starts from its own folder, and nobody could tell
        // afterwards; Docker Compose does the same.
        if self.options.resolve_paths || !chain.is_empty() {
            paths::resolve(&mut tree, self.base(scope));
        }
        self.values_from_environment(&tree, scope.environment);
        tree
    }

    pub(super) fn base<'s>(&'s self, scope: Scope<'s>) -> Base<'s> {
        Base {
            folder: scope.folder,
            home: self.options.environment.get("HOME").map(String::as_str),
        }
    }

    fn document(
        &mut self,
        earlier: Node,
        mut document: Node,
        path: &std::path::Path,
        scope: Scope<'_>,
        chain: &mut Vec<PathBuf>,
    ) -> Node {
        if self.options.interpolate {
            interpolate(
                &mut document,
                scope.environment,
                &self.files,
                &mut self.budget,
                &mut self.report,
            );
        }
        self.include(&mut document, scope, chain);
        self.extends(&mut document, path, scope);
        let mut tree = merge(earlier, document, &mut Path::default(), &mut self.report);
        self.complete(&mut tree);
        tree
    }

    /// What follows every merge.
    fn complete(&mut self, tree: &mut Node) {
        enforce_unicity(tree);
        strip(tree);
        validate(tree, &mut self.report);
        if let Some(version) = tree
            .as_mapping_mut()
            .and_then(|entries| entries.shift_remove("version"))
        {
            let problem = Problem::warning(codes::OBSOLETE_VERSION, "`version` has no meaning");
            self.report
                .push(problem.at(version.place(), "obsolete").help("leave it out"));
        }
        canonical(
            tree,
            !self.options.interpolate,
            &mut self.budget,
            &mut self.report,
        );
        enforce_unicity(tree);
    }

    /// A file that others extend, alone: no includes, no extends, not validated.
    pub(super) fn base_document(
        &mut self,
        earlier: Node,
        mut document: Node,
        scope: Scope<'_>,
    ) -> Node {
        if self.options.interpolate {
            interpolate(
                &mut document,
                scope.environment,
                &self.files,
                &mut self.budget,
                &mut self.report,
            );
        }
        let mut tree = merge(earlier, document, &mut Path::default(), &mut self.report);
        enforce_unicity(&mut tree);
        canonical(
            &mut tree,
            !self.options.interpolate,
            &mut self.budget,
            &mut self.report,
        );
        enforce_unicity(&mut tree);
        tree
    }
}
