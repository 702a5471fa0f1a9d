//! A schema after its references are resolved and its `allOf` is merged: one form for 3.0 and 3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// Where a schema stands among those of its description. Schemas that several places share have one id.
pub(super) type SchemaId = usize;

/// A set of JSON types. A number that is an integer is of both types, so `integer` is a part of `number`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub(super) const ANY: Self = Self(0b111_1111);
    pub(super) const NULL: Self = Self(1);
    pub(super) const OBJECT: Self = Self(64);
    pub(super) const ARRAY: Self = Self(32);
    pub(super) const STRING: Self = Self(16);
    pub(super) const BOOLEAN: Self = Self(2);
    pub(super) const INTEGER: Self = Self(4);
    pub(super) const NUMBER: Self = Self(4 | 8);

    /// By their names, those that print first.
    const NAMES: [(&'static str, Self); 7] = [
        ("object", Self::OBJECT),
        ("array", Self::ARRAY),
        ("string", Self::STRING),
        ("number", Self::NUMBER),
        ("integer", Self::INTEGER),
        ("boolean", Self::BOOLEAN),
        ("null", Self::NULL),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        let of_name = Self::NAMES.iter().find(|(known, _)| *known == name);
        of_name.map(|(_, types)| *types)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every value of the other types is one of these.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Their names, as few as possible.
    pub(super) fn names(self) -> Vec<&'static str> {
        let mut rest = self;
        let mut names = Vec::new();
        for (name, types) in Self::NAMES {
            if rest.has(types) {
                names.push(name);
                rest = rest.without(types);
            }
        }
        names
    }
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ANY => f.write_str("any type"),
            Self(0) => f.write_str("no type"),
            types => f.write_str(&types.names().join(" or ")),
        }
    }
}

impl fmt::Debug for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The least or the largest number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

impl Bound {
    /// The stricter one of two lower bounds. Upper bounds are compared with the sign changed.
    fn stricter(self, other: Self, sign: f64) -> Self {
        let (a, b) = (self.value * sign, other.value * sign);
        if a > b || (a == b && self.exclusive) {
            self
        } else {
            other
        }
    }

    pub(super) fn higher(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| self.stricter(other, 1.0))
    }

    pub(super) fn lower(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| self.stricter(other, -1.0))
    }

    /// The same bound of integers, which an exclusive one can be written as.
    pub(super) fn of_integers(self, step: f64) -> Self {
        match self.exclusive && self.value.fract() == 0.0 {
            true => Self {
                value: self.value + step,
                exclusive: false,
            },
            false => self,
        }
    }
}

/// How few and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    pub(super) least: u64,
    pub(super) most: Option<u64>,
}

impl Range {
    pub(super) fn at_least(&mut self, least: u64) {
        self.least = self.least.max(least);
    }

    pub(super) fn at_most(&mut self, most: u64) {
        self.most = Some(self.most.map_or(most, |known| known.min(most)));
    }
}

/// `anyOf`, or `oneOf` if it is exclusive.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) exclusive: bool,
    pub(super) branches: Vec<Branch>,
}

#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) schema: SchemaId,
    /// What its `$ref` names.
    pub(super) reference: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Discriminator {
    pub(super) property: String,
    /// From values to references.
    pub(super) mapping: BTreeMap<String, String>,
}

/// `x-extensible-enum`: values that are known now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Extensible {
    /// The values of `enum` are meant.
    Enum,
    Values(Vec<Value>),
}

/// Which keyword holds a schema that only the keyword's own rule can judge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Applied {
    /// Which of the merged parts; 0 unless several have the same keyword.
    pub(super) part: usize,
    pub(super) keyword: String,
    /// The name in it, for a keyword that holds several.
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Schema {
    /// Where its first part stands in the text.
    pub(super) pointer: String,
    /// `false`: no value is valid.
    pub(super) never: bool,
    pub(super) types: Types,
    pub(super) values: Option<Vec<Value>>,
    pub(super) constant: Option<Value>,
    pub(super) formats: BTreeSet<String>,
    pub(super) lower: Option<Bound>,
    pub(super) upper: Option<Bound>,
    pub(super) multiples: Vec<f64>,
    pub(super) length: Range,
    pub(super) patterns: BTreeSet<String>,
    pub(super) count: Range,
    pub(super) unique: bool,
    pub(super) items: Option<SchemaId>,
    pub(super) prefix: Vec<SchemaId>,
    pub(super) size: Range,
    pub(super) properties: BTreeMap<String, SchemaId>,
    pub(super) required: BTreeSet<String>,
    pub(super) additional: Option<SchemaId>,
    pub(super) groups: Vec<Group>,
    pub(super) not: Vec<SchemaId>,
    pub(super) discriminator: Option<Discriminator>,
    pub(super) extensible: Option<Extensible>,
    pub(super) read_only: bool,
    pub(super) write_only: bool,
    pub(super) deprecated: bool,
    pub(super) default: Option<Value>,
    pub(super) applied: BTreeMap<Applied, SchemaId>,
    /// Keywords that no rule knows, and known ones whose value is not what it must be.
    pub(super) other: BTreeMap<String, Value>,
    pub(super) extensions: BTreeMap<String, Value>,
}

impl Schema {
    pub(super) fn new(pointer: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            never: false,
            types: Types::ANY,
            values: None,
            constant: None,
            formats: BTreeSet::new(),
            lower: None,
            upper: None,
            multiples: Vec::new(),
            length: Range::default(),
            patterns: BTreeSet::new(),
            count: Range::default(),
            unique: false,
            items: None,
            prefix: Vec::new(),
            size: Range::default(),
            properties: BTreeMap::new(),
            required: BTreeSet::new(),
            additional: None,
            groups: Vec::new(),
            not: Vec::new(),
            discriminator: None,
            extensible: None,
            read_only: false,
            write_only: false,
            deprecated: false,
            default: None,
            applied: BTreeMap::new(),
            other: BTreeMap::new(),
            extensions: BTreeMap::new(),
        }
    }

    /// Whether nothing restricts a value but a type and the groups.
    pub(super) fn is_only_groups(&self) -> bool {
        self.is_free_but_for_type() && !self.groups.is_empty()
    }

    fn is_free_but_for_type(&self) -> bool {
        !self.never
            && self.values.is_none()
            && self.constant.is_none()
            && self.formats.is_empty()
            && self.lower.is_none()
            && self.upper.is_none()
            && self.multiples.is_empty()
            && self.length == Range::default()
            && self.patterns.is_empty()
            && self.count == Range::default()
            && !self.unique
            && self.items.is_none()
            && self.prefix.is_empty()
            && self.size == Range::default()
            && self.properties.is_empty()
            && self.required.is_empty()
            && self.additional.is_none()
            && self.not.is_empty()
            && self.applied.is_empty()
            && self.other.is_empty()
    }

    /// Whether every value is valid.
    pub(super) fn is_free(&self) -> bool {
        self.is_free_but_for_type() && self.types == Types::ANY && self.groups.is_empty()
    }

    /// All schemas in it.
    pub(super) fn inner(&self) -> impl Iterator<Item = SchemaId> {
        let groups = self.groups.iter().flat_map(|group| &group.branches);
        let lists = self.prefix.iter().chain(&self.not);
        lists
            .chain(self.properties.values())
            .chain(self.applied.values())
            .copied()
            .chain(self.items)
            .chain(self.additional)
            .chain(groups.map(|branch| branch.schema))
    }
}
