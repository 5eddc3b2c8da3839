//! Reads the sources of crates: modules, names, and the paths that their code uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree};

use super::tree::{Id, Module, Name, Tree};

/// Which file uses which: file and file, and each line with its path.
pub struct Uses {
    pub between: BTreeMap<(String, String), Vec<(usize, String)>>,
}

struct Reader<'a> {
    root: &'a Path,
    tree: Tree,
    /// Module, line and path.
    paths: Vec<(Id, usize, Vec<String>)>,
    here: Id,
    /// The folder of the files of the children of the module that is read.
    folder: PathBuf,
}

/// Reads all crates in some folders of a workspace.
pub fn workspace(root: &Path, folders: &[&str]) -> Uses {
    let tree = Tree::default();
    let mut reader = Reader { root, tree, paths: Vec::new(), here: 0, folder: PathBuf::new() };
    for folder in folders {
        reader.crates_below(&root.join(folder));
    }
    reader.uses()
}

impl Reader<'_> {
    fn crates_below(&mut self, folder: &Path) {
        if folder.join("Cargo.toml").exists() {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
            let library = name.trim_matches('"').replace('-', "_");
            for file in ["src/lib.rs", "src/main.rs"] {
                if folder.join(file).exists() {
                    let id = self.module(&folder.join(file), None, folder.join("src"));
                    if file == "src/lib.rs" {
                        self.tree.libraries.insert(library.clone(), id);
                    }
                }
            }
        }
        let below = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut below: Vec<_> = below.filter(|path| path.is_dir()).collect();
        below.sort();
        for below in below {
            if !["src", "tests", "target"].iter().any(|name| below.ends_with(name)) {
                self.crates_below(&below);
            }
        }
    }

    /// Reads a file as a module, with those below it.
    fn module(&mut self, file: &Path, parent: Option<Id>, folder: PathBuf) -> Id {
        let text = std::fs::read_to_string(file)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let items = syn::parse_file(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            .items;
        let name = file.strip_prefix(self.root).unwrap().to_str().unwrap().to_owned();
        self.within(name, parent, folder, &items)
    }

    fn within(&mut self, file: String, parent: Option<Id>, folder: PathBuf, items: &[Item]) -> Id {
        let id = self.tree.modules.len();
        let (children, names) = Default::default();
        self.tree.modules.push(Module { file, parent, children, names });
        let outside = (self.here, std::mem::replace(&mut self.folder, folder));
        self.here = id;
        for item in items {
            self.visit_item(item);
        }
        (self.here, self.folder) = outside;
        id
    }

    fn path(&mut self, line: usize, path: Vec<String>) {
        self.paths.push((self.here, line, path));
    }

    fn name(&mut self, name: &str, is: Name) {
        self.tree.modules[self.here].names.insert(name.to_owned(), is);
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &with(path.ident.to_string())),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                let whole = if name == "self" { before.to_vec() } else { with(name) };
                self.imported(tree, &whole.last().unwrap().clone(), whole);
            }
            UseTree::Rename(name) => {
                let whole = with(name.ident.to_string());
                self.imported(tree, &name.rename.to_string(), whole);
            }
            UseTree::Glob(_) => {
                let path = before.join("::");
                assert!(path.ends_with("prelude"), "`{path}::*`: name what is used of it");
            }
        }
    }

    fn imported(&mut self, tree: &UseTree, name: &str, whole: Vec<String>) {
        self.path(tree.span().start().line, whole.clone());
        self.name(name, Name::Imported(whole));
    }

    /// Takes the paths out of what a macro or an attribute is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_path(line, &mut path);
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end_path(line, &mut path);
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Literal(literal) => self.literal(&literal),
                        _ => (),
                    }
                }
            }
        }
        self.end_path(line, &mut path);
    }

    fn end_path(&mut self, line: usize, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.path(line, path);
        }
    }

    /// Takes a path that stands in a text, as serde's attributes have it.
    fn literal(&mut self, literal: &proc_macro2::Literal) {
        let line = literal.span().start().line;
        let text = literal.to_string();
        if let Ok(path) = syn::parse_str::<syn::Path>(text.trim_matches('"'))
            && path.segments.len() > 1
        {
            self.path(line, segments(&path));
        }
    }

    fn uses(self) -> Uses {
        let mut between: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (from, line, path) in &self.paths {
            if let Some(to) = self.tree.resolve(*from, path)
                && !self.tree.related(*from, to)
                && self.tree.modules[*from].file != self.tree.modules[to].file
            {
                let file = |id: Id| self.tree.modules[id].file.clone();
                between.entry((file(*from), file(to))).or_default().push((*line, path.join("::")));
            }
        }
        Uses { between }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attrs, name) = attributes(item);
        if attrs.iter().any(is_of_tests) {
            return;
        }
        if let Some(name) = name {
            self.name(&name, Name::Defined);
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        let file = self.tree.modules[self.here].file.clone();
        let parent = Some(self.here);
        let folder = self.folder.join(&name);
        let child = if let Some((_, items)) = &item.content {
            self.within(file, parent, folder, items)
        } else {
            let beside = self.folder.join(format!("{name}.rs"));
            let file = if beside.exists() { beside } else { folder.join("mod.rs") };
            self.module(&file, parent, folder)
        };
        self.tree.modules[self.here].children.insert(name, child);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.import(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.path(path.span().start().line, segments(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, of: &'ast syn::Macro) {
        self.tokens(of.tokens.clone());
        visit::visit_macro(self, of);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn is_of_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    attribute.path().is_ident("cfg") && {
        let text = list.tokens.to_string();
        text == "test" || text.starts_with("all (test") || text.starts_with("all(test")
    }
}

/// Returns an item's attributes, and the name that it gives its module.
fn attributes(item: &Item) -> (&[Attribute], Option<String>) {
    match item {
        Item::Const(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Enum(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Fn(item) => (&item.attrs, Some(item.sig.ident.to_string())),
        Item::Static(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Struct(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Trait(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Type(item) => (&item.attrs, Some(item.ident.to_string())),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref().map(ToString::to_string)),
        Item::Impl(item) => (&item.attrs, None),
        Item::Mod(item) => (&item.attrs, None),
        Item::Use(item) => (&item.attrs, None),
        _ => (&[], None),
    }
}
