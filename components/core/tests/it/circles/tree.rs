//! Modules, the names in them, and where a path leads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// More than any way through `use` needs; a name that leads to itself comes to an end.
const DEEPEST: usize = 16;

/// A module's place in [`Tree::modules`].
pub type Id = usize;

/// The modules of all crates.
#[derive(Default)]
pub struct Tree {
    pub modules: Vec<Module>,
    /// Libraries by the name that others use.
    pub libraries: HashMap<String, Id>,
}

pub struct Module {
    pub file: String,
    pub parent: Option<Id>,
    pub children: HashMap<String, Id>,
    pub names: HashMap<String, Name>,
}

/// A name in a module.
#[derive(Clone)]
pub enum Name {
    Defined,
    Imported(Vec<String>),
}

#[derive(Clone, Copy)]
enum Target {
    Module(Id),
    /// An item of this module's file.
    Item(Id),
}

impl Tree {
    /// Returns the module in which the item lies that a path names, if it is one of these crates.
    pub fn resolve(&self, from: Id, path: &[String]) -> Option<Id> {
        match self.target(from, path, false, 0)? {
            Target::Module(id) | Target::Item(id) => Some(id),
        }
    }

    fn target(&self, from: Id, path: &[String], module: bool, depth: usize) -> Option<Target> {
        if depth > DEEPEST {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(self.root(from)),
            "self" => Target::Module(from),
            "super" => Target::Module(self.modules[from].parent?),
            name => self
                .lookup(from, name, module || !rest.is_empty(), depth)
                .or_else(|| self.libraries.get(name).map(|&id| Target::Module(id)))?,
        };
        for (at, name) in rest.iter().enumerate() {
            let Target::Module(id) = target else { break };
            let module = module || at + 1 < rest.len();
            target = match name.as_str() {
                "super" => Target::Module(self.modules[id].parent?),
                "self" => Target::Module(id),
                // A name that is not found here (a variant, a macro's own) belongs to this module all the same.
                name => self.lookup(id, name, module, depth).unwrap_or(Target::Item(id)),
            };
        }
        Some(target)
    }

    /// Returns where a name of a module leads; a module and a function can have the same.
    fn lookup(&self, id: Id, name: &str, module: bool, depth: usize) -> Option<Target> {
        let child = self.modules[id].children.get(name).map(|&child| Target::Module(child));
        let item = || match self.modules[id].names.get(name)? {
            Name::Defined => Some(Target::Item(id)),
            Name::Imported(path) => self.target(id, path, module, depth + 1),
        };
        if module { child.or_else(item) } else { item().or(child) }
    }

    fn root(&self, mut id: Id) -> Id {
        while let Some(parent) = self.modules[id].parent {
            id = parent;
        }
        id
    }

    /// Returns true if one of two modules lies below the other.
    pub fn related(&self, one: Id, other: Id) -> bool {
        let above = |mut id: Id, wanted: Id| {
            loop {
                if id == wanted {
                    return true;
                }
                match self.modules[id].parent {
                    Some(parent) => id = parent,
                    None => return false,
                }
            }
        };
        above(one, other) || above(other, one)
    }
}

/// Returns all files that a file uses, directly or through others.
pub fn reached<'a>(file: &'a str, after: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in after.get(file).into_iter().flatten() {
            if reached.insert(*next) {
                open.push(next);
            }
        }
    }
    reached
}
