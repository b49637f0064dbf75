//! The points at which the program may be killed, read from its source: every write, rename and request lies between
//! two of them.

use std::collections::BTreeMap;
use std::path::Path;

use syn::visit::{self, Visit};

/// Where a job's life is written down or asked for. Not the log, the lock and the socket's file: losing them loses
/// no job.
const ROOMS: &[&str] = &["store", "folder", "comfy", "engine", "sim", "inbox"];
const SPARED: &[&str] = &["src/engine/lock.rs", "src/engine/log.rs", "src/engine/setup.rs", "src/engine.rs"];

/// Functions that change a disk, by the last two parts of their path.
const FUNCTIONS: &[&str] = &[
    "fs::write",
    "fs::rename",
    "fs::copy",
    "fs::hard_link",
    "fs::remove_file",
    "fs::remove_dir_all",
    "File::create",
    "io::copy",
    "no_replace::rename",
];

#[derive(Default)]
struct Steps {
    /// How deep in `faults::step` or `faults::request` this is.
    covered: usize,
    /// Names of the points.
    points: Vec<String>,
    /// What is asked of a server: `GET /history/{id}`; and addresses that are asked in a way of their own.
    routes: Vec<String>,
    addresses: Vec<String>,
    /// Steps without a point: what, and its line.
    bare: Vec<(String, usize)>,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .any(|a| a.path().is_ident("cfg") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string() == "test"))
}

impl Steps {
    fn found(&mut self, what: &str, at: proc_macro2::Span) {
        if self.covered == 0 {
            self.bare.push((what.to_owned(), at.start().line));
        }
    }
}

impl<'a> Visit<'a> for Steps {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_expr_call(&mut self, call: &'a syn::ExprCall) {
        let path = match &*call.func {
            syn::Expr::Path(path) => path.path.segments.iter().map(|s| s.ident.to_string()).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let last = path.get(path.len().saturating_sub(2)..).unwrap_or_default().join("::");
        if last == "faults::step" || last == "faults::request" {
            if let Some(syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(name), .. })) = call.args.first() {
                self.points.push(name.value());
            }
            self.covered += 1;
            visit::visit_expr_call(self, call);
            self.covered -= 1;
            return;
        }
        if FUNCTIONS.contains(&last.as_str()) {
            self.found(&last, syn::spanned::Spanned::span(call));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let name = call.method.to_string();
        if let Some(path) = call.args.first().and_then(route) {
            match name.as_str() {
                "get" => self.routes.push(format!("GET {path}")),
                "post" => self.routes.push(format!("POST {path}")),
                "address" => self.addresses.push(path),
                _ => {}
            }
        }
        // In a transaction only its commit counts; `self.db` is none. A channel's `send` takes something.
        let on_db =
            matches!(&*call.receiver, syn::Expr::Field(f) if matches!(&f.member, syn::Member::Named(n) if n == "db"));
        let is_step = match name.as_str() {
            "commit" | "create_new" => true,
            "execute" => on_db,
            "send" => call.args.is_empty(),
            _ => false,
        };
        if is_step {
            self.found(&name, call.method.span());
        }
        visit::visit_expr_method_call(self, call);
    }
}

/// `/history/{id}` of `&["history", id]`.
fn route(argument: &syn::Expr) -> Option<String> {
    let syn::Expr::Reference(reference) = argument else { return None };
    let syn::Expr::Array(parts) = &*reference.expr else { return None };
    let part = |part: &syn::Expr| match part {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(format!("/{}", text.value())),
        syn::Expr::Path(path) => Some(format!("/{{{}}}", path.path.get_ident()?)),
        _ => None,
    };
    parts.elems.iter().map(part).collect()
}

fn read(text: &str) -> Steps {
    let mut steps = Steps::default();
    steps.visit_file(&syn::parse_file(text).expect("Rust"));
    steps
}

fn sources(dir: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "rs") && entry.file_stem() != Some("tests".as_ref())
        {
            let name =
                entry.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below").to_string_lossy().replace('\\', "/");
            found.insert(name, std::fs::read_to_string(&entry).expect("readable"));
        }
    }
}

/// What the source says of points.
fn all() -> Steps {
    let mut files = BTreeMap::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut all = Steps::default();
    let mut bare = Vec::new();
    for (file, text) in files {
        let room = file.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs");
        if !ROOMS.contains(&room) {
            continue;
        }
        let steps = read(&text);
        all.points.extend(steps.points);
        if room == "comfy" {
            all.routes.extend(steps.routes);
            all.addresses.extend(steps.addresses);
        }
        if !SPARED.contains(&file.as_str()) {
            bare.extend(steps.bare.into_iter().map(|(what, line)| (format!("{file}:{line}: `{what}`"), line)));
        }
    }
    all.bare = bare;
    all
}

/// Every point that a process may pass, without its sides: those of `comfy` are told apart by what is asked.
pub fn names() -> Vec<String> {
    let all = all();
    let mut names: Vec<_> = all.points.into_iter().filter(|name| name != "comfy" && name != "comfy.head").collect();
    names.extend(all.routes.into_iter().map(|route| format!("comfy {route}")));
    for address in all.addresses {
        names.extend(match address.as_str() {
            "/view" => vec!["comfy GET /view".to_owned(), "comfy.head HEAD /view".to_owned()],
            "/upload/image" => vec!["comfy POST /upload/image".to_owned()],
            // A handshake leaves nothing behind.
            "/ws" => Vec::new(),
            other => panic!("say here how {other} is asked"),
        });
    }
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_write_rename_and_request_lies_between_two_points() {
    let Steps { mut points, bare, .. } = all();
    assert!(bare.is_empty(), "wrap these in faults::step or faults::request: {bare:#?}");
    let count = points.len();
    points.sort();
    points.dedup();
    assert!(count > 30, "the points were not found: {points:?}");
    // `comfy` is told apart by its route.
    assert_eq!(count, points.len() + 1, "each point has a name of its own: {points:?}");
}

#[test]
fn what_is_asked_of_a_server_is_seen() {
    let names = names();
    for name in ["comfy POST /prompt", "comfy GET /history/{id}", "comfy GET /api/jobs/{id}", "comfy GET /api/jobs"] {
        assert!(names.iter().any(|other| other == name), "{name} is not in {names:?}");
    }
}

#[test]
fn a_step_without_a_point_is_seen() {
    for text in [
        "fn f() { std::fs::write(a, b); }",
        "fn f() { fs::rename(a, b)?; }",
        "fn f() { let x = || 1; no_replace::rename(a, b).map_err(x); }",
        "fn f() { Ok(tx.commit()?) }",
        "fn f(&self) { self.db.execute(\"\", [])?; }",
        "async fn f() { request.send().await; }",
        "fn f() { OpenOptions::new().create_new(true).open(a)?; }",
        "mod inner { fn f() { let file = File::create(a)?; } }",
    ] {
        assert_eq!(read(text).bare.len(), 1, "{text}");
    }
    for text in [
        "fn f() { faults::step(\"x\", || std::fs::write(a, b)); }",
        "async fn f() { timeout(t, faults::request(\"x\", &at, request.send())).await; }",
        "#[cfg(test)] mod tests { fn f() { fs::write(a, b); } }",
        "fn f() { tx.execute(\"\", [])?; out.send(1); }",
    ] {
        assert!(read(text).bare.is_empty(), "{text}");
    }
}
