//! Pairs of schemas: what differs in themselves, and which schemas inside of them are to be compared.

use std::collections::BTreeMap;

use super::description::Description;
use super::keywords;
use super::options::CompareOptions;
use super::relation::{Difference, Direction, Relation};
use super::schema::{Schema, SchemaId};
use super::{branches, objects};

/// How deep the relation of two schemas is looked into to find the branches that belong together. What is
/// deeper counts as equal; it is compared later in any case.
const DEEP: usize = 12;

/// Two schemas inside of two others.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) old: SchemaId,
    pub(super) new: SchemaId,
    /// What stands behind the place of the outer schemas, such as `.price` or `[]`.
    pub(super) step: String,
    /// The keyword, if no rule can judge what is inside of it.
    pub(super) unknown: Option<String>,
}

impl Child {
    pub(super) fn new(old: SchemaId, new: SchemaId, step: impl Into<String>) -> Self {
        Self {
            old,
            new,
            step: step.into(),
            unknown: None,
        }
    }
}

/// What two schemas differ in.
#[derive(Default)]
pub(super) struct Local {
    pub(super) differences: Vec<Difference>,
    pub(super) children: Vec<Child>,
}

/// Compares schemas of two descriptions.
pub(super) struct Pairs<'d> {
    pub(super) old: &'d Description,
    pub(super) new: &'d Description,
    pub(super) options: &'d CompareOptions,
    relations: BTreeMap<(SchemaId, SchemaId, Direction), Relation>,
    depth: usize,
}

impl<'d> Pairs<'d> {
    pub(super) fn new(
        old: &'d Description,
        new: &'d Description,
        options: &'d CompareOptions,
    ) -> Self {
        Self {
            old,
            new,
            options,
            relations: BTreeMap::new(),
            depth: 0,
        }
    }

    pub(super) fn both(&self, old: SchemaId, new: SchemaId) -> (&'d Schema, &'d Schema) {
        (self.old.schema(old), self.new.schema(new))
    }

    /// What two schemas differ in, without what is inside of their inner schemas.
    pub(super) fn local(&mut self, old: SchemaId, new: SchemaId, direction: Direction) -> Local {
        let mut local = Local::default();
        if branches::wrapped(self, old, new, direction, &mut local) {
            return local;
        }
        let (was, is) = self.both(old, new);
        local.differences = keywords::differences(was, is, direction, self.options);
        objects::properties(self, was, is, direction, &mut local);
        objects::arrays(was, is, &mut local);
        objects::others(self, was, is, direction, &mut local);
        branches::groups(self, was, is, direction, &mut local);
        local
    }

    /// How two schemas relate, with all that is inside of them.
    pub(super) fn relation(
        &mut self,
        old: SchemaId,
        new: SchemaId,
        direction: Direction,
    ) -> Relation {
        let key = (old, new, direction);
        if let Some(relation) = self.relations.get(&key) {
            return *relation;
        }
        if self.depth == DEEP {
            return Relation::Same;
        }
        // A schema that contains itself is equal to another one unless something else differs.
        self.relations.insert(key, Relation::Same);
        self.depth += 1;
        let local = self.local(old, new, direction);
        let mut relation = Relation::Same;
        for difference in &local.differences {
            relation = relation.and(difference.relation);
        }
        for child in &local.children {
            let inner = self.relation(child.old, child.new, direction);
            let is_known = child.unknown.is_none() || inner == Relation::Same;
            relation = relation.and(if is_known { inner } else { Relation::Other });
        }
        self.depth -= 1;
        self.relations.insert(key, relation);
        relation
    }
}
