//! Every path that the sources mention, and where it leads.
//!
//! A small resolver, not rustc's: it knows files, inline modules, `use` trees (groups, renames,
//! globs, re-exports), `crate`, `self`, `super`, the crate's own name, qualified paths, paths in
//! attributes' strings, and paths among a macro's tokens. Where a name could mean two things it
//! follows both, so it errs on the strict side.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// `["crate", "store", "Row"]` inside the crate, `["std", "fs"]` outside.
pub type Path = Vec<String>;

const ROOT: &str = "crate";
const OWN_NAME: &str = "comfytop";

/// What one module declares.
#[derive(Default)]
struct Module {
    /// Items and child modules.
    own: BTreeSet<String>,
    /// Names that `use` brings in, as written there.
    names: BTreeMap<String, Vec<Path>>,
    globs: Vec<Path>,
}

/// One path as written, and where.
pub struct Mention {
    pub file: String,
    pub line: usize,
    /// The module that it stands in.
    pub module: Path,
    pub written: Path,
    pub glob: bool,
}

/// What a file does besides naming paths.
pub struct Act {
    pub file: String,
    pub line: usize,
    pub module: Path,
    pub what: &'static str,
}

/// All sources of the crate, read.
#[derive(Default)]
pub struct Tree {
    modules: BTreeMap<Path, Module>,
    /// `#[macro_export]` macros live at the crate's root; this is the module that wrote them.
    macros: BTreeMap<String, Path>,
    pub mentions: Vec<Mention>,
    pub acts: Vec<Act>,
}

fn segments(words: &[&str]) -> Path {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn joined(head: &[String], tail: &[String]) -> Path {
    head.iter().chain(tail).cloned().collect()
}

/// The module that a file is: `src/engine/core.rs` is `crate::engine::core`.
fn module_of(file: &str) -> Path {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path = segments(&[ROOT]);
    if inner != "lib" {
        path.extend(inner.split('/').map(str::to_owned));
    }
    path
}

impl Tree {
    /// Reads sources given as (file, text).
    pub fn read<'a>(sources: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut test_files = BTreeSet::new();
        for (file, text) in sources {
            let parsed = syn::parse_file(text).map_err(|error| format!("{file}: {error}"))?;
            let module = module_of(file);
            let mut reader = Reader { tree: &mut tree, file, module, test_files: &mut test_files };
            if !is_test_only(&parsed.attrs) {
                reader.module();
                reader.visit_file(&parsed);
            }
        }
        let is_tested = |module: &Path| test_files.iter().any(|test| module.starts_with(test));
        tree.mentions.retain(|mention| !is_tested(&mention.module));
        tree.acts.retain(|act| !is_tested(&act.module));
        Ok(tree)
    }

    /// Everything a mention leads to, re-exports followed: paths in the crate and outside.
    pub fn trail(&self, mention: &Mention) -> BTreeSet<Path> {
        let mut seen = BTreeSet::new();
        self.follow(&mention.module, &mention.written, &mut BTreeSet::new(), &mut seen);
        seen
    }

    fn follow(&self, module: &Path, written: &Path, open: &mut BTreeSet<(Path, String)>, seen: &mut BTreeSet<Path>) {
        let Some(first) = written.first() else { return };
        let rest = &written[1..];
        match first.as_str() {
            ROOT | OWN_NAME => self.descend(&joined(&segments(&[ROOT]), rest), open, seen),
            "self" if rest.first().is_some_and(|next| next == "super") => {
                self.follow(module, &rest.to_vec(), open, seen);
            }
            "self" => self.descend(&joined(module, rest), open, seen),
            "super" => {
                let mut up = module.clone();
                let supers = written.iter().take_while(|&word| word == "super").count();
                up.truncate(module.len().saturating_sub(supers).max(1));
                self.descend(&joined(&up, &written[supers..]), open, seen);
            }
            name => {
                if !self.look_up(module, name, rest, open, seen) {
                    seen.insert(written.clone());
                }
            }
        }
    }

    /// Follows `name` as `module` knows it; false where `module` does not know it.
    fn look_up(
        &self,
        module: &Path,
        name: &str,
        rest: &[String],
        open: &mut BTreeSet<(Path, String)>,
        seen: &mut BTreeSet<Path>,
    ) -> bool {
        let Some(declared) = self.modules.get(module) else { return false };
        let here = joined(&joined(module, &[name.to_owned()]), rest);
        let mut known = false;
        if declared.own.contains(name) {
            known = true;
            if seen.insert(here.clone()) {
                self.descend(&here, open, seen);
            }
        }
        // A name is not looked up through itself: `use url;` means the crate `url`.
        if open.insert((module.clone(), name.to_owned())) {
            for target in declared.names.get(name).into_iter().flatten() {
                known = true;
                seen.insert(here.clone());
                self.follow(module, &joined(target, rest), open, seen);
            }
            for glob in &declared.globs {
                let mut ways = BTreeSet::new();
                self.follow(module, glob, &mut open.clone(), &mut ways);
                for way in ways.iter().filter(|way| self.modules.contains_key(*way) && *way != module) {
                    known |= self.look_up(way, name, rest, open, seen);
                }
            }
            open.remove(&(module.clone(), name.to_owned()));
        }
        known
    }

    /// Notes a path inside the crate, and what its first name that is no module stands for.
    fn descend(&self, path: &Path, open: &mut BTreeSet<(Path, String)>, seen: &mut BTreeSet<Path>) {
        seen.insert(path.clone());
        let depth = (1..=path.len()).rev().find(|&n| self.modules.contains_key(&path[..n]));
        let Some(depth) = depth.filter(|&depth| depth < path.len()) else { return };
        let (module, tail) = path.split_at(depth);
        if depth == 1
            && let Some(writer) = self.macros.get(&tail[0])
        {
            seen.insert(joined(writer, tail));
        }
        self.look_up(&module.to_vec(), &tail[0], &tail[1..], open, seen);
    }

    /// `crate::NAME` is something that the root itself declares or brings in.
    pub fn root_knows(&self, name: &str) -> bool {
        self.macros.contains_key(name)
            || self.modules.get(&segments(&[ROOT])).is_some_and(|root| root.names.contains_key(name))
    }
}

/// True where `#[cfg(test)]`, or `all(…)` with `test` in it, stands over the item.
fn is_test_only(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).any(|attr| {
        attr.parse_args::<syn::Meta>().is_ok_and(|meta| match meta {
            syn::Meta::Path(path) => path.is_ident("test"),
            syn::Meta::List(list) if list.path.is_ident("all") => {
                list.tokens.into_iter().any(|token| matches!(token, TokenTree::Ident(word) if word == "test"))
            }
            _ => false,
        })
    })
}

fn attrs_and_name(item: &syn::Item) -> (&[syn::Attribute], Option<&syn::Ident>) {
    use syn::Item as I;
    match item {
        I::Const(i) => (&i.attrs, Some(&i.ident)),
        I::Enum(i) => (&i.attrs, Some(&i.ident)),
        I::ExternCrate(i) => (&i.attrs, None),
        I::Fn(i) => (&i.attrs, Some(&i.sig.ident)),
        I::ForeignMod(i) => (&i.attrs, None),
        I::Impl(i) => (&i.attrs, None),
        I::Macro(i) => (&i.attrs, i.ident.as_ref()),
        I::Mod(i) => (&i.attrs, Some(&i.ident)),
        I::Static(i) => (&i.attrs, Some(&i.ident)),
        I::Struct(i) => (&i.attrs, Some(&i.ident)),
        I::Trait(i) => (&i.attrs, Some(&i.ident)),
        I::TraitAlias(i) => (&i.attrs, Some(&i.ident)),
        I::Type(i) => (&i.attrs, Some(&i.ident)),
        I::Union(i) => (&i.attrs, Some(&i.ident)),
        I::Use(i) => (&i.attrs, None),
        _ => (&[], None),
    }
}

/// Walks one file.
struct Reader<'a> {
    tree: &'a mut Tree,
    file: &'a str,
    module: Path,
    /// Modules declared under `#[cfg(test)]`, whose files are then test code too.
    test_files: &'a mut BTreeSet<Path>,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        self.tree.modules.entry(self.module.clone()).or_default()
    }

    fn mention(&mut self, written: Path, line: usize, glob: bool) {
        let (file, module) = (self.file.to_owned(), self.module.clone());
        self.tree.mentions.push(Mention { file, line, module, written, glob });
    }

    fn act(&mut self, line: usize, what: &'static str) {
        let (file, module) = (self.file.to_owned(), self.module.clone());
        self.tree.acts.push(Act { file, line, module, what });
    }

    fn use_tree(&mut self, head: &Path, tree: &syn::UseTree) {
        let line = tree.span().start().line;
        let with = |ident: &syn::Ident| {
            if ident == "self" && !head.is_empty() { head.clone() } else { joined(head, &[ident.to_string()]) }
        };
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&joined(head, &[path.ident.to_string()]), &path.tree),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(head, item)),
            syn::UseTree::Glob(_) => {
                self.module().globs.push(head.clone());
                self.mention(head.clone(), line, true);
            }
            syn::UseTree::Name(name) => {
                let target = with(&name.ident);
                let brought = target.last().cloned().unwrap_or_default();
                self.module().names.entry(brought).or_default().push(target.clone());
                self.mention(target, line, false);
            }
            syn::UseTree::Rename(rename) => {
                let target = with(&rename.ident);
                self.module().names.entry(rename.rename.to_string()).or_default().push(target.clone());
                self.mention(target, line, false);
            }
        }
    }

    /// Mentions the paths among tokens; in attributes also those written as strings.
    fn tokens(&mut self, tokens: TokenStream, head: &Path, strings: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is_punct =
            |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == sign);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream(), &Vec::new(), strings),
                TokenTree::Literal(literal) if strings => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string())
                        && let Ok(path) = text.parse::<syn::Path>()
                    {
                        self.mention(words(&path), literal.span().start().line, false);
                    }
                }
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    // Inside `a::{…}` the head goes before what starts a piece, not before what follows `as`.
                    let starts_piece = at == 1 || is_punct(at - 2, ',');
                    let mut path = if starts_piece { head.clone() } else { Vec::new() };
                    path.push(first.to_string());
                    let mut done = false;
                    while !done && is_punct(at, ':') && is_punct(at + 1, ':') {
                        match tokens.get(at + 2) {
                            Some(TokenTree::Ident(next)) => path.push(next.to_string()),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.tokens(group.stream(), &path, strings);
                                done = true;
                            }
                            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                                self.mention(path.clone(), line, true);
                                done = true;
                            }
                            _ => break,
                        }
                        at += 3;
                    }
                    if path.len() > 1 && !done {
                        self.mention(path, line, false);
                    }
                }
                _ => {}
            }
        }
    }
}

fn words(path: &syn::Path) -> Path {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attrs, name) = attrs_and_name(item);
        if is_test_only(attrs) {
            if let syn::Item::Mod(module) = item {
                self.test_files.insert(joined(&self.module, &[module.ident.to_string()]));
            }
            return;
        }
        if let Some(name) = name {
            self.module().own.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.attrs.iter().any(|attr| attr.path().is_ident("path")) {
            self.act(item.span().start().line, "takes a module from another place (`#[path]`)");
        }
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            self.module();
            visit::visit_item_mod(self, item);
            self.module.pop();
        } else {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&Vec::new(), &item.tree);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let target = if item.ident == "self" { ROOT.to_owned() } else { item.ident.to_string() };
        let name = item.rename.as_ref().map_or_else(|| item.ident.to_string(), |(_, name)| name.to_string());
        self.module().names.entry(name).or_default().push(vec![target.clone()]);
        self.mention(vec![target], item.span().start().line, false);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A single name was brought here by a `use`, which is a mention of its own.
        if path.segments.len() > 1 {
            self.mention(words(path), path.span().start().line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, expr: &'ast syn::ExprPath) {
        if let Some(qself) = &expr.qself
            && qself.position == 0
            && let syn::Type::Path(of) = &*qself.ty
        {
            self.mention(joined(&words(&of.path), &words(&expr.path)), expr.span().start().line, false);
        }
        visit::visit_expr_path(self, expr);
    }

    fn visit_attribute(&mut self, attr: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attr.meta {
            self.tokens(list.tokens.clone(), &Vec::new(), true);
        }
        visit::visit_attribute(self, attr);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(name) = &item.ident
            && item.attrs.iter().any(|attr| attr.path().is_ident("macro_export"))
        {
            self.tree.macros.insert(name.to_string(), self.module.clone());
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if mac.path.segments.last().is_some_and(|name| name.ident == "include") {
            self.act(mac.span().start().line, "takes in source text (`include!`)");
        }
        self.tokens(mac.tokens.clone(), &Vec::new(), false);
        visit::visit_macro(self, mac);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(word) = &signature.asyncness {
            self.act(word.span().start().line, "is async");
        }
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, expr: &'ast syn::ExprAsync) {
        self.act(expr.span().start().line, "is async");
        visit::visit_expr_async(self, expr);
    }
}
